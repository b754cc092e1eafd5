"""Whether results hold."""

from experiment_files import row
from skylark_testbed.experiments.checks import checks, losses
from skylark_testbed.experiments.definition import Case
from skylark_testbed.experiments.rows import Row
from skylark_testbed.experiments.summary import summarise

CASE: Case = {"links": "shaped", "size_mb": 5}


def rows(skylark_ms: float, stateless_ms: float, theory_ms: tuple[float, float] = (100.0, 300.0)) -> list[Row]:
    return [
        row(CASE, "skylark", workflow_ms=skylark_ms, theory_ms=theory_ms[0]),
        row(CASE, "stateless", workflow_ms=stateless_ms, theory_ms=theory_ms[1]),
    ]


def test_what_the_formula_rules_out() -> None:
    """Where skylark is clearly ahead by the formula, stateless must not have been faster."""
    good, bad = rows(120.0, 320.0), rows(330.0, 320.0)
    assert [check.holds for check in checks(summarise(good), good)] == [True]
    assert [check.holds for check in checks(summarise(bad), bad)] == [False]


def test_the_formula_allows_it() -> None:
    """Where the formula does not have skylark ahead, nothing has to be so; but the loss is said, with the formula's."""
    measured = rows(330.0, 300.0, theory_ms=(320.0, 300.0))
    assert checks(summarise(measured), measured) == []
    [loss] = losses(summarise(measured))
    assert (round(loss.percent), loss.clear) == (10, True)
    assert loss.theory_percent is not None and round(loss.theory_percent) == 7


def test_a_loss_within_the_spread_is_not_clear() -> None:
    """Quartiles that overlap do not tell the variants apart."""
    spread = [
        row(CASE, variant, number, workflow_ms=value)
        for variant, values in (("skylark", (90.0, 110.0, 130.0)), ("stateless", (80.0, 100.0, 140.0)))
        for number, value in enumerate(values)
    ]
    assert [loss.clear for loss in losses(summarise(spread))] == [False]


def test_testbed_and_simulation_have_to_agree() -> None:
    """One run in which they chose other nodes is one too many; its id is told."""
    same = row(CASE, "skylark", 0, {"holders": "a b", "simulated": "a b"})
    other = row(CASE, "skylark", 1, {"holders": "a c", "simulated": "a b"})
    [check] = checks(summarise([same]), [same])
    assert check.holds
    [check] = checks(summarise([same, other]), [same, other])
    assert not check.holds and other.id in check.detail


def test_times_far_from_the_formula() -> None:
    """Nine of ten runs have to be near the formula for what they moved."""

    def of(excesses_ms: list[float]) -> list[bool]:
        timed = [
            row(CASE, "random", number, excess_ms=excess, expected_ms=1000.0, theory_ms=1000.0)
            for number, excess in enumerate(excesses_ms)
        ]
        return [check.holds for check in checks(summarise(timed), timed)]

    assert of([10.0] * 9 + [5000.0]) == [True]
    assert of([10.0] * 8 + [5000.0] * 2) == [False]


def test_a_workflow_that_did_not_end() -> None:
    """Each has to end, whatever the fault."""
    ended = [row({"fault": "kill"}, "skylark", number, finished_share=share) for number, share in enumerate((100.0, 0))]
    assert [check.holds for check in checks(summarise(ended), ended)] == [False]
    assert [check.holds for check in checks(summarise(ended[:1]), ended[:1])] == [True]
