"""Ends a guest that runs too long or fills its exchange directory.

Every tick of the engine's epoch, a running guest calls back into the host, which looks at this sandbox's own deadline
and quota. The C API has the callback (`wasmtime_store_epoch_deadline_callback`, store.h); wasmtime-py's classes do not.
A guest that is blocked in a call to WASI (a sleep, say) does not come by here: see `waits`.
"""

import contextlib
import ctypes
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from wasmtime import Store
from wasmtime import _ffi as ffi

from skylark_proxy.runtime import capi

_LOG = logging.getLogger(__name__)
_QUOTA_EVERY_TICKS = 2

_guards: dict[int, "Guard"] = {}
_ids = itertools.count(1)


_LEEWAY_NS = 1_000_000
"""A wait that ends a little after the deadline: the tick that follows it ends the guest."""


class _Here(threading.local):
    guard: "Guard | None" = None


_HERE = _Here()


class Guard:
    """Watches one sandbox. `reason` says why it ended the guest, if it did.

    `adapter` is what `waits` keeps for this sandbox.
    """

    def __init__(self, store: Store, over_quota: Callable[[], bool]) -> None:
        self.reason: str | None = None
        self.adapter: dict[str, Any] | None = None
        self._deadline_s = float("inf")
        self._over_quota = over_quota
        self._ticks = 0
        self._id = next(_ids)
        _guards[self._id] = self
        self._context = store._context()
        ffi.wasmtime_store_epoch_deadline_callback(store.ptr(), _ON_TICK, self._id, _ON_STORE_DELETED)

    def start(self, deadline_ms: int) -> None:
        """Begins an invocation that has to end within `deadline_ms`."""
        self.reason, self._ticks = None, 0
        self._deadline_s = time.monotonic() + deadline_ms / 1000
        capi.set_epoch_deadline(self._context, 2)

    @classmethod
    def here(cls) -> "Guard":
        """The guard of the guest that this thread runs."""
        assert _HERE.guard is not None
        return _HERE.guard

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Makes it the guard of what this thread runs."""
        before, _HERE.guard = _HERE.guard, self
        try:
            yield
        finally:
            _HERE.guard = before

    def left_ns(self) -> int:
        """How long the guest may still wait, in nanoseconds."""
        return max(0, int((self._deadline_s - time.monotonic()) * 1e9)) + _LEEWAY_NS

    def check(self) -> str | None:
        """The reason to end the guest now, or None."""
        self._ticks += 1
        if time.monotonic() >= self._deadline_s:
            self.reason = "deadline"
        elif self._ticks % _QUOTA_EVERY_TICKS == 0 and self._over_quota():
            self.reason = "quota"
        return self.reason


def _on_tick(_context: Any, guard_id: int, delta: Any, _kind: Any) -> int:
    try:
        reason = _guards[guard_id].check()
    except Exception:
        _LOG.exception("looking after a guest failed")
        reason = "it could not be looked after; the node's log says why"
    if reason is None:
        delta[0] = 1
        return 0
    pointer = ffi.wasmtime_error_new(f"ended by the host: {reason}".encode())
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _on_store_deleted(guard_id: int) -> None:
    _guards.pop(guard_id, None)


_ON_TICK = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(ffi.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ffi.wasmtime_update_deadline_kind_t),
)(_on_tick)
_ON_STORE_DELETED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_on_store_deleted)
