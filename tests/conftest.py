"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite of packages, which takes about an hour."""
    group = parser.getgroup("skylark")
    group.addoption("--pypi-packages", action="store_true", help="build and run a function of each listed PyPI package")
    group.addoption("--write-verdicts", action="store_true", help="write what that found to docs/packages.md")
