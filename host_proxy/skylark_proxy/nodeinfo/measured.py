"""Measured links, mixed into the topology of another provider."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from threading import Lock

from skylark_proxy.model import Link
from skylark_proxy.nodeinfo.provider import Latest, Provider
from skylark_proxy.topology import Topology

_LEAST_LATENCY_MS = 1.0
"""Below it, latencies count as alike: the noise of a loaded machine is as large."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a node measured of its link to another one.

    `latency_ms` or `bandwidth_mbps` is None where it was not measured; `at_s` is in seconds since the epoch.
    """

    source: str
    target: str
    latency_ms: float | None
    bandwidth_mbps: float | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Mixing:
    """How measurements count.

    Args:
        weight: Their share in what is served: 0 nothing, 1 all.
        expiry_s: How long one counts.
        threshold: By what share a value has to differ from the served one before that is changed: the hysteresis that
            keeps the epoch from rising with every report.
    """

    weight: float = 0.5
    expiry_s: float = 60.0
    threshold: float = 0.1


class MeasuredTopology(Provider):
    """The topology of another provider, with its links corrected by what proxies measured.

    A measurement counts for the link that is the best one between its two nodes, in both directions; where both ends
    report, the mean counts. Links that the other provider does not have are not made up.
    """

    def __init__(self, base: Provider, mixing: Mixing) -> None:
        self._base = base
        self._mixing = mixing
        self._lock = Lock()
        self._measured: dict[tuple[str, str], Measurement] = {}
        self._corrected: dict[Link, Link] = {}
        self._latest = Latest()

    def report(self, measurement: Measurement, now_s: float) -> bool:
        """Takes a measurement; False: it does not count, as it has expired or its nodes have no link now.

        A time in the future, from a clock that is ahead, is taken for now.

        Raises:
            UnknownNode: One of the nodes is not in the topology.
        """
        topology = self._base.current(now_s)
        topology.node(measurement.target)
        linked = measurement.target in topology.neighbors(measurement.source, now_s)
        measurement = replace(measurement, at_s=min(measurement.at_s, now_s))
        if not linked or self._expires_s(measurement) <= now_s or self._mixing.weight == 0:
            return False
        with self._lock:
            self._measured[measurement.source, measurement.target] = measurement
        return True

    def current(self, at_s: float) -> Topology:
        """The other provider's topology, with the links corrected that measurements say are otherwise."""
        base = self._base.current(at_s)
        with self._lock:
            self._measured = {
                ends: measurement
                for ends, measurement in self._measured.items()
                if self._expires_s(measurement) > at_s and ends[0] in base.nodes and ends[1] in base.nodes
            }
            self._corrected = dict(self._corrections(base, at_s))
            corrected = self._corrected
            return self._latest.made_of((base, tuple(corrected.values())), lambda epoch: _made(base, corrected, epoch))

    def upcoming(self, at_s: float) -> Topology:
        """That of the other provider: what has not begun is not measured."""
        return self._base.upcoming(at_s)

    def next_change_s(self, at_s: float) -> float:
        """When the other provider's topology changes, or a measurement expires."""
        with self._lock:
            expires_s = min(map(self._expires_s, self._measured.values()), default=math.inf)
        return min(self._base.next_change_s(at_s), expires_s)

    def rotation(self, at_s: float) -> Sequence[Topology]:
        """That of the other provider."""
        return self._base.rotation(at_s)

    def refresh(self) -> None:
        """Refreshes the other provider."""
        self._base.refresh()

    def problem(self) -> str | None:
        """That of the other provider."""
        return self._base.problem()

    def _expires_s(self, measurement: Measurement) -> float:
        return measurement.at_s + self._mixing.expiry_s

    def _corrections(self, base: Topology, at_s: float) -> list[tuple[Link, Link]]:
        """The links that are served otherwise than the other provider says, each with what is served for it."""
        corrections = []
        for source, target in sorted({(min(ends), max(ends)) for ends in self._measured}):
            link = base.neighbors(source, at_s).get(target)
            if link is None:
                continue
            served = self._corrected.get(link, link)
            mixed = self._mix(link, [self._measured.get(ends) for ends in ((source, target), (target, source))])
            if not _alike(served, mixed, self._mixing.threshold):
                served = mixed
            if served is not link:
                corrections.append((link, served))
        return corrections

    def _mix(self, link: Link, measured: Sequence[Measurement | None]) -> Link:
        latencies = [one.latency_ms for one in measured if one is not None and one.latency_ms is not None]
        bandwidths = [one.bandwidth_mbps for one in measured if one is not None and one.bandwidth_mbps is not None]
        return replace(
            link,
            latency_ms=self._mean(link.latency_ms, latencies),
            bandwidth_mbps=self._mean(link.bandwidth_mbps, bandwidths),
        )

    def _mean(self, configured: float, measured: Sequence[float]) -> float:
        if not measured:
            return configured
        return round((1 - self._mixing.weight) * configured + self._mixing.weight * fmean(measured), 6)


def _alike(one: Link, other: Link, threshold: float) -> bool:
    latency_ms = threshold * max(one.latency_ms, _LEAST_LATENCY_MS)
    return (
        abs(one.latency_ms - other.latency_ms) <= latency_ms
        and abs(one.bandwidth_mbps - other.bandwidth_mbps) <= threshold * one.bandwidth_mbps
    )


def _made(base: Topology, corrected: Mapping[Link, Link], epoch: int) -> Topology:
    if not corrected:
        return replace(base, epoch=epoch)
    return Topology.build(base.nodes.values(), (corrected.get(link, link) for link in base.links), epoch)
