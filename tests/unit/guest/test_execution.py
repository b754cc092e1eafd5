"""A sandbox tells native code from an interpreter by the time of a short computation."""

from collections.abc import Callable
from itertools import accumulate, chain

import pytest

from skylark.execution import Execution, measure

MS = 1_000_000
NATIVE_NS, UNOPTIMIZED_NS, BOARD_NS, INTERPRETED_NS = MS // 6, MS * 2 // 5, MS, 13 * MS
"""What a round takes: measured on x86-64 with and without optimization, estimated for a small board, interpreted."""


def clock_of(rounds: list[int]) -> Callable[[], int]:
    """A clock by which the rounds take these times."""
    ticks = accumulate(chain.from_iterable((0, duration) for duration in rounds))
    return lambda: next(ticks)


@pytest.mark.parametrize("round_ns", [NATIVE_NS, UNOPTIMIZED_NS, BOARD_NS])
def test_native_code_is_told_by_one_round(round_ns: int) -> None:
    """The first fast round is enough, so that a start with native code is not held up."""
    assert measure(clock_of([round_ns])) is Execution.NATIVE


@pytest.mark.parametrize("machine", [1, 4])
def test_an_interpreter_is_slow_in_every_round(machine: int) -> None:
    """Slow rounds throughout mean an interpreter, also on a machine that is four times as fast."""
    assert measure(clock_of([INTERPRETED_NS // machine] * 5)) is Execution.INTERPRETED


def test_a_busy_machine_is_no_interpreter() -> None:
    """Rounds that other programs interrupt are slow, and one that runs undisturbed still tells native code."""
    assert measure(clock_of([40 * MS, 5 * MS, 90 * MS, 3 * MS, NATIVE_NS])) is Execution.NATIVE


def test_this_python_is_native() -> None:
    """CPython outside the sandbox is native code, by its own clock."""
    assert measure() is Execution.NATIVE
