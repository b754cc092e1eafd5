"""JSON texts whose names are counted before they become keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark import Request
from skylark.json_names import TooManyNames, count_names, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a":\\{ ü', max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a":\\{ ü', max_size=4), inner, max_size=4),
    max_leaves=20,
)


def names_in(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(names_in, value.values()))
    return sum(map(names_in, value)) if isinstance(value, list) else 0


@given(JSON, st.sampled_from([(",", ":"), (" ,\n", "\t\r\n :")]), st.booleans())
def test_every_name_is_counted(value: Any, separators: tuple[str, str], ascii_only: bool) -> None:
    """There are never more names than were counted, however the text is written, and it is read as by `json`."""
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
    assert count_names(text, 1000) >= names_in(value)
    assert load(text) == value


def test_too_many() -> None:
    """A text with more names than the limit is refused, also where they are spread over many objects."""
    for text in (json.dumps({str(number): 0 for number in range(101)}), json.dumps([{str(n): 0} for n in range(101)])):
        with pytest.raises(TooManyNames, match="more than 100 names"):
            load(text.encode(), 100)
        assert load(text.encode(), 101)


def test_the_body_of_a_request() -> None:
    """`ctx.request.json()` is the body's JSON; what has too many names, or is none, is a ValueError."""
    assert Request(memoryview(b'{"a": [1]}')).json() == {"a": [1]}
    for body, reason in ((b'{"a": 1, "b": 2}', "more than 1 names"), (b"{", "Expecting"), (b"\xff", "utf-8")):
        with pytest.raises(ValueError, match=reason):
            Request(memoryview(body)).json(max_names=1)
