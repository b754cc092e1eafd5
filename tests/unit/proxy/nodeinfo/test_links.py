"""Drawn links: within their ranges, connected, as dense as they were asked to be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.model import Node, Tier
from skylark_proxy.nodeinfo.links import DEFAULT_RANGES, LinkRange, SimSettings, draw, pair_of
from skylark_proxy.paths import ShortestPaths
from skylark_proxy.topology import Topology

TIERS = st.lists(st.sampled_from(Tier), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**32)


def nodes_of(tiers: list[Tier]) -> list[Node]:
    return [Node(f"n{index:02}", "127.0.0.1", tier) for index, tier in enumerate(tiers)]


@given(TIERS, st.floats(0, 1), SEEDS)
def test_links_are_within_the_ranges_of_their_tiers(tiers: list[Tier], density: float, seed: int) -> None:
    """Each link's latency and bandwidth lie in the range of its two tiers, bounds included."""
    nodes = {node.name: node for node in nodes_of(tiers)}
    for link in draw(list(nodes.values()), SimSettings(density=density), random.Random(seed)):
        ranges = DEFAULT_RANGES[pair_of(nodes[link.source].tier, nodes[link.target].tier)]
        assert ranges.latency_ms[0] <= link.latency_ms <= ranges.latency_ms[1]
        assert ranges.bandwidth_mbps[0] <= link.bandwidth_mbps <= ranges.bandwidth_mbps[1]


@given(TIERS, st.floats(0, 1), SEEDS)
def test_links_lead_from_each_node_to_each_other_one(tiers: list[Tier], density: float, seed: int) -> None:
    """Whatever the density, the topology is connected, Edge nodes included."""
    nodes = nodes_of(tiers)
    topology = Topology.build(nodes, draw(nodes, SimSettings(density=density), random.Random(seed)), epoch=1)
    paths = ShortestPaths(topology, nodes[0].name, 0.0)
    assert all(paths.to(node.name) for node in nodes)


@given(TIERS, SEEDS)
def test_density_goes_from_a_tree_to_all_pairs(tiers: list[Tier], seed: int) -> None:
    """With density 0 there are as many links as a tree has, with density 1 one for every pair, and none twice."""
    nodes = nodes_of(tiers)
    for density, count in ((0.0, len(nodes) - 1), (1.0, len(nodes) * (len(nodes) - 1) // 2)):
        links = draw(nodes, SimSettings(density=density), random.Random(seed))
        assert len(links) == len({frozenset((link.source, link.target)) for link in links}) == count


def test_a_density_is_about_the_share_of_pairs() -> None:
    """Of many pairs, about the share that the density says is linked."""
    nodes = nodes_of([Tier.SAT] * 60)
    share = len(draw(nodes, SimSettings(density=0.3), random.Random(1))) / (60 * 59 / 2)
    assert share == pytest.approx(0.3 + 0.7 * 2 / 60, abs=0.04)


@given(st.floats(0, 1000), st.floats(0, 1000), SEEDS)
def test_values_stay_within_bounds_that_rounding_would_leave(one: float, other: float, seed: int) -> None:
    """Values are rounded to microseconds, but never out of their range."""
    low, high = min(one, other), max(one, other)
    ranges = dict(DEFAULT_RANGES) | {(Tier.SAT, Tier.SAT): LinkRange((low, high), (1 + low, 1 + high))}
    (link,) = draw(nodes_of([Tier.SAT] * 2), SimSettings(ranges=ranges), random.Random(seed))
    assert low <= link.latency_ms <= high
    assert 1 + low <= link.bandwidth_mbps <= 1 + high


def test_every_pair_of_tiers_has_a_range() -> None:
    """Each tier can be linked with each, in whichever order they are named."""
    assert {pair_of(one, other) for one in Tier for other in Tier} == set(DEFAULT_RANGES)
    assert pair_of(Tier.SAT, Tier.CLOUD) == pair_of(Tier.CLOUD, Tier.SAT)
