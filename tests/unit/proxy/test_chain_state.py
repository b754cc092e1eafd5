"""The state calls of a hosted function: what they ask of the propagation, and what they pass on of what was seen."""

from collections.abc import Callable, Collection
from typing import cast

import pytest

from skylark.session import MAX_SEEN, MAX_VERSION
from skylark_proxy.errors import Conflict, InvalidArgument, NotFound
from skylark_proxy.invocation import Call, ChainState, Report
from skylark_proxy.model import BundleInfo, Metadata, Read, StateKey
from skylark_proxy.placement import FetchedBundle, PlacedBundle, Write
from skylark_proxy.propagation import Propagation
from skylark_proxy.runtime import Placement
from skylark_proxy.store import Into, Removed

BEFORE = "c:n:before"


class Played:
    """A propagation that has what a test says, and notes what it is asked.

    `versions` has the version of each bundle; `seen` is what the predecessor's chain has seen.
    """

    def __init__(self) -> None:
        self.versions: dict[str, int] = {BEFORE: 1}
        self.seen: dict[StateKey, int] = {}
        self.age_ms: int | None = None
        self.stale: str | None = None
        self.failure: Exception | None = None
        self.fetches: list[tuple[str, Read, int]] = []
        self.heads: list[str] = []
        self.writes: list[Write] = []

    def fetch(
        self, key: StateKey, _fields: Collection[str], read: Read, min_version: int, *, into: Into | None
    ) -> FetchedBundle:
        assert into is None  # nobody has said where to
        self.fetches.append((str(key), read, min_version))
        self._fail()
        return FetchedBundle(self._info(key), {}, 0, 1.0, self.stale)

    def head(self, key: StateKey) -> tuple[BundleInfo, int, str | None]:
        self.heads.append(str(key))
        self._fail()
        return self._info(key), 0, None

    def place(self, write: Write) -> PlacedBundle:
        self.writes.append(write)
        self._fail()
        key = write.key if write.key.node is not None else write.key.at("n")
        return PlacedBundle(key, 50, 0, None, (), 1.0)

    def remove(self, key: StateKey) -> tuple[StateKey, Removed]:
        self._fail()
        return key.at("n"), Removed(True, 60)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _info(self, key: StateKey) -> BundleInfo:
        owned = key if key.node is not None else key.at("n")
        seen = self.seen if str(key) == BEFORE else {}
        meta = Metadata("n", 1, 0, "0123456789abcdef-1", seen=seen)
        return BundleInfo(owned, self.versions[str(owned)], "n", meta, age_ms=self.age_ms)


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def state(played: Played) -> ChainState:
    """The calls of a function of chain `c`, which was given a bundle."""
    report = Report(("f",), "n", "c", "own", 0)
    return ChainState(cast(Propagation, played), Call(("f",), StateKey.parse(BEFORE)), report)


def told(state: ChainState, played: Played) -> dict[str, int]:
    """What a store passes on to the chain's next function, in its order."""
    played.failure = None
    state.store({}, Placement())
    return {str(key): version for key, version in played.writes[-1].seen.items()}


def test_a_fetch_is_passed_on(state: ChainState, played: Played) -> None:
    """What it is content with goes to the propagation; what that says of a copy comes back."""
    played.versions["c:m:a"], played.age_ms, played.stale = 4, 700, "owner-unreachable"
    found = state.fetch("c:m:a", [], Read.LATEST, 3)
    assert played.fetches == [("c:m:a", Read.LATEST, 3)]
    assert (found.key, found.version, found.age_ms, found.stale) == ("c:m:a", 4, 700, "owner-unreachable")


def test_a_version_that_there_cannot_be(state: ChainState, played: Played) -> None:
    """A guest that passes its SDK by is told, and no reader is kept from anything."""
    with pytest.raises(InvalidArgument, match="min_version"):
        state.fetch("c:m:a", [], Read.NEAREST, MAX_VERSION + 1)
    assert played.fetches == []


def test_the_last_ones_are_passed_on(state: ChainState, played: Played) -> None:
    """Of more bundles than travel with a chain, those do that were seen last, whatever came with the predecessor."""
    played.seen = {StateKey("c", f"old{number}", "m"): 1 for number in range(MAX_SEEN)}
    state.fetch(BEFORE, [], Read.NEAREST, 0)
    played.versions["c:m:a"] = 4
    state.fetch("c:m:a", [], Read.NEAREST, 0)
    assert list(told(state, played).items())[-2:] == [(f"c:m:old{MAX_SEEN - 1}", 1), ("c:m:a", 4)]


@pytest.mark.parametrize("first", [lambda state: state.fetch("c:m:a", [], Read.NEAREST, 2), None])
def test_a_predecessor_that_was_not_fetched(
    state: ChainState, played: Played, first: Callable[[ChainState], object] | None
) -> None:
    """What its chain has seen is asked for once, before anything is read or stored."""
    played.seen, played.versions["c:m:a"] = {StateKey("c", "a", "m"): 7}, 8
    if first is not None:
        first(state)
        assert played.fetches == [("c:m:a", Read.NEAREST, 7)]
    assert told(state, played) == told(state, played) == {"c:m:a": 8 if first is not None else 7}
    assert played.heads == [BEFORE]


def test_what_was_written_and_deleted(state: ChainState, played: Played) -> None:
    """The next function is given neither an older version nor what was deleted, by whichever key."""
    state.store({}, Placement(key="c:m:a"))
    state.delete("c:b")
    assert told(state, played) == {"c:m:a": 50, "c:n:b": 60}


def test_what_errors_tell(state: ChainState, played: Played) -> None:
    """A function that learns of a version by an error has seen it."""
    state.fetch(BEFORE, [], Read.NEAREST, 0)
    played.failure = NotFound("bundle", "c:m:a", (), 8)
    with pytest.raises(NotFound):
        state.fetch("c:m:a", [], Read.NEAREST, 0)
    played.failure = Conflict("c:m:b", 1, 9)
    with pytest.raises(Conflict):
        state.store({}, Placement(key="c:m:b", expected_version=1))
    assert told(state, played) == {"c:m:a": 8, "c:m:b": 9}


def test_no_older_version_is_asked_for(state: ChainState, played: Played) -> None:
    """What the invocation has seen holds, also where the node has forgotten it."""
    played.versions["c:m:a"] = 5
    for min_version in (0, 4, 8):
        state.fetch("c:m:a", [], Read.NEAREST, min_version)
    assert [asked for _, _, asked in played.fetches] == [0, 5, 8]
