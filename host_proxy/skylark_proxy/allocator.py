"""The C library's allocator, told to give large memory back. Where it is another one than glibc's, nothing happens."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""
_ARENAS = 2


def limit_arenas() -> None:
    """Has all threads share two arenas. To be called before threads are started.

    By default there are eight for each processor, and each keeps up to 64 MB of what was freed in it: with 20 bundles
    of 24 MB at once that is 500 MB instead of 200. Threads of Python take turns anyway.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Returns free memory to the system, in a thread, since it takes milliseconds for each 100 MB."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        threading.Thread(target=malloc_trim, args=(0,), name="malloc-trim", daemon=True).start()


def _function(name: str) -> Callable[..., Any] | None:
    function: Callable[..., Any] | None = getattr(ctypes.CDLL(None), name, None)
    return function
