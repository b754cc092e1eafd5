"""HTTP/1.1 of the proxy and of node-info: uvicorn's protocol with the strict parser of the SDK's own server.

httptools takes what follows a request with `Upgrade` for another protocol, and drops its body. It also reads heads of
any length, several Host fields, and codings that nobody undoes. With the SDK's parser every server of a function reads
a request in the same way, and refuses the same ones with the same JSON.
"""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from skylark.http_answers import Refused, refused
from skylark.http_bodies import Chunks
from skylark.http_head import HeadReader, Request, read_request
from skylark.http_response import response_head
from skylark.http_routes import MAX_HEADERS
from skylark.http_settings import ServerSettings
from skylark_proxy.tls import node_names

LINGER_S = 2.0
"""How long to go on reading after a refusal: closing at once makes the system reset the connection, and the client
lose the answer (RFC 9112, section 9.6)."""

CERTIFIED = "skylark_certified"
"""The key of an ASGI scope with the names in the client's certificate; there is none without one."""

_LIMITS = ServerSettings()
_CACHED_BYTES = 1024


@dataclass(frozen=True)
class _Read:
    """A head that was read, with the parts that the protocol wants as bytes."""

    request: Request
    url: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, block: bytes) -> "_Read":
        request = read_request(block, MAX_HEADERS)
        url = request.target if request.target != "*" else "/*"
        headers = tuple((name.encode(), value.encode("latin-1")) for name, value in request.fields)
        return cls(request, url.encode(), headers)


@lru_cache(maxsize=512)
def _read_again(block: bytes) -> _Read:
    """Read a head, or return what it was read as: many clients send the same one again and again."""
    return _Read.of(block)


class RequestParser:
    """Reads requests from a connection's bytes and calls the protocol back, as httptools' parser does.

    An upgrade is never taken (RFC 9110, section 7.8): the request is read as one of HTTP/1.1.
    """

    def __init__(self, protocol: HttpToolsProtocol, max_head_bytes: int = _LIMITS.max_head_bytes) -> None:
        self._protocol = protocol
        self._heads = HeadReader(max_head_bytes)
        self._received = bytearray()
        self._request: Request | None = None
        self._left_bytes = 0
        self._chunks: Chunks | None = None
        self._ended = False

    @property
    def in_head(self) -> bool:
        """True if the beginning of a head has come, and not yet its end."""
        return not self.in_body and bool(self._received)

    @property
    def in_body(self) -> bool:
        """True if a part of a body is still to come."""
        return self._left_bytes > 0 or self._chunks is not None

    def feed_data(self, data: bytes) -> None:
        """Read what has come.

        Raises:
            Refused: It is no request that this server takes. Nothing can be read after that.
        """
        if not self._received and len(data) <= self._left_bytes:
            self._body(data)  # the bulk of a large body, without a copy
            return
        self._received += data
        while self._received and self._step():
            pass

    def end(self) -> None:
        """Drop what is left and all that follows."""
        self._ended = True
        self._received.clear()

    # What the protocol asks of its parser.

    def get_http_version(self) -> str:
        return "1.0" if self._request is not None and self._request.persistence else "1.1"

    def get_method(self) -> bytes:
        assert self._request is not None
        return self._request.head.method.encode()

    def should_keep_alive(self) -> bool:
        return self._request is not None and self._request.keeps_alive

    def should_upgrade(self) -> bool:
        return False

    def _step(self) -> bool:
        """Read the next part of what was received; False if it is not whole yet."""
        if self._ended:
            self._received.clear()
            return False
        if self._chunks is not None:
            return self._read_chunks(self._chunks)
        if self._left_bytes:
            piece = bytes(self._received[: self._left_bytes])
            del self._received[: len(piece)]
            self._body(piece)
            return True
        return self._read_head()

    def _read_head(self) -> bool:
        while self._received.startswith(b"\r\n"):
            del self._received[:2]
        block = self._heads.take(self._received) if self._received else None
        if block is None:
            return False
        self._begin(_read_again(block) if len(block) <= _CACHED_BYTES else _Read.of(block))
        return True

    def _begin(self, read: "_Read") -> None:
        protocol, request = self._protocol, read.request
        self._request = request
        protocol.on_message_begin()
        protocol.on_url(read.url)
        protocol.headers.extend(read.headers)
        protocol.expect_100_continue = request.awaits_go
        protocol.on_headers_complete()
        if request.size_bytes is None:
            self._chunks = Chunks(self._keep)
        elif request.size_bytes:
            self._left_bytes = request.size_bytes
        else:
            self._complete()

    def _body(self, piece: bytes) -> None:
        self._left_bytes -= len(piece)
        self._protocol.on_body(piece)
        if not self._left_bytes:
            self._complete()

    def _keep(self, piece: memoryview) -> None:
        self._protocol.on_body(bytes(piece))

    def _read_chunks(self, chunks: Chunks) -> bool:
        taken = chunks.feed(self._received)
        del self._received[:taken]
        if chunks.complete:
            self._chunks = None
            self._complete()
        return taken > 0

    def _complete(self) -> None:
        self._protocol.on_message_complete()
        if not self.should_keep_alive():
            self._ended = True


class StrictProtocol(HttpToolsProtocol):
    """One client's connection. What it refuses is answered in JSON, and ends the connection."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.parser: RequestParser = RequestParser(self)  # type: ignore[assignment]
        self._refusal: Refused | None = None
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_of_head = False
        self._certified: frozenset[str] = frozenset()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._certified = node_names(transport.get_extra_info("peercert") or {})
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._certified:
            self.scope[CERTIFIED] = self._certified  # type: ignore[literal-required]

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except Refused as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError:
            self._refuse(Refused.invalid("target", self.url[:100].decode("latin-1"), "/path?query"))
        else:
            self._watch()

    def eof_received(self) -> None:
        if self._refusal is None and (self.parser.in_head or self.parser.in_body):
            self._refuse(Refused.invalid("request", "", "a whole one; the connection ended before"))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        answered = self._running is None or self._running.response_complete  # super() may have begun the next one
        if self._refusal is not None and answered and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._send(self._refusal)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, refusal: Refused) -> None:
        """Answer with an error once the requests before this one are answered; drop one whose body is broken."""
        self._stop_timer()
        self._refusal = refusal
        cycle, in_body = self.cycle, self.parser.in_body
        self.parser.end()
        if in_body and self.pipeline:
            self.pipeline.popleft()  # the broken one, which has not begun; those before it are answered first
        elif in_body and cycle.response_started:
            self.transport.close()
        elif in_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._send(refusal)
        elif cycle is None or cycle.response_complete:
            self._send(refusal)

    def _send(self, refusal: Refused) -> None:
        answer = refused(refusal)
        self.transport.write(response_head(answer, "close") + answer.body)
        if self.transport.can_write_eof():  # TLS has no half-closed connections
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _watch(self) -> None:
        """Give the client a time for what is still to come of its request."""
        in_head = self.parser.in_head
        if self._timer is not None:
            if in_head and self._timer_of_head:
                return  # a head has one time as a whole, however often a byte of it comes
            self._stop_timer()
        if in_head or self.parser.in_body:
            self._start_timer(in_head)

    def _start_timer(self, in_head: bool) -> None:
        self._timer_of_head = in_head
        time_s = _LIMITS.head_timeout_s if in_head else _LIMITS.body_timeout_s
        self._timer = self.loop.call_later(time_s, self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is us who keep the client waiting
            self._start_timer(self._timer_of_head)
        else:
            self._refuse(Refused("request-timeout", "the request did not come in time"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
