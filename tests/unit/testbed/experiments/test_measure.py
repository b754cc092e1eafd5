"""From reports to figures."""

from typing import Any

import pytest

from skylark.plan import Step
from skylark_proxy.client import Answer
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.topology import Topology
from skylark_proxy.workflow import StepRun, WorkflowRun
from skylark_testbed.experiments.measure import PARTS, holders, workflow_metrics

TOPOLOGY = Topology.build(
    [Node(name, "127.0.0.1", Tier.SAT) for name in "abc"],
    [Link("a", "b", 10, 40), Link("b", "c", 20, 80)],
    epoch=1,
)


def step(node: str, fetched_from: str, stored_at: str | None, met: bool = True) -> StepRun:
    """A step that fetches and stores 1 MB."""
    placed = {"key": f"chain:{stored_at}:task", "size_bytes": 1_000_000, "objective_met": met}
    report: dict[str, Any] = {
        "node": node,
        "functions": ["f"],
        "timings_ms": {"f": 100.0, "ex": 20.0, "dr": 30.0, "dm": 40.0},
        "fetches": [{"served_by": fetched_from, "hops": int(fetched_from != node), "size_bytes": 1_000_000}],
        "placements": [placed] if stored_at else [],
    }
    return StepRun(Step("f", node), node, report, Answer(200, {}, b""))


RUN = WorkflowRun(
    steps=[step("a", "a", "c", met=False), step("b", "c", "b"), step("b", "b", None), step("a", "b", None)],
    duration_ms=450.0,
)
METRICS = workflow_metrics(RUN, TOPOLOGY)


def test_the_parts_make_up_the_whole() -> None:
    """What T(W) is divided into adds up to it."""
    assert sum(METRICS[part] for part in PARTS) == pytest.approx(450.0)
    assert (METRICS["retrieval_ms"], METRICS["migration_ms"], METRICS["execution_ms"]) == (120.0, 160.0, 80.0)
    assert (METRICS["proxy_ms"], METRICS["client_ms"]) == (40.0, 50.0)


def test_what_the_formula_says_of_the_moves() -> None:
    """a to c: 30 ms and 40 Mbps; c to b: 20 ms and 80 Mbps; b to a: 10 ms and 40 Mbps. 1 MB each."""
    assert METRICS["expected_ms"] == pytest.approx((60 + 200) + (40 + 100) + (20 + 200))
    assert METRICS["migrated_mb"] == pytest.approx(3.0)


def test_locality_is_that_of_all_but_the_first() -> None:
    """The input's fetch does not count: one of the other three was local, the others one link away each."""
    assert METRICS["local_share"] == pytest.approx(100 / 3)
    assert METRICS["distance"] == pytest.approx(2 / 3)


def test_broken_objectives() -> None:
    """One of two elections broke it."""
    assert METRICS["violation_share"] == 50.0
    assert holders([one.report for one in RUN.steps]) == "c b"
