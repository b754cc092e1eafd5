"""Nodes and links at one moment.

A topology is made by `Topology.build` or `Topology.parse`, which check it; what then reads it trusts it. Errors name
a field by its path in the JSON form, such as `edges[3].latency`.
"""

import contextlib
import functools
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import msgspec

from skylark_proxy.errors import InvalidArgument, UnknownNode
from skylark_proxy.model import DEFAULT_PORT, Link, Node, Objectives, Tier, check_name
from skylark_proxy.topology_json import (
    EXPECTED,
    MAX_LATENCY_MS,
    MIN_BANDWIDTH_MBPS,
    EdgeJson,
    NodeJson,
    TopologyJson,
    decode,
)

MAX_NODES = 2**16
"""So that a path has fewer than 2**16 hops; see `paths`."""

MAX_TOTAL_LATENCY_US = 2**36
"""What the latencies of all links may add up to (19 hours), so that no path's sum leaves float64's integers; see
`paths`."""


@dataclass(frozen=True)
class Topology:
    """The continuum at one moment.

    Args:
        nodes: The nodes by name, sorted by name.
        links: Undirected links. A pair of nodes may have several, such as one for each contact window.
        epoch: Rises with every change.
        links_of: The links at each node, by its name.
        contact_changes_s: The times at which a contact window begins or ends, sorted, in seconds since the epoch.
        objectives: What the operator asks for while this topology holds; None: the node's own settings say it.
    """

    nodes: Mapping[str, Node]
    links: tuple[Link, ...]
    epoch: int
    links_of: Mapping[str, Sequence[Link]] = field(repr=False, compare=False)
    contact_changes_s: Sequence[float] = field(repr=False, compare=False)
    objectives: Objectives | None = None

    @classmethod
    def build(cls, nodes: Iterable[Node], links: Iterable[Link], epoch: int) -> "Topology":
        """Checks nodes and links, collapses duplicates (of a link also reversed) and keeps the rest in order.

        Raises:
            InvalidArgument: A value is out of range, a node is described twice differently, a link's end is unknown.
        """
        return _assemble(((f"nodes[{index}]", node) for index, node in enumerate(nodes)), links, epoch)

    @classmethod
    def parse(cls, data: bytes | str, epoch: int) -> "Topology":
        """Reads the JSON form.

        Args:
            data: `{"edges": [{"source": N, "target": N, "latency": ms, "bandwidth": Mbps, "from": s, "until": s}],
                "nodes": [N]}` with `N = {"node_name", "node_ip", "node_type"}`. `from`, `until` and `nodes` may be
                missing; `nodes` is for nodes without links.
            epoch: The epoch of the result; the JSON has none.

        Raises:
            InvalidArgument: The data is not such JSON; the error names the field and what was expected.
        """
        document = decode(data)
        topology = _assemble(document.described(), (edge.to_link() for edge in document.edges), epoch)
        check_addresses(document.described())
        return topology

    def to_json(self) -> bytes:
        """The JSON form; `Topology.parse` with the same epoch reads an equal topology from it."""
        described = {name: NodeJson(node.name, node.address, node.tier) for name, node in self.nodes.items()}
        edges = [
            EdgeJson(
                described[link.source],
                described[link.target],
                link.latency_ms,
                link.bandwidth_mbps,
                link.up_from_s,
                link.up_until_s,
            )
            for link in self.links
        ]
        alone = [node for name, node in described.items() if not self.links_of[name]]
        return msgspec.json.encode(TopologyJson(edges, alone))

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            UnknownNode: There is none; the error lists the known ones.
        """
        try:
            return self.nodes[name]
        except KeyError:
            raise UnknownNode(name, tuple(self.nodes)) from None

    def nodes_of(self, tier: Tier) -> tuple[Node, ...]:
        """The nodes of a tier, sorted by name; empty where there is none."""
        return tuple(node for node in self.nodes.values() if node.tier is tier)

    def cloud_nodes(self) -> tuple[Node, ...]:
        """The nodes of the cloud, sorted by name. Every fetch and store asks for them, so they are found once."""
        return self._cloud_nodes

    @cached_property
    def _cloud_nodes(self) -> tuple[Node, ...]:
        return self.nodes_of(Tier.CLOUD)

    def neighbors(self, name: str, at_s: float) -> dict[str, Link]:
        """The nodes that `name` has contact with at the time `at_s`, sorted, each with the best link to it.

        Between parallel links the one of lower latency (in whole microseconds) is better, then the one of higher
        bandwidth, then the one whose contact window ends later, then the one that the topology names first.

        Raises:
            UnknownNode: There is no node `name`.
        """
        self.node(name)
        best: dict[str, Link] = {}
        for link in self.links_of[name]:
            other = link.target if link.source == name else link.source
            if link.is_up(at_s) and (other not in best or _rank(link) < _rank(best[other])):
                best[other] = link
        return dict(sorted(best.items()))

    def contact_interval(self, at_s: float) -> int:
        """The number of the interval that `at_s` lies in, counted from 0.

        The ends of all contact windows cut time into intervals; within one the same links are up.

        Raises:
            InvalidArgument: `at_s` is not a finite number.
        """
        if not math.isfinite(at_s):
            raise InvalidArgument("at_s", at_s, "a finite number of seconds since the epoch")
        return bisect_right(self.contact_changes_s, at_s)


class TopologyProvider(Protocol):
    """Knows the topology at a time: from a file, from a rotation, drawn at random, from Kubernetes."""

    def current(self, at_s: float) -> Topology:
        """The topology at the time `at_s`. While nothing has changed it is the same object, not just an equal one."""
        ...


class StaticTopology:
    """The topology of one JSON file, read at the start and again where `refresh` says so."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            InvalidArgument: The file cannot be read or is not a topology; the error names the file and the field.
        """
        self._path = path
        self._topology = load_topology(path, epoch=1)

    def current(self, at_s: float) -> Topology:
        """The file's topology, whatever the time; its links may still have contact windows."""
        return self._topology

    def refresh(self) -> None:
        """Reads the file again. The epoch rises if the topology is another one.

        Raises:
            InvalidArgument: As at the start; the topology stays what it was.
        """
        read = load_topology(self._path, self._topology.epoch)
        if read != self._topology:
            self._topology = replace(read, epoch=read.epoch + 1)


