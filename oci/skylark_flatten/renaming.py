"""The indices of the linked module, and the instructions of its modules with these indices in them."""

from collections.abc import Iterable

from skylark_flatten.attach import SoftSize
from skylark_flatten.binary import Reader, signed, u32
from skylark_flatten.constants import Constant, Reference
from skylark_flatten.instructions import (
    BLOCKS,
    BULK,
    CALL,
    CALL_INDIRECT,
    GLOBAL_GET,
    GLOBAL_SET,
    MEMORY_GROW,
    MEMORY_SIZE,
    REF_FUNC,
    TABLE_GET,
    TABLE_SET,
    Bulk,
    naming,
)
from skylark_flatten.module import Kind
from skylark_flatten.plan import Definition
from skylark_flatten.reach import Kept
from skylark_flatten.spaces import Function, Spaces

_MEMORY = b"\0"


class Renaming:
    """Says what index everything has in the linked module.

    A global that nothing sets has none: where it is read, there is its value instead. So the addresses of a
    position-independent library become constants.

    Args:
        soft: What stands for the memory's size and growth; None: they stay.
    """

    def __init__(self, spaces: Spaces, kept: Kept, soft: SoftSize | None = None) -> None:
        self._soft = soft
        self._spaces = spaces
        self._functions: dict[Function, int] = _positions([*kept.systems, *kept.bodies])
        self._globals: dict[Function, int] = _positions(kept.written)
        self._tables: dict[Function, int] = _positions(_tables(spaces))
        self._types: dict[bytes, int] = {}
        self._first_data = _firsts(len(module.data) for module in spaces.modules)
        self._first_elements = _firsts(len(module.elements) for module in spaces.modules)
        self._known: list[dict[bytes, bytes]] = [{} for _ in spaces.modules]

    @property
    def types(self) -> list[bytes]:
        """The encoded function types that an index was asked for, in their order."""
        return list(self._types)

    def type(self, encoded: bytes) -> bytes:
        """The index of a function type."""
        return u32(self._types.setdefault(encoded, len(self._types)))

    def function(self, function: Function) -> bytes:
        """The index of a function that is kept."""
        return u32(self._functions[function])

    def table(self, unit: int, index: int) -> bytes:
        """The index of a table, by the one that it has in a module."""
        return u32(self._tables[self._spaces.definition(unit, Kind.TABLE, index)])

    def constant(self, unit: int, value: Constant) -> bytes:
        """The instruction for a constant of a module."""
        if isinstance(value, Reference):
            value = Reference(self._functions[self._spaces.function(unit, value.function)])
        return value.encode()

    def body(self, unit: int, parts: list[bytes]) -> bytes:
        """The code of a function of a module, which had been split."""
        known = self._known[unit]
        for instruction in dict.fromkeys(naming(parts)):  # in their order: a set's would number types anew in each run
            if instruction not in known:
                known[instruction] = self._instruction(unit, instruction)
        parts[1::2] = [known[instruction] for instruction in naming(parts)]
        return b"".join(parts)

    def _instruction(self, unit: int, instruction: bytes) -> bytes:
        opcode, operands = instruction[0], Reader(instruction, 1)
        if opcode in (MEMORY_SIZE, MEMORY_GROW):
            return self._memory_size(unit, instruction)
        if opcode == BULK:
            return self._bulk(unit, operands.byte(), operands)
        prefix, index = bytes([opcode]), operands.s33() if opcode in BLOCKS else operands.u32()
        if opcode in (CALL, REF_FUNC):
            return prefix + self.function(self._spaces.function(unit, index))
        if opcode == GLOBAL_GET:
            return self._global_get(self._spaces.definition(unit, Kind.GLOBAL, index))
        if opcode == GLOBAL_SET:
            return prefix + u32(self._globals[self._spaces.definition(unit, Kind.GLOBAL, index)])
        if opcode == CALL_INDIRECT:
            return prefix + self.type(self._spaces.type(unit, index)) + self.table(unit, operands.u32())
        if opcode in (TABLE_GET, TABLE_SET):
            return prefix + self.table(unit, index)
        return prefix + signed(Reader(self.type(self._spaces.type(unit, index))).u32())

    def _memory_size(self, unit: int, instruction: bytes) -> bytes:
        """`memory.size` and `memory.grow`; only the function that stands for the latter looks at the memory itself."""
        if self._soft is None or unit == self._soft.grow.unit:
            return instruction
        if instruction[0] == MEMORY_SIZE:
            return self._global_get(self._soft.size)
        return bytes([CALL]) + self.function(self._soft.grow)

    def _global_get(self, definition: Definition) -> bytes:
        if definition in self._globals:
            return bytes([GLOBAL_GET]) + u32(self._globals[definition])
        return self.constant(definition.unit, self._spaces.value(definition))

    def _bulk(self, unit: int, opcode: int, operands: Reader) -> bytes:
        """The instructions on segments and tables (5.4.3, 5.4.6)."""
        prefix, first = bytes([BULK, opcode]), operands.u32()
        match Bulk(opcode):
            case Bulk.MEMORY_INIT:
                return prefix + u32(self._first_data[unit] + first) + _MEMORY
            case Bulk.DATA_DROP:
                return prefix + u32(self._first_data[unit] + first)
            case Bulk.TABLE_INIT:
                return prefix + u32(self._first_elements[unit] + first) + self.table(unit, operands.u32())
            case Bulk.ELEM_DROP:
                return prefix + u32(self._first_elements[unit] + first)
            case Bulk.TABLE_COPY:
                return prefix + self.table(unit, first) + self.table(unit, operands.u32())
            case _:
                return prefix + self.table(unit, first)


def _tables(spaces: Spaces) -> Iterable[Definition]:
    for unit, module in enumerate(spaces.modules):
        for index in range(len(module.tables)):
            yield Definition(unit, Kind.TABLE, len(module.imported(Kind.TABLE)) + index)


def _firsts(counts: Iterable[int]) -> list[int]:
    """Where the segments of each module begin, once all are in one list."""
    firsts, first = [], 0
    for count in counts:
        firsts.append(first)
        first += count
    return firsts


def _positions(targets: Iterable[Function]) -> dict[Function, int]:
    return {target: position for position, target in enumerate(targets)}
