"""The C library's allocator, told to give large memory back. Where it is another one than glibc's, nothing happens."""

import ctypes
import gc
import threading
from collections.abc import Callable
from typing import Any

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""
_ARENAS = 2
_SOON_S = 0.5
_waiting = threading.Lock()


def limit_arenas() -> None:
    """Has all threads share two arenas. To be called before threads are started.

    By default there are eight for each processor, and each keeps up to 64 MB of what was freed in it: with 20 bundles
    of 24 MB at once that is 500 MB instead of 200. Threads of Python take turns anyway.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Returns free memory to the system, soon, in a thread: what just held it lets it go first.

    Objects that refer to each other, as requests and their answers do, may hold the last of it: they are looked for.
    """
    if not _waiting.acquire(blocking=False):
        return  # it will be done for this one too
    timer = threading.Timer(_SOON_S, _give_back)
    timer.daemon = True
    timer.start()


def _give_back() -> None:
    _waiting.release()
    gc.collect()
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., Any] | None:
    function: Callable[..., Any] | None = getattr(ctypes.CDLL(None), name, None)
    return function
