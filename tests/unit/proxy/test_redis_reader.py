"""Replies of Redis, read into memory of the caller."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.redis_reader import LARGE_BYTES, Value, ValueReader

LARGE = b"x" * LARGE_BYTES


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def reply(values: Sequence[bytes | None]) -> bytes:
    return b"*%d\r\n" % len(values) + b"".join(map(bulk, values))


class Memory:
    """Memory for large values, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.given: list[memoryview] = []

    def place(self, before: Sequence[Value], size: int) -> memoryview:
        self.asked.append((len(before), size))
        self.given.append(memoryview(bytearray(size)))
        return self.given[-1]


@contextlib.contextmanager
def reading(pieces: Sequence[bytes], memory: Memory, *, closes: bool = False) -> Iterator[ValueReader]:
    """A reader of what comes in these pieces."""
    near, far = socket.socketpair()
    near.settimeout(0.2)

    def send() -> None:
        for piece in pieces:
            far.sendall(piece)

    sender = threading.Thread(target=send)
    with near, far:
        sender.start()
        if closes:
            sender.join()
            far.close()
        yield ValueReader(near, memory.place)
        sender.join()


VALUES = st.lists(
    st.none() | st.binary(max_size=40) | st.integers(LARGE_BYTES - 2, 3 * LARGE_BYTES).map(lambda size: b"v" * size),
    max_size=6,
)


@given(st.lists(VALUES, min_size=1, max_size=3), st.lists(st.integers(1, 30_000), max_size=5))
def test_any_values_in_any_pieces(replies: list[list[bytes | None]], cuts: list[int]) -> None:
    """Values come as they were sent, however the bytes arrive; each large one lies in the memory that was given."""
    data = b"".join(map(reply, replies))
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    memory = Memory()
    with reading([data[start:end] for start, end in itertools.pairwise(ends)], memory) as reader:
        found = [reader.read() for _ in replies]
    assert found == replies
    places = [(number, len(one or b"")) for values in replies for number, one in enumerate(values)]
    assert memory.asked == [(number, size) for number, size in places if size >= LARGE_BYTES]
    placed = [one for values in found for one in values if isinstance(one, memoryview)]
    assert all(one is given for one, given in zip(placed, memory.given, strict=True))


@pytest.mark.parametrize("before", [b"", reply([b"name", LARGE])], ids=["alone", "behind values"])
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"-WRONGTYPE not a hash\r\n", redis.ResponseError),
        (b"-MOVED 1 127.0.0.1:1\r\n", redis.exceptions.MovedError),
        (b"-NOPERM no\r\n", redis.exceptions.NoPermissionError),
    ],
)
def test_errors_are_replies(before: bytes, line: bytes, kind: type[Exception]) -> None:
    """An error is returned, as redis-py would read it, so that the replies that follow it can be read."""
    with reading([before, line, reply([b"next", LARGE])], Memory()) as reader:
        if before:
            reader.read()
        assert type(reader.read()) is kind
        assert reader.read() == [b"next", LARGE]


def test_a_redis_that_takes_no_commands() -> None:
    """A Redis that is loading its data is raised, as redis-py does."""
    with reading([b"-LOADING soon\r\n"], Memory()) as reader, pytest.raises(redis.exceptions.BusyLoadingError):
        reader.read()


@pytest.mark.parametrize("line", [b"+OK\r\n", b":1\r\n", b"*1\r\n:1\r\n"])
def test_what_is_no_list_of_values(line: bytes) -> None:
    """Another reply than a list of values is refused where it would be taken apart."""
    with reading([line + reply([LARGE])], Memory()) as reader, pytest.raises(redis.exceptions.InvalidResponse):
        reader.read()


@pytest.mark.parametrize("whole", [reply([b"name", LARGE]), reply([b"small"])], ids=["large", "small"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("closes", "kind"), [(True, redis.ConnectionError), (False, redis.TimeoutError)])
def test_a_reply_that_breaks_off(whole: bytes, part: float, closes: bool, kind: type[Exception]) -> None:
    """A connection that is closed, and a Redis that goes silent, are told apart at every point of a reply."""
    sent = whole[: int(len(whole) * part)]
    with reading([sent], Memory(), closes=closes) as reader, pytest.raises(kind):
        reader.read()


def test_memory_that_is_refused() -> None:
    """What the caller raises instead of giving memory ends the reading."""

    def refuse(before: Sequence[Value], size: int) -> memoryview:
        raise MemoryError(f"{size} bytes behind {before}")

    near, far = socket.socketpair()
    with near, far:
        far.sendall(reply([b"name", LARGE]))
        with pytest.raises(MemoryError, match=r"4096 bytes behind \[b'name'\]"):
            ValueReader(near, refuse).read()
