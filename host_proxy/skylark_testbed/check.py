"""Measures whether emulated links are what they are said to be: round trips and throughput, through the real network.

The nodes are played by echo servers of this process; what connects them is the process that a testbed has.
"""

import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import msgspec

from skylark_proxy.client import ProxyClient
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.nodeinfo.messages import SnapshotJson
from skylark_proxy.paths import ShortestPaths
from skylark_proxy.topology import Topology
from skylark_testbed.description import Description, TopologyPlan
from skylark_testbed.running_network import RunningNetwork
from skylark_testbed.starter import Starter

LATENCIES_MS = (1.0, 10.0, 60.0)
BANDWIDTHS_MBPS = (2.0, 40.0, 90.0, 500.0, 1000.0)
JITTERS = (0.0, 0.1)
TOLERANCE, SPREAD_TOLERANCE, TOLERANCE_MS = 0.05, 0.25, 1.0

_FAST_MBPS = 1000.0
_TRIPS, _JITTER_TRIPS = 25, 80
_SIXTHS = 6
"""Of normally distributed values two thirds (68 %) lie within a standard deviation; a late timer moves no quantile."""
_WARM_UP_S, _MEASURE_S = 0.6, 1.5
_BLOCK = bytes(64 << 10)
_ECHO, _SWALLOW = b"E", b"S"
_TIMEOUT_S = 20.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """A property of a path, as it was asked for and as it was measured.

    Attributes:
        path: Its nodes.
        what: `round trip` (the median), `spread` (half the range of the middle two thirds of round trips: the standard
            deviation, where they are normally distributed), or `throughput`.
        unit: `ms` or `Mbps`.
    """

    path: str
    what: str
    unit: str
    asked: float
    got: float

    @property
    def error(self) -> float:
        """What was measured less what was asked for, as a share of that; 0 for 0."""
        return (self.got - self.asked) / self.asked if self.asked else 0.0

    @property
    def good(self) -> bool:
        """Whether it is within 5 %; of times, also within 1 ms; of spreads, which few trips tell badly, within 25 %."""
        tolerance = SPREAD_TOLERANCE if self.what == "spread" else TOLERANCE
        return abs(self.error) <= tolerance or (self.unit == "ms" and abs(self.got - self.asked) <= TOLERANCE_MS)


def check_links(progress: Progress) -> list[Check]:
    """Checks links of several latencies, with and without jitter, and of several bandwidths, each alone."""
    checks: list[Check] = []
    for jitter in JITTERS:
        for latency_ms in LATENCIES_MS:
            progress(f"round trips over {latency_ms:g} ms, jitter {jitter:g}")
            checks += check_description(_two_nodes(latency_ms, _FAST_MBPS, jitter), progress, throughput=False)
    for bandwidth_mbps in BANDWIDTHS_MBPS:
        progress(f"throughput over {bandwidth_mbps:g} Mbps")
        checks += check_description(_two_nodes(10.0, bandwidth_mbps, 0.0), progress, round_trips=False)
    return checks


def check_description(
    description: Description, progress: Progress, *, round_trips: bool = True, throughput: bool = True
) -> list[Check]:
    """Checks every link of a description's first topology, and the path with the highest latency."""
    checks: list[Check] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skylark-check-")))
        starter = Starter()
        stack.callback(starter.close)
        peers = {name: stack.enter_context(running_peer()) for name in description.nodes}
        addressed = _addressed(description, {name: peer.address for name, peer in peers.items()})
        network = RunningNetwork(addressed, folder, starter)
        network.wait_until_ready()
        for source, target in _pairs(network.topology()):
            progress(f"{source} – {target}")
            checks += _check_pair(network, peers[target], source, target, description.jitter, round_trips, throughput)
    return checks


def direct_throughput_mbps() -> float:
    """The throughput between the same sender and receiver without anything in between."""
    with running_peer() as peer:
        return measured_mbps(peer.address, peer)


