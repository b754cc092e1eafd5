"""Short functions of wasmtime's C API, called with the interpreter's lock held.

ctypes lets the lock go for every call, and a worker then waits for the others to get it back: twenty times an
invocation, that is most of its time. None of these functions runs guest code or waits for anything.
"""

import ctypes
from typing import Any

from wasmtime import _ffi as ffi

_LIBRARY = ctypes.PyDLL(ffi.dll._name)


def _bound(name: str) -> Any:
    original = getattr(ffi.dll, name)
    function = getattr(_LIBRARY, name)
    function.argtypes, function.restype = original.argtypes, original.restype
    return function


byte_vec_new_uninitialized = _bound("wasm_byte_vec_new_uninitialized")
vallist_new_uninit = _bound("wasmtime_component_vallist_new_uninit")
valrecord_new_uninit = _bound("wasmtime_component_valrecord_new_uninit")
val_new = _bound("wasmtime_component_val_new")
val_delete = _bound("wasmtime_component_val_delete")
set_epoch_deadline = _bound("wasmtime_context_set_epoch_deadline")
