"""The bodies of requests while they arrive: of a length that was announced, or in chunks.

The room for them grows with what has come, not with what was announced: an announcement costs its sender nothing.
"""

import re
from collections.abc import Callable
from enum import Enum, auto

from skylark.http_answers import Refused
from skylark.http_head import read_fields, shown
from skylark.wire import Buffer

_FIRST_BYTES = 1 << 16
_GROWTH = 4
_MAX_LINE_BYTES = 1024
_MAX_TRAILERS = 20
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")


class Allowance:
    """The bytes that the bodies of all requests may hold together."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Takes of it.

        Raises:
            Refused: So much is not left; trying again later can help.
        """
        if self.held_bytes + size_bytes > self.limit_bytes:
            raise Refused("overloaded", "the bodies of other requests fill the memory that there is for them")
        self.held_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Gives back what was taken."""
        self.held_bytes -= size_bytes


class _Held:
    """What is there of a body, within the allowance."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._data = bytearray()
        self.received_bytes = 0

    def view(self) -> memoryview:
        """The whole body, read-only."""
        return memoryview(self._data).toreadonly()

    def release(self) -> None:
        """Gives its room back to the allowance."""
        self._allowance.give(len(self._data))
        self._data = bytearray()


class SizedBody(_Held):
    """A body of an announced length, received into one buffer.

    Raises:
        Refused: There is no memory for it.
    """

    def __init__(self, size_bytes: int, allowance: Allowance) -> None:
        super().__init__(allowance)
        self._size = size_bytes
        self._grow()

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self.received_bytes == self._size

    def window(self) -> memoryview:
        """Where to put the bytes that come next; of no bytes once it is complete."""
        return memoryview(self._data)[self.received_bytes :]

    def put(self, count: int) -> None:
        """So many bytes were put into the window.

        Raises:
            Refused: There is no memory for those that follow.
        """
        self.received_bytes += count
        if self.received_bytes == len(self._data) and not self.complete:
            self._grow()

    def feed(self, data: Buffer) -> int:
        """Takes of some bytes those that are its own; returns how many.

        Raises:
            Refused: There is no memory for those that follow.
        """
        taken = 0
        while taken < len(data) and not self.complete:
            window = self.window()
            count = min(len(window), len(data) - taken)
            window[:count] = memoryview(data)[taken : taken + count]
            self.put(count)
            taken += count
        return taken

    def _grow(self) -> None:
        """Makes room: a new buffer, for whoever is receiving into the old one still has a view of it."""
        size = min(self._size, max(_FIRST_BYTES, _GROWTH * len(self._data)))
        self._allowance.take(size - len(self._data))
        larger = bytearray(size)
        larger[: self.received_bytes] = self._data
        self._data = larger


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    END = auto()


class Chunks:
    """Reads a body in chunks (RFC 9112, section 7.1). What is said beside the data is read strictly, and dropped.

    Args:
        keep: Called with each piece of the data. It must not hold on to the piece.
        limit_bytes: The most data; None for a reader that counts itself.
    """

    def __init__(self, keep: Callable[[memoryview], None], limit_bytes: int | None = None) -> None:
        self._keep = keep
        self._limit = limit_bytes
        self._at = _At.SIZE
        self._size = 0
        self._left = 0
        self._trailers = 0

    @property
    def complete(self) -> bool:
        """True if the last chunk and the trailers have come."""
        return self._at is _At.END

    def feed(self, data: Buffer) -> int:
        """Consume as much of `data` as belongs to this body and return the count. An incomplete line is left.

        Raises:
            Refused: These are no chunks, they exceed the limit, or `keep` raises it.
        """
        taken = 0
        while not self.complete:
            step = self._chunk(data, taken) if self._at is _At.DATA else self._line(data, taken)
            if not step:
                break
            taken += step
        return taken

    def _chunk(self, data: Buffer, start: int) -> int:
        count = min(self._left, len(data) - start)
        self._keep(memoryview(data)[start : start + count])
        self._left -= count
        if not self._left:
            self._at = _At.DATA_END
        return count

    def _line(self, data: Buffer, start: int) -> int:
        """Read the line at `start`, if it is there; return its length with its end."""
        window = bytes(memoryview(data)[start : start + _MAX_LINE_BYTES + 2])
        line, end, _ = window.partition(b"\r\n")
        if not end:
            if len(window) > _MAX_LINE_BYTES or b"\n" in window:
                raise Refused.invalid("chunk", shown(window), f"a line of at most {_MAX_LINE_BYTES} bytes")
            return 0
        if self._at is _At.SIZE:
            self._begin(line)
        elif self._at is _At.DATA_END:
            self._end_chunk(line)
        else:
            self._trailer(line)
        return len(line) + 2

    def _begin(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Refused.invalid("chunk", shown(line), "its size in hexadecimal")
        self._left = int(match[1], 16)
        self._size += self._left
        if self._limit is not None and self._size > self._limit:
            raise Refused.too_large(self._size, self._limit)
        self._at = _At.DATA if self._left else _At.TRAILER

    def _end_chunk(self, line: bytes) -> None:
        if line:
            raise Refused.invalid("chunk", shown(line), "its end where its size says")
        self._at = _At.SIZE

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._at = _At.END
            return
        self._trailers += 1
        if self._trailers > _MAX_TRAILERS:
            raise Refused("headers-too-large", f"the body has more than {_MAX_TRAILERS} trailers", limit=_MAX_TRAILERS)
        read_fields([line], 1)


class ChunkedBody(_Held):
    """A body in chunks, held whole."""

    def __init__(self, limit_bytes: int, allowance: Allowance) -> None:
        super().__init__(allowance)
        self._chunks = Chunks(self._keep, limit_bytes)

    @property
    def complete(self) -> bool:
        """True if all of it is there."""
        return self._chunks.complete

    def feed(self, data: Buffer) -> int:
        """Consume what belongs to this body and return the count; see `Chunks.feed`.

        Raises:
            Refused: These are no chunks, they exceed the limit, or there is no memory for them.
        """
        taken = self._chunks.feed(data)
        self.received_bytes += taken
        return taken

    def _keep(self, piece: memoryview) -> None:
        self._allowance.take(len(piece))
        self._data += piece


Body = SizedBody | ChunkedBody
