"""A bundle is a mapping, and the state API passes on what it is given."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from skylark.errors import InvalidArgument
from skylark.state import Bundle, Placement, Policy, Read, Staleness, State, Stored
from skylark.wire import Buffer


class Recorder:
    """A backend that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle:
        self.asked.append(("fetch", key, fields, read, min_version))
        return Bundle({}, key=key)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        self.asked.append(("store", fields, placement))
        return Stored("c:n:t", 3)

    def delete(self, key: str) -> bool:
        self.asked.append(("delete", key))
        return False


def bundle(**fields: bytes) -> Bundle:
    views = {name: memoryview(value) for name, value in fields.items()}
    stale = Staleness.OWNER_UNREACHABLE
    return Bundle(views, key="c:n:t", version=4, origin="n", hops=2, age_ms=9, stale=stale)


def test_a_bundle_is_a_mapping_of_views() -> None:
    """It can be looked up, iterated in order, counted and unpacked like a dict, and cannot be changed."""
    found = bundle(b=b"1", a=b"22")
    assert list(found) == ["b", "a"]
    assert len(found) == 2
    assert "a" in found
    assert "c" not in found
    assert found.get("c") is None
    assert {name: bytes(value) for name, value in found.items()} == {"b": b"1", "a": b"22"}
    assert isinstance(found["a"], memoryview)
    assert not hasattr(found, "__setitem__")


def test_a_bundle_does_not_follow_the_dict_it_was_made_of() -> None:
    """What is done to the dict later does not reach the function that holds the bundle."""
    fields = {"a": memoryview(b"1")}
    found = Bundle(fields, key=None)
    fields.clear()
    assert list(found) == ["a"]


@pytest.mark.parametrize(("fields", "listed"), [({"a": b"", "b": b""}, "a, b"), ({}, "none")])
def test_a_missing_field_is_named_beside_those_that_are_there(fields: dict[str, bytes], listed: str) -> None:
    """The KeyError tells the author of a function what the predecessor left instead."""
    with pytest.raises(KeyError) as raised:
        bundle(**fields)["missing"]
    assert raised.value.args == (f"bundle c:n:t has no field 'missing'; it has: {listed}",)


def test_an_overlay_adds_and_replaces() -> None:
    """With fusion, a function sees what those before it returned over what was fetched; the original is not changed."""
    original = bundle(a=b"old", b=b"kept")
    seen = original.overlaid({"a": bytearray(b"new"), "c": memoryview(b"added")})
    assert {name: bytes(value) for name, value in seen.items()} == {"a": b"new", "b": b"kept", "c": b"added"}
    assert (seen.key, seen.version, seen.origin, seen.hops) == ("c:n:t", 4, "n", 2)
    assert (seen.age_ms, seen.stale) == (9, Staleness.OWNER_UNREACHABLE)
    assert bytes(original["a"]) == b"old"
    assert all(value.readonly for value in (seen["a"], seen["c"]))


def test_a_store_without_arguments_takes_all_from_the_invocation() -> None:
    """Whatever is not given is None in the placement: the invocation decides."""
    backend = Recorder()
    assert State(backend).store({"f": b"1"}) == Stored("c:n:t", 3)
    assert backend.asked == [("store", {"f": b"1"}, Placement(None, None, None, None, None))]


def test_every_argument_arrives_at_its_place() -> None:
    """Key, destination, policy, time to live and version are not mixed up on their way."""
    backend = Recorder()
    State(backend).store({}, key="c:t", destination="n2", policy=Policy.RANDOM, ttl_ms=5, expected_version=6)
    placement = Placement(key="c:t", destination="n2", policy=Policy.RANDOM, ttl_ms=5, expected_version=6)
    assert backend.asked == [("store", {}, placement)]


def test_fetch_and_delete_pass_on_key_and_fields() -> None:
    """No fields means all of them; delete says whether there was a bundle."""
    backend = Recorder()
    state = State(backend)
    assert state.fetch("c:t").key == "c:t"
    state.fetch("c:t", ["a", "b"])
    assert state.delete("c:t") is False
    fetches = [("fetch", "c:t", (), Read.NEAREST, 0), ("fetch", "c:t", ["a", "b"], Read.NEAREST, 0)]
    assert backend.asked == [*fetches, ("delete", "c:t")]


@pytest.mark.parametrize("read", list(Read))
def test_a_fetch_says_what_it_is_content_with(read: Read) -> None:
    """It is given by its name or its value, and goes to the backend with the version that was seen."""
    backend = Recorder()
    state = State(backend)
    state.fetch("c:t", read=read, min_version=7)
    state.fetch("c:t", ["a"], read.value, 2**53 - 1)
    assert backend.asked == [("fetch", "c:t", (), read, 7), ("fetch", "c:t", ["a"], read, 2**53 - 1)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"read": "newest"}, "read: 'newest' is not valid; expected one of nearest, latest, owner"),
        ({"read": None}, "read: None is not valid"),
        ({"min_version": -1}, "min_version: -1 is not valid; expected a version, or 0"),
        ({"min_version": 2**53}, "min_version: 9007199254740992 is not valid"),
        ({"min_version": "3"}, "min_version: '3' is not valid"),
    ],
)
def test_what_is_no_choice_and_no_version_is_refused(arguments: Any, named: str) -> None:
    """A fetch that cannot mean anything asks nobody; the error names the argument."""
    backend = Recorder()
    with pytest.raises(InvalidArgument) as raised:
        State(backend).fetch("c:t", **arguments)
    assert str(raised.value).startswith(named)
    assert backend.asked == []
