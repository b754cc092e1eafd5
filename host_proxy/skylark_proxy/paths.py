"""Shortest paths by latency from one node, computed once for a topology and the links that are up.

Definition: the path to a destination has the lowest latency; among those the fewest hops; among those the one that,
walked back from the destination, each time comes from the node of the smallest name. All such paths from one node
form a tree, so the part of a path up to a node is the path to that node.

Exactness: latencies are whole microseconds, and a link weighs `latency_us * 2**16 + 1`, so a path's weight is its
latency and, in the low 16 bits, its number of hops. `Topology` has at most 2**16 nodes, hence fewer than 2**16 hops,
and latencies of at most 2**36 us together: weights stay below 2**53, where float64 (rustworkx's type) is exact.
"""

import math
from dataclasses import dataclass

import rustworkx as rx

from skylark_proxy.model import Link
from skylark_proxy.topology import Topology, latency_us

HOP_BITS = 16
"""The low bits of a weight, which count hops."""


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A node on a path, with what the path from the local node to it amounts to.

    `previous` is the node before it, None at the local node. `latency_ms` is the sum over the links, `bandwidth_mbps`
    that of the narrowest link, `window_ends_s` the earliest end of a contact window; the last two are infinite where
    nothing bounds them, as at the local node.
    """

    node: str
    previous: str | None
    latency_ms: float
    bandwidth_mbps: float
    window_ends_s: float


class ShortestPaths:
    """The paths from one node to all others while the same links are up.

    A node's place in the tree is found when a path first leads over it, then kept. Safe for threads: what two of them
    find is equal.
    """

    def __init__(self, topology: Topology, local: str, at_s: float) -> None:
        """Finds the distance of every node over the links that are up at the time `at_s`.

        Raises:
            UnknownNode: `local` is not in the topology.
            InvalidArgument: `at_s` is not a finite number.
        """
        topology.node(local)
        self.topology = topology
        self.local = local
        self._at_s = at_s
        self._interval = topology.contact_interval(at_s)
        self._distances = _distances(topology, local, at_s)
        self._tree = {local: Waypoint(local, None, 0.0, math.inf, math.inf)}

    def hold_at(self, at_s: float) -> bool:
        """Whether these paths are also those of the time `at_s`: the same links are up.

        Raises:
            InvalidArgument: `at_s` is not a finite number.
        """
        return self.topology.contact_interval(at_s) == self._interval

    def to(self, destination: str) -> tuple[Waypoint, ...]:
        """The path from the local node (first) to the destination (last); empty where no links lead there.

        Raises:
            UnknownNode: The destination is not in the topology.
        """
        self.topology.node(destination)
        if destination not in self._distances:
            return ()
        if destination not in self._tree:
            self._grow(destination)
        point = self._tree[destination]
        path = [point]
        while point.previous is not None:
            point = self._tree[point.previous]
            path.append(point)
        return tuple(reversed(path))

    def _grow(self, destination: str) -> None:
        steps: list[tuple[str, str, Link]] = []
        node = destination
        while node not in self._tree:
            previous, link = self._step_back(node)
            steps.append((node, previous, link))
            node = previous
        for node, previous, link in reversed(steps):
            self._tree[node] = self._extend(self._tree[previous], node, link)

    def _step_back(self, node: str) -> tuple[str, Link]:
        distance = self._distances[node]
        for name, link in self.topology.neighbors(node, self._at_s).items():
            if self._distances[name] + _weight(link) == distance:
                return name, link
        raise AssertionError(f"no neighbour of {node!r} explains its distance {distance}")

    def _extend(self, last: Waypoint, node: str, link: Link) -> Waypoint:
        return Waypoint(
            node=node,
            previous=last.node,
            latency_ms=(self._distances[node] >> HOP_BITS) / 1000,
            bandwidth_mbps=min(last.bandwidth_mbps, link.bandwidth_mbps),
            window_ends_s=last.window_ends_s if link.up_until_s is None else min(last.window_ends_s, link.up_until_s),
        )


def _distances(topology: Topology, local: str, at_s: float) -> dict[str, int]:
    names = list(topology.nodes)
    index = {name: number for number, name in enumerate(names)}
    graph: rx.PyGraph[None, float] = rx.PyGraph()
    graph.add_nodes_from([None] * len(names))
    graph.add_edges_from(
        [(index[link.source], index[link.target], float(_weight(link))) for link in topology.links if link.is_up(at_s)]
    )
    lengths = rx.graph_dijkstra_shortest_path_lengths(graph, index[local], float)
    return {local: 0} | {names[number]: int(length) for number, length in lengths.items()}


def _weight(link: Link) -> int:
    return (latency_us(link) << HOP_BITS) + 1
