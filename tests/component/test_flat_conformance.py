"""Programs find the same in CPython, as a component, and flattened to one core module.

With `WASMEDGE=path` in the environment the core module runs on that WasmEdge as well, interpreted and compiled.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from conformance.differences import expected
from conformance.running import Found
from conformance.runtimes import NATIVE, Runtime, available
from conformance.scenarios import SCENARIOS


@pytest.fixture(scope="session")
def native() -> Callable[[str], Found]:
    """What CPython finds in a scenario, which is run once."""

    @cache
    def run(scenario: str) -> Found:
        with tempfile.TemporaryDirectory(prefix="skylark-conformance-") as folder:
            return SCENARIOS[scenario](NATIVE, Path(folder))

    return run


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="skylark-conformance-") as path:
        yield Path(path)


@pytest.mark.parametrize("runtime", available(), ids=lambda runtime: runtime.name)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_finds_what_cpython_finds(
    scenario: str, runtime: Runtime, native: Callable[[str], Found], folder: Path
) -> None:
    """A program finds what CPython finds, but for what the table of differences says."""
    found = SCENARIOS[scenario](runtime, folder)
    assert found == expected(scenario, runtime.name, native(scenario))
