"""One client's connection to a server of functions: HTTP/1.1, one request after the other."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

from skylark.http_answers import BODILESS, Answer, Refused, refused
from skylark.http_bodies import Allowance, Body, ChunkedBody, SizedBody
from skylark.http_head import HeadReader, Request, read_request
from skylark.http_pace import LINGER_S, Pace
from skylark.http_response import GO_ON, response_head
from skylark.http_routes import MAX_HEADERS, Call, Head, Page
from skylark.http_settings import ServerSettings
from skylark.wire import Buffer

_JOINED_BYTES = 65536
"""A body up to this goes out in one write with its head: in two, a sandbox without TCP_NODELAY waits 40 ms between."""

_PIECE_BYTES = 1 << 18


class Host(Protocol):
    """The server, as its connections see it."""

    settings: ServerSettings
    allowance: Allowance
    scratch: memoryview
    """Where all connections receive; what they keep they copy."""
    stopping: bool

    def now(self) -> float:
        """Seconds of a clock that stands still while a function runs."""
        ...

    def admit(self, connection: "Connection") -> bool:
        """Whether there is room for one more."""
        ...

    def forget(self, connection: "Connection") -> None:
        """The connection has ended."""
        ...

    def asked(self, head: Head) -> Call | Page:
        """See `Application.asked`."""
        ...

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        """See `Application.answer`."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Calls it after the other connections have had their turn."""
        ...


