"""The most downloaded packages of PyPI that make sense in a function, each built into one and called.

`pytest tests/packages --pypi-packages` runs them; with `--write-verdicts` it writes the table of docs/packages.md.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from packages.listed import FAILURES, Package, packages
from packages.verdicts import WORKS, Note
from packages.workshop import DoesNotWork, in_a_sandbox, installed, natively, write_source


def known_failure(package: Package) -> list[pytest.MarkDecorator]:
    """Mark a known failure: it fails the suite once the package works."""
    reason = FAILURES.get(package.name)
    return [pytest.mark.xfail(reason=reason, raises=DoesNotWork, strict=True)] if reason else []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that does not outlive the test: what is built fills a disk."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


CASES = [pytest.param(package, marks=known_failure(package), id=package.name) for package in packages()]


@pytest.mark.parametrize("package", CASES)
def test_a_package_answers_as_in_cpython(package: Package, note: Note, folder: Path) -> None:
    """A function that calls the package gives the same answer in a sandbox as in plain CPython."""
    site, source = installed(package), write_source(package, folder)
    expected = natively(source, site)
    try:
        answer = in_a_sandbox(source, site)
        if answer != expected:
            raise DoesNotWork(f"answered {answer} instead of {expected}")
    except DoesNotWork as failure:
        note(package, FAILURES.get(package.name, f"fails: {str(failure).splitlines()[-1]}"))
        raise
    note(package, WORKS)