def _check_pair(
    network: RunningNetwork,
    peer: "Peer",
    source: str,
    target: str,
    jitter: float,
    round_trips: bool,
    throughput: bool,
) -> Iterator[Check]:
    path = ShortestPaths(network.topology(), source, time.time()).to(target)
    name, latency_ms = " – ".join(point.node for point in path), path[-1].latency_ms
    answer = ProxyClient(network.node_info_url(source)).request("GET", "/current-topology")
    address = msgspec.json.decode(answer.body, type=SnapshotJson).to_topology().node(target).address
    if round_trips:
        trips = round_trips_ms(address, _JITTER_TRIPS if jitter else _TRIPS)
        low, *_, high = statistics.quantiles(trips, n=_SIXTHS)
        yield Check(name, "round trip", "ms", 2 * latency_ms, statistics.median(trips))
        yield Check(name, "spread", "ms", 2**0.5 * jitter * latency_ms, (high - low) / 2)
    if throughput:
        yield Check(name, "throughput", "Mbps", path[-1].bandwidth_mbps, measured_mbps(address, peer))


def round_trips_ms(address: str, count: int) -> list[float]:
    """Round trips of one byte over an open, idle connection."""
    trips = []
    with _connected(address, _ECHO) as connection:
        for number in range(count + 1):
            started_s = time.perf_counter()
            connection.sendall(b"x")
            connection.recv(1)
            if number:  # the first one waits for the connection
                trips.append((time.perf_counter() - started_s) * 1000)
    return trips


def measured_mbps(address: str, peer: "Peer") -> float:
    """What arrives at a peer while one connection sends as much as it can, once buffers are full."""
    with _connected(address, _SWALLOW) as connection:
        before = peer.swallowed
        sender = threading.Thread(target=_send, args=[connection])
        sender.start()
        try:
            end_s = time.monotonic() + _TIMEOUT_S
            while peer.swallowed == before and time.monotonic() < end_s:
                time.sleep(0.001)
            time.sleep(_WARM_UP_S)
            started_s, already = time.perf_counter(), peer.swallowed
            time.sleep(_MEASURE_S)
            rate = 8 * (peer.swallowed - already) / (time.perf_counter() - started_s) / 1e6
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            sender.join()
    return rate


class Peer:
    """Echoes a connection whose first byte is E, swallows any other one and counts its bytes. See `running_peer`."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._serving: list[tuple[threading.Thread, socket.socket]] = []
        self.address = "{}:{}".format(*listener.getsockname())
        self.swallowed = 0

    def accept(self) -> None:
        """Takes connections until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=[connection])
                self._serving.append((thread, connection))
                thread.start()

    def close(self) -> None:
        """Ends all connections."""
        for thread, connection in self._serving:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray(1 << 20)
        with connection, contextlib.suppress(OSError):
            echoes = connection.recv(1) == _ECHO
            while size := connection.recv_into(buffer):
                if echoes:
                    connection.sendall(memoryview(buffer)[:size])
                else:
                    self.swallowed += size


@contextlib.contextmanager
def running_peer() -> Iterator[Peer]:
    """A peer that serves until the context ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer(listener)
        accepting = threading.Thread(target=peer.accept)
        accepting.start()
        try:
            yield peer
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            peer.close()


def _send(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(_BLOCK)


@contextlib.contextmanager
def _connected(address: str, first: bytes) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(first)
        yield connection


def _two_nodes(latency_ms: float, bandwidth_mbps: float, jitter: float) -> Description:
    nodes = [Node("a", "127.0.0.1", Tier.SAT), Node("b", "127.0.0.1", Tier.CLOUD)]
    topology = Topology.build(nodes, [Link("a", "b", latency_ms, bandwidth_mbps)], epoch=1)
    return Description(TopologyPlan("static", (topology,)), jitter=jitter)


def _addressed(description: Description, addresses: dict[str, str]) -> Description:
    nodes = [replace(node, address=addresses[name]) for name, node in description.nodes.items()]
    plan = description.topology
    topologies = tuple(Topology.build(nodes, topology.links, epoch=1) for topology in plan.topologies)
    return replace(description, topology=replace(plan, topologies=topologies))


def _pairs(topology: Topology) -> Sequence[tuple[str, str]]:
    """The nodes at both ends of each link, and of the path with the highest latency."""
    now_s = time.time()
    paths = {name: ShortestPaths(topology, name, now_s) for name in topology.nodes}
    reachable = [(one, other) for one, other in combinations(paths, 2) if paths[one].to(other)]
    longest = max(reachable, key=lambda pair: paths[pair[0]].to(pair[1])[-1].latency_ms)
    linked = [(one, other) for one, other in reachable if len(paths[one].to(other)) == 2]
    return list(dict.fromkeys([*linked, longest]))
