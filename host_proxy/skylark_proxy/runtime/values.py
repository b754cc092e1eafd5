"""Component-model values between Python and wasmtime's C API.

wasmtime-py's own conversion walks the WIT type anew for every value (190 µs for a call with our records against 20 µs
for a string) and keeps scratch data in module globals that threads would mix up. A value of the C API says of what
kind it is, so `lift` needs no type; lowering is put together once, from the functions below, in the shape of the WIT.

Layout and ownership: `wasmtime/component/val.h` of the C API. A lowered value is owned by whoever receives it.
"""

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wasmtime import _ffi as ffi

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import capi

Value = ffi.wasmtime_component_val_t
"""A slot for a value."""

Lower = Callable[[Any, Any], None]
"""Writes a Python value into a slot."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case of a variant or result: its name and payload."""

    name: str
    value: Any = None


_MAX_TEXT_BYTES = 1 << 20
_MAX_ELEMENTS = 4096

_STRING = ffi.WASMTIME_COMPONENT_STRING.value
_RECORD = ffi.WASMTIME_COMPONENT_RECORD.value
_VARIANT = ffi.WASMTIME_COMPONENT_VARIANT.value
_OPTION = ffi.WASMTIME_COMPONENT_OPTION.value
_RESULT = ffi.WASMTIME_COMPONENT_RESULT.value
_LIST = ffi.WASMTIME_COMPONENT_LIST.value
_ENUM = ffi.WASMTIME_COMPONENT_ENUM.value
_BOOL = ffi.WASMTIME_COMPONENT_BOOL.value
_NUMBERS = {
    ffi.WASMTIME_COMPONENT_U16.value: "u16",
    ffi.WASMTIME_COMPONENT_U32.value: "u32",
    ffi.WASMTIME_COMPONENT_U64.value: "u64",
}


def lift(slot: Any) -> Any:
    """The Python value of a slot: records are dicts by WIT names, variants and results `Case`s, options None or the
    value, enums and strings str. The slot keeps what it owns.

    A guest may send what it likes: of a text only the first megabyte is taken, which is more than any text has that
    means something here.

    Raises:
        InvalidArgument: A list has more than 4,096 elements.
    """
    kind, of = slot.kind, slot.of
    if kind in (_STRING, _ENUM):
        return _text(of.string)
    if kind == _RECORD:
        entries = of.record.data
        return {_text(entries[i].name): lift(entries[i].val) for i in range(of.record.size)}
    if kind == _OPTION:
        return lift(of.option.contents) if of.option else None
    if kind == _VARIANT:
        return Case(_text(of.variant.discriminant), lift(of.variant.val.contents) if of.variant.val else None)
    if kind == _RESULT:
        return Case("ok" if of.result.is_ok else "err", lift(of.result.val.contents) if of.result.val else None)
    if kind == _LIST:
        if of.list.size > _MAX_ELEMENTS:
            raise InvalidArgument("list", f"{of.list.size} elements", f"at most {_MAX_ELEMENTS}")
        return [lift(of.list.data[i]) for i in range(of.list.size)]
    if kind == _BOOL:
        return bool(of.boolean)
    return getattr(of, _NUMBERS[kind])


def boolean(slot: Any, value: bool) -> None:
    """Lowers a bool."""
    slot.kind = _BOOL
    slot.of.boolean = value


def string(slot: Any, value: str) -> None:
    """Lowers a str to a string."""
    slot.kind = _STRING
    _write_text(slot.of.string, value.encode(errors="replace"))


def enum(slot: Any, value: str) -> None:
    """Lowers a case of an enum by its name."""
    slot.kind = _ENUM
    _write_text(slot.of.enumeration, value.encode())


def number(kind: str) -> Lower:
    """Lowers an int to `u16`, `u32` or `u64`."""
    code = next(code for code, name in _NUMBERS.items() if name == kind)

    def lower(slot: Any, value: int) -> None:
        slot.kind = code
        setattr(slot.of, kind, value)

    return lower


def list_of(element: Lower) -> Lower:
    """Lowers a sequence to a list."""

    def lower(slot: Any, values: Any) -> None:
        slot.kind = _LIST
        raw = slot.of.list
        capi.vallist_new_uninit(ctypes.byref(raw), len(values))
        for i, value in enumerate(values):
            element(raw.data[i], value)

    return lower


def record(fields: Mapping[str, Lower]) -> Lower:
    """Lowers a tuple, with the values in the order of `fields`, to a record."""
    members = [(name.encode(), lower) for name, lower in fields.items()]

    def lower(slot: Any, values: tuple[Any, ...]) -> None:
        slot.kind = _RECORD
        raw = slot.of.record
        capi.valrecord_new_uninit(ctypes.byref(raw), len(members))
        entries = raw.data
        for i, (name, lower_member) in enumerate(members):
            entry = entries[i]
            _write_text(entry.name, name)
            lower_member(entry.val, values[i])

    return lower


def option(some: Lower) -> Lower:
    """Lowers None or a value to an option."""

    def lower(slot: Any, value: Any) -> None:
        boxed = None if value is None else _boxed(some, value)
        slot.kind = _OPTION
        slot.of.option = boxed

    return lower


def variant(cases: Mapping[str, Lower]) -> Lower:
    """Lowers a `Case` to a variant."""

    def lower(slot: Any, case: Case) -> None:
        boxed = _boxed(cases[case.name], case.value)
        slot.kind = _VARIANT
        _write_text(slot.of.variant.discriminant, case.name.encode())
        slot.of.variant.val = boxed

    return lower


def result(ok: Lower, err: Lower) -> Lower:
    """Lowers a `Case` named `ok` or `err` to a result."""

    def lower(slot: Any, case: Case) -> None:
        boxed = _boxed(ok if case.name == "ok" else err, case.value)
        slot.kind = _RESULT
        slot.of.result.is_ok = case.name == "ok"
        slot.of.result.val = boxed

    return lower


def _boxed(lower: Lower, value: Any) -> Any:
    raw = Value()
    lower(raw, value)
    return capi.val_new(ctypes.byref(raw))


def _text(vec: Any) -> str:
    if vec.size <= _MAX_TEXT_BYTES:
        return ctypes.string_at(vec.data, vec.size).decode()
    return ctypes.string_at(vec.data, _MAX_TEXT_BYTES).decode(errors="ignore")


def _write_text(vec: Any, encoded: bytes) -> None:
    capi.byte_vec_new_uninitialized(ctypes.byref(vec), len(encoded))
    ctypes.memmove(vec.data, encoded, len(encoded))
