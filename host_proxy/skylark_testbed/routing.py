"""How nodes reach each other over the links of a topology, and what faults do to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Link
from skylark_proxy.paths import ShortestPaths
from skylark_proxy.topology import Topology
from skylark_testbed.shaping import Channel, Route

Pair = tuple[str, str]
"""Two nodes, sorted."""

Routes = Mapping[Pair, Mapping[str, Route] | None]
"""For each pair of nodes the route to each of them; None: no links lead there."""


@dataclass(frozen=True, slots=True)
class Slowness:
    """What a link has instead of what the topology says; None: it has that."""

    latency_ms: float | None = None
    bandwidth_mbps: float | None = None


@dataclass(frozen=True)
class Faults:
    """Links that do not do what the topology says. Nodes are not told of them."""

    cut: frozenset[Pair] = frozenset()
    slow: Mapping[Pair, Slowness] = field(default_factory=dict)

    def with_cut(self, pair: Pair) -> "Faults":
        """These, and a link that carries nothing."""
        return replace(self, cut=self.cut | {pair})

    def with_slow(self, pair: Pair, slowness: Slowness) -> "Faults":
        """These, and a link that is slower, or faster."""
        return replace(self, slow=dict(self.slow) | {pair: slowness})

    def without(self, pair: Pair) -> "Faults":
        """These, but none of this link."""
        return Faults(self.cut - {pair}, {other: one for other, one in self.slow.items() if other != pair})

    def applied(self, topology: Topology) -> Topology:
        """What is left of a topology."""
        links = (self._applied(link) for link in topology.links if pair_of(link.source, link.target) not in self.cut)
        return Topology.build(topology.nodes.values(), links, topology.epoch)

    def _applied(self, link: Link) -> Link:
        slowness = self.slow.get(pair_of(link.source, link.target), Slowness())
        latency_ms = link.latency_ms if slowness.latency_ms is None else slowness.latency_ms
        bandwidth_mbps = link.bandwidth_mbps if slowness.bandwidth_mbps is None else slowness.bandwidth_mbps
        return replace(link, latency_ms=latency_ms, bandwidth_mbps=bandwidth_mbps)


def pair_of(one: str, other: str) -> Pair:
    """The pair of two nodes, whichever comes first."""
    return (one, other) if one <= other else (other, one)


def linked_pair(topology: Topology, one: str, other: str) -> Pair:
    """The pair of two nodes that have a link.

    Raises:
        UnknownNode: One of them is not in the topology.
        InvalidArgument: They have none.
    """
    topology.node(one), topology.node(other)
    pair = pair_of(one, other)
    if not any(pair_of(link.source, link.target) == pair for link in topology.links):
        neighbors = sorted({name for link in topology.links_of[one] for name in (link.source, link.target)} - {one})
        raise InvalidArgument("link", f"{one} {other}", f"two nodes with a link; {one} has links to {neighbors}")
    return pair


class Channels:
    """The two channels of every link, kept while topologies change: what is queued there stays queued."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Channel] = {}

    def carried_bytes(self, source: str, target: str) -> int:
        """What the link has carried in one direction."""
        channel = self._all.get((source, target))
        return 0 if channel is None else channel.carried_bytes

    def routes(self, topology: Topology, at_s: float, now_s: float) -> Routes:
        """The shortest paths by latency over the links that are up, the same one for both directions of a pair.

        Args:
            at_s: For the links' contact windows, in seconds since the epoch.
            now_s: By the clock of the relays.
        """
        self._set(topology, at_s, now_s)
        paths = {name: ShortestPaths(topology, name, at_s) for name in topology.nodes}
        return {(one, other): self._between(paths[one], one, other) for one, other in combinations(paths, 2)}

    def _set(self, topology: Topology, at_s: float, now_s: float) -> None:
        for name in topology.nodes:
            for other, link in topology.neighbors(name, at_s).items():
                channel = self._all.setdefault((name, other), Channel(link.bandwidth_mbps))
                if channel.bandwidth_mbps != link.bandwidth_mbps:
                    channel.set_bandwidth(link.bandwidth_mbps, now_s)

    def _between(self, paths: ShortestPaths, one: str, other: str) -> Mapping[str, Route] | None:
        path = paths.to(other)
        if not path:
            return None
        names, latency_ms = [point.node for point in path], path[-1].latency_ms
        back = reversed(names)
        return {other: self._route(latency_ms, names), one: self._route(latency_ms, back)}

    def _route(self, latency_ms: float, names: Iterable[str]) -> Route:
        return Route(latency_ms, tuple(self._all[hop] for hop in pairwise(names)))
