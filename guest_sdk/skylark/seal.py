"""The end of a build: what makes an interpreter with the function's modules fit to be frozen into a component."""

import gc
import importlib.machinery
import io
import linecache
import os
import selectors
import sys
import threading
import time
from typing import Any, SupportsIndex

from skylark import json_names, output, settled
from skylark.functions import REGISTRY
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules, explain_absence
from skylark.zones import Zones

_SLICE_S = 0.05
"""How long a component waits without looking up: between slices, the host can end a function past its deadline."""

_FREE_BLOCKS = ((1 << 20, 8), (1 << 18, 16), (1 << 16, 32), (1 << 12, 512), (1 << 10, 1024))
"""Sizes in bytes and numbers of blocks that together fill the memory that a build frees."""

_plain_sleep = time.sleep


def seal(late: LateModules, files: LateFiles) -> None:
    """Run last, before the interpreter is frozen.

    Args:
        late: The modules of packages that are not loaded yet.
        files: The data files of packages.

    Raises:
        RuntimeError: The component would have no function.
    """
    if not REGISTRY:
        raise RuntimeError("no function is registered; decorate at least one with @skylark.function")
    _remember_sources()
    time.sleep = _sleep
    threading._start_joinable_thread = _no_thread  # type: ignore[attr-defined]
    _keep_library(late, Zones(files))
    files.show()
    output.write_lines()  # a log handler that was made at the build has these
    if "skylark.hosted" in sys.modules:
        output.gather()
    elif "json" in sys.modules:
        json_names.bound_all()
    gc.collect()
    if "skylark.hosted" in sys.modules:
        settled.hold()
    _clear_free_memory()
    gc.freeze()


def _clear_free_memory() -> None:
    """Overwrite with zeros what the build has freed: zeros take no room in a component, and what is left there does."""
    held = [bytes(size) for size, count in _FREE_BLOCKS for _ in range(count)]
    del held


def _keep_library(late: LateModules, zones: Zones) -> None:
    """Let the standard library import while a function runs what it did not import at the build."""
    late.keep(os.path.dirname(linecache.__file__))  # noqa: PTH120  # that of a frozen module, as `os`, is wrong
    # Before the finder of files, which would look for each of them in folders that do not exist any more.
    sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder), late)
    explain_absence()
    adapted = {"asyncio": _adapt_asyncio, "tempfile": _adapt_tempfile, "zoneinfo": zones.use}

    def loaded(name: str) -> None:
        if name in adapted:
            adapted[name]()

    late.loaded = loaded
    for name, adapt in adapted.items():
        if name in sys.modules:
            adapt()


def _no_thread(*_arguments: object, **_options: object) -> None:
    """Say why no thread starts; the system's own error does not."""
    raise RuntimeError("can't start new thread: a sandbox has no threads")


def _adapt_asyncio() -> None:
    """Lets `asyncio.run` work without sockets: an event loop with one thread needs no socket pair to wake it up."""
    loop: Any = sys.modules["asyncio"].selector_events.BaseSelectorEventLoop
    loop._make_self_pipe = loop._close_self_pipe = loop._write_to_self = lambda self: None
    selectors.DefaultSelector = _SlicedSelector  # type: ignore[misc, assignment]


def _adapt_tempfile() -> None:
    """Let temporary files without a name lie in memory: a sandbox has no folder for them."""
    tempfile: Any = sys.modules["tempfile"]
    tempfile.TemporaryFile = _temporary_file


def _temporary_file(
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    *_place: object,
    errors: str | None = None,
    **_named_place: object,
) -> io.BytesIO | io.TextIOWrapper:
    """`tempfile.TemporaryFile`, in memory."""
    content = io.BytesIO()
    return content if "b" in mode else io.TextIOWrapper(content, encoding, errors, newline)


class _SlicedSelector(selectors.SelectSelector):
    """Waits in slices."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            rest = end - time.monotonic()
            ready = super().select(max(0.0, min(rest, _SLICE_S)))
            if ready or rest <= _SLICE_S:
                return ready


def _remember_sources() -> None:
    """Keeps the source lines of the function's own modules, so that a traceback in the sandbox can show them."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and path.endswith(".py") and not path.startswith("/python/"):
            lines = linecache.getlines(path)
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


def _sleep(seconds: float | SupportsIndex) -> None:
    """`time.sleep` in slices."""
    seconds = float(seconds)
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        _plain_sleep(min(rest, _SLICE_S))
