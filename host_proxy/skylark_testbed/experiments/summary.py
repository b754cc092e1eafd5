"""Rows into figures: medians, quartiles, changes in per cent. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylark_testbed.experiments.definition import Case, Comparison, Value
from skylark_testbed.experiments.rows import Row


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated runs gave: the median, the quartiles (by linear interpolation), the extremes and their number."""

    n: int
    median: float
    q1: float
    q3: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one value or more."""
        q1, median, q3 = statistics.quantiles(
            values if len(values) > 1 else [*values, *values], n=4, method="inclusive"
        )
        return cls(len(values), median, q1, q3, min(values), max(values))


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of a variant of a case; `spreads` has each metric that one of them gave."""

    case: Case
    variant: str
    spreads: Mapping[str, Spread]

    def matches(self, where: Mapping[str, Value]) -> bool:
        """Whether the case has these values."""
        return all(self.case.get(name) == value for name, value in where.items())


@dataclass(frozen=True, slots=True)
class Figure:
    """A comparison's outcome.

    Attributes:
        measured: The median over the cases, in the comparison's unit; None: nothing was measured, or against nothing.
        low, high: The least and the greatest of the cases.
        cases: How many cases there are.
    """

    comparison: Comparison
    measured: float | None
    low: float | None
    high: float | None
    cases: int


def summarise(rows: Iterable[Row]) -> list[Group]:
    """The groups in the order in which their first rows come."""
    found: dict[tuple[Any, ...], tuple[Row, dict[str, list[float]]]] = {}
    for row in rows:
        key = (*sorted(row.case.items()), row.variant)
        values = found.setdefault(key, (row, {}))[1]
        for metric, value in row.metrics.items():
            values.setdefault(metric, []).append(value)
    return [
        Group(row.case, row.variant, {metric: Spread.of(measured) for metric, measured in values.items()})
        for row, values in found.values()
    ]


def percent_change(of: float, against: float) -> float | None:
    """By how many per cent `of` is more than `against`; None where that is 0."""
    return 100 * (of / against - 1) if against else None


def compare(comparison: Comparison, groups: Sequence[Group]) -> Figure:
    """What was measured of a published figure: in each case the medians, over the cases the median."""
    values = [value for value in (_value(comparison, group, groups) for group in groups) if value is not None]
    if not values:
        return Figure(comparison, None, None, None, 0)
    return Figure(comparison, statistics.median(values), min(values), max(values), len(values))


def _value(comparison: Comparison, group: Group, groups: Sequence[Group]) -> float | None:
    if group.variant != comparison.of or not group.matches(comparison.where) or comparison.metric not in group.spreads:
        return None
    of = group.spreads[comparison.metric].median
    if comparison.against is None:
        return of
    other = find(groups, group.case, comparison.against)
    if other is None or comparison.metric not in other.spreads:
        return None
    return percent_change(of, other.spreads[comparison.metric].median)


def find(groups: Iterable[Group], case: Case, variant: str) -> Group | None:
    """The group of a variant of a case."""
    return next((group for group in groups if group.variant == variant and group.case == case), None)
