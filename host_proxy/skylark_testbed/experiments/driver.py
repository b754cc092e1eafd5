"""What carries out the runs of an experiment; each kind of workload has its own."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from skylark_testbed.experiments.schedule import Run

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: numbers, with units in their names, and texts."""

    metrics: Mapping[str, float]
    notes: Mapping[str, str] = field(default_factory=dict)


class Driver(Protocol):
    """Carries out runs, over what it has opened."""

    def measure(self, run: Run) -> Outcome:
        """Carries out a run."""
        ...

    def advance(self) -> None:
        """Has what changes from round to round change, such as the topology."""
        ...


OpenDriver = Callable[[str | None], AbstractContextManager[Driver]]
"""Opens the driver for the links of that name (None: there is no choice of links)."""
