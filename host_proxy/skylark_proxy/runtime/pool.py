"""The sandboxes of a component, kept for the next invocation."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator

from skylark_proxy.errors import FunctionFailed
from skylark_proxy.runtime.sandbox import Sandbox

_LOG = logging.getLogger(__name__)
_KEPT_PER_POOL = 2 * (os.cpu_count() or 1)
"""How many sandboxes are kept after a burst, where `ready` is not more."""


class SandboxPool:
    """The sandboxes of one component. After an invocation a sandbox is reset, and is then as good as new.

    Args:
        make: Makes a sandbox.
        ready: How many to make now, and to keep.
        reuse: Whether a sandbox may serve again as it is, after an invocation that ended well or raised. What one
            invocation leaves in the interpreter is then seen by the next.
    """

    def __init__(self, make: Callable[[], Sandbox], ready: int, reuse: bool) -> None:
        self._make = make
        self._most = max(ready, _KEPT_PER_POOL)
        self._reuse = reuse
        self._lock = threading.Lock()
        self._closed = False
        self._ready = [make() for _ in range(ready)]  # the last one used is the next one: its memory is in the caches

    @contextlib.contextmanager
    def sandbox(self) -> Iterator[Sandbox]:
        """A sandbox for one invocation. Whatever happens in it, none of it is left for the next one."""
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
            self._take_back(sandbox, usable)

    def close(self) -> None:
        """Frees the sandboxes that are kept."""
        with self._lock:
            self._closed = True
            sandboxes, self._ready = self._ready, []
        for sandbox in sandboxes:
            sandbox.close()

    def _take_back(self, sandbox: Sandbox, usable: bool) -> None:
        """Keep a sandbox, or free it. `usable`: its interpreter could go on."""
        if (self._reuse and usable) or self._is_reset(sandbox):
            with self._lock:
                if not self._closed and len(self._ready) < self._most:
                    self._ready.append(sandbox)
                    return
        sandbox.close()

    @staticmethod
    def _is_reset(sandbox: Sandbox) -> bool:
        """Reset a sandbox; False if it cannot be."""
        if not sandbox.can_be_reset:
            return False
        try:
            sandbox.reset()
        except OSError:
            _LOG.exception("a sandbox could not be reset, and is replaced")
            return False
        return True
