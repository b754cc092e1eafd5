"""The head of an HTTP/1 request, read strictly: what two servers could read in two ways is refused.

Sources: RFC 9112 (sections 2.2, 3, 5, 6) and RFC 9110 (5.6.2, 7.2, 10.1.1). Lines end in CR LF only, a field has no
blank before its colon and is one line, a body's length is said once and in one way: where a proxy in front of the
server and the server disagreed about that, one caller's body would be another one's request (request smuggling).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skylark.http_answers import Refused
from skylark.http_routes import Head, check_coding, path_of, too_many_headers

END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,40}) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"+):([\t\x20-\x7e\x80-\xff]*)")
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-fv:.]+\])(?::[0-9]*)?", re.ASCII)
_BEGINNING = re.compile(_TOKEN + rb"|\r")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True)
class Request:
    """A request before its body.

    Attributes:
        target: Path and query as they were sent, without the authority that a target may begin with.
        fields: All fields in the order in which they came, the names in lower case.
        size_bytes: The body's length; 0 for none, None if it comes in chunks.
        keeps_alive: Whether the caller may send another request on the connection.
        persistence: The `Connection` of an answer after which it stays open; HTTP/1.0 wants to be told.
        awaits_go: Whether the caller sends the body once it is told to: `Expect: 100-continue`.
    """

    head: Head
    target: str
    fields: Sequence[tuple[str, str]]
    size_bytes: int | None
    keeps_alive: bool
    persistence: str
    awaits_go: bool

    @property
    def has_body(self) -> bool:
        """Whether bytes follow."""
        return self.size_bytes != 0


def read_request(block: bytes, max_fields: int) -> Request:
    """Reads a head.

    Args:
        block: Its lines, without the empty one that ends it.
        max_fields: The most fields that it may have.

    Raises:
        Refused: It is none, or has what this server does not do; the error names the part.
    """
    line, *lines = block.split(b"\r\n")
    method, target, modern = _request_line(line)
    pairs = read_fields(lines, max_fields)
    fields = _Fields(pairs)
    _check_host(fields, modern)
    check_coding(fields.all("content-encoding"))
    origin = _origin(target)
    wishes = fields.tokens("connection")
    return Request(
        head=Head(method, *path_of(origin), fields.first),
        target=origin,
        fields=pairs,
        size_bytes=_size(method, fields, modern),
        keeps_alive="close" not in wishes and (modern or "keep-alive" in wishes),
        persistence="" if modern else "keep-alive",
        awaits_go=modern and _awaits_go(fields),
    )


def read_fields(lines: Sequence[bytes], max_fields: int) -> list[tuple[str, str]]:
    """The fields of a head, or of a trailer: names in lower case, values without blanks around them.

    Raises:
        Refused: One is none, or there are too many.
    """
    if len(lines) > max_fields:
        raise too_many_headers(len(lines), max_fields)
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Refused.invalid("header", shown(line), "Name: value in one line, of printable characters")
        fields.append((match[1].decode("ascii").lower(), match[2].strip(b" \t").decode("latin-1")))
    return fields


class HeadReader:
    """Finds the end of one head after the other in what was received.

    Args:
        max_bytes: The longest head.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._scanned = 0

    def take(self, received: bytearray) -> bytes | None:
        """Takes a head off the front, without the empty line that ends it; None: it is not whole yet.

        Raises:
            Refused: It is too long, has a line that ends in LF alone, or does not begin as a request does. Who sends
                such would wait for the answer, and the server for the end of the head.
        """
        end = received.find(END, self._scanned)
        if (end if end >= 0 else len(received)) > self._max_bytes:
            raise self._too_long(received)
        if end < 0:
            self._check(received)
            self._scanned = max(0, len(received) - len(END) + 1)
            return None
        block, self._scanned = bytes(received[:end]), 0
        del received[: end + len(END)]
        return block

    def _check(self, received: bytearray) -> None:
        if _LONE_LF.search(received, self._scanned):
            raise Refused.invalid("header", shown(bytes(received)), "lines that end in CR LF")
        if received and not _BEGINNING.match(received):
            raise Refused.invalid("request", shown(bytes(received)), "HTTP/1.1, without TLS")

    def _too_long(self, received: bytearray) -> Refused:
        limit = self._max_bytes
        if received.find(b"\r\n", 0, limit) < 0:
            return Refused("target-too-long", f"the request's line is longer than {limit} bytes", limit_bytes=limit)
        return Refused("headers-too-large", f"the headers are longer than {limit} bytes", limit_bytes=limit)


def _request_line(line: bytes) -> tuple[str, str, bool]:
    """Method, target, and whether it is HTTP/1.1."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refused.invalid("request line", shown(line), "METHOD /path HTTP/1.1")
    if match[3] != b"1":
        said = f"HTTP/{match[3].decode()}.{match[4].decode()}"
        raise Refused("version-not-supported", f"{said} is not spoken here; expected HTTP/1.1")
    return match[1].decode("ascii"), match[2].decode("ascii"), match[4] != b"0"


def _check_host(fields: "_Fields", modern: bool) -> None:
    """Refuse a request that does not say its host once (RFC 9112, section 3.2); HTTP/1.0 need not say it."""
    hosts = fields.all("host")
    if len(hosts) > 1 or (modern and not hosts):
        raise Refused.invalid("Host", ", ".join(hosts)[:100], "one, as in each request of HTTP/1.1")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Refused.invalid("Host", hosts[0][:100], "a host, or host:port")


def _origin(target: str) -> str:
    """Return path and query of a target in origin-form, absolute-form or asterisk-form."""
    origin = _ABSOLUTE.sub("", target, count=1) if not target.startswith("/") else target
    if origin != target and not origin.startswith("/"):
        origin = f"/{origin}"
    if not origin.startswith("/") and origin != "*":
        raise Refused.invalid("target", target[:100], "/path, or http://host/path")
    return origin


def _size(method: str, fields: "_Fields", modern: bool) -> int | None:
    """How many bytes follow; see `Request.size_bytes` and RFC 9112, section 6."""
    lengths, codings = fields.all("content-length"), fields.all("transfer-encoding")
    if codings:
        if lengths or not modern:
            raise Refused.invalid("Transfer-Encoding", codings[0], "none beside Content-Length or in HTTP/1.0")
        if len(codings) != 1 or codings[0].lower() != "chunked":
            raise Refused("not-implemented", f"Transfer-Encoding: {', '.join(codings)!r}; only chunked is known")
        return None
    if not lengths:
        if not modern and method in _WITH_BODY:
            raise Refused("length-required", f"a {method} of HTTP/1.0 needs a Content-Length")
        return 0
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Refused.invalid("Content-Length", ", ".join(lengths)[:100], "one whole number")
    return int(lengths[0])


def _awaits_go(fields: "_Fields") -> bool:
    expected = fields.all("expect")
    if expected and [text.lower() for text in expected] != ["100-continue"]:
        raise Refused("expectation-failed", f"Expect: {expected[0][:100]!r}; only 100-continue is known")
    return bool(expected)


class _Fields:
    """The fields of a head by name; of those that are given twice `first` has the first, as at the proxy."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self.first: Mapping[str, str] = dict(reversed(pairs))

    def all(self, name: str) -> list[str]:
        return [value for known, value in self._pairs if known == name] if name in self.first else []

    def tokens(self, name: str) -> set[str]:
        return {token.strip().lower() for value in self.all(name) for token in value.split(",")}


def shown(line: bytes) -> str:
    """The beginning of what a client sent, for an error."""
    return line[:60].decode("latin-1")
