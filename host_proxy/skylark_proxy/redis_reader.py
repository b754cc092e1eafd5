"""Reads lists of values from Redis, large values straight to where the caller wants them.

hiredis copies each value twice, and into new memory, whose pages cost more than the copies where values are large. What
is read here is received once: by the kernel, to where it stays.
"""

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError, InvalidResponse, TimeoutError

Value = bytes | memoryview | None
"""A value in a reply; None: Redis does not have it."""

Place = Callable[[Sequence[Value], int], memoryview]
"""Return the memory for a large value: writable bytes, of exactly its size.

It is called with the values that came before it in the same reply, and its size in bytes.
"""

LARGE_BYTES = 4 * 1024
"""Values from this size on are received where they are to lie; smaller ones come with others, and are copied."""

_BUFFER_BYTES = 16 * 1024
_UNFINISHED = object()


class ValueReader:
    """Reads replies from a socket on which nothing is left to read when they have been.

    Args:
        sock: redis-py's socket; its timeout is that of each receiving.
        place: Where large values go.
    """

    def __init__(self, sock: Any, place: Place) -> None:
        self._sock = sock
        self._place = place
        self._received = bytearray(_BUFFER_BYTES)
        self._at = self._end = 0

    def read(self) -> Any:
        """Return the next reply: a list of values, or an error.

        Raises:
            ConnectionError: The connection broke, or Redis takes no commands.
            TimeoutError: Redis does not answer in time.
        """
        if self._at == self._end:
            self._receive()
        reply = self._small() if self._end < LARGE_BYTES else _UNFINISHED
        if reply is _UNFINISHED:
            reply = self._list()
        if isinstance(reply, ConnectionError):
            raise reply
        return reply

    def _small(self) -> Any:
        """Return the reply that has arrived, if it is the only one, and whole: hiredis is faster with small ones."""
        reader = hiredis.Reader(InvalidResponse, parse_error, notEnoughData=_UNFINISHED)
        reader.feed(bytes(self._received[self._at : self._end]))
        reply = reader.gets()
        if reply is _UNFINISHED or reader.has_data():
            return _UNFINISHED
        self._at = self._end
        return reply

    def _list(self) -> Any:
        head = self._line()
        if head[:1] == b"-":
            return parse_error(head[1:].decode(errors="replace"))
        values: list[Value] = []
        for _ in range(_number(b"*", head)):
            values.append(self._value(values))
        return values

    def _value(self, before: Sequence[Value]) -> Value:
        size = _number(b"$", self._line())
        if size < 0:
            return None
        if size >= LARGE_BYTES:
            value = self._place(before, size)
            self._fill(value)
            self._take(2)
            return value
        self._take(size + 2)
        return bytes(self._received[self._at - size - 2 : self._at - 2])

    def _line(self) -> bytearray:
        while (end := self._received.find(b"\r\n", self._at, self._end)) < 0:
            self._receive()
        line = self._received[self._at : end]
        self._at = end + 2
        return line

    def _take(self, size: int) -> None:
        """Go over so many bytes, once they are in the buffer."""
        while self._end - self._at < size:
            self._receive()
        self._at += size

    def _fill(self, target: memoryview) -> None:
        """Fill memory with what comes next."""
        there = min(len(target), self._end - self._at)
        target[:there] = self._received[self._at : self._at + there]
        self._at += there
        while there < len(target):
            there += self._more(target[there:])

    def _receive(self) -> None:
        """Receive more into the buffer, behind what was not read yet."""
        rest = self._received[self._at : self._end]
        self._received[: len(rest)] = rest
        self._at, self._end = 0, len(rest)
        self._end += self._more(memoryview(self._received)[self._end :])

    def _more(self, target: memoryview) -> int:
        try:
            count: int = self._sock.recv_into(target)
        except OSError as error:
            kind = TimeoutError if isinstance(error, builtins.TimeoutError) else ConnectionError
            raise kind(f"Reading from the socket failed: {error}") from error
        if count == 0:
            raise ConnectionError("Connection closed by server.")
        return count


def parse_error(text: str) -> Exception:
    """Return the exception of redis-py for an error of Redis."""
    error: Exception = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


def _number(kind: bytes, line: bytearray) -> int:
    if line[:1] != kind:
        raise InvalidResponse(f"a reply that begins with {kind!r} was expected, not {bytes(line[:64])!r}")
    return int(line[1:])
