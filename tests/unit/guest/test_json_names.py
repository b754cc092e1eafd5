"""JSON texts whose names are counted before they become keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark import Request
from skylark.json_names import MAX_DEPTH, TooDeep, TooManyNames, check_depth, count_names, load

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


@given(JSON, st.integers(MAX_DEPTH - 12, MAX_DEPTH + 12), st.sampled_from(["[{}]", '{{"a":{}}}']))
def test_nesting_is_counted_outside_strings(value: Any, around: int, shape: str) -> None:
    """A text is refused if its arrays and objects are nested too deep, and brackets in its strings do not count."""
    text = json.dumps(value)
    for _ in range(around):
        text = shape.replace("{}", text, 1) if shape == "[{}]" else '{"[{\\"[":' + text + "}"
    if around + depth_of(value) > MAX_DEPTH:
        with pytest.raises(TooDeep, match="more than 200 deep"):
            load(text.encode())
    else:
        load(text.encode())


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def test_nesting_of_what_is_no_json() -> None:
    """Text that ends early, or closes what it has not opened, is refused in time or left to the parser."""
    for text in (b"[" * 1_000_000, b'{"a":' * 1000, b"]" * 5 + b"[" * 1000, b'"\\"' + b"[" * 1000):
        with pytest.raises(ValueError, match=r"nested|Expecting|Unterminated"):
            load(text)
    check_depth(b"[]" * 1000)
    check_depth(b'["' + b"[" * 1000 + b'"]')
