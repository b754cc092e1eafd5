"""Data is made dense by zeros where there are zeros anyway, and by as few of them as it takes."""

from hypothesis import given
from hypothesis import strategies as st

from skylark_flatten.density import Extent, zeros_between

MARGIN = 1 << 16


def test_dense_data_stays_as_it_is() -> None:
    """Where half of it is data, and a margin more, nothing is added; nor where there is nothing."""
    assert zeros_between([]) == []
    assert zeros_between([(1000, 1_000_000), (1_000_000, 1_200_000)]) == []


def test_the_smallest_gaps_are_filled() -> None:
    """The last one only as far as it has to be."""
    data = [(0, 1_000_000), (1_000_100, 1_000_200), (10_000_000, 10_000_001)]
    zeros = zeros_between(data)
    assert zeros[0] == (1_000_000, 1_000_100)
    assert zeros[1][0] == 1_000_200
    assert 1_000_200 + 4 * MARGIN < zeros[1][1] < 10_000_000


@given(st.lists(st.tuples(st.integers(0, 1 << 24), st.integers(1, 1 << 20)), max_size=20))
def test_zeros_never_overlap_data(pieces: list[tuple[int, int]]) -> None:
    """What is filled was empty, and half of the whole is then data, where there was anything."""
    data: list[Extent] = [(start, start + size) for start, size in pieces]
    zeros = zeros_between(data)
    assert all(end <= start or stop <= begin for begin, end in zeros for start, stop in data)
    if data:
        span = max(stop for _, stop in data) - min(start for start, _ in data)
        covered = sum(stop - start for start, stop in merged([*data, *zeros]))
        assert covered >= min(span, span // 2)


def merged(extents: list[Extent]) -> list[Extent]:
    """The same bytes, each once."""
    result: list[Extent] = []
    for start, stop in sorted(extents):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result
