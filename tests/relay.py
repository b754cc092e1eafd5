"""Links in user space: TCP relays between nodes, with a latency and a bandwidth, that a test can cut and heal.

Every pair of nodes has a relay of its own, with a port for each end. A byte arrives when the link would have carried
it: the bandwidth of a direction is shared by all connections, and each byte arrives one latency after it was sent.
Buffers are small, so that a sender feels a slow link, and a cut loses what was under way.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from continuum import Nodes, run_nodes
from skylark_proxy.topology import Topology

T = TypeVar("T")

_BUFFER_BYTES = 64 << 10
_LARGEST_CHUNK_BYTES = 64 << 10
_SMALLEST_CHUNK_BYTES = 2 << 10
_CHUNK_S = 0.005
_QUEUE_S = 0.02
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: the connection is reset."""


@dataclass(slots=True)
class _Way:
    """One direction of a link: when it is free again, what it has carried, and at how much it is to be cut."""

    free_at_s: float = 0.0
    carried_bytes: int = 0
    cut_at_bytes: int | None = None


@dataclass(eq=False, repr=False)
class Relay:
    """The link between two nodes. Made by `Relays.add`; safe for threads.

    Attributes:
        ends: The names of the nodes.
        latency_ms: One way.
        bandwidth_mbps: Of each direction.
        connections: How many connections it has taken.
    """

    ends: tuple[str, str]
    latency_ms: float
    bandwidth_mbps: float
    connections: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _ports: dict[str, "_Port"] = field(default_factory=dict)
    _ways: dict[str, _Way] = field(default_factory=dict)
    _flows: set[asyncio.Task[None]] = field(default_factory=set)
    _is_cut: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def address(self, to: str) -> str:
        """Where the other end connects to reach `to`."""
        return self._ports[to].address

    def carried_bytes(self, to: str) -> int:
        """What the link has carried in the direction of `to`, on all connections."""
        return self._ways[to].carried_bytes

    def cut(self) -> None:
        """Resets all connections and refuses new ones; what is under way is lost."""
        self._call(self._cut)

    def cut_after(self, to: str, more_bytes: int) -> None:
        """Cuts the link once it has carried so many further bytes in the direction of `to`."""

        def plan() -> None:
            self._ways[to].cut_at_bytes = self._ways[to].carried_bytes + more_bytes

        self._call(plan)

    def black_hole(self) -> None:
        """Carries nothing more: connections stay open, new ones are accepted, nobody gets an answer."""
        self._call(self._open.clear)

    def heal(self) -> None:
        """Works again. What was stuck in a black hole arrives now; what was cut off does not."""
        self._call(self._heal)

    @property
    def is_cut(self) -> bool:
        """Whether it is cut now."""
        return self._is_cut

    def _call(self, act: Callable[[], None]) -> None:
        async def acting() -> None:
            act()

        asyncio.run_coroutine_threadsafe(acting(), self._loop).result(10)

    def _cut(self) -> None:
        self._is_cut = True
        for port in self._ports.values():
            port.close()
        for flow in list(self._flows):
            flow.cancel()

    def _heal(self) -> None:
        for way in self._ways.values():
            way.cut_at_bytes, way.free_at_s = None, 0.0
        if self._is_cut:
            self._is_cut = False
            for port in self._ports.values():
                port.listen()
        self._open.set()

    def _taken(self, near: socket.socket, to: str, target: str) -> None:
        self.connections += 1
        flow = self._loop.create_task(self._flow(near, to, target))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)
        flow.add_done_callback(lambda _: near.close())  # also of a flow that was cut off before it began

    async def _flow(self, near: socket.socket, to: str, target: str) -> None:
        """One connection. It is open a round trip after it was asked for."""
        far = _small(socket.socket())
        try:
            await self._open.wait()
            await asyncio.sleep(2 * self.latency_ms / 1000)
            host, _, port = target.rpartition(":")
            await self._loop.sock_connect(far, (host, int(port)))
            other = next(end for end in self.ends if end != to)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(near, far, self._ways[to]))
                group.create_task(self._carry(far, near, self._ways[other]))
        except* OSError:
            pass
        finally:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()

    async def _carry(self, source: socket.socket, sink: socket.socket, way: _Way) -> None:
        """One direction of a connection: what was read is under way until its time of arrival."""
        under_way: deque[tuple[float, bytes]] = deque()
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(sink, under_way, changed))
            chunk = b" "
            while chunk:
                await asyncio.sleep(max(0.0, way.free_at_s - self._loop.time() - _QUEUE_S))
                chunk = await self._loop.sock_recv(source, self._chunk_bytes())
                await self._open.wait()
                way.free_at_s = max(self._loop.time(), way.free_at_s) + 8 * len(chunk) / (self.bandwidth_mbps * 1e6)
                way.carried_bytes += len(chunk)
                if way.cut_at_bytes is not None and way.carried_bytes >= way.cut_at_bytes:
                    self._cut()
                under_way.append((way.free_at_s + self.latency_ms / 1000, chunk))
                changed.set()

    async def _deliver(
        self, sink: socket.socket, under_way: deque[tuple[float, bytes]], changed: asyncio.Event
    ) -> None:
        while True:
            while not under_way:
                changed.clear()
                await changed.wait()
            due_s, chunk = under_way.popleft()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._open.wait()
            if not chunk:
                sink.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(sink, chunk)

    def _chunk_bytes(self) -> int:
        wanted = int(self.bandwidth_mbps * 1e6 / 8 * _CHUNK_S)
        return min(_LARGEST_CHUNK_BYTES, max(_SMALLEST_CHUNK_BYTES, wanted))


