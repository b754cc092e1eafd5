"""The head of a request: what is accepted is read as others read it, and what could be read in two ways is refused."""

import contextlib

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skylark.http_answers import Refused
from skylark.http_head import END, HeadReader, Request, read_request

HOST = b"Host: h"


def read(*lines: bytes, max_fields: int = 100) -> Request:
    return read_request(b"\r\n".join(lines), max_fields)


def refused(*lines: bytes) -> Refused:
    with pytest.raises(Refused) as raised:
        read(*lines)
    return raised.value


def test_a_request() -> None:
    """Method, decoded path, query and headers; names in lower case, values without blanks around them."""
    request = read(b"POST /a%20b?x=%31 HTTP/1.1", b"HOST:h", b"X-Own: \t a  b \t", b"Content-Length: 5")
    assert (request.head.method, request.head.path, request.head.query) == ("POST", "/a b", "x=%31")
    assert request.head.headers == {"host": "h", "x-own": "a  b", "content-length": "5"}
    assert (request.size_bytes, request.has_body, request.keeps_alive, request.awaits_go) == (5, True, True, False)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"*", "*", ""),
        (b"http://other:1/p?q", "/p", "q"),
        (b"HTTP://other", "/", ""),
        (b"http://other?q", "/", "q"),
        (b"//x/y", "//x/y", ""),
        (b"/http://x", "/http://x", ""),
    ],
)
def test_forms_of_targets(target: bytes, path: str, query: str) -> None:
    """A target is a path, or the URL that a proxy sends (RFC 9112, section 3.2)."""
    head = read(b"GET " + target + b" HTTP/1.1", HOST).head
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("version", "headers", "keeps", "persistence"),
    [
        (b"1.1", [], True, ""),
        (b"1.1", [b"Connection: close"], False, ""),
        (b"1.1", [b"Connection: x, CLOSE"], False, ""),
        (b"1.1", [b"Connection: x", b"Connection: close"], False, ""),
        (b"1.0", [], False, "keep-alive"),
        (b"1.0", [b"Connection: Keep-Alive"], True, "keep-alive"),
        (b"1.2", [], True, ""),
    ],
)
def test_persistence(version: bytes, headers: list[bytes], keeps: bool, persistence: str) -> None:
    """HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 closes it, and wants to be told otherwise."""
    request = read(b"GET / HTTP/" + version, HOST, *headers)
    assert (request.keeps_alive, request.persistence) == (keeps, persistence)


