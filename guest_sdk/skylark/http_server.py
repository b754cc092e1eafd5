"""A server of functions that listens itself: HTTP/1.1 with asyncio, in one thread.

One function runs at a time, since the sandbox has no threads. The other connections' bytes wait in the system's buffers
meanwhile, health checks among them, and no client's time runs. Nothing can end a function that does not return.
"""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from skylark.http_answers import Answer
from skylark.http_bodies import Allowance
from skylark.http_connection import Connection
from skylark.http_routes import Call, Head, Page
from skylark.http_settings import ServerSettings

_IN_SANDBOX = sys.platform == "wasi"
_SCRATCH_BYTES = 65536
_BACKLOG = 1024
_OVER_LIMIT = 64
"""How many connections beyond the limit are told so; those beyond that are just closed."""


class Application(Protocol):
    """What answers the requests; see `http_application.Application`."""

    def asked(self, head: Head) -> Call | Page:
        """Return what a request asks for, or raise Refused. Its body need not be there yet."""
        ...

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        """Answer a request, whatever happens."""
        ...


class HttpServer:
    """Serves an application to many connections at once.

    Args:
        log: Where the requests go, if they are logged.
    """

    def __init__(self, application: Application, settings: ServerSettings, log: Callable[[str], None] = print) -> None:
        self.settings = settings
        self.allowance = Allowance(settings.max_bodies_bytes)
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.stopping = False
        self._application = application
        self._log = log
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._functions_s = 0.0

    async def listen(self) -> list[str]:
        """Opens the port; returns the URLs.

        Raises:
            OSError: The port or an address is taken, or not this machine's.
        """
        self._loop = asyncio.get_running_loop()
        self._left = asyncio.Event()
        listeners = open_listeners(self.settings.hosts, self.settings.port)
        for listener in listeners:
            server = await self._loop.create_server(lambda: Connection(self), sock=listener, backlog=_BACKLOG)
            self._servers.append(server)
        return [_url(listener) for listener in listeners]

    async def stop(self) -> None:
        """Takes no more connections, closes idle ones, and waits for open requests within the stop timeout."""
        self.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            if not connection.busy:
                connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_left(), self.settings.stop_timeout_s)
        for connection in list(self._connections):
            connection.close()
        await self._all_left()

    # What the connections call; see `http_connection.Host`.

    def now(self) -> float:
        return time.monotonic() - self._functions_s

    def admit(self, connection: Connection) -> bool:
        """Whether there is room: at the limit the connection that is idle for the longest time makes way."""
        limit = self.settings.max_connections
        if len(self._connections) >= limit:
            self._make_way()
        if len(self._connections) >= limit + _OVER_LIMIT:
            connection.close()
        self._connections.add(connection)
        if self._sweep is None:
            self._sweep_later()
        return len(self._connections) <= limit

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._left.set()

    def asked(self, head: Head) -> Call | Page:
        return self._application.asked(head)

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        """Answers a request, as if no event loop were running: a function may run one of its own."""
        started_s = time.monotonic()
        asyncio._set_running_loop(None)
        try:
            answer = self._application.answer(head, asked, body)
        finally:
            asyncio._set_running_loop(self._loop)
            duration_s = time.monotonic() - started_s
            self._functions_s += duration_s
        if self.settings.log_requests:
            size, ms = len(answer.body), 1000 * duration_s
            self._log(f"{head.method} {head.path!r} {answer.status} {size} bytes {ms:.1f} ms")
        return answer

    def soon(self, call: Callable[[], None]) -> None:
        self._loop.call_soon(call)

    def _make_way(self) -> None:
        idle = [(since_s, id(each), each) for each in self._connections if (since_s := each.idle_since_s) is not None]
        if idle:
            _, _, longest = min(idle)
            self._connections.discard(longest)
            longest.close()

    def _sweep_later(self) -> None:
        settings = self.settings
        shortest_s = min(settings.head_timeout_s, settings.body_timeout_s, settings.idle_timeout_s)
        self._sweep = self._loop.call_later(min(1.0, shortest_s / 4), self._check_all)

    def _check_all(self) -> None:
        now_s = self.now()
        for connection in list(self._connections):
            connection.check(now_s)
        self._sweep = None
        if self._connections:
            self._sweep_later()

    async def _all_left(self) -> None:
        while self._connections:
            self._left.clear()
            await self._left.wait()


def open_listeners(hosts: tuple[str, ...], port: int) -> list[socket.socket]:
    """Sockets at these addresses, or at all: then IPv4, and IPv6 where the system has it.

    Raises:
        OSError: One cannot be opened.
    """
    listeners: list[socket.socket] = []
    try:
        if hosts:
            for host in hosts:
                listeners.append(_listener(host, _bound_port(listeners, port)))
        else:
            _listen_everywhere(listeners, port)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen_everywhere(listeners: list[socket.socket], port: int) -> None:
    """Opens `::` and then `0.0.0.0`.

    A socket at `::` takes IPv4 too unless it is told not to, which WasmEdge's sockets cannot be. Then `0.0.0.0` is in
    use by ourselves: had it been another program, `::` could not have been opened.
    """
    try:
        listeners.append(_listener("::", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
    try:
        listeners.append(_listener("0.0.0.0", _bound_port(listeners, port)))  # noqa: S104
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not (listeners and _IN_SANDBOX):
            raise


def _bound_port(listeners: list[socket.socket], port: int) -> int:
    """The port of those that are open: that which the system has chosen where it was 0."""
    return listeners[0].getsockname()[1] if listeners else port


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            with contextlib.suppress(OSError):  # in WASI it cannot be set
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # it is this that fails in WASI where an address is taken: SO_REUSEADDR is set there
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(server: HttpServer, started: Callable[[list[str]], None]) -> None:
    """Serves until SIGTERM or SIGINT; without signals, as in WASI, for ever: there the runtime ends it.

    Args:
        started: Is told the URLs.

    Raises:
        OSError: See `HttpServer.listen`.
    """
    started(await server.listen())
    ended = asyncio.Event()
    if not _IN_SANDBOX:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop()
