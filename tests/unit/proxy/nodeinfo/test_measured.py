"""Measurements: how they are mixed in, when they expire, and that the epoch does not rise with each."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.errors import UnknownNode
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.nodeinfo.measured import MeasuredTopology, Measurement, Mixing
from skylark_proxy.nodeinfo.provider import Provider
from skylark_proxy.topology import Topology

LATENCIES = st.floats(0, 10_000)
BANDWIDTHS = st.floats(0.01, 10_000)


class Base(Provider):
    """A triangle of links, of which a test may change the first."""

    def __init__(self, latency_ms: float = 10.0, bandwidth_mbps: float = 100.0) -> None:
        self.link(latency_ms, bandwidth_mbps)

    def link(self, latency_ms: float, bandwidth_mbps: float) -> None:
        nodes = [Node(name, "127.0.0.1", Tier.SAT) for name in ("a", "b", "c", "alone")]
        links = [Link("a", "b", latency_ms, bandwidth_mbps), Link("b", "c", 5.0, 50.0), Link("a", "c", 90.0, 1.0)]
        self.topology = Topology.build(nodes, links, epoch=1)

    def current(self, at_s: float) -> Topology:
        return self.topology


def measured(
    latency_ms: float | None = None, bandwidth_mbps: float | None = None, at_s: float = 1000.0, ends: str = "ab"
) -> Measurement:
    return Measurement(ends[0], ends[1], latency_ms, bandwidth_mbps, at_s)


def link_of(provider: Provider, at_s: float = 1000.0, ends: str = "ab") -> Link:
    return provider.current(at_s).neighbors(ends[0], at_s)[ends[1]]


@given(LATENCIES, BANDWIDTHS, LATENCIES, BANDWIDTHS, st.floats(0.1, 1))
def test_what_is_served_lies_between_what_is_configured_and_what_is_measured(
    latency_ms: float, bandwidth_mbps: float, measured_ms: float, measured_mbps: float, weight: float
) -> None:
    """The served value is the weighted mean, or within the hysteresis of it; the other links stay."""
    provider = MeasuredTopology(Base(latency_ms, bandwidth_mbps), Mixing(weight))
    assert provider.report(measured(measured_ms, measured_mbps), 1000.0)
    link = link_of(provider)
    for served, configured, seen in (
        (link.latency_ms, latency_ms, measured_ms),
        (link.bandwidth_mbps, bandwidth_mbps, measured_mbps),
    ):
        mean = (1 - weight) * configured + weight * seen
        assert served == pytest.approx(mean, rel=0.12, abs=0.11) or abs(mean - configured) <= 0.1 * max(configured, 1)
        assert min(configured, seen) - 1e-5 <= served <= max(configured, seen) + 1e-5
    assert provider.current(1000.0).links[1:] == Base().topology.links[1:]


def test_a_weight_of_one_serves_what_is_measured() -> None:
    """With weight 1 the file's values are but what holds until something is measured; with 0 reports count nothing."""
    provider = MeasuredTopology(Base(), Mixing(weight=1))
    provider.report(measured(33.0, 44.0), 1000.0)
    assert link_of(provider) == Link("a", "b", 33.0, 44.0)
    ignoring = MeasuredTopology(Base(), Mixing(weight=0))
    assert not ignoring.report(measured(33.0, 44.0), 1000.0)
    assert link_of(ignoring) == Link("a", "b", 10.0, 100.0)


def test_what_was_not_measured_stays_as_configured() -> None:
    """A report of the latency alone does not touch the bandwidth, and the other way round."""
    provider = MeasuredTopology(Base(), Mixing())
    provider.report(measured(latency_ms=30.0), 1000.0)
    assert link_of(provider) == Link("a", "b", 20.0, 100.0)
    provider.report(measured(bandwidth_mbps=20.0, ends="bc"), 1000.0)
    assert link_of(provider, ends="bc") == Link("b", "c", 5.0, 35.0)


def test_both_ends_count_alike() -> None:
    """Where both nodes of a link report, their mean is mixed in."""
    provider = MeasuredTopology(Base(), Mixing(weight=1))
    provider.report(measured(20.0, ends="ab"), 1000.0)
    provider.report(measured(40.0, ends="ba"), 1000.0)
    assert link_of(provider).latency_ms == 30.0


