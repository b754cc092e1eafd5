"""A testbed as its file describes it: nodes, links, functions, objectives, settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from skylark_proxy.model import Node, Objectives
from skylark_proxy.nodeinfo.links import SimSettings
from skylark_proxy.topology import Topology

ProviderName = Literal["static", "rotating", "random"]
PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)


@dataclass(frozen=True, slots=True)
class TopologyPlan:
    """Where the links come from.

    Attributes:
        provider: `static`: the links stay; `rotating`: topologies take turns; `random`: links are drawn.
        topologies: One for `static`, in their order for `rotating`; for `random` one whose links do not count.
        interval_s: How long a turn or drawn links last; None: until `Testbed.advance`.
        drawing: What links are drawn from.
    """

    provider: ProviderName
    topologies: tuple[Topology, ...]
    interval_s: float | None = None
    drawing: SimSettings = field(default_factory=SimSettings)

    @property
    def first(self) -> Topology:
        """The topology at the start; where links are drawn, its nodes."""
        return self.topologies[0]


@dataclass(frozen=True, slots=True)
class FunctionFile:
    """A source file (`.py`) or component (`.wasm`), and the nodes that run its functions."""

    source: Path
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """A testbed. Made by `load`, or in code.

    Attributes:
        topology: Its nodes are all nodes; their addresses are of this machine, ports do not count.
        functions: What the nodes run.
        objectives: What the operator asks for.
        seed: Makes drawn links and jitter repeatable.
        jitter: The standard deviation of latencies, as a share of them.
        settings: The settings of each node that has any, by the names of environment variables.
        tls: Whether nodes encrypt what they send to each other, with certificates that are made for them.
    """

    topology: TopologyPlan
    functions: tuple[FunctionFile, ...] = ()
    objectives: Objectives = field(default_factory=Objectives)
    seed: int = 0
    jitter: float = 0.0
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tls: bool = False

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes, by name."""
        return {name: node for topology in self.topology.topologies for name, node in topology.nodes.items()}


def load(path: Path) -> Description:
    """Reads a description file; `description_file` has its form.

    Raises:
        DescriptionError: It cannot be read or is not valid; the error names the file, the line and the field.
    """
    from skylark_testbed.description_file import parse  # it makes what this module defines

    return parse(path)
