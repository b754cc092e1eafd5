"""How the proxy's protocol treats clients that do not go on; what it reads is held by the suite of all servers."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from skylark_proxy.http_protocol import LINGER_S, StrictProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


class Timer:
    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s, self.fire, self.cancelled = delay_s, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Task:
    def add_done_callback(self, _call: object) -> None: ...


class Loop:
    """An event loop that keeps its timers, and runs nothing."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay_s, call))
        return self.timers[-1]

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        coroutine.close()
        return Task()

    @property
    def waiting(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]


class Transport:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written, self.closed, self.paused = b"", False, False

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, _name: str) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def app(_scope: object, _receive: object, _send: object) -> None: ...


def connected() -> tuple[StrictProtocol, Loop, Transport]:
    loop, transport = Loop(), Transport()
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=StrictProtocol, ws="none")
    protocol = StrictProtocol(config, ServerState(), {}, cast(Any, loop))
    protocol.connection_made(cast(Any, transport))
    return protocol, loop, transport


def test_a_connection_that_sends_nothing_is_closed() -> None:
    """A client that connects and says nothing is dropped like one that is idle."""
    _, loop, transport = connected()
    [timer] = loop.waiting
    timer.fire()
    assert (transport.closed, transport.written) == (True, b"")


def test_a_slow_head_has_one_time_as_a_whole() -> None:
    """Each byte of a head gives no further time; once it is over, the client is told."""
    protocol, loop, transport = connected()
    for byte in (b"G", b"E", b"T", b" "):
        protocol.data_received(byte)
    [timer] = loop.waiting
    timer.fire()
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request-timeout"' in transport.written
    assert [left.delay_s for left in loop.waiting if left is not timer] == [LINGER_S]


def test_a_body_has_its_time_from_the_last_piece() -> None:
    """A body that goes on is waited for; one that does not ends the request before it is whole."""
    protocol, loop, transport = connected()
    protocol.data_received(HEAD)
    [first] = loop.waiting
    protocol.data_received(b"a")
    [second] = loop.waiting
    assert (first.cancelled, protocol.cycle.more_body) == (True, True)
    second.fire()
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert protocol.cycle.disconnected


def test_a_whole_request_has_no_time() -> None:
    """What runs for a client that has sent everything is not ended."""
    protocol, loop, _ = connected()
    protocol.data_received(HEAD[:20])
    protocol.data_received(HEAD[20:] + b"abc")
    assert (loop.waiting, protocol.cycle.more_body) == ([], False)


def test_a_body_that_waits_for_us_is_not_slow() -> None:
    """While the proxy itself does not read on, the client's time starts anew."""
    protocol, loop, transport = connected()
    protocol.data_received(HEAD + b"a")
    protocol.flow.pause_reading()
    [timer] = loop.waiting
    timer.fire()
    assert transport.written == b""
    assert len(loop.waiting) == 2


def test_what_follows_a_refusal_is_dropped() -> None:
    """A client has one error, and what it goes on sending is not kept."""
    protocol, _, transport = connected()
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    told = transport.written
    protocol.data_received(HEAD + b"abc")
    assert told.startswith(b"HTTP/1.1 400 ")
    assert transport.written == told
