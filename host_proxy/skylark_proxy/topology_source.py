"""Where a node's topology comes from, and how old it is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from skylark_proxy.model import Node
from skylark_proxy.topology import StaticTopology, Topology, TopologyProvider


class Source(StrEnum):
    """Where a topology was read."""

    NODE_INFO = "node-info"
    """The node-info service, in this run of the node."""
    SAVED = "saved"
    """The node-info service, in an earlier run."""
    FILE = "file"
    ALONE = "alone"
    """Nowhere: the node knows of itself only."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a topology was read, and the seconds since the node-info service last confirmed it; None: it never did."""

    source: Source
    age_s: float | None = None


class TopologySource(TopologyProvider, Protocol):
    """A topology provider of a node."""

    def provenance(self) -> Provenance:
        """Where the current topology comes from."""
        ...

    def refresh(self) -> None:
        """Finds out now whether the topology is still the same.

        Raises:
            InvalidArgument: What was read is no topology; the one before is kept.
            NodeInfoUnavailable: The node-info service cannot be asked.
        """
        ...


class FileSource(StaticTopology):
    """The topology of a JSON file."""

    def provenance(self) -> Provenance:
        """The file."""
        return Provenance(Source.FILE)


class Alone:
    """The topology of a node that was given none: itself, its own cloud."""

    def __init__(self, node: Node) -> None:
        self._topology = Topology.build([node], [], epoch=1)

    def current(self, at_s: float) -> Topology:
        """The node."""
        return self._topology

    def provenance(self) -> Provenance:
        """Nowhere."""
        return Provenance(Source.ALONE)

    def refresh(self) -> None:
        """There is nobody to ask."""