def load_topology(path: Path, epoch: int) -> Topology:
    """Reads a topology from a JSON file.

    Raises:
        InvalidArgument: The file cannot be read or is not a topology; the error names the file and the field.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as exc:  # the latter of a path that none can be, with a zero byte in it
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidArgument("topology file", str(path), f"a file that can be read ({reason})") from exc
    try:
        return Topology.parse(data, epoch)
    except InvalidArgument as exc:
        raise InvalidArgument(f"{path}: {exc.field}", exc.value, exc.expected) from exc


def address_of(host: str, port: int) -> str:
    """A node's address: `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@functools.lru_cache(maxsize=1024)
def endpoint(address: str) -> str:
    """Return the one form of a node's address: with the port, the host in lower case or as the plain IP address."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    port = match["port"]
    host = address.removesuffix(f":{port}") if port else address
    with contextlib.suppress(ValueError):
        parsed = ip_address(host.strip("[]"))
        host = str((parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed)
    return address_of(host.lower(), int(port or DEFAULT_PORT))


def check_addresses(described: Iterable[tuple[str, Node]]) -> None:
    """Check that no two nodes share an address: what is sent to one of them would reach the other.

    Args:
        described: The nodes, each with the path of its description, for the error.

    Raises:
        InvalidArgument: Two nodes do; the error names both.
    """
    taken: dict[str, Node] = {}
    for path, node in described:
        other = taken.setdefault(endpoint(node.address), node)
        if other.name != node.name:
            shared = f"an address of its own for node {node.name}; node {other.name} has this one"
            raise InvalidArgument(f"{path}.node_ip", node.address, shared)


def latency_us(link: Link) -> int:
    """A link's latency in whole microseconds: the form in which latencies are compared and added, without rounding."""
    return round(link.latency_ms * 1000)


def _rank(link: Link) -> tuple[int, float, float]:
    return latency_us(link), -link.bandwidth_mbps, -math.inf if link.up_until_s is None else -link.up_until_s


