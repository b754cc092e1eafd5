"""The list of packages and the page that is written from it."""

from packages.listed import FAILURES, packages
from packages.verdicts import PAGE, WORKS, table, written


def test_the_list_has_a_hundred_packages_by_downloads() -> None:
    """Each package is listed once, in the order of its rank, with a function that says what it does."""
    listed = packages()
    assert len({package.name for package in listed}) == len(listed) == 100
    assert listed == sorted(listed, key=lambda package: package.rank)
    assert all(package.call for package in listed)


def test_known_failures_are_of_listed_packages() -> None:
    """A failure that names no package would never be tried."""
    assert FAILURES.keys() <= {package.name for package in packages()}


def test_the_page_is_that_of_the_list() -> None:
    """No row is of another version or call, and a package fails on the page for the reason in the list."""
    verdicts = written()
    assert table(verdicts) in PAGE.read_text()
    for name, verdict in verdicts.items():
        assert verdict == FAILURES.get(name, WORKS)
