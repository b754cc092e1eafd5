"""The order of runs."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from skylark_testbed.experiments.schedule import Run, rounds

CASES = [{"links": links, "size_mb": size} for links in ("slow", "fast") for size in (1, 5)]
VARIANTS = ["skylark", "random", "stateless"]


@given(repeats=st.integers(1, 5), seed=st.integers())
def test_each_run_is_there_once(repeats: int, seed: int) -> None:
    """Every variant of every case runs as often as asked for, whatever the order."""
    ids = [run.id for one in rounds(CASES, VARIANTS, repeats, seed) for run in one.runs]
    expected = {Run(c, v, r).id for c in CASES for v in VARIANTS for r in range(repeats)}
    assert len(ids) == len(expected) and set(ids) == expected


@given(seed=st.integers())
def test_variants_are_interleaved(seed: int) -> None:
    """Before a variant of a case runs again, all others of the case have run: drift hits them alike."""
    for one in rounds(CASES, VARIANTS, 3, seed):
        for _, runs in groupby(one.runs, key=lambda run: run.case):
            assert sorted(run.variant for run in runs) == sorted(VARIANTS)


def test_the_order_of_variants_changes_and_can_be_repeated() -> None:
    """No variant always runs first; the same seed gives the same order, another seed another one."""

    def order(seed: int) -> list[str]:
        return [run.id for one in rounds(CASES, VARIANTS, 8, seed) for run in one.runs]

    first = {one.runs[0].variant for one in rounds(CASES, VARIANTS, 8, 1)}
    assert first == set(VARIANTS)
    assert order(1) == order(1) != order(2)


def test_a_testbed_is_opened_once() -> None:
    """All rounds over the same links follow each other."""
    links = [one.links for one in rounds(CASES, VARIANTS, 2, 1)]
    assert links == ["slow", "slow", "fast", "fast"]
    assert [one.links for one in rounds([{"nodes": 10}], ["skylark"], 2, 1)] == [None, None]
