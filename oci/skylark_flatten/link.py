"""Links modules into one: writes the sections of the linked module."""

from skylark_flatten import binary
from skylark_flatten.attach import Image
from skylark_flatten.binary import u32
from skylark_flatten.constants import Number, i32
from skylark_flatten.density import zeros_between
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.module import PREAMBLE, Data, Elements, Limits
from skylark_flatten.plan import Definition, SystemFunction
from skylark_flatten.reach import Kept, reach
from skylark_flatten.renaming import Renaming
from skylark_flatten.resettable import check_resettable
from skylark_flatten.spaces import Spaces

SOFT_SIZE = "soft-size"
"""The export that says how many pages the guest has; see `glue`."""

_END = b"\x0b"
_NOT_ACTIVE, _EXPLICIT, _EXPRESSIONS = 1, 2, 4
_FUNCREF, _FUNCTIONS = b"\x70", b"\0"


def link(image: Image) -> bytes:
    """Links an image into one core module. What nothing reaches is left out.

    Raises:
        Malformed: An index means nothing.
        Unsupported: It needs more than WebAssembly 2.0, or more than one memory.
    """
    spaces = Spaces(image)
    kept = reach(image, spaces)
    if image.soft is not None:
        check_resettable(spaces, kept)
    return _Writer(image, spaces, kept).module()


class _Writer:
    def __init__(self, image: Image, spaces: Spaces, kept: Kept) -> None:
        self._image = image
        self._spaces = spaces
        self._kept = kept
        self._renaming = Renaming(spaces, kept, image.soft)

    def module(self) -> bytes:
        """The module. Its types are known once all else is encoded."""
        data = self._data()
        sections = [
            binary.section(2, binary.vector([self._import(*one) for one in self._kept.systems.items()])),
            binary.section(3, binary.vector([self._function(one) for one in self._kept.bodies])),
            binary.section(4, binary.vector(self._tables())),
            binary.section(5, binary.vector([_limits(self._memory())])),
            binary.section(6, binary.vector([self._global(one) for one in self._kept.written])),
            binary.section(7, binary.vector(self._exports())),
            binary.section(9, binary.vector(self._elements())),
            self._data_count(len(data)),
            binary.section(10, binary.vector([self._body(*one) for one in self._kept.bodies.items()])),
            binary.section(11, binary.vector(data)),
        ]
        return PREAMBLE + binary.section(1, binary.vector(self._renaming.types)) + b"".join(sections)

    def _import(self, function: SystemFunction, type_: bytes) -> bytes:
        return binary.name(function.module) + binary.name(function.name) + b"\0" + self._renaming.type(type_)

    def _function(self, function: Definition) -> bytes:
        return self._renaming.type(self._spaces.modules[function.unit].function_type(function.index))

    def _tables(self) -> list[bytes]:
        return [
            bytes([table.reference]) + _limits(self._size_of_table(unit, table.limits))
            for unit, module in enumerate(self._spaces.modules)
            for table in module.tables
        ]

    def _size_of_table(self, unit: int, limits: Limits) -> Limits:
        if self._image.table.unit != unit:
            return limits
        elements = self._image.table_elements
        return Limits(elements, None if limits.maximum is None else max(limits.maximum, elements))

    def _memory(self) -> Limits:
        memories = [memory for module in self._spaces.modules for memory in module.memories]
        if len(memories) != 1:
            raise Unsupported(f"it has {len(memories)} memories, not one")
        return Limits(self._image.memory_pages, memories[0].maximum)

    def _global(self, definition: Definition) -> bytes:
        defined = self._spaces.global_(definition)
        if not defined.mutable:
            raise Malformed("a constant is set", 0)
        return defined.type + self._renaming.constant(definition.unit, self._spaces.value(definition)) + _END

    def _exports(self) -> list[bytes]:
        return [
            binary.name("memory") + b"\x02\0",
            *(binary.name(name) + b"\0" + self._renaming.function(one) for name, one in self._image.exports.items()),
            *(
                self._exported_global(number)
                for number in range(len(self._kept.written))
                if self._image.soft is not None
            ),
        ]

    def _exported_global(self, number: int) -> bytes:
        """A mutable global, for the host to reset: `global:N`, or the name of what it is for."""
        soft = self._image.soft
        is_size = soft is not None and self._kept.written[number] == soft.size
        return binary.name(SOFT_SIZE if is_size else f"global:{number}") + b"\x03" + u32(number)

    def _elements(self) -> list[bytes]:
        segments = ((unit, one) for unit, module in enumerate(self._spaces.modules) for one in module.elements)
        return [self._segment(unit, one) for unit, one in segments]

    def _segment(self, unit: int, segment: Elements) -> bytes:
        """An element segment; only the form with an explicit table can name another one than the first."""
        flags, kind, table, offset = segment.flags, segment.kind, b"", b""
        if not flags & _NOT_ACTIVE:
            table, offset = self._renaming.table(unit, segment.table), self._expression(unit, segment.offset)
            if table != b"\0" and not flags & _EXPLICIT:
                flags, kind = flags | _EXPLICIT, _FUNCREF if flags & _EXPRESSIONS else _FUNCTIONS
            if not flags & _EXPLICIT:
                table = b""
        return u32(flags) + table + offset + kind + binary.vector([self._item(unit, item) for item in segment.items])

    def _item(self, unit: int, item: int | bytes) -> bytes:
        if isinstance(item, int):
            return self._renaming.function(self._spaces.function(unit, item))
        return self._expression(unit, item)

    def _expression(self, unit: int, expression: bytes) -> bytes:
        return self._renaming.constant(unit, self._spaces.evaluate(unit, expression)) + _END

    def _data_count(self, count: int) -> bytes:
        if not any(module.counts_data for module in self._spaces.modules):
            return b""
        return binary.section(12, u32(count))

    def _body(self, function: Definition, parts: list[bytes]) -> bytes:
        body = self._renaming.body(function.unit, parts)
        return u32(len(body)) + body

    def _data(self) -> list[bytes]:
        segments = [(unit, one) for unit, module in enumerate(self._spaces.modules) for one in module.data]
        placed = [self._placed(*one) for one in segments]
        return [*placed, *self._zeros(segments)] if self._image.soft is not None else placed

    def _zeros(self, segments: list[tuple[int, Data]]) -> list[bytes]:
        """Segments of zeros where there are zeros anyway; see `density`."""
        extents = []
        for unit, one in segments:
            start = self._spaces.evaluate(unit, one.offset) if one.offset is not None else None
            if isinstance(start, Number):
                address = start.value % (1 << 32)
                extents.append((address, address + len(one.contents)))
        zeros = ((i32(start).encode(), stop - start) for start, stop in zeros_between(extents))
        return [b"\0" + offset + _END + u32(size) + bytes(size) for offset, size in zeros]

    def _placed(self, unit: int, data: Data) -> bytes:
        size = u32(len(data.contents))
        if data.offset is None:
            return b"\x01" + size + data.contents
        return b"\0" + self._expression(unit, data.offset) + size + data.contents


def _limits(limits: Limits) -> bytes:
    if limits.maximum is None:
        return b"\0" + u32(limits.minimum)
    return b"\x01" + u32(limits.minimum) + u32(limits.maximum)
