"""One round trip to Redis: commands sent all at once, large values without a copy."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis
import redis

from skylark_proxy.redis_reader import Place, ValueReader, parse_error

_INLINE_BYTES = 16 * 1024
_PACKED_BYTES = 32 * 1024
_SEND_BYTES = 1024 * 1024

_IN_SCRIPT = re.compile(r"^Error running script .*: -([A-Z]+ .*)$", re.DOTALL)

Command = tuple[bytes | memoryview, ...]
Replies = list[Any]
_Chunks = list[bytes | memoryview]


class Connection(Protocol):
    """The part of redis-py's connection that one round trip needs."""

    _sock: Any

    def send_packed_command(self, command: _Chunks) -> None: ...
    def read_response(self) -> Any: ...
    def disconnect(self) -> None: ...


class Pool(Protocol):
    """The part of redis-py's connection pool that one round trip needs."""

    def get_connection(self) -> Connection: ...
    def release(self, connection: Connection) -> None: ...
    def disconnect(self, inuse_connections: bool = True) -> None: ...


def round_trip(pool: Pool, commands: Sequence[Command], place: Place | None = None) -> Replies:
    """Send commands and return their replies.

    Args:
        place: Where the large parts of the replies go, each of which is a list of values. None: to new objects.

    Raises:
        RedisError: The first error among the replies (and those inside the last, EXEC's), once all have been read.
    """
    connection = pool.get_connection()
    try:
        connection.send_packed_command(_pack(commands))
        read = ValueReader(connection._sock, place).read if place is not None else connection.read_response
        replies = [_reply(read) for _ in commands]
    except BaseException:
        connection.disconnect()  # its replies can no longer be told apart
        raise
    finally:
        pool.release(connection)
    for reply in (*replies, *(replies[-1] if isinstance(replies[-1], list) else ())):
        if isinstance(reply, redis.RedisError):
            raise unwrapped(reply)
    return replies


def unwrapped(error: redis.RedisError) -> Exception:
    """Return the error of the command in a script that failed: Redis before 7 tells it as one of the script's."""
    found = _IN_SCRIPT.search(str(error))
    return parse_error(found[1]) if found is not None else error


def _reply(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except redis.ResponseError as error:
        return error


def _pack(commands: Sequence[Command]) -> _Chunks:
    """Encodes commands as RESP arrays of bulk strings (Redis serialization protocol specification).

    Large values stay as they are, in pieces, so that they are never copied and the socket's timeout, which is for a
    whole `sendall`, does not depend on a bundle's size. hiredis' packer, which is fast, copies every value.
    """
    chunks: _Chunks = []
    head = bytearray()
    for command in commands:
        if sum(map(len, command)) <= _PACKED_BYTES:
            head += hiredis.pack_command(tuple(map(bytes, command)))  # type: ignore[arg-type]  # of one value, it says
            continue
        head += b"*%d\r\n" % len(command)
        for value in command:
            head += b"$%d\r\n" % len(value)
            if len(value) < _INLINE_BYTES:
                head += value
            else:
                chunks.append(bytes(head))
                view = memoryview(value)
                chunks += (view[start : start + _SEND_BYTES] for start in range(0, len(view), _SEND_BYTES))
                head.clear()
            head += b"\r\n"
    chunks.append(bytes(head))
    return chunks
