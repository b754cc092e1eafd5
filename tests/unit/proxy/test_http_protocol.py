"""How the proxy's protocol treats clients that do not go on; what it reads is held by the suite of all servers."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from skylark.http_pace import LINGER_S, MIN_BYTES_PER_S
from skylark_proxy.http_protocol import ClientLimits, StrictProtocol

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
        self.buffered = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def abort(self) -> None:
        self.closed = True

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


def connected(limits: ClientLimits | None = None) -> tuple[StrictProtocol, Loop, Transport]:
    loop, transport = Loop(), Transport()
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=StrictProtocol, ws="none")
    protocol = StrictProtocol(config, ServerState(), {}, cast(Any, loop), limits=limits)
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


def test_a_trickle_is_not_waited_for_without_end() -> None:
    """A body that goes on, a byte now and then, gets no more time than its bytes take at the least rate."""
    protocol, loop, _ = connected(ClientLimits(body_timeout_s=30.0))
    protocol.data_received(HEAD.replace(b"Content-Length: 3", b"Content-Length: 100"))
    for _ in range(50):
        protocol.data_received(b"x")
    [timer] = loop.waiting
    assert timer.delay_s < 30.0 + 50 / MIN_BYTES_PER_S


def test_a_client_that_takes_nothing_of_its_answer_is_dropped() -> None:
    """An answer that does not go out is given up; one that goes out at a tolerable rate is not."""
    protocol, loop, transport = connected(ClientLimits(body_timeout_s=10.0))
    [idle] = loop.waiting
    idle.cancel()
    transport.buffered = 300_000
    protocol.pause_writing()
    [first] = loop.waiting
    transport.buffered = 280_000
    first.fire()
    assert not transport.closed
    second = loop.waiting[-1]
    transport.buffered = 279_000
    second.fire()
    assert transport.closed


def test_a_client_that_takes_its_answer_has_no_further_time() -> None:
    """Once it has taken what was sent, nothing is left that would end it."""
    protocol, loop, _ = connected()
    [idle] = loop.waiting
    idle.cancel()
    protocol.pause_writing()
    protocol.resume_writing()
    assert loop.waiting == []


def test_a_further_connection_takes_the_place_of_the_longest_idle_one() -> None:
    """Beyond the limit the one that has been idle for longest is closed; one with a request is not."""
    limits, transports = ClientLimits(max_connections=2), [Transport() for _ in range(4)]
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=StrictProtocol, ws="none")
    state, loop = ServerState(), Loop()
    protocols = [StrictProtocol(config, state, {}, cast(Any, loop), limits=limits) for _ in transports]
    for protocol, transport in zip(protocols[:2], transports[:2], strict=True):
        protocol.connection_made(cast(Any, transport))
    protocols[0].data_received(HEAD)
    protocols[2].connection_made(cast(Any, transports[2]))
    assert [transport.closed for transport in transports] == [False, True, False, False]
    protocols[1].connection_lost(None)
    protocols[2].data_received(HEAD)
    protocols[3].connection_made(cast(Any, transports[3]))
    assert transports[3].closed
    assert transports[3].written.startswith(b"HTTP/1.1 503 ")
