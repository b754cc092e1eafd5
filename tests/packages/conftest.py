"""The verdicts of a run, which are written to the docs as they come."""

import pytest

from packages.listed import Package
from packages.verdicts import Note, write


@pytest.fixture(scope="session")
def note(pytestconfig: pytest.Config) -> Note:
    """Take the verdict of a package. Skip unless the packages are asked for."""
    if not pytestconfig.getoption("--pypi-packages"):
        pytest.skip("--pypi-packages is not given")

    def noted(package: Package, verdict: str) -> None:
        if pytestconfig.getoption("--write-verdicts"):
            write({package.name: verdict})

    return noted
