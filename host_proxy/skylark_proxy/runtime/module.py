"""A hosted module with all that it imports: what instances are made of."""

import ctypes
from collections.abc import Mapping
from ctypes import byref
from typing import Any

from wasmtime import Engine as WasmtimeEngine
from wasmtime import FuncType, GlobalType, Linker, Module, Store
from wasmtime import _ffi as ffi

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import capi, interface, wasi
from skylark_proxy.runtime.host_functions import callback
from skylark_proxy.runtime.imports import IMPORTS
from skylark_proxy.runtime.instance import FUNCTIONS, Instance, Pristine

_SYSTEM = "wasi_snapshot_preview1"
_CALLBACKS: dict[tuple[str, str], Any] = {}
_I32 = ("i32",)
_EXPORTED = {
    "functions": ((), _I32),
    "functions:post": (_I32, ()),
    "handle": (interface.INVOCATION.core, _I32),
    "handle:post": (_I32, ()),
    "realloc": (("i32",) * 4, _I32),
    "free": (_I32, ()),
    "now": ((), ("i64",)),
}
assert set(_EXPORTED) == set(FUNCTIONS)


class HostedModule:
    """A compiled module, linked.

    Args:
        name: What errors call it.

    Raises:
        InvalidArgument: It does not export and import what this host's interface says, as one that was built with
            another version of the SDK.
    """

    def __init__(self, engine: WasmtimeEngine, module: Module, name: str) -> None:
        self._engine = engine
        self._module = module
        self._name = name
        self._globals = [one.name for one in module.exports if isinstance(one.type, GlobalType)]
        self._check()
        self._linker = Linker(engine)
        self._linker.define_wasi()
        self._linker.allow_shadowing = True
        for one in module.imports:
            self._define(one.module, one.name or "", one.type)
        self._pre = ctypes.POINTER(ffi.wasmtime_instance_pre_t)()
        capi.check(ffi.wasmtime_linker_instantiate_pre(self._linker.ptr(), module.ptr(), byref(self._pre)))

    def instantiate(
        self, memory_bytes: int, environment: Mapping[str, str], pristine: Pristine | None = None
    ) -> Instance:
        """Make an instance; see there.

        Raises:
            WasmtimeError: It needs more than its limits.
        """
        store = Store(self._engine)
        try:
            store.set_limits(memory_size=memory_bytes)
            return Instance(store, self._pre, self._globals, memory_bytes, environment, pristine)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Free it."""
        ffi.wasmtime_instance_pre_delete(self._pre)
        self._linker.close()

    def _check(self) -> None:
        exported = {one.name: _signature(one.type) for one in self._module.exports if isinstance(one.type, FuncType)}
        imported = {
            one.name or "": _signature(one.type)
            for one in self._module.imports
            if one.module == interface.BUNDLES and isinstance(one.type, FuncType)
        }
        wrong = [name for name, signature in _EXPORTED.items() if exported.get(name) != signature]
        for name, signature in imported.items():
            if name not in IMPORTS or signature != (IMPORTS[name].core, ()):
                wrong.append(name)
        if wrong:
            expected = f"one that was built with this version of Skylark; it has other types for {', '.join(wrong)}"
            raise InvalidArgument("component", self._name, f"{expected}: build it again")

    def _define(self, module: str, name: str, type_: Any) -> None:
        if module == _SYSTEM and name in wasi.NATIVE:
            return
        known = _CALLBACKS.get((module, name))
        if known is None:
            functions = {one: imported.function for one, imported in IMPORTS.items()}
            own = wasi.FUNCTIONS if module == _SYSTEM else functions
            known = _CALLBACKS[module, name] = callback(own.get(name) or wasi.refused(name))
        raw = ctypes.cast(known, ffi.wasmtime_func_unchecked_callback_t)
        encoded = module.encode(), name.encode()
        capi.check(
            ffi.wasmtime_linker_define_func_unchecked(
                self._linker.ptr(),
                encoded[0],
                len(encoded[0]),
                encoded[1],
                len(encoded[1]),
                type_.ptr(),
                raw,
                None,
                capi.NO_FINALIZER,
            )
        )


def _signature(type_: FuncType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(map(str, type_.params)), tuple(map(str, type_.results))
