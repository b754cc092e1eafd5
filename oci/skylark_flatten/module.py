"""Reads a core module, as far as linking changes it: indices, not code.

Format: WebAssembly core specification 2.0, section 5.5.
"""

from collections.abc import Sized
from dataclasses import dataclass, field
from enum import IntEnum

from skylark_flatten.binary import CUSTOM, PREAMBLE_BYTES, Reader, Section, sections
from skylark_flatten.constants import skip
from skylark_flatten.errors import Malformed, Unsupported

PREAMBLE = b"\0asm\x01\0\0\0"
_FUNCTION_TYPE = 0x60
_VALUE_TYPES = (0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F)
_REFERENCE_TYPES = (0x70, 0x6F)


class Kind(IntEnum):
    """What is imported or exported, by its number in the format."""

    FUNC = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of a table in elements, or of a memory in pages of 64 KiB."""

    minimum: int
    maximum: int | None


@dataclass(frozen=True, slots=True)
class Import:
    """An import. `type` is a function's type index, or the encoded type of what else it is."""

    module: str
    name: str
    kind: Kind
    type: int | bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its type of reference, and its size."""

    reference: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Global:
    """A global: its encoded type (value type, mutability), and its constant expression."""

    type: bytes
    init: bytes

    @property
    def mutable(self) -> bool:
        return self.type[1] == 1


@dataclass(frozen=True, slots=True)
class Elements:
    """An element segment (5.5.12): `items` are function indices, or constant expressions where `expressions`."""

    flags: int
    table: int
    offset: bytes
    kind: bytes
    items: list[int] | list[bytes]


@dataclass(frozen=True, slots=True)
class Data:
    """A data segment (5.5.14); a passive one has no offset."""

    offset: bytes | None
    contents: memoryview


@dataclass(slots=True)
class Module:
    """A core module that was read. Index spaces begin with what is imported.

    Attributes:
        content: Its bytes.
        types: The encoded function types.
        functions: The type indices of its own functions.
        code: Where their bodies are, in `content`.
    """

    content: bytes
    types: list[bytes] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    memories: list[Limits] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    exports: dict[str, tuple[Kind, int]] = field(default_factory=dict)
    elements: list[Elements] = field(default_factory=list)
    counts_data: bool = False
    code: list[tuple[int, int]] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)
    custom: dict[str, bytes] = field(default_factory=dict)
    _imported: dict[Kind, list[Import]] = field(default_factory=lambda: {kind: [] for kind in Kind})

    def add_import(self, one: Import) -> None:
        """Adds an import."""
        self.imports.append(one)
        self._imported[one.kind].append(one)

    def imported(self, kind: Kind) -> list[Import]:
        """The imports of a kind, which are the first of their index space."""
        return self._imported[kind]

    def count(self, kind: Kind) -> int:
        """How many there are of a kind, imported ones included."""
        own: dict[Kind, Sized] = {
            Kind.FUNC: self.functions,
            Kind.TABLE: self.tables,
            Kind.MEMORY: self.memories,
            Kind.GLOBAL: self.globals,
        }
        return len(self._imported[kind]) + len(own[kind])

    def function_type(self, index: int) -> bytes:
        """The encoded type of a function.

        Raises:
            Malformed: There is none with this index.
        """
        imported = self.imported(Kind.FUNC)
        own = index - len(imported)
        if own >= len(self.functions):
            raise Malformed(f"no function has the index {index}", 0)
        chosen = imported[index].type if own < 0 else self.functions[own]
        if not isinstance(chosen, int) or chosen >= len(self.types):
            raise Malformed(f"function {index} has no type", 0)
        return self.types[chosen]


def read_module(content: bytes) -> Module:
    """Reads a core module.

    Raises:
        Malformed: It is none, or is not what the format says.
        Unsupported: It needs more than WebAssembly 2.0, or has a start function.
    """
    if content[:PREAMBLE_BYTES] != PREAMBLE:
        raise Malformed(f"no core module: it begins with {content[:PREAMBLE_BYTES].hex(' ') or 'nothing'}", 0)
    module = Module(content)
    for section in sections(content):
        _ModuleReader(content, section, module).section(section)
    if len(module.functions) != len(module.code):
        raise Malformed(f"{len(module.functions)} functions have {len(module.code)} bodies", 0)
    return module


class _ModuleReader(Reader):
    """Reads one section into a module."""

    __slots__ = ("module",)

    def __init__(self, content: bytes, section: Section, module: Module) -> None:
        super().__init__(content, section.start, section.end)
        self.module = module

    def section(self, section: Section) -> None:
        if section.id == CUSTOM:
            name = self.name()
            self.module.custom[name] = self.take(self.end - self.offset)
            return
        if section.id not in _SECTIONS:
            reason = {8: "a start function: it was not initialised when it was built", 13: "exceptions"}
            raise Unsupported(f"a core module has {reason.get(section.id, f'the unknown section {section.id}')}")
        _SECTIONS[section.id](self)
        if not self.done:
            self.fail("bytes are left at the end of a section")

    def types(self) -> None:
        self.module.types += self.vector(self._function_type)

    def imports(self) -> None:
        for one in self.vector(self._import):
            self.module.add_import(one)

    def functions(self) -> None:
        self.module.functions += self.vector(self.u32)

    def tables(self) -> None:
        self.module.tables += self.vector(self._table)

    def memories(self) -> None:
        self.module.memories += self.vector(self._limits)

    def globals(self) -> None:
        self.module.globals += self.vector(lambda: Global(self._global_type(), skip(self)))

    def exports(self) -> None:
        for name, kind, index in self.vector(lambda: (self.name(), Kind(self.choice("an export", *Kind)), self.u32())):
            self.module.exports[name] = (kind, index)

    def elements(self) -> None:
        self.module.elements += self.vector(self._elements)

    def data_count(self) -> None:
        self.u32()
        self.module.counts_data = True

    def code(self) -> None:
        self.module.code += self.vector(self._body)

    def data(self) -> None:
        self.module.data += self.vector(self._data)

    def _function_type(self) -> bytes:
        start = self.offset
        self.choice("a type", _FUNCTION_TYPE)
        for _ in range(2):
            self.vector(lambda: self.choice("a value type", *_VALUE_TYPES))
        return self.content[start : self.offset]

    def _import(self) -> Import:
        module, name = self.name(), self.name()
        kind = Kind(self.choice("an import", *Kind))
        return Import(module, name, kind, self._import_type(kind))

    def _import_type(self, kind: Kind) -> int | bytes:
        if kind is Kind.FUNC:
            return self.u32()
        start = self.offset
        {Kind.TABLE: self._table, Kind.MEMORY: self._limits, Kind.GLOBAL: self._global_type}[kind]()
        return self.content[start : self.offset]

    def _table(self) -> Table:
        return Table(self.choice("a table", *_REFERENCE_TYPES), self._limits())

    def _limits(self) -> Limits:
        bounded = self.choice("a size", 0, 1)
        return Limits(self.u32(), self.u32() if bounded else None)

    def _global_type(self) -> bytes:
        return bytes([self.choice("a value type", *_VALUE_TYPES), self.choice("a mutability", 0, 1)])

    def _elements(self) -> Elements:
        """The eight forms: bit 0 passive or declarative, bit 1 an explicit table, bit 2 expressions."""
        flags = self.choice("an element segment", *range(8))
        active, explicit, expressions = not flags & 1, bool(flags & 2), bool(flags & 4)
        table = self.u32() if active and explicit else 0
        offset = skip(self) if active else b""
        kind = b""
        if flags & 3:
            kind = bytes([self.choice("a kind of elements", *(_REFERENCE_TYPES if expressions else (0,)))])
        if expressions:
            return Elements(flags, table, offset, kind, self.vector(lambda: skip(self)))
        return Elements(flags, table, offset, kind, self.vector(self.u32))

    def _body(self) -> tuple[int, int]:
        size = self.u32()
        start = self.offset
        self.take(size)
        return start, self.offset

    def _data(self) -> Data:
        flags = self.choice("a data segment", 0, 1, 2)
        if flags == 2 and self.u32() != 0:
            self.fail("a data segment is of another memory")
        offset = None if flags == 1 else skip(self)
        size = self.u32()
        if size > self.end - self.offset:
            self.fail("it ends too early")
        self.offset += size
        return Data(offset, memoryview(self.content)[self.offset - size : self.offset])


_SECTIONS = {
    1: _ModuleReader.types,
    2: _ModuleReader.imports,
    3: _ModuleReader.functions,
    4: _ModuleReader.tables,
    5: _ModuleReader.memories,
    6: _ModuleReader.globals,
    7: _ModuleReader.exports,
    9: _ModuleReader.elements,
    10: _ModuleReader.code,
    11: _ModuleReader.data,
    12: _ModuleReader.data_count,
}
