"""Elections over graphs of many nodes: the paths of the first one, and what is left for those after it."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skylark_proxy.election import Elector
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Link, Node, Objectives, Policy, Tier
from skylark_proxy.topology import MAX_NODES, Topology

NODES = (10, 100, 1_000, 10_000)
"""The sizes that the published system measures at its `/benchmark`."""

PUBLISHED_MS = {10: 1.0, 100: 13.0, 1_000: 162.0, 10_000: 832.0}
"""One election of the published system (shortest path and offloading), by number of nodes, on its authors' hardware."""

NOTE = "the published figures were taken on other hardware: an order of magnitude to look at, not a ratio"

MIN_NODES = 3

_FURTHER = 200
_OBJECTIVES = Objectives(max_latency_ms=1000.0)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ElectionResult:
    """Medians over the runs, in milliseconds.

    Attributes:
        runs: How many topologies of this size were measured.
        build_ms: Making the topology of its nodes and links, which every change of the topology takes once.
        first_ms: The first election over it: all shortest paths from the local node, and the choice.
        further_ms: One more election, to another destination.
        published_ms: The published figure for this size, of other hardware; None: there is none.
    """

    nodes: int
    links: int
    runs: int
    build_ms: float
    first_ms: float
    further_ms: float
    published_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, rounded to a microsecond and the further elections to ten nanoseconds."""
        rounded = {"build_ms": round(self.build_ms, 3), "first_ms": round(self.first_ms, 3)}
        return asdict(self) | rounded | {"further_ms": round(self.further_ms, 5)}


def bench_election(
    nodes: Sequence[int] = NODES,
    runs: int = 5,
    size_bytes: int = 1_000_000,
    budget_s: float | None = None,
    progress: Progress = lambda _text: None,
) -> list[ElectionResult]:
    """Measures elections by the policy `skylark`, each run over a graph of its own.

    Args:
        nodes: The sizes of the graphs.
        runs: How many graphs of each size; medians are given.
        size_bytes: The bundle's size.
        budget_s: No further run begins once so much time has passed, but for the first one of each size. None: all.

    Raises:
        InvalidArgument: A size is none that a graph can have.
    """
    started = time.perf_counter()
    for count in nodes:
        if not MIN_NODES <= count <= MAX_NODES:
            raise InvalidArgument("nodes", count, f"a whole number from {MIN_NODES} to {MAX_NODES}")
    results = []
    for count in nodes:
        measured: list[ElectionRun] = []
        while len(measured) < runs:
            if measured and budget_s is not None and time.perf_counter() - started > budget_s:
                break
            progress(f"{count:,} nodes, run {len(measured) + 1} of {runs}")
            measured.append(measure_election(count, size_bytes, random.Random(f"{count}/{len(measured)}")))
        results.append(_result(count, measured))
    return results


def ring_graph(count: int, rng: random.Random) -> tuple[list[Node], list[Link]]:
    """Nodes on two random rings: each has four links of 2 to 10 ms, as in the published graphs. `n0` is a cloud."""
    nodes = [Node(f"n{number}", "127.0.0.1", Tier.SAT if number else Tier.CLOUD) for number in range(count)]
    links = []
    for _ in range(2):
        order = rng.sample(range(count), count)
        pairs = zip(order, order[1:] + order[:1], strict=True)
        links += [Link(f"n{a}", f"n{b}", float(rng.randint(2, 10)), float(rng.randint(40, 90))) for a, b in pairs]
    return nodes, links


@dataclass(frozen=True, slots=True)
class ElectionRun:
    """What one graph gave; see `ElectionResult`."""

    links: int
    build_ms: float
    first_ms: float
    further_ms: float


def measure_election(count: int, size_bytes: int, rng: random.Random) -> ElectionRun:
    """Makes a graph of `count` nodes, and elects over it by the policy `skylark`."""
    nodes, links = ring_graph(count, rng)
    started = time.perf_counter()
    topology = Topology.build(nodes, links, epoch=1)
    built = time.perf_counter()
    elector = Elector("n1")

    def elect(destination: str) -> None:
        elector.elect(topology, destination, size_bytes, Policy.SKYLARK, _OBJECTIVES, 0.0, rng)

    elect("n0")
    elected = time.perf_counter()
    destinations = [f"n{rng.randrange(count)}" for _ in range(_FURTHER)]
    begun = time.perf_counter()
    for destination in destinations:
        elect(destination)
    ended = time.perf_counter()
    return ElectionRun(
        links=len(topology.links),
        build_ms=1000 * (built - started),
        first_ms=1000 * (elected - built),
        further_ms=1000 * (ended - begun) / _FURTHER,
    )


def _result(count: int, runs: Sequence[ElectionRun]) -> ElectionResult:
    return ElectionResult(
        nodes=count,
        links=runs[0].links,
        runs=len(runs),
        build_ms=statistics.median(run.build_ms for run in runs),
        first_ms=statistics.median(run.first_ms for run in runs),
        further_ms=statistics.median(run.further_ms for run in runs),
        published_ms=PUBLISHED_MS.get(count),
    )
