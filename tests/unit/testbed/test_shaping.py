"""When a channel has carried what, on a clock that the tests turn."""

import heapq
import itertools
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_testbed.shaping import QUEUE_S, Channel, Jitter, Route

bandwidths = st.floats(0.1, 2000.0)
sizes = st.integers(1, 64 << 10)


def greedy(routes: Sequence[Route], until_s: float) -> list[int]:
    """What flows carry that always have something to send: each sleeps until the relay would read from it again."""
    carried = [0] * len(routes)
    wakes = [(0.0, number) for number in range(len(routes))]
    while wakes[0][0] < until_s:
        now_s, number = heapq.heappop(wakes)
        size_bytes = routes[number].chunk_bytes
        left_s = routes[number].take(size_bytes, now_s)
        carried[number] += size_bytes
        heapq.heappush(wakes, (max(now_s, left_s - QUEUE_S), number))
    return carried


def mbps(size_bytes: float, seconds: float) -> float:
    return 8 * size_bytes / seconds / 1e6


def test_bytes_leave_at_the_bandwidth() -> None:
    """40 Mbps carry 5,000 bytes in a millisecond; what comes later queues behind."""
    channel = Channel(40.0)
    assert channel.take(5000, 10.0) == pytest.approx(10.001)
    assert channel.take(5000, 10.0) == pytest.approx(10.002)
    assert channel.take(5000, 11.0) == pytest.approx(11.001)
    assert channel.carried_bytes == 15_000


@given(bandwidths, st.lists(st.tuples(st.floats(0.0, 0.1), sizes), min_size=1, max_size=50))
def test_no_more_than_the_bandwidth(bandwidth_mbps: float, chunks: list[tuple[float, int]]) -> None:
    """Whatever comes whenever: between any two departures there is the time that the bytes of the later ones take."""
    channel, now_s = Channel(bandwidth_mbps), 0.0
    departures = []
    for pause_s, size_bytes in chunks:
        now_s += pause_s
        departures.append((channel.take(size_bytes, now_s), size_bytes, now_s))
    for (before_s, _, _), (left_s, size_bytes, came_s) in itertools.pairwise(departures):
        assert left_s - max(before_s, came_s) == pytest.approx(8 * size_bytes / (bandwidth_mbps * 1e6))
        assert left_s > before_s


@given(bandwidths, bandwidths, sizes)
def test_another_bandwidth_counts_for_what_is_queued(before: float, after: float, size_bytes: int) -> None:
    """Half of what is queued has left at the old bandwidth, the rest leaves at the new one."""
    channel = Channel(before)
    left_s = channel.take(size_bytes, 0.0)
    channel.set_bandwidth(after, left_s / 2)
    assert channel.free_at_s == pytest.approx(left_s / 2 + 8 * size_bytes / 2 / (after * 1e6))


@given(st.lists(bandwidths, min_size=1, max_size=5), sizes)
def test_the_narrowest_channel_decides(widths: list[float], size_bytes: int) -> None:
    """Over several channels a chunk takes as long as over the narrowest one alone, and counts at each."""
    route = Route(0.0, tuple(map(Channel, widths)))
    assert route.take(size_bytes, 5.0) == pytest.approx(5.0 + 8 * size_bytes / (min(widths) * 1e6))
    assert [channel.carried_bytes for channel in route.channels] == [size_bytes] * len(widths)


@given(st.integers(1, 12), st.floats(1.0, 1000.0))
def test_flows_share_a_link_fairly(flows: int, bandwidth_mbps: float) -> None:
    """Each gets the same, and all together get the whole bandwidth and no more."""
    channel, seconds = Channel(bandwidth_mbps), 2.0
    route = Route(10.0, (channel,))
    carried = greedy([route] * flows, seconds)
    bytes_a_s = bandwidth_mbps * 1e6 / 8
    assert abs(sum(carried) - bytes_a_s * seconds) <= (flows + 2) * route.chunk_bytes + QUEUE_S * bytes_a_s
    assert max(carried) - min(carried) <= 2 * route.chunk_bytes + QUEUE_S * bytes_a_s


@given(st.floats(1.0, 20.0), st.floats(50.0, 500.0))
def test_a_flow_that_is_slowed_elsewhere_leaves_the_rest_to_others(narrow: float, wide: float) -> None:
    """Of two flows over a wide link, one comes over a narrow one too: the other one gets what that cannot use."""
    shared, seconds = Channel(wide), 2.0
    slow, fast = greedy([Route(0.0, (Channel(narrow), shared)), Route(0.0, (shared,))], seconds)
    assert mbps(slow, seconds) == pytest.approx(narrow, rel=0.15)
    assert mbps(fast, seconds) == pytest.approx(wide - narrow, rel=0.15)


def test_both_directions_are_apart() -> None:
    """What flows one way leaves the other direction's bandwidth alone."""
    there, back = greedy([Route(0.0, (Channel(10.0),)), Route(0.0, (Channel(10.0),))], 1.0)
    assert mbps(there, 1.0) == pytest.approx(10.0, rel=0.02)
    assert mbps(back, 1.0) == pytest.approx(10.0, rel=0.02)


def test_jitter_has_its_mean_and_spread() -> None:
    """Latencies are spread around the mean by the share that was asked for, and never beyond three of it."""
    jitter = Jitter(0.1, seed=1)
    drawn = [1000 * jitter.draw_s(50.0) for _ in range(5000)]
    assert statistics.fmean(drawn) == pytest.approx(50.0, rel=0.01)
    assert statistics.pstdev(drawn) == pytest.approx(5.0, rel=0.05)
    assert 35.0 <= min(drawn) <= max(drawn) <= 65.0


@given(st.floats(0.0, 1.0), st.floats(0.0, 1000.0), st.integers(0, 100))
def test_latency_is_never_negative_and_repeatable(share: float, latency_ms: float, seed: int) -> None:
    """However strong the jitter, nothing arrives before it was sent; the same seed draws the same."""
    one, other = Jitter(share, seed), Jitter(share, seed)
    drawn = [one.draw_s(latency_ms) for _ in range(20)]
    assert min(drawn) >= 0.0
    assert drawn == [other.draw_s(latency_ms) for _ in range(20)]
    assert share or drawn == [latency_ms / 1000] * 20
