"""The JSON that the node-info service takes and answers with, as typed objects: read here, and by its followers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import NAME_PATTERN, Node, Objectives
from skylark_proxy.nodeinfo.links import LinkRange, Pair, SimSettings
from skylark_proxy.nodeinfo.measured import Measurement
from skylark_proxy.nodeinfo.rotating import MAX_INTERVAL_S, MIN_INTERVAL_S
from skylark_proxy.topology import Topology
from skylark_proxy.topology_json import MAX_LATENCY_MS, MIN_BANDWIDTH_MBPS

MAX_DRAWN_LATENCY_MS = 10_000.0
MAX_BANDWIDTH_MBPS = 1e9

Name = Annotated[str, Meta(pattern=f"^{NAME_PATTERN}$")]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
Latency = Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)]
Bandwidth = Annotated[float, Meta(ge=MIN_BANDWIDTH_MBPS, le=MAX_BANDWIDTH_MBPS)]
DrawnLatency = Annotated[float, Meta(ge=0, le=MAX_DRAWN_LATENCY_MS)]


class ObjectivesJson(msgspec.Struct, forbid_unknown_fields=True):
    """Objectives under their published names. In a request, what is missing stays as it is."""

    max_latency: NotNegative | None = None
    min_bandwidth: NotNegative | None = None

    @classmethod
    def of(cls, objectives: Objectives) -> "ObjectivesJson":
        return cls(objectives.max_latency_ms, objectives.min_bandwidth_mbps)

    def over(self, objectives: Objectives) -> Objectives:
        """These objectives; where they say nothing, the given ones."""
        return Objectives(
            objectives.max_latency_ms if self.max_latency is None else self.max_latency,
            objectives.min_bandwidth_mbps if self.min_bandwidth is None else self.min_bandwidth,
        )


class MeasurementJson(msgspec.Struct, forbid_unknown_fields=True):
    """A measurement. Without `at_s` it is of now."""

    source: Name
    target: Name
    latency_ms: Latency | None = None
    bandwidth_mbps: Bandwidth | None = None
    at_s: NotNegative | None = None

    def to_measurement(self, now_s: float) -> Measurement:
        """The measurement.

        Raises:
            InvalidArgument: It says nothing, or is of a node to itself.
        """
        if self.source == self.target:
            raise InvalidArgument("target", self.target, "a node other than the source")
        if self.latency_ms is None and self.bandwidth_mbps is None:
            raise InvalidArgument("latency_ms", None, "a latency, or a bandwidth_mbps")
        at_s = now_s if self.at_s is None else self.at_s
        return Measurement(self.source, self.target, self.latency_ms, self.bandwidth_mbps, at_s)


class RangeJson(msgspec.Struct, forbid_unknown_fields=True):
    """The lowest and the highest value; what is missing stays as it is."""

    latency_ms: tuple[DrawnLatency, DrawnLatency] | None = None
    bandwidth_mbps: tuple[Bandwidth, Bandwidth] | None = None

    def over(self, field: str, before: LinkRange) -> LinkRange:
        return LinkRange(
            _ordered(f"{field}.latency_ms", self.latency_ms or before.latency_ms),
            _ordered(f"{field}.bandwidth_mbps", self.bandwidth_mbps or before.bandwidth_mbps),
        )


class RangesJson(msgspec.Struct, forbid_unknown_fields=True):
    """Ranges by pairs of tiers; what is missing stays as it is."""

    cloud_cloud: RangeJson | None = msgspec.field(name="Cloud-Cloud", default=None)
    cloud_edge: RangeJson | None = msgspec.field(name="Cloud-Edge", default=None)
    cloud_sat: RangeJson | None = msgspec.field(name="Cloud-Sat", default=None)
    edge_edge: RangeJson | None = msgspec.field(name="Edge-Edge", default=None)
    edge_sat: RangeJson | None = msgspec.field(name="Edge-Sat", default=None)
    sat_sat: RangeJson | None = msgspec.field(name="Sat-Sat", default=None)

    @classmethod
    def of(cls, ranges: Mapping[Pair, LinkRange]) -> "RangesJson":
        return cls(**{_attribute(pair): RangeJson(one.latency_ms, one.bandwidth_mbps) for pair, one in ranges.items()})

    def over(self, before: Mapping[Pair, LinkRange]) -> dict[Pair, LinkRange]:
        """These ranges; where they say nothing, the given ones."""
        given = {pair: getattr(self, _attribute(pair)) or RangeJson() for pair in before}
        return {pair: one.over("ranges." + "-".join(pair), before[pair]) for pair, one in given.items()}


class SimSettingsJson(msgspec.Struct, forbid_unknown_fields=True):
    """Settings of the random provider."""

    interval_s: Annotated[float, Meta(ge=MIN_INTERVAL_S, le=MAX_INTERVAL_S)] | None = None
    density: Annotated[float, Meta(ge=0, le=1)] | None = None
    ranges: RangesJson | None = None

    @classmethod
    def of(cls, settings: SimSettings) -> "SimSettingsJson":
        return cls(settings.interval_s, settings.density, RangesJson.of(settings.ranges))

    def over(self, settings: SimSettings) -> SimSettings:
        """These settings; where they say nothing, the given ones.

        Raises:
            InvalidArgument: A lowest value is above the highest.
        """
        return SimSettings(
            settings.interval_s if self.interval_s is None else self.interval_s,
            settings.density if self.density is None else self.density,
            settings.ranges if self.ranges is None else self.ranges.over(settings.ranges),
        )


class SnapshotJson(msgspec.Struct):
    """The answer of `/current-topology`, as a follower reads it: what it does not know is passed over."""

    epoch: int
    edges: msgspec.Raw
    nodes: msgspec.Raw = msgspec.Raw(b"[]")
    objectives: ObjectivesJson | None = None

    def to_topology(self) -> Topology:
        """The topology, with its epoch and objectives.

        Raises:
            InvalidArgument: It is not a topology; the error names the field.
        """
        topology = Topology.parse(b'{"edges":%b,"nodes":%b}' % (bytes(self.edges), bytes(self.nodes)), self.epoch)
        asked = self.objectives.over(Objectives()) if self.objectives is not None else None
        return replace(topology, objectives=asked)


def node_json(node: Node) -> dict[str, Any]:
    """A node under its published names."""
    return {"node_name": node.name, "node_ip": node.address, "node_type": node.tier}


def _ordered(field: str, bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise InvalidArgument(field, list(bounds), "the lowest value, then the highest")
    return bounds


def _attribute(pair: Pair) -> str:
    return "_".join(pair).lower()
