"""Where WASI differs from CPython on Linux, with the reason. All that is not here has to be equal."""

from collections.abc import Collection
from dataclasses import dataclass

from conformance.running import Found


@dataclass(frozen=True, slots=True)
class Difference:
    """One label of one scenario.

    Attributes:
        scenario: Its name, or the beginning of it.
        label: The label.
        cpython: What CPython finds.
        wasi: What is found in a sandbox.
        reason: Why that is right.
        runtimes: Where; empty is everywhere.
    """

    scenario: str
    label: str
    cpython: object
    wasi: object
    reason: str
    runtimes: Collection[str] = ()

    def holds(self, scenario: str, runtime: str, label: str) -> bool:
        """Whether it is about this."""
        here = not self.runtimes or runtime in self.runtimes
        return here and scenario.startswith(self.scenario) and label == self.label


DIFFERENCES: tuple[Difference, ...] = ()


def expected(scenario: str, runtime: str, native: Found) -> Found:
    """What a runtime has to find, given what CPython found.

    Raises:
        AssertionError: CPython did not find what a difference says.
    """
    return [(label, _expected(scenario, runtime, label, value)) for label, value in native]


def _expected(scenario: str, runtime: str, label: str, native: object) -> object:
    matching = [each for each in DIFFERENCES if each.holds(scenario, runtime, label)]
    if not matching:
        return native
    assert len(matching) == 1, f"{scenario}: {label}: two differences"
    assert matching[0].cpython == native, f"{scenario}: {label}: CPython finds {native!r}"
    return matching[0].wasi
