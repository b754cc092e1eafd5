"""Constant expressions: read, and computed at link time.

The modules of a component import the addresses that their data and functions have; once linked these are numbers.
Computed, they need neither the globals nor additions in constant expressions, which WebAssembly 2.0 lacks.

Format: WebAssembly core specification 2.0, section 5.4.9; additions: the extended constant expressions of 3.0.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skylark_flatten.binary import Reader, signed, u32
from skylark_flatten.errors import Unsupported

_END = 0x0B
_GLOBAL_GET = 0x23
_REF_NULL = 0xD0
_REF_FUNC = 0xD2
_I32, _I64, _F32, _F64, _V128 = 0x41, 0x42, 0x43, 0x44, 0xFD
_BITS = {_I32: 32, _I64: 64}
_ARITHMETIC = {
    0x6A: (_I32, "+"),
    0x6B: (_I32, "-"),
    0x6C: (_I32, "*"),
    0x7C: (_I64, "+"),
    0x7D: (_I64, "-"),
    0x7E: (_I64, "*"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, as its `const` instruction has it."""

    opcode: int
    value: int

    def encode(self) -> bytes:
        """The instruction."""
        return bytes([self.opcode]) + signed(self.value)


@dataclass(frozen=True, slots=True)
class Raw:
    """A constant that no arithmetic is done with, encoded: a float, a vector, a null."""

    instruction: bytes

    def encode(self) -> bytes:
        """The instruction."""
        return self.instruction


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a function, by the index that it has in its module."""

    function: int

    def encode(self) -> bytes:
        """The instruction."""
        return bytes([_REF_FUNC]) + u32(self.function)


Constant = Number | Raw | Reference


def i32(value: int) -> Number:
    """A 32-bit integer; it wraps around."""
    return _wrapped(_I32, value)


def skip(reader: Reader) -> bytes:
    """Reads past a constant expression, which it returns encoded.

    Raises:
        Malformed: It ends too early.
        Unsupported: It has an instruction that is not constant.
    """
    start = reader.offset
    while (opcode := reader.byte()) != _END:
        _operand(reader, opcode)
    return reader.content[start : reader.offset]


def evaluate(expression: bytes, globals_: Callable[[int], Constant]) -> Constant:
    """Computes a constant expression.

    Args:
        globals_: The value of a global, by its index.

    Raises:
        Unsupported: It is not one value, or computes with what is no integer.
    """
    reader, stack = Reader(expression), list[Constant]()
    while (opcode := reader.byte()) != _END:
        if opcode in _ARITHMETIC:
            stack.append(_computed(opcode, stack))
            continue
        operand = _operand(reader, opcode)
        stack.append(globals_(operand.value) if isinstance(operand, _Global) else operand)
    if len(stack) != 1:
        raise Unsupported(f"a constant expression has {len(stack)} values")
    return stack[0]


@dataclass(frozen=True, slots=True)
class _Global:
    value: int


def _operand(reader: Reader, opcode: int) -> Constant | _Global:
    start = reader.offset - 1
    match opcode:
        case 0x41:
            return Number(_I32, reader.s32())
        case 0x42:
            return Number(_I64, reader.s64())
        case 0x43 | 0x44:
            reader.take(4 if opcode == _F32 else 8)
        case 0x23:
            return _Global(reader.u32())
        case 0xD0:
            reader.choice("a type of references", 0x70, 0x6F)
        case 0xD2:
            return Reference(reader.u32())
        case 0xFD if reader.u32() == 12:
            reader.take(16)
        case _ if opcode in _ARITHMETIC:
            pass
        case _:
            raise Unsupported(f"a constant expression has the instruction {opcode:#04x}")
    return Raw(reader.content[start : reader.offset])


def _computed(opcode: int, stack: list[Constant]) -> Number:
    kind, sign = _ARITHMETIC[opcode]
    operands = stack[-2:]
    del stack[-2:]
    match operands:
        case [Number(left_kind, left), Number(right_kind, right)] if left_kind == right_kind == kind:
            return _wrapped(kind, {"+": left + right, "-": left - right, "*": left * right}[sign])
    raise Unsupported("a constant expression computes with what is no integer")


def _wrapped(kind: int, value: int) -> Number:
    bits = _BITS[kind]
    return Number(kind, (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)))
