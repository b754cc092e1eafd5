"""What a WebAssembly file is, and what a component imports and exports, read from its sections without compiling it.

Formats: WebAssembly core specification, section 5.5 (modules); component model, `design/mvp/Binary.md` (components).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from skylark_oci.errors import InvalidWasm

_MAGIC = b"\0asm"
_MODULE = b"\x01\0\0\0"
_COMPONENT = b"\x0d\0\x01\0"
_PREAMBLE_BYTES = 8

_CUSTOM = 0
_LAST_SECTION = {_MODULE: 13, _COMPONENT: 12}
_IMPORTS = 10
_EXPORTS = 11
_CORE_SORT = 0
_LAST_SORT = 5


class Kind(StrEnum):
    """A component, or a core module."""

    COMPONENT = "component"
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class Wasm:
    """A WebAssembly file.

    Attributes:
        kind: What it is.
        imports: The names that a component imports at its top level, in the file's order; empty for a module.
        exports: The names that it exports there.
        custom: The contents of its custom sections by name; of equal names the last one.
    """

    kind: Kind
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    custom: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Section:
    id: int
    start: int
    end: int


def read_wasm(content: bytes, name: str = "wasm") -> Wasm:
    """Reads a component or a core module.

    Args:
        name: What errors call it.

    Raises:
        InvalidWasm: It is neither, or ends within a section, or a section is not what the format says.
    """
    version = _version(content, name)
    component = version == _COMPONENT
    imports, exports, custom = [], [], {}
    for section in _sections(content, name, _LAST_SECTION[version]):
        reader = _Reader(content, section.start, section.end, name)
        if section.id == _CUSTOM:
            label = reader.name()
            custom[label] = content[reader.offset : section.end]
        elif component and section.id == _IMPORTS:
            imports += reader.names(reader.import_)
        elif component and section.id == _EXPORTS:
            exports += reader.names(reader.export)
    return Wasm(Kind.COMPONENT if component else Kind.MODULE, tuple(imports), tuple(exports), custom)


def custom_section(name: str, content: bytes) -> bytes:
    """A custom section, which may be appended to any module or component (core specification, section 5.5.3)."""
    label = name.encode()
    body = _leb128(len(label)) + label + content
    return bytes([_CUSTOM]) + _leb128(len(body)) + body


def without_custom_section(content: bytes, label: str, name: str = "wasm") -> bytes:
    """A component or module without its custom sections of a name; the same bytes where it has none.

    Raises:
        InvalidWasm: It is neither, or damaged; `name` is what the error calls it.
    """
    last = _LAST_SECTION[_version(content, name)]
    kept, end = [content[:_PREAMBLE_BYTES]], _PREAMBLE_BYTES
    for section in _sections(content, name, last):
        reader = _Reader(content, section.start, section.end, name)
        if section.id != _CUSTOM or reader.name() != label:
            kept.append(content[end : section.end])
        end = section.end
    return b"".join(kept)


def read_u32(content: bytes, name: str) -> tuple[int, int]:
    """The number at the beginning of a custom section's content, and how many bytes it takes.

    Raises:
        InvalidWasm: There is none; `name` is what the error calls the file.
    """
    reader = _Reader(content, 0, len(content), name)
    return reader.u32(), reader.offset


def _version(content: bytes, name: str) -> bytes:
    """The second half of the preamble, which tells components from modules."""
    if not content.startswith(_MAGIC):
        raise InvalidWasm(name, "no WebAssembly file: it does not begin with \\0asm")
    version = content[len(_MAGIC) : _PREAMBLE_BYTES]
    if version not in _LAST_SECTION:
        shown = version.hex(" ") or "none"
        raise InvalidWasm(name, f"neither a component nor a core module of version 1: its version is {shown}", 4)
    return version


def _sections(content: bytes, name: str, last: int) -> Iterator[_Section]:
    offset = _PREAMBLE_BYTES
    while offset < len(content):
        reader = _Reader(content, offset, len(content), name)
        identifier = reader.byte()
        if identifier > last:
            raise InvalidWasm(name, f"no section has the id {identifier}", offset)
        size = reader.u32()
        if size > len(content) - reader.offset:
            missing = size - (len(content) - reader.offset)
            raise InvalidWasm(name, f"truncated: {missing} bytes of section {identifier} are missing", offset)
        offset = reader.offset + size
        yield _Section(identifier, reader.offset, offset)


class _Reader:
    """Reads the grammar's terminals within one section."""

    def __init__(self, content: bytes, offset: int, end: int, name: str) -> None:
        self._content = content
        self.offset = offset
        self._end = end
        self._name = name

    def fail(self, reason: str) -> InvalidWasm:
        return InvalidWasm(self._name, reason, self.offset)

    def byte(self) -> int:
        if self.offset >= self._end:
            raise self.fail("a section ends too early")
        self.offset += 1
        return self._content[self.offset - 1]

    def u32(self) -> int:
        """An unsigned LEB128 of at most 5 bytes (core specification 5.2.2)."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 32:
                    break
                return value
        raise self.fail("a number has more than 32 bits")

    def name(self) -> str:
        size = self.u32()
        if size > self._end - self.offset:
            raise self.fail("a name goes past the end of its section")
        start, self.offset = self.offset, self.offset + size
        try:
            return self._content[start : self.offset].decode()
        except UnicodeDecodeError as error:
            self.offset = start
            raise self.fail("a name is not UTF-8") from error

    def names(self, entry: Callable[[], str]) -> list[str]:
        """A vector of imports or exports that has to fill the section."""
        found = [entry() for _ in range(self.u32())]
        if self.offset != self._end:
            raise self.fail("bytes are left at the end of a section")
        return found

    def import_(self) -> str:
        name = self._extern_name()
        self._extern_type()
        return name

    def export(self) -> str:
        name = self._extern_name()
        sort = self.byte()
        if sort > _LAST_SORT:
            raise self.fail(f"no sort has the number {sort}")
        if sort == _CORE_SORT:
            self.byte()
        self.u32()
        if self._choice("an optional type", 1):
            self._extern_type()
        return name

    def _extern_name(self) -> str:
        """`nameattributes`: 0 and 1 are a plain name, 2 adds attributes, of which each is one name."""
        form = self._choice("a name", 2)
        name = self.name()
        if form == 2:
            for _ in range(self.u32()):
                self._choice("an attribute", 2)
                self.name()
        return name

    def _extern_type(self) -> None:
        sort = self._choice("a type", _LAST_SORT)
        if sort == _CORE_SORT and self.byte() != 0x11:
            raise self.fail("only a module may be imported of the core sorts")
        bounded = sort in (2, 3)  # a value or a type: an index, or a type of its own
        if not bounded or self._choice("a bound", 1) == 0 or sort == 2:
            self.u32()

    def _choice(self, what: str, last: int) -> int:
        value = self.byte()
        if value > last:
            raise self.fail(f"{what} has the unknown form {value}")
        return value


def _leb128(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
