"""A link in user space: a TCP relay with latency and bandwidth, which can be cut.

Bytes leave the relay when the link would have carried them: the bandwidth is shared by all connections of a direction,
and each byte arrives one latency after it was sent. A connection is open one round trip after it was asked for.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK_BYTES = 64 << 10
_IN_FLIGHT_S = 0.25


@dataclass(slots=True)
class _Direction:
    """One direction of a link: when it is free again, and what it has carried."""

    free_at_s: float = 0.0
    carried_bytes: int = 0


@dataclass
class Relay:
    """Stands before `target`, a `host:port`; `address` is where to connect instead. See `open_relay`.

    Attributes:
        latency_ms: One way.
        bandwidth_mbps: Of each direction.
    """

    target: str
    latency_ms: float
    bandwidth_mbps: float
    address: str = ""
    _up: _Direction = field(default_factory=_Direction)
    _down: _Direction = field(default_factory=_Direction)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _is_cut: bool = False

    @property
    def carried_bytes(self) -> int:
        """What the link has carried in both directions."""
        return self._up.carried_bytes + self._down.carried_bytes

    def cut(self) -> None:
        """Breaks off all connections and refuses new ones."""
        self._is_cut = True
        asyncio.run_coroutine_threadsafe(self._break_off(), self._loop).result()

    def heal(self) -> None:
        """Takes connections again."""
        self._is_cut = False

    async def serve(self, started: threading.Event, host: str) -> None:
        """Relays until it is cancelled."""
        server = await asyncio.start_server(self._accept, host, 0, limit=_CHUNK_BYTES)
        name, port = server.sockets[0].getsockname()[:2]
        self.address = f"{name}:{port}"
        started.set()
        try:
            async with server:
                await server.serve_forever()
        finally:
            await self._break_off()

    async def _break_off(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._is_cut:
                await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.latency_ms / 1000)
        host, _, port = self.target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port), limit=_CHUNK_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer, self._up))
                group.create_task(self._carry(far_reader, writer, self._down))
        except* OSError:
            pass
        finally:
            far_writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Direction) -> None:
        """Carries one direction of a connection: what is read is under way until its time of arrival."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(self._places())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(under_way, writer))
            chunk = b" "
            while chunk:
                chunk = await reader.read(_CHUNK_BYTES)
                now_s = self._loop.time()
                way.free_at_s = max(now_s, way.free_at_s) + 8 * len(chunk) / (self.bandwidth_mbps * 1e6)
                way.carried_bytes += len(chunk)
                await under_way.put((way.free_at_s + self.latency_ms / 1000, chunk))

    async def _deliver(self, under_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            due_s, chunk = await under_way.get()
            await asyncio.sleep(due_s - self._loop.time())
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()

    def _places(self) -> int:
        """How many chunks may be under way: a quarter of a second's, and what a latency holds."""
        seconds = _IN_FLIGHT_S + self.latency_ms / 1000
        return 2 + int(seconds * self.bandwidth_mbps * 1e6 / 8 / _CHUNK_BYTES)


@contextlib.contextmanager
def open_relay(target: str, latency_ms: float, bandwidth_mbps: float, host: str = "127.0.0.1") -> Iterator[Relay]:
    """A relay that works in a thread of its own until the context ends."""
    relay, started = Relay(target, latency_ms, bandwidth_mbps), threading.Event()

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            relay._loop.run_until_complete(serving)
        relay._loop.close()

    serving = relay._loop.create_task(relay.serve(started, host))
    thread = threading.Thread(target=work, name="relay", daemon=True)
    thread.start()
    started.wait()
    try:
        yield relay
    finally:
        relay._loop.call_soon_threadsafe(serving.cancel)
        thread.join()
