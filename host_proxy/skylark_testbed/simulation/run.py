"""Simulates an experiment of chains with simpy: many nodes, many bundles, no sockets.

What is the proxy's own: elections and their paths, routes, the order in which nodes are asked for a bundle, plans.
What is simulated: links (see `SimulatedLinks`), and the time that a node takes for a store and a fetch. What is left
out: Redis, HTTP, sandboxes, the outbox, faults.
"""

import random
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from skylark.plan import Plan, Step
from skylark_proxy.bench.election import ring_graph
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Objectives
from skylark_proxy.topology import Topology
from skylark_testbed.description import load as load_description
from skylark_testbed.experiments.definition import (
    ChainWorkload,
    Definition,
    FaultsWorkload,
    ParallelWorkload,
    WorkflowWorkload,
)
from skylark_testbed.experiments.extras import needed
from skylark_testbed.experiments.schedule import rng_of
from skylark_testbed.experiments.theory import (
    corrected_max_latency_ms,
    routing_of,
    satellite_bandwidth_mbps,
)
from skylark_testbed.simulation.decisions import Decisions, Routing, Walk, walk
from skylark_testbed.simulation.links import Direction, SimulatedLinks

FETCH_MS_PER_MB, STORE_MS_PER_MB = 1.1, 3.1
"""What Redis takes for reading and writing a bundle of 10 MB, on the development machine (redis-py, unix socket)."""

SITES = 500
"""In a random graph, how many of the nodes run functions: each keeps the paths to all others, a megabyte at 10,000."""

_TOLD_EACH = 5_000
_CALM_SHARE = 0.25

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a variant gave.

    Attributes:
        metrics: Medians over the chains (means of shares), as in `experiments.measure`, and the 9th decile of T(W).
        bundles: How many were stored.
        wall_s: How long the simulation took.
    """

    variant: str
    nodes: int
    chains: int
    bundles: int
    metrics: dict[str, float]
    simulated_s: float
    wall_s: float


@dataclass
class _Tally:
    workflows_ms: list[float] = field(default_factory=list)
    states_ms: list[float] = field(default_factory=list)
    moved_bytes: int = 0
    fetches: int = 0
    local: int = 0
    stores: int = 0
    broken: int = 0


def simulate(
    definition: Definition,
    folder: Path,
    nodes: int | None,
    bundles: int,
    chains_per_s: float | None = None,
    progress: Progress = lambda _text: None,
) -> list[SimulationResult]:
    """Simulates each variant of an experiment over the same chains.

    Args:
        folder: Of the experiment's file.
        nodes: The size of a random graph (see `ring_graph`), over which each chain has nodes of its own; None: the
            first links that the experiment names, as they are at the start, and its own chain.
        bundles: How many are stored in all, in chains that begin one after the other at random moments.
        chains_per_s: How many begin in a second, on average; None: see `calm_rate_per_s`.

    Raises:
        InvalidArgument: It is no experiment of chains.
        DescriptionError: The file of its links is not valid.
    """
    workload = definition.workload
    if not isinstance(workload, ChainWorkload):
        raise InvalidArgument("experiment", definition.name, "an experiment of chains")
    if nodes is None:
        topology = load_description(folder / next(iter(workload.testbeds.values()))).topology.first
    else:
        topology = Topology.build(*ring_graph(nodes, rng_of(definition.seed, "graph", nodes)), epoch=1)
    size_bytes, objectives = _size_and_objectives(workload, topology)
    chains_per_s = chains_per_s or calm_rate_per_s(topology, size_bytes, len(workload.plan.steps))
    count = max(1, bundles // max(1, len(workload.plan.steps) - 1))
    decisions = Decisions(topology, objectives)
    found = []
    for variant in workload.variants:
        plans = list(_plans(workload, topology, count, rng_of(definition.seed, "plans"), drawn=nodes is not None))
        routing = routing_of(workload, variant)
        if nodes is not None:
            routing = replace(routing, destination=_CLOUD)
        simulation = Simulation(decisions, routing, size_bytes, definition.seed)
        found.append(simulation.run(variant.name, plans, chains_per_s, progress))
    return found


def calm_rate_per_s(topology: Topology, size_bytes: int, functions: int) -> float:
    """The chains a second of which stateless ones would use a quarter of the cloud's links.

    Each of their functions stores there and the next one fetches from there, the last one at the cloud itself.
    """
    cloud = [link for node in topology.cloud_nodes()[:1] for link in topology.links_of[node.name]]
    ways = max(1, 2 * (functions - 1) - 1)
    return _CALM_SHARE * sum(link.bandwidth_mbps for link in cloud) * 1e6 / (8 * size_bytes * ways)


class Simulation:
    """Chains of one variant over one topology."""

    def __init__(self, decisions: Decisions, routing: Routing, size_bytes: int, seed: int = 1) -> None:
        self._decisions = decisions
        self._routing = routing
        self._size_bytes = size_bytes
        self._seed = seed
        self._random = rng_of(seed, "policy")
        self._links = SimulatedLinks()
        self._bandwidths: dict[Direction, float] = {}
        self._tally = _Tally()
        self._environment = needed("simpy", "simulate").Environment()

    def run(
        self,
        name: str,
        plans: Sequence[tuple[str, Plan]],
        chains_per_s: float,
        progress: Progress = lambda _text: None,
    ) -> SimulationResult:
        """Runs chains, each with the node of its input and its plan."""
        started = time.perf_counter()
        self._environment.process(self._arrivals(name, plans, chains_per_s, progress))
        self._environment.run()
        tally = self._tally
        return SimulationResult(
            variant=name,
            nodes=len(self._decisions.topology.nodes),
            chains=len(plans),
            bundles=tally.stores,
            metrics=_metrics(tally),
            simulated_s=self._environment.now,
            wall_s=time.perf_counter() - started,
        )

    def _arrivals(
        self, name: str, plans: Sequence[tuple[str, Plan]], chains_per_s: float, progress: Progress
    ) -> Generator[Any, Any, None]:
        gaps = rng_of(self._seed, "arrivals")
        for number, (input_at, plan) in enumerate(plans):
            if number % _TOLD_EACH == 0:
                progress(f"{name}: {number:,} of {len(plans):,} chains")
            self._environment.process(self._chain(input_at, plan))
            yield self._environment.timeout(gaps.expovariate(chains_per_s))

    def _chain(self, input_at: str, plan: Plan) -> Generator[Any, Any, None]:
        """Decides a chain's way at its begin, and then takes it move by move, over links that others use too."""
        environment, size_mb = self._environment, self._size_bytes / 1e6
        began_s = environment.now
        way = walk(self._decisions, plan, input_at, self._size_bytes, self._routing, self._random)
        nodes_ms = size_mb * (FETCH_MS_PER_MB * len(plan.steps) + STORE_MS_PER_MB * len(way.holders))
        for move in way.moves:
            directed = _directions(move.operation, [point.node for point in move.path])
            bandwidths = (self._bandwidth(one, other) for one, other in directed)
            links = list(zip(directed, bandwidths, strict=True))
            arrives_s = self._links.carry(environment.now, self._size_bytes, links, move.path[-1].latency_ms)
            yield environment.timeout(arrives_s - environment.now)
        yield environment.timeout(nodes_ms / 1000)
        self._note(way, (environment.now - began_s) * 1000)

    def _note(self, way: Walk, duration_ms: float) -> None:
        tally = self._tally
        tally.workflows_ms.append(duration_ms)
        tally.states_ms.append(way.state_ms)
        tally.moved_bytes += self._size_bytes * len(way.moves)
        tally.fetches += len(way.hops)
        tally.local += way.hops.count(0)
        tally.stores += len(way.holders)
        tally.broken += way.broken

    def _bandwidth(self, one: str, other: str) -> float:
        if (one, other) not in self._bandwidths:
            self._bandwidths[one, other] = self._decisions.topology.neighbors(one, 0.0)[other].bandwidth_mbps
        return self._bandwidths[one, other]