class _Port:
    """A listening port of a relay, which refuses connections while it is closed and keeps its number."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._take = take
        self._socket = _small(socket.socket())
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number = probe.getsockname()[1]
        self._socket.bind(("127.0.0.1", number))  # by its number: only then does Linux keep it over a shutdown
        self.address = f"127.0.0.1:{number}"
        self.listen()

    def listen(self) -> None:
        self._socket.listen(128)
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Has the kernel refuse connections."""
        self._loop.remove_reader(self._socket)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.close()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._take(connection)


def _small(opened: socket.socket) -> socket.socket:
    opened.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class Relays:
    """Relays in one thread with one event loop. Made by `run_relays`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._all: dict[frozenset[str], Relay] = {}

    def add(self, ends: Mapping[str, str], latency_ms: float = 0.0, bandwidth_mbps: float = 10_000.0) -> Relay:
        """The relay of a new link between two nodes, by their names, with their real addresses."""

        async def make() -> Relay:
            one, other = ends
            relay = Relay((one, other), latency_ms, bandwidth_mbps, _loop=self._loop)
            relay._open.set()
            for name, target in ends.items():
                relay._ways[name] = _Way()
                relay._ports[name] = _Port(self._loop, _taking(relay, name, target))
            return relay

        relay = self._run(make())
        self._all[frozenset(ends)] = relay
        return relay

    def between(self, one: str, other: str) -> Relay:
        """The relay of the link between two nodes."""
        return self._all[frozenset((one, other))]

    def all(self) -> list[Relay]:
        """All relays."""
        return list(self._all.values())

    def of(self, node: str) -> list[Relay]:
        """The relays of a node's links."""
        return [relay for ends, relay in self._all.items() if node in ends]

    def close(self) -> None:
        """Ends every connection and gives the ports back."""

        async def end() -> None:
            flows = [flow for relay in self._all.values() for flow in relay._flows]
            for relay in self._all.values():
                relay._cut()
                for port in relay._ports.values():
                    port.end()
            await asyncio.gather(*flows, return_exceptions=True)

        self._run(end())

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)


def _taking(relay: Relay, name: str, target: str) -> Callable[[socket.socket], None]:
    return lambda connection: relay._taken(connection, name, target)


@contextlib.contextmanager
def run_relays() -> Iterator[Relays]:
    """Relays work until the context ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relays")
    thread.start()
    relays = Relays(loop)
    try:
        yield relays
    finally:
        relays.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def run_relayed(
    topology: Topology,
    names: Sequence[str] = (),
    *,
    functions: Path | None = None,
    settings: Mapping[str, str] | None = None,
    of_node: Mapping[str, Mapping[str, str]] | None = None,
    as_links: bool = False,
) -> Iterator[tuple[Nodes, Relays]]:
    """Runs the proxies of a topology's nodes, of which each reaches every other one through a relay of their own.

    Args:
        topology: Its addresses, with ports, are the real ones; each node gets a file with the relays' for the others.
        names: The nodes to run; all if empty.
        functions: The components of every node.
        settings: Settings of every node, by the names of environment variables.
        of_node: Further settings of single nodes.
        as_links: Whether relays have the latency and bandwidth of the topology's links. Else, and where two nodes
            have no link, they are as fast as they can be.
    """
    with run_relays() as relays, contextlib.ExitStack() as stack:
        for one, other in itertools.combinations(topology.nodes.values(), 2):
            link = topology.neighbors(one.name, 0.0).get(other.name) if as_links else None
            speed = (link.latency_ms, link.bandwidth_mbps) if link else ()
            relays.add({one.name: one.address, other.name: other.address}, *speed)
        nodes: Nodes = {}
        for name in topology.nodes:
            if not names or name in names:
                seen = seen_from(topology, name, relays)
                running = run_nodes(seen, [name], functions=functions, settings=settings, of_node=of_node, start=False)
                nodes |= stack.enter_context(running)
        for node in nodes.values():
            node.start()
        for node in nodes.values():
            node.wait_until_ready()
        yield nodes, relays


def seen_from(topology: Topology, name: str, relays: Relays) -> Topology:
    """The topology with the addresses at which a node reaches the others."""
    nodes = (
        node if node.name == name else replace(node, address=relays.between(name, node.name).address(node.name))
        for node in topology.nodes.values()
    )
    return Topology.build(nodes, topology.links, topology.epoch)
