"""From the reports of a workflow's invocations to its figures. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skylark_proxy.election import migration_time_ms
from skylark_proxy.paths import ShortestPaths
from skylark_proxy.topology import Topology
from skylark_proxy.workflow import WorkflowRun

Report = Mapping[str, Any]

PARTS = ("retrieval_ms", "migration_ms", "execution_ms", "proxy_ms", "client_ms")
"""What T(W) is made of; together they are it."""


def workflow_metrics(run: WorkflowRun, topology: Topology) -> dict[str, float]:
    """The figures of a workflow that ended.

    Returns:
        `workflow_ms` T(W); `function_ms` the sum of T(f); `execution_ms` T(ex), `retrieval_ms` T(dr), `migration_ms`
        T(dm), likewise; `state_ms` T(dr) and T(dm) together; `proxy_ms` what is left of T(f); `client_ms` what is left
        of T(W): HTTP between the client and the nodes; `expected_ms` what the formula says of the moves that really
        happened; `excess_ms` by how much `state_ms` exceeds it; `migrated_mb` D(W); and of the fetches of all functions
        but the first: `hops` nodes asked in vain, `distance` links to the bundle, `local_share` Av(l) in per cent;
        `violation_share` elections that broke the objective, in per cent.
    """
    reports = [step.report for step in run.steps]
    timings = {name: sum(report["timings_ms"][name] for report in reports) for name in ("f", "ex", "dr", "dm")}
    moves = list(_moves(reports))
    expected_ms = sum(_time_ms(topology, *move) for move in moves)
    state_ms = timings["dr"] + timings["dm"]
    return {
        "workflow_ms": run.duration_ms,
        "function_ms": timings["f"],
        "execution_ms": timings["ex"],
        "retrieval_ms": timings["dr"],
        "migration_ms": timings["dm"],
        "state_ms": state_ms,
        "proxy_ms": timings["f"] - timings["ex"] - state_ms,
        "client_ms": run.duration_ms - timings["f"],
        "expected_ms": expected_ms,
        "excess_ms": state_ms - expected_ms,
        "migrated_mb": sum(size for _, _, size in moves) / 1e6,
        **_locality(reports[1:], topology),
        "violation_share": _violations(reports),
    }


def holders(reports: Sequence[Report]) -> str:
    """Where each bundle of a chain was put, in order."""
    return " ".join(_holder(placed) for report in reports for placed in report["placements"])


def _moves(reports: Sequence[Report]) -> Iterator[tuple[str, str, int]]:
    for report in reports:
        for fetch in report["fetches"]:
            if fetch["served_by"] != report["node"]:
                yield fetch["served_by"], report["node"], fetch["size_bytes"]
        for placed in report["placements"]:
            if _holder(placed) != report["node"]:
                yield report["node"], _holder(placed), placed["size_bytes"]


def _holder(placed: Mapping[str, Any]) -> str:
    return str(placed["key"].split(":")[1])


def _time_ms(topology: Topology, source: str, target: str, size_bytes: int) -> float:
    path = ShortestPaths(topology, source, 0.0).to(target)
    return migration_time_ms(size_bytes, path[-1].latency_ms, path[-1].bandwidth_mbps) if path else 0.0


def _locality(reports: Sequence[Report], topology: Topology) -> dict[str, float]:
    fetches = [(report["node"], fetch) for report in reports for fetch in report["fetches"]]
    if not fetches:
        return {}
    ways = [ShortestPaths(topology, node, 0.0).to(fetch["served_by"]) for node, fetch in fetches]
    return {
        "hops": statistics.fmean(fetch["hops"] for _, fetch in fetches),
        "distance": statistics.fmean(max(0, len(way) - 1) for way in ways),
        "local_share": 100 * statistics.fmean(fetch["served_by"] == node for node, fetch in fetches),
    }


def _violations(reports: Sequence[Report]) -> float:
    met = [placed["objective_met"] for report in reports for placed in report["placements"]]
    judged = [one for one in met if one is not None]
    return 100 * sum(not one for one in judged) / len(judged) if judged else 0.0