def _directions(operation: str, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """The links that the bytes take: a stored bundle goes along the path, a fetched one comes back on it."""
    forward = list(pairwise(nodes))
    return forward if operation == "store" else [(other, one) for one, other in reversed(forward)]


def _plans(
    workload: ChainWorkload, topology: Topology, count: int, rng: random.Random, drawn: bool
) -> Iterator[tuple[str, Plan]]:
    """The chain's own nodes, or for each chain drawn ones: the last one is the destination's, as in the experiment."""
    steps = workload.plan.steps
    if not drawn:
        yield from ((workload.input_at, workload.plan) for _ in range(count))
        return
    sites = rng.sample(sorted(set(topology.nodes) - {_CLOUD}), min(SITES, len(topology.nodes) - 1))
    for _ in range(count):
        nodes = rng.sample(sites, len(steps) - 1)
        placed = [Step(step.function, node) for step, node in zip(steps, [*nodes, _CLOUD], strict=True)]
        yield nodes[0], Plan(tuple(placed))


_CLOUD = "n0"


def _size_and_objectives(workload: ChainWorkload, topology: Topology) -> tuple[int, Objectives]:
    """The middle one of the sizes, with its corrected objective; or the workload's only ones."""
    if isinstance(workload, WorkflowWorkload):
        size_mb = workload.sizes_mb[len(workload.sizes_mb) // 2]
        published_ms = workload.published_max_latency_ms(size_mb)
        size_bytes = int(size_mb * 1e6)
        limit_ms = corrected_max_latency_ms(published_ms, size_bytes, satellite_bandwidth_mbps(topology))
        return size_bytes, Objectives(limit_ms)
    assert isinstance(workload, (ParallelWorkload, FaultsWorkload))
    return int(workload.size_mb * 1e6), Objectives(workload.max_latency_ms)


def _metrics(tally: _Tally) -> dict[str, float]:
    count = len(tally.workflows_ms)
    ordered = sorted(tally.workflows_ms)
    return {
        "workflow_ms": statistics.median(ordered),
        "workflow_p90_ms": ordered[int(0.9 * (count - 1))],
        "state_ms": statistics.median(tally.states_ms),
        "migrated_mb": tally.moved_bytes / 1e6 / count,
        "local_share": 100 * tally.local / tally.fetches if tally.fetches else 0.0,
        "violation_share": 100 * tally.broken / tally.stores if tally.stores else 0.0,
    }
