"""The functions of wasmtime's C API that each call of a guest needs, bound for speed.

Addresses are plain numbers here: wasmtime-py's own bindings make a pointer object of each. Short functions are bound
once more so that they keep the interpreter's lock: ctypes lets it go for every call, and a worker then waits for the
others to get it back. None of those runs guest code or waits for anything; what runs guest code lets the lock go, since
a guest that loops would hold up the whole process.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi

_NAME = ffi.dll._name
_RELEASING, _HOLDING = ctypes.CDLL(_NAME), ctypes.PyDLL(_NAME)
_LIBC = ctypes.PyDLL(None, use_errno=True)

SLOT_WORDS = 2
"""A `wasmtime_val_raw_t` is as large as a vector: two words of 64 bits, of which a number takes the first."""

NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(0)


def _bound(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t

func_call = _bound(_RELEASING, "wasmtime_func_call_unchecked", _POINTER, _POINTER, _POINTER, _POINTER, _SIZE, _POINTER)
"""Call a function of a guest: context, function, slots of arguments and results, their number, where a trap goes."""

set_epoch_deadline = _bound(_HOLDING, "wasmtime_context_set_epoch_deadline", None, _POINTER, ctypes.c_uint64)
global_get = _bound(_HOLDING, "wasmtime_global_get", None, _POINTER, _POINTER, _POINTER)
global_set = _bound(_HOLDING, "wasmtime_global_set", _POINTER, _POINTER, _POINTER, _POINTER)
getrusage = _bound(_LIBC, "getrusage", ctypes.c_int, ctypes.c_int, _POINTER)
mmap = _bound(_LIBC, "mmap", _POINTER, _POINTER, _SIZE, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
madvise = _bound(_LIBC, "madvise", ctypes.c_int, _POINTER, _SIZE, ctypes.c_int)

CALLBACK = ctypes.CFUNCTYPE(_SIZE, _POINTER, _POINTER, ctypes.POINTER(ctypes.c_int64), _SIZE)
"""A host function: its data, the caller, the slots of arguments and results, their number; returns a trap or 0."""


def new_trap(reason: str) -> int:
    """Make a trap for a host function to return."""
    encoded = reason.encode(errors="replace")
    return ctypes.cast(ffi.wasmtime_trap_new(encoded, len(encoded)), _POINTER).value or 0


def message_of(error: int | None, trap: int | None) -> str:
    """Return the message of an error or a trap, which are freed; also of both."""
    texts = []
    if error:
        failed = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
        texts.append(_message(ffi.wasmtime_error_message, failed))
        ffi.wasmtime_error_delete(failed)
    if trap:
        trapped = ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t))
        texts.append(_message(ffi.wasm_trap_message, trapped).rstrip("\0"))
        ffi.wasm_trap_delete(trapped)
    return "\n".join(texts)


def _message(read: Callable[[Any, Any], object], pointer: Any) -> str:
    vector = ffi.wasm_byte_vec_t()
    read(pointer, ctypes.byref(vector))
    text = ctypes.string_at(vector.data, vector.size).decode(errors="replace")
    ffi.wasm_byte_vec_delete(ctypes.byref(vector))
    return text


def check(error: Any) -> None:
    """Raise WasmtimeError if a function of wasmtime-py's bindings returned an error."""
    if error:
        raise WasmtimeError._from_ptr(error)
