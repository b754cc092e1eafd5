"""Whether the results hold: what the formula rules out must not have been measured, and where skylark loses is said."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skylark_testbed.experiments.definition import Case
from skylark_testbed.experiments.rows import Row
from skylark_testbed.experiments.summary import Group, find, percent_change

MARGIN = 0.10
"""By how much of the slower one's time two variants have to differ by the formula, so that the measurement has to show
it: what the nodes themselves take is not in the formula."""

TOLERANCE_SHARE, TOLERANCE_MS = 0.25, 150.0
"""How far the measured time for state may be from the formula for the same moves: a share of it, and what three stores
and three fetches take at the nodes themselves, on a machine that runs all of them."""

BASE = "stateless"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that has to be so."""

    what: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Loss:
    """A case in which a variant is slower than `stateless`; `clear` if their quartiles do not overlap."""

    case: Case
    variant: str
    percent: float
    clear: bool
    theory_percent: float | None


def checks(groups: Sequence[Group], rows: Sequence[Row]) -> list[Check]:
    """All checks that the experiment's figures allow; none where it has no theory."""
    return [*_order(groups), *_agreement(rows), *_finished(groups)]


def losses(groups: Sequence[Group], metric: str = "workflow_ms") -> list[Loss]:
    """Where a variant of skylark is slower than `stateless`."""
    found = []
    for group in groups:
        base = find(groups, group.case, BASE)
        if not group.variant.startswith("skylark") or base is None or metric not in group.spreads:
            continue
        own, other = group.spreads[metric], base.spreads[metric]
        percent = percent_change(own.median, other.median)
        if percent is not None and percent > 0:
            found.append(Loss(group.case, group.variant, percent, own.q1 > other.q3, _theory_percent(group, base)))
    return found


def _theory_percent(group: Group, base: Group) -> float | None:
    if "theory_ms" not in group.spreads or "theory_ms" not in base.spreads:
        return None
    return percent_change(group.spreads["theory_ms"].median, base.spreads["theory_ms"].median)


def _order(groups: Sequence[Group]) -> Iterable[Check]:
    """Where the formula has skylark clearly ahead of stateless, it was."""
    for group in groups:
        base = find(groups, group.case, BASE)
        if base is None or not group.variant.startswith("skylark"):
            continue
        if "theory_ms" not in group.spreads or "theory_ms" not in base.spreads:
            continue
        theory, against = group.spreads["theory_ms"].median, base.spreads["theory_ms"].median
        if theory < against * (1 - MARGIN):
            own, other = group.spreads["workflow_ms"].median, base.spreads["workflow_ms"].median
            yield Check(
                f"{group.variant} beats stateless: {describe(group.case)}",
                own < other,
                f"by the formula {theory:,.0f} against {against:,.0f} ms; T(W) {own:,.0f} against {other:,.0f} ms",
            )


def _agreement(rows: Sequence[Row]) -> Iterable[Check]:
    """Box and simulation chose the same nodes, and the moves took about as long as the formula says."""
    chosen = [row for row in rows if row.notes.get("simulated") and row.variant != "random"]
    if chosen:
        same = [row for row in chosen if row.notes["holders"] == row.notes["simulated"]]
        other = next((row.id for row in chosen if row not in same), "")
        detail = f"{len(same)} of {len(chosen)} runs{f', not in {other}' if other else ''}"
        yield Check("testbed and simulation put bundles at the same nodes", len(same) == len(chosen), detail)
    timed = [row.metrics for row in rows if "excess_ms" in row.metrics and "theory_ms" in row.metrics]
    if timed:
        limits = [TOLERANCE_MS + TOLERANCE_SHARE * one["expected_ms"] for one in timed]
        near = sum(abs(one["excess_ms"]) <= limit for one, limit in zip(timed, limits, strict=True))
        median = statistics.median(one["excess_ms"] for one in timed)
        yield Check(
            f"time for state is within {TOLERANCE_SHARE:.0%} and {TOLERANCE_MS:.0f} ms of the formula in 9 of 10 runs",
            near >= 0.9 * len(timed),
            f"{near} of {len(timed)} runs; median excess {median:,.0f} ms",
        )


def _finished(groups: Sequence[Group]) -> Iterable[Check]:
    for group in groups:
        if "finished_share" in group.spreads:
            low = group.spreads["finished_share"].low
            yield Check(f"all workflows of {group.variant} ended: {describe(group.case)}", low == 100.0, f"{low:.0f} %")


def describe(case: Case) -> str:
    """A case in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in case.items())
