"""Bodies while they arrive: in any pieces, of any framing, within their limits."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark.http_answers import Refused
from skylark.http_bodies import Allowance, Body, ChunkedBody, SizedBody

PIECES = st.lists(st.binary(max_size=40), max_size=8)


def chunked(limit: int = 1 << 30, allowance: int = 1 << 30) -> ChunkedBody:
    return ChunkedBody(limit, Allowance(allowance))


def feed(body: Body, wire: bytes, cuts: list[int]) -> bytes:
    """Feeds bytes as they would come in pieces, and returns those that are not the body's."""
    left, start = bytearray(), 0
    for end in [*sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]:
        left += wire[start:end]
        start = end
        del left[: body.feed(left)]
    return bytes(left)


def encoded(chunks: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks if chunk]
    return b"".join(parts) + b"0" + extension + b"\r\n" + trailer + b"\r\n"


@given(PIECES, st.lists(st.integers(0, 10_000), max_size=12), st.binary(max_size=9))
def test_chunks_in_any_pieces(chunks: list[bytes], cuts: list[int], after: bytes) -> None:
    """A body in chunks is their bytes, however the network cuts them; what comes after it is left alone."""
    body = chunked()
    wire = encoded(chunks, b' ; a="b"', b"X-Sum: 1\r\n")
    assert feed(body, wire + after, cuts) == after
    assert body.complete
    assert bytes(body.view()) == b"".join(chunks)


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=12), st.binary(max_size=9))
def test_an_announced_length_in_any_pieces(data: bytes, cuts: list[int], after: bytes) -> None:
    """A body of an announced length is that many bytes; what comes after it is left alone."""
    body = SizedBody(len(data), Allowance(1 << 20))
    assert feed(body, data + after, cuts) == after
    assert body.complete
    assert bytes(body.view()) == data


def test_a_window() -> None:
    """A large body is received where it will stay, and its room grows with it, to exactly its length."""
    data, allowance = random.Random(1).randbytes(3_000_001), Allowance(4_000_000)
    body, done = SizedBody(len(data), allowance), 0
    assert allowance.held_bytes <= 65_536
    while not body.complete:
        window = body.window()
        count = min(len(window), 50_000)
        window[:count] = data[done : done + count]
        body.put(count)
        done += count
    assert (bytes(body.view()), allowance.held_bytes) == (data, 3_000_001)
    assert body.view().readonly
    body.release()
    assert allowance.held_bytes == 0


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"g\r\n",
        b"0x5\r\nhello\r\n",
        b"-1\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5;\x00\r\nhello\r\n",
        b"5\nhello\n",
        b"5\rhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello5\r\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"x" * 1100,
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
    ],
)
def test_chunks_that_are_none(wire: bytes) -> None:
    """What another server could read differently is refused, in one piece and byte by byte."""
    for cuts in ([], list(range(len(wire)))):
        with pytest.raises(Refused) as raised:
            feed(chunked(), wire, cuts)
        assert raised.value.code in ("invalid-argument", "too-large")


def test_too_many_trailers() -> None:
    """Trailers are read and dropped, but not for ever."""
    with pytest.raises(Refused) as raised:
        feed(chunked(), b"0\r\n" + b"X: 1\r\n" * 21, [])
    assert raised.value.code == "headers-too-large"


def test_chunks_beyond_the_limit() -> None:
    """A chunk that would exceed the limit is refused before it comes."""
    body = chunked(limit=10)
    body.feed(b"6\r\n123456\r\n")
    with pytest.raises(Refused) as raised:
        body.feed(b"5\r\n")
    assert raised.value.details == {"what": "body", "size_bytes": 11, "limit_bytes": 10}


def test_the_memory_of_all() -> None:
    """Bodies that are held together share an allowance; one that finds none left is told to try again later."""
    allowance = Allowance(100_000)
    first = SizedBody(90_000, allowance)
    with pytest.raises(Refused) as raised:
        SizedBody(90_000, allowance)
    assert raised.value.code == "overloaded"
    with pytest.raises(Refused):
        ChunkedBody(1 << 20, allowance).feed(encoded([bytes(60_000)]))
    first.release()
    assert SizedBody(90_000, allowance).feed(bytes(90_000)) == 90_000


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_chunks_or_refused(data: bytes, cut: int) -> None:
    """Nothing that a client can send is a defect, and no more is taken than was sent."""
    body = chunked(limit=1000)
    with contextlib.suppress(Refused):
        assert data.endswith(feed(body, data, [cut]))
