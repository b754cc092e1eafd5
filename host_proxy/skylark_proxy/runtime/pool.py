"""Sandboxes made ready ahead of need."""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator

from skylark_proxy.errors import FunctionFailed
from skylark_proxy.runtime.sandbox import Sandbox
from skylark_proxy.runtime.stacks import start_thread

_LOG = logging.getLogger(__name__)
_KEPT_PER_POOL = 2 * (os.cpu_count() or 1)
"""How many used sandboxes are kept for reuse after a burst, where `ready` is not more."""


class Preparer:
    """One thread that makes sandboxes in the background, for all pools of a proxy."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = start_thread(self._run, "sandbox-preparer")

    def submit(self, work: Callable[[], None]) -> None:
        """Has `work` done soon; what it raises is logged."""
        self._work.put(work)

    def close(self) -> None:
        """Ends the thread after what it is at."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                _LOG.exception("making a sandbox ahead of need failed")


class SandboxPool:
    """The sandboxes of one component.

    Args:
        make: Makes a sandbox.
        ready: How many to keep ready; 0 makes each when it is needed.
        reuse: Whether a sandbox may serve again after an invocation that ended well or raised. What one invocation
            leaves in the interpreter is then seen by the next.
    """

    def __init__(self, make: Callable[[], Sandbox], preparer: Preparer, ready: int, reuse: bool) -> None:
        self._make = make
        self._preparer = preparer
        self._target = ready
        self._reuse = reuse
        self._ready: list[Sandbox] = []  # the last one used is the next one: its memory is in the caches
        self._lock = threading.Lock()
        self._closed = False
        self._order()

    @contextlib.contextmanager
    def sandbox(self) -> Iterator[Sandbox]:
        """A sandbox for one invocation, which is disposed of afterwards, whatever happened."""
        with self._lock:
            sandbox = self._ready.pop() if self._ready else None
        sandbox = sandbox or self._make()
        usable = False
        try:
            yield sandbox
            usable = True
        except FunctionFailed as error:
            usable = bool(error.traceback)
            raise
        finally:
            if not (self._reuse and usable and self._keep(sandbox)):
                sandbox.close()
                self._order()

    def close(self) -> None:
        """Frees the sandboxes that are ready."""
        with self._lock:
            self._closed = True
            sandboxes = list(self._ready)
            self._ready.clear()
        for sandbox in sandboxes:
            sandbox.close()

    def _keep(self, sandbox: Sandbox) -> bool:
        sandbox.clear()
        with self._lock:
            if self._closed or len(self._ready) >= max(self._target, _KEPT_PER_POOL):
                return False
            self._ready.append(sandbox)
            return True

    def _order(self) -> None:
        with self._lock:
            missing = self._target - len(self._ready)
        if missing > 0:
            self._preparer.submit(self._prepare)

    def _prepare(self) -> None:
        """Makes sandboxes until enough are ready. A first call maps the interpreter's pages before they are needed."""
        while True:
            with self._lock:
                if self._closed or len(self._ready) >= self._target:
                    return
            sandbox = self._make()
            sandbox.functions()
            with self._lock:
                if not self._closed:
                    self._ready.append(sandbox)
                    continue
            sandbox.close()
            return
