"""Rows into figures."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_files import row
from skylark_testbed.experiments.definition import Comparison
from skylark_testbed.experiments.summary import Spread, compare, percent_change, summarise

ROWS = [
    *(row({"size_mb": 1}, "skylark", number, workflow_ms=value) for number, value in enumerate((10.0, 30.0, 20.0))),
    *(row({"size_mb": 1}, "stateless", number, workflow_ms=40.0) for number in range(3)),
    row({"size_mb": 5}, "skylark", workflow_ms=50.0),
    row({"size_mb": 5}, "stateless", workflow_ms=200.0),
    row({"size_mb": 9}, "skylark", workflow_ms=1.0),
]
CHANGE = Comparison(what="T(W)", metric="workflow_ms", of="skylark", against="stateless", published=-66)


def test_quartiles() -> None:
    """Median and quartiles are those of linear interpolation, as spreadsheets have them."""
    assert Spread.of([4.0, 1.0, 3.0, 2.0]) == Spread(n=4, median=2.5, q1=1.75, q3=3.25, low=1.0, high=4.0)
    assert Spread.of([7.0]) == Spread(n=1, median=7.0, q1=7.0, q3=7.0, low=7.0, high=7.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_spread_is_ordered(values: list[float]) -> None:
    """Extremes, quartiles and median are in order, within a rounding."""
    one = Spread.of(values)
    assert one.n == len(values)
    ordered = [one.low, one.q1, one.median, one.q3, one.high]
    assert all(low <= high + 1e-6 for low, high in pairwise(ordered))


def test_rows_are_grouped_by_case_and_variant() -> None:
    """Each variant of each case is one group, with all its repeats."""
    groups = summarise(ROWS)
    assert [(group.case["size_mb"], group.variant, group.spreads["workflow_ms"].n) for group in groups] == [
        (1, "skylark", 3),
        (1, "stateless", 3),
        (5, "skylark", 1),
        (5, "stateless", 1),
        (9, "skylark", 1),
    ]


def test_a_change_in_per_cent() -> None:
    """Half is -50 %, twice is +100 %; there is none from 0."""
    assert percent_change(1.0, 2.0) == -50.0
    assert percent_change(2.0, 1.0) == 100.0
    assert percent_change(1.0, 0.0) is None


def test_a_comparison_is_made_case_by_case() -> None:
    """Medians are compared within a case; cases without the other variant do not count."""
    figure = compare(CHANGE, summarise(ROWS))
    assert (figure.low, figure.high, figure.cases) == (-75.0, -50.0, 2)
    assert figure.measured == pytest.approx(-62.5)


def test_a_comparison_without_rows() -> None:
    """Nothing measured is not 0."""
    figure = compare(CHANGE, summarise(ROWS[-1:]))
    assert (figure.measured, figure.cases) == (None, 0)
