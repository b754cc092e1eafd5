"""What the node-info service asks of a topology provider, beyond the topology now."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol

from skylark_proxy.topology import StaticTopology, Topology, TopologyProvider


class Provider(TopologyProvider, Protocol):
    """A topology provider that can tell what comes next. Safe for threads.

    What is not overridden is that of a provider which nothing but `refresh` changes.
    """

    @abstractmethod
    def current(self, at_s: float) -> Topology:
        """The topology at the time `at_s`. While nothing has changed it is the same object, not just an equal one."""
        ...

    def upcoming(self, at_s: float) -> Topology:
        """The topology after the one of the time `at_s`; that one where none is known to follow."""
        return self.current(at_s)

    def next_change_s(self, at_s: float) -> float:
        """When time alone will change the topology of the time `at_s`; infinite: never."""
        return math.inf

    def rotation(self, at_s: float) -> Sequence[Topology]:
        """The topologies that take turns, in their order; the current one where none do."""
        return (self.current(at_s),)

    def refresh(self) -> None:
        """Reads again what the topology is read from, draws again what is drawn, takes the next turn.

        Raises:
            InvalidArgument: A file is not valid any more; the topology stays what it was.
            SourceUnavailable: Where it is read from cannot be reached.
        """
        return

    def problem(self) -> str | None:
        """Why the topology may be out of date; None: it is not, as far as is known."""
        return None


class FileTopology(StaticTopology, Provider):
    """The topology of one JSON file."""


class Latest:
    """The last topology that a provider made: kept while it would be made of the same things, with an epoch of its own.

    Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._made_of: tuple[object, ...] = ()
        self._topology: Topology | None = None
        self._epoch = 0

    def made_of(self, things: tuple[object, ...], make: Callable[[int], Topology]) -> Topology:
        """The topology that was made of `things`; if the last one was not, what `make` makes with the next epoch."""
        with self._lock:
            if self._topology is None or things != self._made_of:
                self._topology = make(self._epoch + 1)
                self._made_of = things
                self._epoch += 1
            return self._topology


def turn_at(at_s: float, interval_s: float) -> int:
    """The number of the interval that a time lies in, counted from the epoch: services with one clock agree on it."""
    return math.floor(at_s / interval_s)
