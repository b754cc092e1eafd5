"""HTTP/1.1 of the proxy and of node-info: uvicorn's protocol with the strict parser of the SDK's own server.

httptools takes what follows a request with `Upgrade` for another protocol, and drops its body. It also reads heads of
any length, several Host fields, and codings that nobody undoes. With the SDK's parser every server of a function reads
a request in the same way, and refuses the same ones with the same JSON.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from skylark.http_answers import Refused, refused
from skylark.http_bodies import Chunks
from skylark.http_head import HeadReader, Request, read_request
from skylark.http_pace import LINGER_S, MIN_BYTES_PER_S, Pace
from skylark.http_response import response_head
from skylark.http_routes import MAX_HEADERS
from skylark.http_settings import ServerSettings
from skylark_proxy.tls import node_names

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


@dataclass
class ClientLimits:
    """What the clients of one server may do together, and how slow each may be.

    Attributes:
        max_connections: How many connections may be open. A further one takes the place of that which has been idle
            for longest; if none is idle, it is refused.
        head_timeout_s: From a request's first byte to the end of its head.
        body_timeout_s: How long a client may neither send nor take a byte of a body. After that time it has to average
            1 kB a second.
        idle: The connections that wait for a request, those that have waited longest first.
    """

    max_connections: int = 16_384
    head_timeout_s: float = _LIMITS.head_timeout_s
    body_timeout_s: float = _LIMITS.body_timeout_s
    idle: "OrderedDict[StrictProtocol, None]" = field(default_factory=OrderedDict)


class StrictProtocol(HttpToolsProtocol):
    """One client's connection. What it refuses is answered in JSON, and ends the connection."""

    def __init__(self, *args: Any, limits: ClientLimits | None = None, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._limits = limits or ClientLimits()
        self.parser: RequestParser = RequestParser(self)  # type: ignore[assignment]
        self._refusal: Refused | None = None
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pace: Pace | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._certified: frozenset[str] = frozenset()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._certified = node_names(transport.get_extra_info("peercert") or {})
        if len(self.connections) > self._limits.max_connections and not self._take_place():
            answer = refused(Refused("overloaded", f"{len(self.connections)} connections are open"))
            self._refusal = Refused("overloaded", "")
            self.transport.write(response_head(answer, "close") + answer.body)
            self.transport.close()
            return
        self._be_idle()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._certified:
            self.scope[CERTIFIED] = self._certified  # type: ignore[literal-required]

    def _be_idle(self) -> None:
        """Wait for the next request, for a while."""
        self._limits.idle[self] = None
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _is_between_requests(self) -> bool:
        answered = self._running is None or self._running.response_complete
        return answered and not (self.parser.in_head or self.parser.in_body or self.transport.is_closing())

    def _take_place(self) -> bool:
        """Close the connection that has been idle for longest; False if none is idle."""
        if not self._limits.idle:
            return False
        other, _ = self._limits.idle.popitem(last=False)
        other.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.idle.pop(self, None)
        self._stop_timer()
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._limits.idle.pop(self, None)
        self._unset_keepalive_if_required()
        if self._pace is not None:
            self._pace.note(time.monotonic(), self._pace.done_bytes + len(data))
        try:
            self.parser.feed_data(data)
        except Refused as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError:
            self._refuse(Refused.invalid("target", self.url[:100].decode("latin-1"), "/path?query"))
        else:
            self._watch()
            if self._is_between_requests():  # what came was the rest of a body that was answered before, or nothing
                self._be_idle()

    def eof_received(self) -> None:
        if self._refusal is None and (self.parser.in_head or self.parser.in_body):
            self._refuse(Refused.invalid("request", "", "a whole one; the connection ended before"))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        answered = self._running is None or self._running.response_complete  # super() may have begun the next one
        if self._refusal is not None and answered and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._send(self._refusal)
        elif self._is_between_requests():
            self._be_idle()

    def pause_writing(self) -> None:
        """The client does not take what is sent: it gets a time for it."""
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        self._stop_taking()
        super().resume_writing()

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
        """Give the client a time for what is still to come of its request: for a head as a whole, for a body as long
        as it goes on at a tolerable rate."""
        in_head = self.parser.in_head
        if in_head and self._timer is not None and self._pace is None:
            return  # however often a byte of it comes
        pace = self._pace
        self._stop_timer()
        if in_head:
            self._timer = self.loop.call_later(self._limits.head_timeout_s, self._too_slow)
        elif self.parser.in_body:
            now_s = time.monotonic()
            self._pace = pace or Pace(now_s, self._limits.body_timeout_s)
            self._timer = self.loop.call_later(max(0.0, _ends_s(self._pace) - now_s), self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is us who keep the client waiting
            self._pace = None
            self._watch()
        else:
            self._refuse(Refused("request-timeout", "the request did not come in time"))

    def _watch_taking(self) -> None:
        """Look later whether the client has taken of an answer what it has to in this time."""
        left_bytes, time_s = self.transport.get_write_buffer_size(), self._limits.body_timeout_s

        def look() -> None:
            if left_bytes - self.transport.get_write_buffer_size() < MIN_BYTES_PER_S * time_s:
                self.transport.abort()
            else:
                self._watch_taking()

        self._stop_taking()
        self._taking = self.loop.call_later(time_s, look)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pace = None


def _ends_s(pace: Pace) -> float:
    """When a client has had its time, if it does nothing more."""
    slowest_s = pace.started_s + pace.timeout_s + pace.done_bytes / MIN_BYTES_PER_S
    return min(slowest_s, pace.went_on_s + pace.timeout_s)