def test_bodies() -> None:
    """A body is announced by its length or comes in chunks; without either there is none."""
    assert read(b"POST / HTTP/1.1", HOST).size_bytes == 0
    assert read(b"POST / HTTP/1.1", HOST, b"Content-Length: 007").size_bytes == 7
    assert read(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: Chunked").size_bytes is None
    assert read(b"GET / HTTP/1.0").size_bytes == 0


def test_a_client_that_waits() -> None:
    """HTTP/1.1 has `Expect: 100-continue`; in HTTP/1.0 it is passed over (RFC 9110, section 10.1.1)."""
    assert read(b"POST / HTTP/1.1", HOST, b"expect: 100-Continue", b"Content-Length: 1").awaits_go
    assert not read(b"POST / HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 1").awaits_go
    assert refused(b"POST / HTTP/1.1", HOST, b"Expect: a-miracle").code == "expectation-failed"


def test_the_first_of_two_headers_counts() -> None:
    """As at the proxy; those that decide on a body or a host may not be there twice."""
    assert read(b"GET / HTTP/1.1", HOST, b"X: 1", b"x: 2").head.headers["x"] == "1"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"GET / HTTP/1.1"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"host: h"], "invalid-argument"),
        ([b"GET / HTTP/2.0", HOST], "version-not-supported"),
        ([b"PRI * HTTP/2.0"], "version-not-supported"),
        ([b"GET / http/1.1", HOST], "invalid-argument"),
        ([b"GET /  HTTP/1.1", HOST], "invalid-argument"),
        ([b"GET /\t HTTP/1.1", HOST], "invalid-argument"),
        ([b" GET / HTTP/1.1", HOST], "invalid-argument"),
        ([b"GET /"], "invalid-argument"),
        ([b"G(T / HTTP/1.1", HOST], "invalid-argument"),
        ([b"GET /\xff HTTP/1.1", HOST], "invalid-argument"),
        ([b"GET /a#b HTTP/1.1", HOST], "invalid-argument"),
        ([b"CONNECT h:1 HTTP/1.1", HOST], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b" folded"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"\tfolded: x"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"X : 1"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b": 1"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"no colon"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"X: a\x00b"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"X: a\rY: b"], "invalid-argument"),
        ([b"GET / HTTP/1.1", HOST, b"X: a\nY: b"], "invalid-argument"),
        ([b"GET / HTTP/1.1\nHost: h"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Content-Length: 5"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: 5, 5"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: +5"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: -5"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: 0x5"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: 5_0"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length:"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: \xb2"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: " + b"9" * 30], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"], "invalid-argument"),
        ([b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: gzip, chunked"], "not-implemented"),
        ([b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], "not-implemented"),
        ([b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked\x0b"], "invalid-argument"),
        ([b"POST / HTTP/1.1", HOST, b"Transfer-Encoding:"], "not-implemented"),
        ([b"POST / HTTP/1.0"], "length-required"),
    ],
)
def test_what_is_refused(lines: list[bytes], code: str) -> None:
    """What is no request, or could be read in two ways."""
    assert refused(*lines).code == code


def test_too_many_headers() -> None:
    """Each header is a key of a dict that its sender chose, so their number is bounded."""
    lines = [b"GET / HTTP/1.1", HOST, *(b"X%d: 1" % number for number in range(100))]
    assert len(read(*lines, max_fields=101).head.headers) == 101
    with pytest.raises(Refused, match="101 headers, the limit is 100") as raised:
        read(*lines)
    assert raised.value.code == "headers-too-large"


LINES = st.sampled_from(
    [
        *(b"Host: h", b"Host:", b"X: 1", b"x : 1", b" folded", b"X: \xe4", b"Connection: close"),
        *(b"Content-Length: 3", b"Content-Length: 3,3", b"Transfer-Encoding: chunked", b"transfer-encoding: identity"),
        b"Expect: 100-continue",
    ]
)
NOISE = st.text("aA :,;\t\r\n0159-+\x00\x7f\xff\"'(/?%#", max_size=12).map(lambda text: text.encode("latin-1"))
FIRST = st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET http://h/x HTTP/1.0", b"PUT * HTTP/1.1"])


@given(FIRST | NOISE, st.lists(LINES | NOISE, max_size=6))
@example(b"POST / HTTP/1.1", [b"Host: h", b"Content-Length: 3", b"content-length: 3"])
def test_what_is_accepted_is_read_as_by_others(first: bytes, lines: list[bytes]) -> None:
    """Another parser reads every head that is accepted too, with the same headers and the same body's length."""
    try:
        request = read(first, *lines)
    except Refused:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"\r\n".join([first, *lines]) + b"\r\n\r\n")
    event = other.next_event()
    assert isinstance(event, h11.Request)
    assert event.method.decode() == request.head.method
    assert {name.decode(): value.decode("latin-1") for name, value in reversed(event.headers)} == request.head.headers
    assert request.awaits_go is other.they_are_waiting_for_100_continue
    body = b"0\r\n\r\n" if request.size_bytes is None else bytes(min(request.size_bytes, 1 << 20))
    if body:
        other.receive_data(body)
    read_by_other = 0
    while isinstance(data := other.next_event(), h11.Data):
        read_by_other += len(data.data)
    assert read_by_other == min(request.size_bytes or 0, 1 << 20)
    assert (data is h11.NEED_DATA) is ((request.size_bytes or 0) > 1 << 20)
    assert other.trailing_data == (b"", False)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    """Nothing that a client can send is a defect."""
    with contextlib.suppress(Refused):
        assert isinstance(read(data), Request)


@pytest.mark.parametrize(
    ("received", "named"),
    [(b"GET / HTTP/1.1\nHost: h\n\n", "CR LF"), (b"\x16\x03\x01", "TLS"), (b" GET", "TLS"), (b"\nGET", "CR LF")],
)
def test_what_will_never_be_a_head(received: bytes, named: str) -> None:
    """Lone line feeds and TLS are refused at once; a client that sends them would wait for its answer until the end."""
    with pytest.raises(Refused, match=named):
        HeadReader(1000).take(bytearray(received))
    for begun in (b"", b"G", b"GET / HTTP/1.1\r\nHo", b"\r"):
        assert HeadReader(1000).take(bytearray(begun)) is None


HEADS = st.text("abX: \r\t\xff", min_size=1, max_size=20).map(lambda text: b"a" + text.encode("latin-1"))


@given(st.lists(HEADS.filter(lambda head: b"\r\n" not in head and not head.endswith(b"\r")), max_size=5), st.data())
def test_heads_in_any_pieces(heads: list[bytes], data: st.DataObject) -> None:
    """However the network cuts them, heads are found one after the other, and what follows is left alone."""
    wire = b"".join(b"%b\r\nX: 1\r\n\r\n" % head for head in heads) + b"rest"
    reader, received, found = HeadReader(1000), bytearray(), []
    start = 0
    while start < len(wire):
        size = data.draw(st.integers(1, len(wire)))
        received += wire[start : start + size]
        start += size
        while block := reader.take(received):
            found.append(block)
    assert found == [b"%b\r\nX: 1" % head for head in heads]
    assert received == b"rest"


@pytest.mark.parametrize(
    ("head", "code"),
    [(b"GET /aaaaaaaaaa HTTP/1.1", "target-too-long"), (b"GET /\r\nX: 1234567890", "headers-too-large")],
)
def test_a_head_that_is_too_long(head: bytes, code: str) -> None:
    """It is refused as soon as it is, whether its end is there or not; one that just fits is taken."""
    assert HeadReader(len(head)).take(bytearray(head + END)) == head
    for sent in (head, head + END):
        with pytest.raises(Refused) as raised:
            HeadReader(len(head) - 1).take(bytearray(sent))
        assert raised.value.code == code
