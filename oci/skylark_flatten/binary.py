"""The terminals of the binary format: numbers, names, sections.

Format: WebAssembly core specification, chapter 5; component model, `design/mvp/Binary.md`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from skylark_flatten.errors import Malformed

T = TypeVar("T")

PREAMBLE_BYTES = 8
CUSTOM = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its id, and where its contents are."""

    id: int
    start: int
    end: int


class Reader:
    """Reads one range of a binary, and no byte outside of it.

    Raises:
        Malformed: By every method, where the bytes are not what it reads.
    """

    __slots__ = ("content", "end", "offset")

    def __init__(self, content: bytes, offset: int = 0, end: int | None = None) -> None:
        self.content = content
        self.offset = offset
        self.end = len(content) if end is None else end

    def fail(self, reason: str) -> NoReturn:
        raise Malformed(reason, self.offset)

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.offset >= self.end

    def byte(self) -> int:
        if self.offset >= self.end:
            self.fail("a section ends too early")
        self.offset += 1
        return self.content[self.offset - 1]

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self.end - self.offset:
            self.fail("a section ends too early")
        self.offset += size
        return self.content[self.offset - size : self.offset]

    def u32(self) -> int:
        """An unsigned LEB128 of 32 bits (5.2.2)."""
        value = self._leb128(32)[0]
        if value >> 32:
            self.fail("a number has more than 32 bits")
        return value

    def s32(self) -> int:
        """A signed LEB128 of 32 bits."""
        return self._signed(32)

    def s33(self) -> int:
        """A signed LEB128 of 33 bits, as in a block's type (5.4.1)."""
        return self._signed(33)

    def s64(self) -> int:
        """A signed LEB128 of 64 bits."""
        return self._signed(64)

    def name(self) -> str:
        """A name (5.2.4)."""
        size, start = self.u32(), self.offset
        if size > self.end - start:
            self.fail("a name goes past the end of its section")
        encoded = self.take(size)
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8", start) from None

    def vector(self, read: Callable[[], T]) -> list[T]:
        """A vector (5.1.3) of what `read` reads."""
        count = self.u32()
        if count > self.end - self.offset:  # every element has one byte at least
            self.fail("a vector goes past the end of its section")
        return [read() for _ in range(count)]

    def choice(self, what: str, *allowed: int) -> int:
        """A byte that says what follows."""
        value = self.byte()
        if value not in allowed:
            self.offset -= 1
            self.fail(f"{what} has the unknown form {value}")
        return value

    def _leb128(self, bits: int) -> tuple[int, int]:
        """A number, and how many bits its bytes have."""
        value = 0
        for shift in range(0, -(-bits // 7) * 7, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, shift + 7
        return self.fail(f"a number has more than {bits} bits")

    def _signed(self, bits: int) -> int:
        value, width = self._leb128(bits)
        if value >> (width - 1):
            value -= 1 << width
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            self.fail(f"a number has more than {bits} bits")
        return value


def sections(content: bytes, last: int = 0xFF) -> Iterator[Section]:
    """The sections of a module or component, custom ones too.

    Args:
        last: The largest id that a section may have.

    Raises:
        Malformed: One goes past the end, or has a larger id.
    """
    reader = Reader(content, PREAMBLE_BYTES)
    while not reader.done:
        start, identifier = reader.offset, reader.byte()
        if identifier > last:
            raise Malformed(f"no section has the id {identifier}", start)
        size = reader.u32()
        if size > reader.end - reader.offset:
            missing = size - (reader.end - reader.offset)
            raise Malformed(f"truncated: {missing} bytes of section {identifier} are missing", start)
        reader.offset += size
        yield Section(identifier, reader.offset - size, reader.offset)


def u32(value: int) -> bytes:
    """Encodes an unsigned LEB128."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def signed(value: int) -> bytes:
    """Encodes a signed LEB128."""
    encoded = bytearray()
    while not -0x40 <= value < 0x40:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value & 0x7F)
    return bytes(encoded)


def name(text: str) -> bytes:
    """Encodes a name."""
    encoded = text.encode()
    return u32(len(encoded)) + encoded


def vector(elements: list[bytes]) -> bytes:
    """Encodes a vector of encoded elements."""
    return u32(len(elements)) + b"".join(elements)


def section(identifier: int, contents: bytes) -> bytes:
    """Encodes a section."""
    return bytes([identifier]) + u32(len(contents)) + contents
