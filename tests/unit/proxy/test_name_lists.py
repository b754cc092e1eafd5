"""Lists of names are bounded before anything is done for them."""

import pytest

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.name_lists import check_names, distinct_names


def test_each_name_once() -> None:
    """What is named often is there once, where it was named first."""
    assert distinct_names("fields", ["b", "a", "b", *["a"] * 500]) == ("b", "a")


def test_names_as_they_are() -> None:
    """Where the order means something, nothing is taken out."""
    assert check_names("functions", ["a", "a"]) == ("a", "a")


@pytest.mark.parametrize("names", [["a"] * 1025, [f"n{number}" for number in range(1025)], ["ok", "*"], [""]])
def test_what_is_refused(names: list[str]) -> None:
    """Too many names, also of one and the same, and what is no name."""
    with pytest.raises(InvalidArgument) as raised:
        distinct_names("fields", names)
    assert raised.value.field == "fields"
