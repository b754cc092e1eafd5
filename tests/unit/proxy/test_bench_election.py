"""The benchmark of elections, over small graphs."""

import random
import time

import pytest

from skylark_proxy.bench import election
from skylark_proxy.bench.election import PUBLISHED_MS, bench_election, ring_graph
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.topology import Topology


@pytest.mark.parametrize("count", [3, 10, 100])
def test_every_node_has_four_links_and_can_be_reached(count: int) -> None:
    """A graph is two rings over all nodes, with the latencies of the published graphs."""
    nodes, links = ring_graph(count, random.Random(1))
    ends = [end for link in links for end in (link.source, link.target)]
    assert [ends.count(node.name) for node in nodes] == [4] * count
    assert {link.latency_ms for link in links} <= set(range(2, 11))
    topology = Topology.build(nodes, links, epoch=1)
    reached, ahead = {"n0"}, ["n0"]
    while ahead:
        found = set(topology.neighbors(ahead.pop(), 0.0)) - reached
        reached |= found
        ahead += found
    assert len(reached) == count


def test_each_size_is_measured() -> None:
    """There is one result for each size, in order, with as many runs as asked for and the published figure if any."""
    told: list[str] = []
    results = bench_election((10, 30), runs=2, progress=told.append)
    assert [(result.nodes, result.runs, result.published_ms) for result in results] == [(10, 2, 1.0), (30, 2, None)]
    for result in results:
        assert result.build_ms > 0
        assert result.first_ms > 0 and result.further_ms > 0
        assert 0 < result.links <= 2 * result.nodes
    assert told == [f"{count} nodes, run {run} of 2" for count in (10, 30) for run in (1, 2)]


def test_a_result_is_plain_values() -> None:
    """Its dict is what JSON has, rounded."""
    [result] = bench_election((10,), runs=1)
    row = result.to_dict()
    names = ["nodes", "links", "runs", "build_ms", "first_ms", "further_ms", "published_ms"]
    assert (list(row), row["published_ms"]) == (names, PUBLISHED_MS[10])
    assert row["build_ms"] == pytest.approx(result.build_ms, abs=0.001)


def test_a_budget_bounds_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time is used up each size is still measured once, and the result says so."""
    assert [result.runs for result in bench_election((10, 20), runs=5, budget_s=0.0)] == [1, 1]
    assert [result.runs for result in bench_election((10, 20), runs=5, budget_s=60.0)] == [5, 5]
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    assert [result.runs for result in bench_election((10,), runs=50, budget_s=15.0)] < [50]


@pytest.mark.parametrize("count", [-1, 0, 2, 2**16 + 1])
def test_sizes_that_no_graph_has(count: int) -> None:
    """They are refused before anything is measured."""
    with pytest.raises(InvalidArgument, match=r"^nodes: .*from 3 to 65536"):
        bench_election((10, count), runs=1, progress=lambda _text: pytest.fail("it has begun"))


def test_the_published_sizes_have_figures() -> None:
    """The default sizes are those with a published figure."""
    assert tuple(PUBLISHED_MS) == election.NODES
