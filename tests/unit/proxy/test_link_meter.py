"""What exchanges tell of a link: latency from small ones, bandwidth from large ones, smoothed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.link_meter import LARGE_BYTES, SMALL_BYTES, LinkEstimate, LinkMeter


@given(st.floats(1e-4, 10), st.integers(0, SMALL_BYTES))
def test_the_first_small_exchange_is_the_estimate(duration_s: float, size_bytes: int) -> None:
    """Latency is half the round trip."""
    meter = LinkMeter()
    meter.record("a", size_bytes, duration_s, 7.0)
    assert meter.take_fresh() == [LinkEstimate("a", duration_s * 500, None, 7.0)]


def test_later_ones_are_smoothed() -> None:
    """Each further sample moves the estimate by a fifth of the difference, so that one outlier does little."""
    meter = LinkMeter()
    meter.record("a", 0, 0.020, 1.0)
    meter.record("a", 0, 0.120, 2.0)
    (estimate,) = meter.take_fresh()
    assert estimate.latency_ms == pytest.approx(20.0)
    assert estimate.at_s == 2.0


@given(st.floats(1, 10_000), st.floats(0, 100), st.integers(LARGE_BYTES, 1 << 27))
def test_bandwidth_is_that_of_large_exchanges_less_their_round_trip(
    mbps: float, latency_ms: float, size_bytes: int
) -> None:
    """It is found again where the bytes take a good part of the time; otherwise at most ten times too little."""
    meter = LinkMeter()
    meter.record("a", 0, max(2 * latency_ms / 1000, 1e-9), 1.0)
    transfer_s = 8 * size_bytes / (mbps * 1e6)
    duration_s = transfer_s + 2 * latency_ms / 1000
    meter.record("a", size_bytes, duration_s, 2.0)
    (estimate,) = meter.take_fresh()
    assert estimate.bandwidth_mbps is not None
    if transfer_s > 0.11 * duration_s:
        assert estimate.bandwidth_mbps == pytest.approx(mbps, rel=1e-3)
    assert estimate.bandwidth_mbps <= mbps * 1.001


@given(st.integers(SMALL_BYTES + 1, LARGE_BYTES - 1))
def test_exchanges_in_between_tell_nothing(size_bytes: int) -> None:
    """Their time is neither the round trip nor the bytes."""
    meter = LinkMeter()
    meter.record("a", size_bytes, 0.1, 1.0)
    assert meter.take_fresh() == []


def test_only_links_with_exchanges_since_are_fresh() -> None:
    """What was taken is not taken again before there is something new; the estimate goes on."""
    meter = LinkMeter()
    meter.record("b", 0, 0.02, 1.0)
    meter.record("a", 0, 0.02, 1.0)
    assert [estimate.node for estimate in meter.take_fresh()] == ["a", "b"]
    assert meter.take_fresh() == []
    meter.record("b", 0, 0.02, 2.0)
    (estimate,) = meter.take_fresh()
    assert estimate.latency_ms == pytest.approx(10.0)
    assert (estimate.node, estimate.at_s) == ("b", 2.0)


def test_its_memory_is_bounded() -> None:
    """Of more nodes than it keeps, those that were silent for longest are forgotten."""
    meter = LinkMeter()
    for number in range(2000):
        meter.record(f"n{number:04}", 0, 0.01, float(number))
    fresh = meter.take_fresh()
    assert (len(fresh), fresh[0].node) == (1024, "n0976")