class _At(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSED = auto()


class Connection(asyncio.BufferedProtocol):
    """Reads a request, has it answered, sends the answer, and reads the next.

    A client that does not take its answer is read from no further, so what it can make the server hold is bounded.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._settings = host.settings
        self._at = _At.IDLE
        self._received = bytearray()
        self._heads = HeadReader(self._settings.max_head_bytes)
        self._request: Request | None = None
        self._asked: Call | Page = Page.LIVENESS
        self._body: Body | None = None
        self._unsent = memoryview(b"")
        self._passed_bytes = 0
        self._blocked = False
        self._last = False
        self._unread = False
        self._ended = False
        self._pace = Pace(host.now(), self._settings.idle_timeout_s)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        if not self._host.admit(self):
            self._refuse(Refused("overloaded", "the server has as many connections as it may"))

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._at is _At.BODY and isinstance(self._body, SizedBody):
            return self._body.window()
        return self._host.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._at is _At.BODY and isinstance(self._body, SizedBody):
            self._put(self._body, nbytes)
        elif self._at is _At.LINGER:
            self._passed_bytes += nbytes
        elif self._at is not _At.CLOSED:
            self._received += self._host.scratch[:nbytes]
            self._advance()

    def eof_received(self) -> bool:
        """The client sends no more; whoever has sent half a request is told so."""
        self._ended = True
        if self._at in (_At.HEAD, _At.BODY):
            self._refuse(Refused.invalid("request", "", "a whole one; the connection ended before"))
        return self._at is _At.ANSWER

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._at = _At.CLOSED
        self._forget_request()
        self._host.forget(self)

    # What the server calls.

    @property
    def idle_since_s(self) -> float | None:
        """Since when it has waited for a request; None if one is on its way, or an answer."""
        return self._pace.started_s if self._at is _At.IDLE and not self._received else None

    @property
    def busy(self) -> bool:
        """Whether a request or an answer is lost if it is closed."""
        return self._at in (_At.HEAD, _At.BODY, _At.ANSWER) or bool(self._received)

    def check(self, now_s: float) -> None:
        """Ends what takes too long."""
        if self._at is _At.BODY and self._body is not None:
            self._pace.note(now_s, self._body.received_bytes)
        elif self._at is _At.ANSWER:
            self._pace.note(now_s, self._passed_bytes - self._transport.get_write_buffer_size())
        elif self._at is _At.LINGER:
            self._pace.note(now_s, self._passed_bytes)
        if not self._pace.is_over(now_s):
            return
        if self._at in (_At.HEAD, _At.BODY):
            self._refuse(Refused("request-timeout", "the request did not come in time"))
        elif self._at is not _At.CLOSED:
            self.close()

    def close(self) -> None:
        """Ends the connection at once."""
        self._at = _At.CLOSED
        self._transport.abort()

    # A request.

    def _advance(self) -> None:
        """Goes on with what was received."""
        try:
            complete = (self._at is _At.BODY or self._begun()) and self._fed()
        except Refused as refusal:
            self._refuse(refusal)
            return
        if complete:
            self._answer()
        elif self._at is not _At.CLOSED:
            self._transport.resume_reading()

    def _put(self, body: SizedBody, count: int) -> None:
        try:
            body.put(count)
        except Refused as refusal:
            self._refuse(refusal)
            return
        if body.complete:
            self._answer()

    def _begun(self) -> bool:
        """Reads a head, if it is whole, and decides on it."""
        block = self._head_block()
        if block is None:
            return False
        request = self._request = read_request(block, MAX_HEADERS)
        self._asked = self._host.asked(request.head)
        if request.has_body:
            self._at = _At.BODY
            self._pace = Pace(self._host.now(), self._settings.body_timeout_s)
            self._body = self._new_body(request.size_bytes)
            if request.awaits_go and not self._received:
                self._transport.write(GO_ON)
        return True

    def _head_block(self) -> bytes | None:
        received = self._received
        while received.startswith(b"\r\n"):
            del received[:2]
        if not received or self._at is _At.CLOSED:
            return None
        if self._at is _At.IDLE:
            self._at = _At.HEAD
            self._pace = Pace(self._host.now(), self._settings.head_timeout_s)
        return self._heads.take(received)

    def _new_body(self, size_bytes: int | None) -> Body:
        if size_bytes is None:
            return ChunkedBody(self._settings.max_body_bytes, self._host.allowance)
        return SizedBody(size_bytes, self._host.allowance)

    def _fed(self) -> bool:
        """Whether the body is complete with what was received."""
        if self._body is None:
            return True
        if self._received:
            del self._received[: self._body.feed(self._received)]
        return self._body.complete

    # An answer.

    def _answer(self) -> None:
        assert self._request is not None
        body = self._body.view() if self._body is not None else memoryview(b"")
        self._last, self._unread = not self._request.keeps_alive, False
        self._send(self._host.answer(self._request.head, self._asked, body))

    def _refuse(self, refusal: Refused) -> None:
        """Answers a request that is not carried out. Where more of it is to come, it is the last one."""
        self._unread = self._request is None or self._request.has_body
        self._last = self._unread or (self._request is not None and not self._request.keeps_alive)
        self._send(refused(refusal))

    def _send(self, answer: Answer) -> None:
        self._last = self._last or self._host.stopping
        request = self._request
        head = response_head(answer, "close" if self._last else request.persistence if request is not None else "")
        bodiless = answer.status in BODILESS or (request is not None and request.head.method == "HEAD")
        body: Buffer = b"" if bodiless else answer.body
        self._at = _At.ANSWER
        self._pace = Pace(self._host.now(), self._settings.body_timeout_s)
        self._passed_bytes = 0
        if len(body) > _JOINED_BYTES:
            self._unsent = memoryview(body)
            self._write(head + self._unsent[:_JOINED_BYTES])
            self._unsent = self._unsent[_JOINED_BYTES:]
        else:
            self._write(head + body)
        self._pump()

    def _write(self, data: Buffer) -> None:
        self._passed_bytes += len(data)
        self._transport.write(data)

    def _pump(self) -> None:
        """Writes as much as the client takes."""
        if self._at is not _At.ANSWER:
            return
        while self._unsent and not self._blocked and not self._transport.is_closing():
            piece, self._unsent = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            self._write(piece)
        if self._blocked:
            self._transport.pause_reading()
        else:
            self._sent()

    def _sent(self) -> None:
        self._forget_request()
        if self._last:
            self._finish()
            return
        self._at = _At.IDLE
        self._pace = Pace(self._host.now(), self._settings.idle_timeout_s)
        if self._received:
            self._transport.pause_reading()
            self._host.soon(self._advance)
        else:
            self._transport.resume_reading()

    def _finish(self) -> None:
        """Closes, once the client has had its last answer."""
        if self._ended or self._transport.is_closing() or not (self._unread or self._received):
            self._at = _At.CLOSED
            self._transport.close()
            return
        self._at = _At.LINGER
        self._pace = Pace(self._host.now(), LINGER_S)
        self._passed_bytes = 0
        self._received.clear()
        self._transport.write_eof()
        self._transport.resume_reading()

    def _forget_request(self) -> None:
        if self._body is not None:
            self._body.release()
        self._request, self._body, self._unsent = None, None, memoryview(b"")
