"""Ends a guest's waits at its deadline: no `select`, sleep or poll in the sandbox outlasts its invocation.

A guest that is blocked inside WASI cannot be interrupted, and the epoch's ticks do not reach it. All that it can wait
for is a clock: it has no network, no other process, and its files are always ready. So wasmtime's own
`subscribe-duration` and `subscribe-instant` are shadowed by functions that ask for the earlier of what the guest wants
and the end of its time. It then goes on, and the next tick ends it.

The pollable that a guest gets has to be one of wasmtime's own, which the C API cannot make. A small component in the
guest's store, the adapter below, asks wasmtime for it.
"""

import ctypes
from typing import Any

from wasmtime import WasmtimeError, wat2wasm
from wasmtime import _ffi as ffi
from wasmtime.component import Component, Linker

from skylark_proxy.runtime.engine import Engine
from skylark_proxy.runtime.guard import Guard

_CLOCK = "wasi:clocks/monotonic-clock"
_NEWEST_PATCH = 64
_U64 = ffi.WASMTIME_COMPONENT_U64.value

_ADAPTER = f"""(component
  (import "wasi:io/poll@0.2.0" (instance $io (export "pollable" (type (sub resource)))))
  (alias export $io "pollable" (type $pollable))
  (import "{_CLOCK}@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $clock-pollable))
    (export "now" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $clock-pollable))))))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-instant")))
  (core module $code
    (import "clock" "now" (func $now (result i64)))
    (import "clock" "subscribe" (func $subscribe (param i64) (result i32)))
    (func $earlier (param $one i64) (param $other i64) (result i64)
      (select (local.get $one) (local.get $other) (i64.lt_u (local.get $one) (local.get $other))))
    (func (export "duration") (param $wanted i64) (param $left i64) (result i32)
      (call $subscribe (i64.add (call $now) (call $earlier (local.get $wanted) (local.get $left)))))
    (func (export "instant") (param $when i64) (param $left i64) (result i32)
      (call $subscribe (call $earlier (local.get $when) (i64.add (call $now) (local.get $left))))))
  (core instance $instance (instantiate $code
    (with "clock" (instance (export "now" (func $now)) (export "subscribe" (func $subscribe))))))
  (func $duration (param "wanted" u64) (param "left" u64) (result (own $pollable))
    (canon lift (core func $instance "duration")))
  (func $instant (param "when" u64) (param "left" u64) (result (own $pollable))
    (canon lift (core func $instance "instant")))
  (export "subscribe-duration" (func $duration))
  (export "subscribe-instant" (func $instant)))"""

_NAMES = ("subscribe-duration", "subscribe-instant")
_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _data: None)


class Waits:
    """The shadowing functions of one engine. They have to live as long as linkers that they were added to."""

    def __init__(self, engine: Engine) -> None:
        self._adapter = Component(engine.wasmtime, bytes(wat2wasm(_ADAPTER)))
        self._linker = Linker(engine.wasmtime)
        self._linker.add_wasip2()
        self._exports = {name: self._adapter.get_export_index(name) for name in _NAMES}
        self._callbacks = {name: self._callback(name) for name in _NAMES}
        self._instance_name = _name_of_clock(engine)

    def shadow(self, linker: Linker) -> None:
        """Replaces the functions in a linker that has WASI."""
        linker.allow_shadowing = True
        with linker.root() as root, root.add_instance(self._instance_name) as instance:
            for name, callback in self._callbacks.items():
                _raise(
                    ffi.wasmtime_component_linker_instance_add_func(
                        instance.ptr(), name.encode(), len(name), callback, None, _FINALIZER
                    )
                )
        linker.allow_shadowing = False

    def _callback(self, name: str) -> Any:
        def call(_data: Any, context: Any, _type: Any, arguments: Any, _count: int, results: Any, _results: int) -> int:
            try:
                return self._subscribe(name, context, arguments[0].of.u64, results)
            except Exception as error:
                pointer = ffi.wasmtime_error_new(f"waiting failed: {error}".encode())
                return ctypes.cast(pointer, ctypes.c_void_p).value or 0

        return ffi.wasmtime_component_func_callback_t(call)

    def _subscribe(self, name: str, context: Any, wanted: int, results: Any) -> int:
        guard = Guard.here()
        functions = guard.adapter or self._instantiate(context)
        guard.adapter = functions
        arguments = (ffi.wasmtime_component_val_t * 2)()
        for slot, value in zip(arguments, (wanted, guard.left_ns()), strict=True):
            slot.kind = _U64
            slot.of.u64 = value
        error = ffi.wasmtime_component_func_call(ctypes.byref(functions[name]), context, arguments, 2, results, 1)
        return ctypes.cast(error, ctypes.c_void_p).value or 0

    def _instantiate(self, context: Any) -> dict[str, Any]:
        """Make the adapter in the store of a guest, which keeps it: once, and only for a guest that waits."""
        instance = ffi.wasmtime_component_instance_t()
        _raise(
            ffi.wasmtime_component_linker_instantiate(
                self._linker.ptr(), context, self._adapter.ptr(), ctypes.byref(instance)
            )
        )
        functions = {}
        for name, export in self._exports.items():
            assert export is not None
            functions[name] = ffi.wasmtime_component_func_t()
            ffi.wasmtime_component_instance_get_func(
                ctypes.byref(instance), context, export.ptr(), ctypes.byref(functions[name])
            )
        return functions


def _name_of_clock(engine: Engine) -> str:
    """The name, with its version, of wasmtime's clock: the one that cannot be defined once more.

    Under another version's name the functions would be those of a clock of its own, which lacks all the others.
    """
    for patch in range(_NEWEST_PATCH, -1, -1):
        name = f"{_CLOCK}@0.2.{patch}"
        linker = Linker(engine.wasmtime)
        linker.add_wasip2()
        with linker.root() as root, root.add_instance(name) as instance:
            error = ffi.wasmtime_component_linker_instance_add_func(
                instance.ptr(), b"now", 3, _UNUSED, None, _FINALIZER
            )
        if error:
            ffi.wasmtime_error_delete(error)
            return name
    raise RuntimeError(f"this wasmtime has no {_CLOCK}@0.2")


_UNUSED = ffi.wasmtime_component_func_callback_t(lambda *_arguments: 0)


def _raise(error: Any) -> None:
    if error:
        raise WasmtimeError._from_ptr(error)
