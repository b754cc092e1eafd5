"""Programs find the same in CPython, as a component, and flattened to one core module.

With `WASMEDGE=path` in the environment the core module runs on that WasmEdge as well, interpreted and compiled.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from conformance.differences import expected
from conformance.endurance import endure
from conformance.running import Found
from conformance.runtimes import NATIVE, Runtime, available
from conformance.scenarios import SCENARIOS

DAY = int(os.environ.get("CONFORMANCE_REQUESTS", "86400"))
CYCLES = DAY // 40
GROWTH_BYTES = 2_000_000
"""What the resident memory may grow by while nine tenths of a day are done: less than 26 bytes for each request. A
page table, a cache or a free list that finds its size takes some 0.5 MB."""


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


@pytest.mark.parametrize("runtime", available(), ids=lambda runtime: runtime.name)
def test_a_day_of_requests_leaves_nothing_behind(runtime: Runtime, folder: Path) -> None:
    """86,400 requests, and connections, files and folders that come and go, need no more memory or descriptors.

    Where a request takes long, and on the component, which is here for comparison only, it is a tenth of a day.
    """
    requests, cycles = (DAY, CYCLES) if runtime.is_whole_day else (DAY // 10, CYCLES // 10)
    endured = endure(runtime, folder, requests, cycles)
    assert endured.found == [("answered", requests), ("cycles", cycles)]
    assert endured.end.descriptors == endured.warm.descriptors
    assert endured.end.memory_bytes - endured.warm.memory_bytes < GROWTH_BYTES
