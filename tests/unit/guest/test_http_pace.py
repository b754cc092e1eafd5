"""How slow a client may be."""

from hypothesis import given
from hypothesis import strategies as st

from skylark.http_pace import MIN_BYTES_PER_S, Pace


def test_nothing_happens() -> None:
    """Who does nothing has the timeout, and no more."""
    pace = Pace(100.0, 5.0)
    assert not pace.is_over(105.0)
    assert pace.is_over(105.1)


def test_it_goes_on() -> None:
    """A body may take as long as it goes on at a tolerable rate, and then as long as the timeout without going on."""
    pace = Pace(0.0, 5.0)
    for second in range(1, 100):
        pace.note(second, 2 * MIN_BYTES_PER_S * second)
        assert not pace.is_over(second)
    assert not pace.is_over(104.0)
    assert pace.is_over(104.1)


@given(st.lists(st.tuples(st.floats(0.1, 4.0), st.integers(0, 2000)), min_size=1, max_size=200))
def test_a_trickle_ends(steps: list[tuple[float, int]]) -> None:
    """Whatever a client sends, the wait lasts no longer than the timeout and its bytes at the least rate."""
    pace, now, done = Pace(0.0, 5.0), 0.0, 0
    for seconds, count in steps:
        now, done = now + seconds, done + count
        pace.note(now, done)
        if now > 5.0 + done / MIN_BYTES_PER_S:
            assert pace.is_over(now)
