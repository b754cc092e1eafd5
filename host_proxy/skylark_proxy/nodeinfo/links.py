"""How links are drawn at random: ranges for each pair of tiers."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from skylark_proxy.model import Link, Node, Tier

Pair = tuple[Tier, Tier]
"""Two tiers in alphabetical order."""

DIGITS = 3
"""Latencies are drawn in whole microseconds, bandwidths in kbit/s."""


@dataclass(frozen=True, slots=True)
class LinkRange:
    """What a link between two tiers may be like: the lowest and the highest value."""

    latency_ms: tuple[float, float]
    bandwidth_mbps: tuple[float, float]


DEFAULT_RANGES: Mapping[Pair, LinkRange] = MappingProxyType(
    {
        (Tier.CLOUD, Tier.CLOUD): LinkRange((1.0, 10.0), (300.0, 1000.0)),
        (Tier.CLOUD, Tier.EDGE): LinkRange((30.0, 200.0), (1.0, 30.0)),
        (Tier.CLOUD, Tier.SAT): LinkRange((20.0, 100.0), (80.0, 200.0)),
        (Tier.EDGE, Tier.EDGE): LinkRange((10.0, 100.0), (2.0, 30.0)),
        (Tier.EDGE, Tier.SAT): LinkRange((50.0, 200.0), (2.0, 20.0)),
        (Tier.SAT, Tier.SAT): LinkRange((5.0, 30.0), (100.0, 500.0)),
    }
)
"""Orders of magnitude of radio links to low orbits, of optical links between satellites, and of the ground."""


@dataclass(frozen=True, slots=True)
class SimSettings:
    """What links are drawn from.

    `density` is the share of the pairs of nodes that are linked beyond those that keep the topology connected; 1: all
    pairs are. `interval_s` is how long what was drawn holds.
    """

    interval_s: float = 15.0
    density: float = 1.0
    ranges: Mapping[Pair, LinkRange] = field(default_factory=lambda: DEFAULT_RANGES)


def pair_of(one: Tier, other: Tier) -> Pair:
    """The pair of two tiers, whichever comes first."""
    return (one, other) if one <= other else (other, one)


def draw(nodes: Sequence[Node], settings: SimSettings, rng: random.Random) -> list[Link]:
    """Draws links between nodes. Links lead from each node to each other one, whatever the density."""
    links = []
    for one, other in _pairs(nodes, settings.density, rng):
        ranges = settings.ranges[pair_of(one.tier, other.tier)]
        latency_ms, bandwidth_mbps = _within(ranges.latency_ms, rng), _within(ranges.bandwidth_mbps, rng)
        links.append(Link(one.name, other.name, latency_ms, bandwidth_mbps))
    return links


def _pairs(nodes: Sequence[Node], density: float, rng: random.Random) -> Iterator[tuple[Node, Node]]:
    """A tree that reaches every node (each is joined to one before it, in a random order), and of the rest a share."""
    order = list(nodes)
    rng.shuffle(order)
    for index in range(1, len(order)):
        joined = rng.randrange(index)
        for before in range(index):
            if before == joined or rng.random() < density:
                yield order[before], order[index]


def _within(bounds: tuple[float, float], rng: random.Random) -> float:
    low, high = bounds
    return min(max(round(rng.uniform(low, high), DIGITS), low), high)
