"""What a WebAssembly file is, and what a component imports and exports, read from its sections without compiling it.

Formats: WebAssembly core specification, section 5.5 (modules); component model, `design/mvp/Binary.md` (components).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from skylark_flatten import binary
from skylark_flatten.binary import CUSTOM, PREAMBLE_BYTES, Reader, sections
from skylark_flatten.errors import Malformed
from skylark_oci.errors import InvalidWasm

_MAGIC = b"\0asm"
_MODULE = b"\x01\0\0\0"
_COMPONENT = b"\x0d\0\x01\0"

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
    with _named(name):
        for section in sections(content, _LAST_SECTION[version]):
            reader = _Reader(content, section.start, section.end)
            if section.id == CUSTOM:
                label = reader.name()
                custom[label] = content[reader.offset : section.end]
            elif component and section.id == _IMPORTS:
                imports += reader.names(reader.import_)
            elif component and section.id == _EXPORTS:
                exports += reader.names(reader.export)
    return Wasm(Kind.COMPONENT if component else Kind.MODULE, tuple(imports), tuple(exports), custom)


def custom_section(name: str, content: bytes) -> bytes:
    """A custom section, which may be appended to any module or component (core specification, section 5.5.3)."""
    return binary.section(CUSTOM, binary.name(name) + content)


def without_custom_section(content: bytes, label: str, name: str = "wasm") -> bytes:
    """A component or module without its custom sections of a name; the same bytes where it has none.

    Raises:
        InvalidWasm: It is neither, or damaged; `name` is what the error calls it.
    """
    last = _LAST_SECTION[_version(content, name)]
    kept, end = [content[:PREAMBLE_BYTES]], PREAMBLE_BYTES
    with _named(name):
        for section in sections(content, last):
            if section.id != CUSTOM or Reader(content, section.start, section.end).name() != label:
                kept.append(content[end : section.end])
            end = section.end
    return b"".join(kept)


def read_u32(content: bytes, name: str) -> tuple[int, int]:
    """The number at the beginning of a custom section's content, and how many bytes it takes.

    Raises:
        InvalidWasm: There is none; `name` is what the error calls the file.
    """
    reader = Reader(content)
    with _named(name):
        return reader.u32(), reader.offset


def _version(content: bytes, name: str) -> bytes:
    """The second half of the preamble, which tells components from modules."""
    if not content.startswith(_MAGIC):
        raise InvalidWasm(name, "no WebAssembly file: it does not begin with \\0asm")
    version = content[len(_MAGIC) : PREAMBLE_BYTES]
    if version not in _LAST_SECTION:
        shown = version.hex(" ") or "none"
        raise InvalidWasm(name, f"neither a component nor a core module of version 1: its version is {shown}", 4)
    return version


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Says which file is damaged."""
    try:
        yield
    except Malformed as error:
        raise InvalidWasm(name, error.reason, error.offset) from error


class _Reader(Reader):
    """Reads what a component imports and exports. It knows every form, also of components that cannot be linked."""

    __slots__ = ()

    def names(self, entry: Callable[[], str]) -> list[str]:
        """A vector of imports or exports that has to fill the section."""
        found = self.vector(entry)
        if not self.done:
            self.fail("bytes are left at the end of a section")
        return found

    def import_(self) -> str:
        name = self._extern_name()
        self._extern_type()
        return name

    def export(self) -> str:
        name = self._extern_name()
        sort = self.byte()
        if sort > _LAST_SORT:
            self.fail(f"no sort has the number {sort}")
        if sort == _CORE_SORT:
            self.byte()
        self.u32()
        if self.choice("an optional type", 0, 1):
            self._extern_type()
        return name

    def _extern_name(self) -> str:
        """`nameattributes`: 0 and 1 are a plain name, 2 adds attributes, of which each is one name."""
        form = self.choice("a name", 0, 1, 2)
        name = self.name()
        if form == 2:
            for _ in range(self.u32()):
                self.choice("an attribute", 0, 1, 2)
                self.name()
        return name

    def _extern_type(self) -> None:
        sort = self.choice("a type", *range(_LAST_SORT + 1))
        if sort == _CORE_SORT and self.byte() != 0x11:
            self.fail("only a module may be imported of the core sorts")
        bounded = sort in (2, 3)  # a value or a type: an index, or a type of its own
        if not bounded or self.choice("a bound", 0, 1) == 0 or sort == 2:
            self.u32()
