"""What an invocation did, and what a node knows, as JSON."""

import time
from typing import Any

from skylark_proxy.invocation import Fetch, Report
from skylark_proxy.placement import PlacedBundle
from skylark_proxy.topology_source import TopologySource


def report_json(report: Report, timings: dict[str, float] | None = None) -> dict[str, Any]:
    """A report; the names of its timings are those of design and tables: f, ex, dr, dm.

    Args:
        timings: Its timings, where they are known already.
    """
    return {
        "functions": list(report.functions),
        "node": report.node,
        "chain_id": report.chain_id,
        "task_id": report.task_id,
        "key": str(report.key) if report.key else None,
        "started_ms": report.started_ms,
        "timings_ms": timings or timings_ms(report),
        "fetches": [_fetch_json(fetched) for fetched in report.fetches],
        "placements": [placement_json(placed) for placed in report.placements],
        "left_out": report.left_out,
        "error": {"code": report.error.code, "message": report.error.message} if report.error else None,
    }


def timings_ms(report: Report) -> dict[str, float]:
    """T(f), T(ex), T(dr) and T(dm) in milliseconds."""
    return {
        "f": _rounded(report.duration_ms),
        "ex": _rounded(report.execution_ms),
        "dr": _rounded(report.retrieval_ms),
        "dm": _rounded(report.migration_ms),
    }


def _rounded(time_ms: float) -> float:
    """Round to microseconds; `round(time_ms, 3)` goes by way of text, and takes five times as long."""
    return round(1000 * time_ms) / 1000


def server_timing(timings: dict[str, float]) -> str:
    """The header `Server-Timing`."""
    return ", ".join([f"{name};dur={value:.3f}" for name, value in timings.items()])


def placement_json(placed: PlacedBundle) -> dict[str, Any]:
    """Where a bundle was put, and the election that says why."""
    return {
        "key": str(placed.key),
        "version": placed.version,
        "size_bytes": placed.size_bytes,
        "duration_ms": round(placed.duration_ms, 3),
        "objective_met": placed.objective_met,
        "on_the_way_to": list(placed.on_the_way_to),
        "destination_from": placed.destination_from,
        "failed": [{"node": attempt.node, "error": attempt.error} for attempt in placed.failed],
        "election": placed.election.to_dict() if placed.election else None,
    }


def topology_json(source: TopologySource) -> dict[str, Any]:
    """Which topology a node goes by, where it comes from, and how old it is."""
    provenance = source.provenance()
    return {
        "epoch": source.current(time.time()).epoch,
        "source": provenance.source,
        "age_s": None if provenance.age_s is None else round(provenance.age_s, 3),
    }


def _fetch_json(fetch: Fetch) -> dict[str, Any]:
    return {
        "key": str(fetch.info.public_key),
        "version": fetch.info.version,
        "served_by": fetch.info.held_by,
        "age_ms": fetch.info.age_ms,
        "stale": fetch.stale,
        "hops": fetch.hops,
        "size_bytes": fetch.size_bytes,
        "duration_ms": round(fetch.duration_ms, 3),
    }
