"""Options of the whole suite."""

import signal

import pytest
from hypothesis import settings

# A shell that starts the suite in the background has it, and all that it starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline for each example fails at random on a busy machine, also where a test's clock is virtual.
settings.register_profile("skylark", deadline=None)
settings.load_profile("skylark")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite of packages, which takes up to an hour."""
    group = parser.getgroup("skylark")
    group.addoption("--pypi-packages", action="store_true", help="build and run a function of each listed PyPI package")
    group.addoption("--write-verdicts", action="store_true", help="write what that found to docs/packages.md")
