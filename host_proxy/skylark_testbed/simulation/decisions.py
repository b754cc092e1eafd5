"""What proxies would decide, over one topology: where a bundle is put, and who is asked for it.

The decisions are the proxy's own: `Elector`, `Route.decide`, `fetch_ladder`, and what a plan says comes next. Only
their carrying out is left to whoever asks.
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skylark.plan import Plan
from skylark_proxy.election import Election, Elector, migration_time_ms
from skylark_proxy.model import Objectives, Policy, StateKey
from skylark_proxy.paths import Waypoint
from skylark_proxy.placement import Defaults, Route, Write, fetch_ladder
from skylark_proxy.topology import Topology

_WRITE = Write(StateKey("chain", "task"), {})


@dataclass(frozen=True, slots=True)
class Routing:
    """How a chain's state is placed: as `experiments.definition.Variant`, with its destination."""

    policy: Policy
    planned: bool
    destination: str
    last_policy: Policy | None = None

    def of(self, plan: Plan, number: int) -> tuple[str, Policy]:
        """The destination and the policy of the store of a step, which is not the last one of the plan."""
        step = plan.steps[number]
        following = plan.after(step.function)[0].node
        destination = following if self.planned and following is not None else self.destination
        last = number == len(plan.steps) - 2
        return destination, self.last_policy if last and self.last_policy else self.policy


@dataclass(frozen=True, slots=True)
class Move:
    """A bundle's way over the links, from one node to another one; `fetch` or `store`."""

    operation: str
    source: str
    target: str
    size_bytes: int
    path: tuple[Waypoint, ...]

    @property
    def duration_ms(self) -> float:
        """The time by the formula of elections, on links that carry nothing else; 0 at one node."""
        end = self.path[-1]
        return migration_time_ms(self.size_bytes, end.latency_ms, end.bandwidth_mbps)


@dataclass(frozen=True, slots=True)
class Walk:
    """A chain's way.

    Attributes:
        holders: Where each store put its bundle.
        hops: Of each fetch but the first: how many nodes were asked in vain.
        broken: How many elections broke the objective.
        moves: What went over links, in order.
    """

    holders: tuple[str, ...]
    hops: tuple[int, ...]
    broken: int
    moves: tuple[Move, ...]

    @property
    def state_ms(self) -> float:
        """T(dr) and T(dm) together, by the formula."""
        return sum(move.duration_ms for move in self.moves)


class Decisions:
    """Decides for all nodes of a topology.

    Args:
        max_electors: For how many nodes paths are kept, the least recently used go first: at 10,000 nodes each takes a
            megabyte and 16 ms to find.
    """

    def __init__(self, topology: Topology, objectives: Objectives, at_s: float = 0.0, max_electors: int = 4096) -> None:
        self.topology = topology
        self.objectives = objectives
        self._at_s = at_s
        self._max_electors = max_electors
        self._defaults = Defaults(objectives=objectives)
        self._electors: OrderedDict[str, Elector] = OrderedDict()

    def elect(self, node: str, destination: str, size_bytes: int, policy: Policy, rng: random.Random) -> Election:
        """The election of a node for a bundle."""
        elector = self._elector(node)
        return elector.elect(self.topology, destination, size_bytes, policy, self.objectives, self._at_s, rng)

    def candidates(self, node: str, election: Election) -> Sequence[str]:
        """The nodes that are to hold the bundle: the first of them that can be reached does."""
        return Route.decide(_WRITE, election, node, self.topology, self._defaults).candidates

    def ladder(self, node: str, holder: str) -> Sequence[str]:
        """The nodes that are asked, in order, for a bundle whose key names `holder`."""
        return fetch_ladder(StateKey("chain", "task", holder), node, self.topology)

    def path(self, source: str, target: str) -> tuple[Waypoint, ...]:
        """The way between two nodes; empty where there is none."""
        return self._elector(source).paths(self.topology, self._at_s).to(target)

    def _elector(self, node: str) -> Elector:
        if node not in self._electors:
            self._electors[node] = Elector(node)
            if len(self._electors) > self._max_electors:
                self._electors.popitem(last=False)
        self._electors.move_to_end(node)
        return self._electors[node]


def walk(
    decisions: Decisions,
    plan: Plan,
    input_at: str,
    size_bytes: int,
    routing: Routing,
    rng: random.Random,
    reachable: Callable[[str], bool] = lambda _node: True,
) -> Walk:
    """A chain's way where its state keeps its size, as the published experiment has it.

    Each function fetches the state, and each but the last stores it.

    Args:
        plan: With a node for each function.
        input_at: Where the first function's state is.
        reachable: Whether a node takes a bundle. The local one always does.
    """
    holder, moves, holders, hops, broken = input_at, list[Move](), list[str](), list[int](), 0
    for number, step in enumerate(plan.steps):
        node = str(step.node)
        if holder != node:
            moves.append(Move("fetch", holder, node, size_bytes, decisions.path(node, holder)))
        if number:
            hops.append(decisions.ladder(node, holder).index(holder))
        if number == len(plan.steps) - 1:
            break
        election = decisions.elect(node, *_ordered(routing.of(plan, number), size_bytes), rng)
        broken += not election.objective_met
        holder = next(name for name in decisions.candidates(node, election) if name == node or reachable(name))
        holders.append(holder)
        if holder != node:
            moves.append(Move("store", node, holder, size_bytes, decisions.path(node, holder)))
    return Walk(tuple(holders), tuple(hops), broken, tuple(moves))


def _ordered(decided: tuple[str, Policy], size_bytes: int) -> tuple[str, int, Policy]:
    return decided[0], size_bytes, decided[1]
