"""What the formula says before anything is measured: the time for state, and objectives that fit it.

`T_mig = 2·L + 8·S / (1000·B)` ms. The published code divides S by 1000·B, without the 8.
"""

import random
import statistics
from dataclasses import dataclass

from skylark.plan import Plan
from skylark_proxy.model import Objectives, Tier
from skylark_proxy.topology import Topology
from skylark_testbed.experiments.definition import ChainWorkload, Variant
from skylark_testbed.simulation.decisions import Decisions, Routing, Walk, walk

PUBLISHED_BANDWIDTH_MBPS = 80.0
"""`AVG_SAT_BANDWIDTH` of the published elections, for every path (skylark-api-daemonset.yaml)."""

DRAWS = 50
"""Over how many draws the mean of a random policy is taken."""


@dataclass(frozen=True, slots=True)
class Theory:
    """What a variant's chain costs on idle links with nodes that take no time: means over the draws.

    Attributes:
        walk: One of the ways; the only one, unless the policy is random.
        state_ms: T(dr) and T(dm) together.
        moved_mb: D(W).
        broken_share: The share of elections that break the objective, in per cent.
    """

    walk: Walk
    state_ms: float
    moved_mb: float
    broken_share: float


def corrected_max_latency_ms(published_ms: float, size_bytes: float, bandwidth_mbps: float) -> float:
    """The objective that leaves as much time for latency as the published one did by the published formula.

    Args:
        published_ms: The published objective for this size.
        bandwidth_mbps: The bandwidth that bundles really have: the narrowest link between satellites.
    """
    latency_budget_ms = published_ms - size_bytes / (1000 * PUBLISHED_BANDWIDTH_MBPS)
    return latency_budget_ms + 8 * size_bytes / (1000 * bandwidth_mbps)


def satellite_bandwidth_mbps(topology: Topology) -> float:
    """The narrowest link between two satellites; where there is none, the narrowest of all."""
    satellites = {node.name for node in topology.nodes_of(Tier.SAT)}
    between = [link for link in topology.links if {link.source, link.target} <= satellites]
    return min(link.bandwidth_mbps for link in between or topology.links)


def routing_of(workload: ChainWorkload, variant: Variant) -> Routing:
    """How a variant places state."""
    return Routing(variant.policy, variant.planned, workload.destination, variant.last_policy)


def theory_of(
    topology: Topology,
    plan: Plan,
    input_at: str,
    routing: Routing,
    size_bytes: int,
    max_latency_ms: float,
    rng: random.Random,
) -> Theory:
    """The cost of a chain by the formula."""
    decisions = Decisions(topology, Objectives(max_latency_ms))
    walks = [walk(decisions, plan, input_at, size_bytes, routing, rng) for _ in range(DRAWS)]
    stores = len(plan.steps) - 1
    return Theory(
        walks[0],
        statistics.fmean(one.state_ms for one in walks),
        statistics.fmean(sum(move.size_bytes for move in one.moves) for one in walks) / 1e6,
        100 * statistics.fmean(one.broken for one in walks) / stores if stores else 0.0,
    )
