"""What a chain has seen is bounded, and nothing of it is lost on its way to the next function."""

import pytest

from skylark.session import MAX_SEEN, Session, parse_seen, seen_header


def test_the_highest_version_counts() -> None:
    """A session that has seen a version does not forget it for an older one."""
    session = Session()
    for version in (4, 9, 7):
        session.note("c:n:t", version)
    assert (session.version("c:n:t"), session.version("c:m:t")) == (9, 0)


def test_the_last_ones_are_kept() -> None:
    """Of more bundles than travel with a chain, those that were seen last do, in this order."""
    session = Session()
    for number in range(MAX_SEEN):
        session.note(f"c:n:t{number}", 1)
    session.note("c:n:t0", 2)
    session.note("c:n:new", 1)
    assert list(session.versions) == [*(f"c:n:t{number}" for number in range(2, MAX_SEEN)), "c:n:t0", "c:n:new"]
    assert session.version("c:n:t0") == 2


@pytest.mark.parametrize(("key", "version"), [("c:t", 5), ("", 5), ("c:n:t", 0)])
def test_what_cannot_be_compared_is_not_kept(key: str, version: int) -> None:
    """Versions are those of an owner, which the key has to name."""
    session = Session()
    session.note(key, version)
    assert dict(session.versions) == {}


def test_the_predecessor_is_not_kept_for_being_read() -> None:
    """A bundle of a chain is written once. If a function writes it again, that is kept."""
    session = Session("c:n:before")
    session.note_read("c:m:before", 3)
    session.note_read("c:n:counter", 4)
    assert dict(session.versions) == {"c:n:counter": 4}
    session.note("c:n:before", 5)
    assert session.version("c:n:before") == 5


@pytest.mark.parametrize("versions", [{}, {"c:n:t": 3}, {"c:n:t": 3, "c:m:u": 2**53 - 1}])
def test_the_header_is_read_again(versions: dict[str, int]) -> None:
    """What was written is what is read, in its order."""
    assert list(parse_seen(seen_header(versions)).items()) == list(versions.items())


@pytest.mark.parametrize("text", ["c:n:t", "c:n:t=", "c:n:t=x", "c:n:t=1;c:m:t=2"])
def test_a_header_that_is_none_is_an_error(text: str) -> None:
    """Another server than a proxy may have written it."""
    with pytest.raises(ValueError):
        parse_seen(text)
