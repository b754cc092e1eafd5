"""The routes between nodes, and what faults make of them."""

import pytest

from skylark_proxy.errors import InvalidArgument, UnknownNode
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.topology import Topology
from skylark_testbed.routing import Channels, Faults, Slowness, linked_pair

NODES = [Node(name, f"127.0.0.1:{port}", Tier.SAT) for name, port in (("a", 1), ("b", 2), ("c", 3), ("d", 4))]
TOPOLOGY = Topology.build(NODES, [Link("a", "b", 10, 40), Link("b", "c", 20, 90), Link("a", "c", 50, 5)], epoch=1)
AB = ("a", "b")


def test_a_route_is_the_shortest_path() -> None:
    """Latencies add up, the narrowest link counts, in both directions; without links there is no route."""
    routes = Channels().routes(TOPOLOGY, 0.0, 0.0)
    between = routes["a", "c"]
    assert between is not None
    assert [(between[end].latency_ms, between[end].bandwidth_mbps) for end in ("a", "c")] == [(30, 40), (30, 40)]
    assert routes["a", "d"] is None


def test_routes_over_the_same_link_share_its_channel() -> None:
    """a–b and a–c both flow over the link a–b, there and back over two channels of it."""
    routes = Channels().routes(TOPOLOGY, 0.0, 0.0)
    short, long = routes["a", "b"], routes["a", "c"]
    assert short is not None and long is not None
    assert short["b"].channels[0] is long["c"].channels[0]
    assert short["a"].channels[0] is long["a"].channels[1]
    assert short["a"].channels[0] is not short["b"].channels[0]


def test_channels_outlive_a_change() -> None:
    """What is queued stays queued while a link changes its bandwidth, and what was carried counts on."""
    channels = Channels()
    first = channels.routes(TOPOLOGY, 0.0, 0.0)["a", "b"]
    assert first is not None
    first["b"].take(40_000, 0.0)
    slow = Faults().with_slow(AB, Slowness(bandwidth_mbps=4)).applied(TOPOLOGY)
    second = channels.routes(slow, 0.0, 0.0)["a", "b"]
    assert second is not None
    assert second["b"].channels == first["b"].channels
    assert second["b"].channels[0].free_at_s == pytest.approx(0.08)
    assert channels.carried_bytes("a", "b") == 40_000
    assert channels.carried_bytes("b", "a") == 0


def test_a_cut_link_is_gone_around() -> None:
    """Where another path is left it is taken, until the link is healed; where none is, there is no route."""
    faults = Faults().with_cut(AB)
    around = Channels().routes(faults.applied(TOPOLOGY), 0.0, 0.0)
    assert around["a", "c"] is not None and around["a", "c"]["c"].latency_ms == 50
    alone = faults.with_cut(("a", "c")).applied(TOPOLOGY)
    assert Channels().routes(alone, 0.0, 0.0)["a", "c"] is None
    assert faults.without(AB).applied(TOPOLOGY) == TOPOLOGY


def test_a_slow_link() -> None:
    """What is not said of a slow link stays as it was."""
    slow = Faults().with_slow(AB, Slowness(latency_ms=15)).applied(TOPOLOGY)
    assert [link for link in slow.links if link.source == "a"] == [Link("a", "b", 15, 40), Link("a", "c", 50, 5)]


def test_contact_windows_count() -> None:
    """A link that has no contact now carries nothing."""
    passing = Topology.build(NODES, [Link("a", "b", 10, 40, up_from_s=100, up_until_s=200)], epoch=1)
    assert Channels().routes(passing, 99.0, 0.0)[AB] is None
    assert Channels().routes(passing, 100.0, 0.0)[AB] is not None


def test_no_such_link() -> None:
    """A link is named by its two nodes in any order; an error says which links there are."""
    assert linked_pair(TOPOLOGY, "b", "a") == AB
    with pytest.raises(InvalidArgument, match=r"a has links to \['b', 'c'\]"):
        linked_pair(TOPOLOGY, "a", "d")
    with pytest.raises(UnknownNode, match="mars"):
        linked_pair(TOPOLOGY, "a", "mars")
