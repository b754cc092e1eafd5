"""Ends a guest that runs too long.

Every tick of the engine's epoch, a running guest calls back into the host, which looks at this sandbox's own deadline.
The C API has the callback (`wasmtime_store_epoch_deadline_callback`, store.h); wasmtime-py's classes do not. A guest
that waits for a clock is in the host, which wakes it up at its deadline (`wasi`).
"""

import ctypes
import itertools
import logging
import time
from typing import Any

from wasmtime import Store
from wasmtime import _ffi as ffi

from skylark_proxy.runtime import capi

_LOG = logging.getLogger(__name__)

_guards: dict[int, "Guard"] = {}
_ids = itertools.count(1)


class Guard:
    """Watches one sandbox. `reason` says why it ended the guest, if it did."""

    def __init__(self, store: Store) -> None:
        self.reason: str | None = None
        self._deadline_s = float("inf")
        self._id = next(_ids)
        _guards[self._id] = self
        self._context = store._context()
        ffi.wasmtime_store_epoch_deadline_callback(store.ptr(), _ON_TICK, self._id, _ON_STORE_DELETED)

    def start(self, deadline_ms: int) -> None:
        """Begins an invocation that has to end within `deadline_ms`."""
        self.reason = None
        self._deadline_s = time.monotonic() + deadline_ms / 1000
        capi.set_epoch_deadline(self._context, 2)

    def left_s(self) -> float:
        """How long the guest may still run or wait."""
        return max(0.0, self._deadline_s - time.monotonic())

    def check(self) -> str | None:
        """The reason to end the guest now, or None."""
        if time.monotonic() >= self._deadline_s:
            self.reason = "deadline"
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
