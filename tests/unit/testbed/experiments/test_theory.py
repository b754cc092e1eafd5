"""The formula against figures that were worked out by hand."""

import random

import pytest

from experiment_files import EXAMPLES, example
from skylark_proxy.topology import Topology
from skylark_testbed.description import load
from skylark_testbed.experiments.definition import WorkflowWorkload
from skylark_testbed.experiments.theory import (
    corrected_max_latency_ms,
    routing_of,
    satellite_bandwidth_mbps,
    theory_of,
)


def workflow() -> WorkflowWorkload:
    workload = example("workflow").workload
    assert isinstance(workload, WorkflowWorkload)
    return workload


WORKFLOW = workflow()


def topologies(links: str) -> tuple[Topology, ...]:
    return load(EXAMPLES / "testbeds" / f"constellation-{links}.yaml").topology.topologies


def state_ms(variant: str, size_mb: float, topology: Topology, published: bool = False) -> float:
    size_bytes, limit_ms = int(size_mb * 1e6), WORKFLOW.published_max_latency_ms(size_mb)
    if not published:
        limit_ms = corrected_max_latency_ms(limit_ms, size_bytes, satellite_bandwidth_mbps(topology))
    routing = routing_of(WORKFLOW, WORKFLOW.variant(variant))
    rng = random.Random(1)
    return theory_of(topology, WORKFLOW.plan, WORKFLOW.input_at, routing, size_bytes, limit_ms, rng).state_ms


def test_the_corrected_objective() -> None:
    """It leaves the latency that the published one left: 200 ms for 10 MB at 80 Mbps leave 75, and 10 MB take 2 s."""
    assert corrected_max_latency_ms(200, 10_000_000, 40) == pytest.approx(75 + 2000)
    assert corrected_max_latency_ms(200, 10_000_000, 80) == pytest.approx(75 + 1000)


def test_stateless_takes_five_ways() -> None:
    """Three stores and two fetches of 10 MB at 30 Mbps; latencies of 125, 95, 95, 65 and 65 ms, there and back."""
    [topology] = topologies("shaped")
    assert state_ms("stateless", 10, topology) == pytest.approx(5 * 8e7 / 30_000 + 2 * (125 + 95 + 95 + 65 + 65))


def test_a_plan_takes_three() -> None:
    """Two ways of 10 MB at 80 Mbps and 30 ms each, and one at 30 Mbps and 65 ms."""
    [topology] = topologies("shaped")
    assert state_ms("skylark-plan", 10, topology) == pytest.approx(2 * (1000 + 60) + 8e7 / 30_000 + 130)


def test_the_published_figure_is_that_of_their_links() -> None:
    """With the links of the scripts a plan saves 65 % of large states' time, with the stated ones at most 40."""

    def saved(links: str) -> list[float]:
        return [1 - state_ms("skylark-plan", 50, one) / state_ms("stateless", 50, one) for one in topologies(links)]

    assert saved("shaped") == [pytest.approx(0.65, abs=0.01)]
    assert max(saved("stated")) == pytest.approx(0.40, abs=0.02)


def test_published_objectives_move_nothing() -> None:
    """No migration of 10 MB takes 200 ms: the state stays, and each function fetches it: three ways too."""
    [topology] = topologies("shaped")
    fetched = state_ms("skylark", 10, topology, published=True)
    assert fetched == pytest.approx(2 * (1000 + 60) + 8e7 / 30_000 + 130)