def _assemble(described: Iterable[tuple[str, Node]], links: Iterable[Link], epoch: int) -> Topology:
    nodes = _collect_nodes(described)
    kept = _collect_links(links, nodes)
    if not nodes:
        raise InvalidArgument("edges", [], "at least one edge, or at least one node in `nodes`")
    if len(nodes) > MAX_NODES:
        raise InvalidArgument("edges", f"{len(nodes)} nodes", f"at most {MAX_NODES} nodes")
    total_us = sum(map(latency_us, kept))
    if total_us > MAX_TOTAL_LATENCY_US:
        expected = f"latencies of at most {MAX_TOTAL_LATENCY_US // 1000} ms together"
        raise InvalidArgument("edges", f"{total_us // 1000} ms", expected)
    return Topology(MappingProxyType(nodes), kept, epoch, _group(kept, nodes), _contact_changes_s(kept))


def _collect_nodes(described: Iterable[tuple[str, Node]]) -> dict[str, Node]:
    first: dict[str, tuple[str, Node]] = {}
    for path, node in described:
        known = first.get(node.name)
        if known is None:
            _check_node(path, node)
            first[node.name] = path, node
        elif known[1] != node:
            expected = f"what {known[0]} says of this node: {_describe(known[1])}"
            raise InvalidArgument(path, _describe(node), expected)
    return {name: first[name][1] for name in sorted(first)}


def _collect_links(links: Iterable[Link], nodes: Mapping[str, Node]) -> tuple[Link, ...]:
    kept: dict[tuple[object, ...], Link] = {}
    for index, link in enumerate(links):
        _check_link(f"edges[{index}]", link, nodes)
        pair = min(link.source, link.target), max(link.source, link.target)
        kept.setdefault((pair, link.latency_ms, link.bandwidth_mbps, link.up_from_s, link.up_until_s), link)
    return tuple(kept.values())


def _group(links: Iterable[Link], nodes: Iterable[str]) -> dict[str, list[Link]]:
    links_of: dict[str, list[Link]] = {name: [] for name in nodes}
    for link in links:
        links_of[link.source].append(link)
        links_of[link.target].append(link)
    return links_of


def _contact_changes_s(links: Iterable[Link]) -> list[float]:
    ends = {end for link in links for end in (link.up_from_s, link.up_until_s) if end is not None}
    return sorted(ends)


_ADDRESS = re.compile(
    r"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(:(?P<port>[0-9]{1,5}))?"
)


def _check_node(path: str, node: Node) -> None:
    check_name(f"{path}.node_name", node.name)
    if not _is_address(node.address):
        raise InvalidArgument(f"{path}.node_ip", node.address, EXPECTED["node_ip"])


def _is_address(text: str) -> bool:
    match = _ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match["port"] or 1) <= 65535:
        return False
    try:
        if match["v6"]:
            IPv6Address(match["v6"])
        elif match["v4"]:
            IPv4Address(match["v4"])
    except ValueError:
        return False
    return True


def _check_link(path: str, link: Link, nodes: Mapping[str, Node]) -> None:
    for end, name in (("source", link.source), ("target", link.target)):
        if name not in nodes:
            raise InvalidArgument(f"{path}.{end}", name, "a node of the topology")
    if link.source == link.target:
        raise InvalidArgument(f"{path}.target", link.target, "a node other than the source")
    if not 0 <= link.latency_ms <= MAX_LATENCY_MS:
        raise InvalidArgument(f"{path}.latency", link.latency_ms, EXPECTED["latency"])
    if not MIN_BANDWIDTH_MBPS <= link.bandwidth_mbps < math.inf:
        raise InvalidArgument(f"{path}.bandwidth", link.bandwidth_mbps, EXPECTED["bandwidth"])
    for end, time_s in (("from", link.up_from_s), ("until", link.up_until_s)):
        if time_s is not None and not math.isfinite(time_s):
            raise InvalidArgument(f"{path}.{end}", time_s, EXPECTED[end])
    if link.up_from_s is not None and link.up_until_s is not None and link.up_from_s >= link.up_until_s:
        raise InvalidArgument(f"{path}.until", link.up_until_s, f"a time later than `from` ({link.up_from_s})")


def _describe(node: Node) -> str:
    return f"{node.name} at {node.address}, {node.tier}"