@given(st.lists(st.floats(0.96, 1.04), min_size=1, max_size=30))
def test_small_changes_do_not_raise_the_epoch(factors: list[float]) -> None:
    """Reports that vary by a few percent leave the object as it is."""
    provider = MeasuredTopology(Base(), Mixing(weight=1))
    provider.report(measured(50.0, 50.0), 1000.0)
    first = provider.current(1000.0)
    for factor in factors:
        provider.report(measured(50.0 * factor, 50.0 / factor), 1000.0)
        assert provider.current(1000.0) is first


def test_a_slow_drift_is_noticed_in_the_end() -> None:
    """Steps that are small one by one are taken over once they add up to the threshold."""
    provider = MeasuredTopology(Base(), Mixing(weight=1))
    epochs = set()
    for step in range(100):
        provider.report(measured(50.0 + step), 1000.0)
        epochs.add(provider.current(1000.0).epoch)
        assert link_of(provider).latency_ms == pytest.approx(50.0 + step, rel=0.12)
    assert 5 <= len(epochs) <= 15


def test_what_is_as_configured_is_no_change() -> None:
    """A measurement that confirms the file makes no new topology."""
    provider = MeasuredTopology(Base(), Mixing())
    first = provider.current(1000.0)
    provider.report(measured(10.5, 99.0), 1000.0)
    assert provider.current(1000.0) is first


def test_it_expires() -> None:
    """After the expiry the configured value is served again, with a higher epoch, and that time is known before."""
    provider = MeasuredTopology(Base(), Mixing(expiry_s=60))
    provider.report(measured(30.0), 1000.0)
    before = provider.current(1059.9)
    assert provider.next_change_s(1000.0) == 1060.0
    after = provider.current(1060.0)
    assert (before.links[0].latency_ms, after.links[0].latency_ms) == (20.0, 10.0)
    assert after.epoch == before.epoch + 1
    assert provider.next_change_s(1060.0) == math.inf


def test_old_reports_do_not_count_and_future_ones_are_of_now() -> None:
    """A clock that is ahead cannot make a report hold for longer than others."""
    provider = MeasuredTopology(Base(), Mixing(expiry_s=60))
    assert not provider.report(measured(30.0, at_s=939.9), 1000.0)
    assert provider.report(measured(30.0, at_s=5000.0), 1000.0)
    assert provider.next_change_s(1000.0) == 1060.0


def test_nodes_without_a_link_get_none() -> None:
    """A report of two nodes that are not linked does not count; one of a node that is not there is an error."""
    provider = MeasuredTopology(Base(), Mixing())
    first = provider.current(1000.0)
    assert not provider.report(Measurement("a", "alone", 1.0, 1.0, 1000.0), 1000.0)
    with pytest.raises(UnknownNode, match="nobody"):
        provider.report(Measurement("nobody", "a", 1.0, 1.0, 1000.0), 1000.0)
    with pytest.raises(UnknownNode, match="nobody"):
        provider.report(Measurement("a", "nobody", 1.0, 1.0, 1000.0), 1000.0)
    assert provider.current(1000.0) is first


def test_it_is_mixed_into_a_topology_that_changes() -> None:
    """When the base changes its link, the measurement is mixed into the new one; when it drops nodes, it is gone."""
    base = Base()
    provider = MeasuredTopology(base, Mixing())
    provider.report(measured(30.0), 1000.0)
    first = provider.current(1000.0)
    base.link(50.0, 100.0)
    assert link_of(provider).latency_ms == 40.0
    assert provider.current(1000.0).epoch == first.epoch + 1
    base.topology = Topology.build([Node("a", "127.0.0.1", Tier.SAT)], [], epoch=9)
    assert list(provider.current(1000.0).nodes) == ["a"]
    base.link(10.0, 100.0)
    assert link_of(provider).latency_ms == 10.0


def test_of_parallel_links_the_best_one_is_meant() -> None:
    """Exchanges take the best link that is up, so it is the one that they tell of."""
    base = Base()
    worse = Link("a", "b", 80.0, 100.0)
    base.topology = replace(
        base.topology,
        links=(worse, *base.topology.links),
        links_of={**base.topology.links_of, "a": [worse, *base.topology.links_of["a"]]},
    )
    provider = MeasuredTopology(base, Mixing(weight=1))
    provider.report(measured(30.0), 1000.0)
    links = provider.current(1000.0).links
    assert sorted(link.latency_ms for link in links if {link.source, link.target} == {"a", "b"}) == [30.0, 80.0]
