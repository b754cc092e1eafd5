"""Names and state keys."""

import contextlib
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skylark.plan import Plan, Step
from skylark_proxy.errors import InvalidArgument, InvalidKey, NotFound
from skylark_proxy.model import (
    NAME_PATTERN,
    BundleInfo,
    Link,
    Metadata,
    Sealed,
    StateKey,
    check_name,
    check_write_id,
    parse_plan,
)

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
KEYS = st.builds(StateKey, NAMES, NAMES, st.none() | NAMES)
META = Metadata("n", 0, 0, f"{'a' * 16}-1")


@given(KEYS)
def test_a_key_that_was_printed_is_read_again(key: StateKey) -> None:
    """Printing and parsing are inverse, with and without a node, and so are they for the key at another node."""
    assert StateKey.parse(str(key)) == key
    moved = key.at("other")
    assert (moved.chain_id, moved.node, moved.task_id) == (key.chain_id, "other", key.task_id)
    assert StateKey.parse(str(moved)) == moved


@given(st.lists(NAMES, min_size=2, max_size=3))
def test_the_text_of_a_key_is_the_documented_one(parts: list[str]) -> None:
    """Three parts are chain, node and task, two are chain and task."""
    text = ":".join(parts)
    key = StateKey.parse(text)
    assert [key.chain_id, *([key.node] if key.node else []), key.task_id] == parts
    assert str(key) == text


@given(st.text(max_size=20))
def test_any_text_is_a_key_or_an_invalid_key(text: str) -> None:
    """No text raises another error, and none that is taken prints as something else."""
    with contextlib.suppress(InvalidKey):
        assert str(StateKey.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", ":", "a:", ":a", "a::b", "a:b:c:d", "a:b:", "a b:c", "a:*", "a:b\n", "{a}:b", "ä:b", "a:" + "b" * 129],
)
def test_what_is_no_key_is_named(text: str) -> None:
    """The error names the field, the text and the two forms that a key may have."""
    with pytest.raises(
        InvalidKey, match=re.escape(f"at: {text!r} is not valid; expected <chain_id>:<node>:<task_id> or")
    ):
        StateKey.parse(text, "at")


@given(st.text(max_size=5))
def test_a_name_is_returned_or_refused(text: str) -> None:
    """Only what the pattern says is a name; the error names the field."""
    assume(not re.fullmatch(NAME_PATTERN, text))
    with pytest.raises(InvalidArgument, match=r"^where: .* expected 1 to 128 of"):
        check_name("where", text)


@pytest.mark.parametrize("name", ["a", "_", "0.1-2_x", "x" * 128])
def test_a_name_is_passed_through(name: str) -> None:
    """So that it can be checked where it is used."""
    assert check_name("where", name) == name


def test_a_contact_window_includes_its_beginning_only() -> None:
    """Two windows that follow each other have no moment in common and none between them."""
    before, after = Link("a", "b", 1, 1, None, 10.0), Link("a", "b", 1, 1, 10.0, None)
    assert [(before.is_up(at_s), after.is_up(at_s)) for at_s in (9.999, 10.0, 10.001)] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_a_bundles_size_is_in_bytes_not_in_fields() -> None:
    """The published implementation counted fields; the election needs the bytes that travel."""
    info = BundleInfo(StateKey("c", "t"), 1, "n", META, {"a": 10, "b": 5})
    assert info.size_bytes == Sealed({"a": bytes(10), "b": bytes(5)}, META).size_bytes == 15


def test_a_copy_keeps_its_owners_name() -> None:
    """A bundle is named by its owner wherever it is, and one without an owner by the node that has it."""
    own, copy, shared = (
        BundleInfo(key, 1, "n", META)
        for key in (StateKey("c", "t", "n"), StateKey("c", "t", "far"), StateKey("c", "t"))
    )
    assert [str(info.public_key) for info in (own, copy, shared)] == ["c:n:t", "c:far:t", "c:n:t"]
    assert [info.is_copy for info in (own, copy, shared)] == [False, True, False]


def test_a_bundle_travels_with_the_life_that_it_has_left() -> None:
    """A copy ends no later than the bundle, and what has ended is not given away."""
    info = BundleInfo(StateKey("c", "t", "far"), 1, "n", META, {"f": 1}, expires_ms=1000, age_ms=7)
    assert info.sealed({"f": b"1"}, 400) == Sealed({"f": b"1"}, META, 600, 7)
    with pytest.raises(NotFound):
        info.sealed({"f": b"1"}, 1000)
    own = BundleInfo(StateKey("c", "t", "n"), 1, "n", META, {"f": 1})
    assert own.sealed({"f": b"1"}, 400) == Sealed({"f": b"1"}, META, None, 0)


@pytest.mark.parametrize("text", ["0123456789abcdef-1", "a" * 16 + "-" + "9" * 15])
def test_the_id_of_a_write_is_passed_through(text: str) -> None:
    """So that it can be checked where it is used."""
    assert check_write_id(text, "where") == text


@pytest.mark.parametrize(
    "text", ["", "-", "a" * 16, "a" * 16 + "-0", "a" * 16 + "-x", "a" * 15 + "-1", "A" * 16 + "-1", "a" * 16 + "-1\n"]
)
def test_what_is_no_id_of_a_write_is_refused(text: str) -> None:
    """The error names the field and the form; nothing that could end a header, or a field of a ledger, passes."""
    with pytest.raises(InvalidArgument, match=r"^where: .* expected 16 hexadecimal digits"):
        check_write_id(text, "where")


STEPS = st.lists(
    st.builds(Step, NAMES, st.none() | NAMES),
    min_size=1,
    max_size=5,
    unique_by=lambda step: step.function,
)


@given(STEPS)
def test_a_plan_is_read_as_it_was_written(steps: list[Step]) -> None:
    """A plan survives its text form, and says what follows each of its functions."""
    plan = Plan(tuple(steps))
    assert Plan.parse(str(plan)) == plan
    for number, step in enumerate(steps):
        assert plan.after(step.function) == tuple(steps[number + 1 :])
    assert plan.after("-not-in-it-") == ()


@pytest.mark.parametrize("text", ["", ",", "a@", "@n", "a@n@m", "a,,b", "a,a", "a@n,a@m", "a b", "a@n," * 2000 + "z"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """The error names the field and the form, and shows no more of the text than a plan may have."""
    with pytest.raises(InvalidArgument, match=r"plan: .* is not valid; expected FUNCTION@NODE") as raised:
        parse_plan(text)
    assert len(str(raised.value)) < 5000
