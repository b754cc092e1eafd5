"""The simulation: the proxy's decisions, and times on its links."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_files import EXAMPLES, example, write
from skylark.plan import Plan
from skylark_proxy.bench.election import ring_graph
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Link, Node, Objectives, Policy, Tier
from skylark_proxy.topology import Topology
from skylark_testbed.experiments.definition import load
from skylark_testbed.simulation.decisions import Decisions, Routing, walk
from skylark_testbed.simulation.links import SimulatedLinks
from skylark_testbed.simulation.run import (
    FETCH_MS_PER_MB,
    STORE_MS_PER_MB,
    Simulation,
    calm_rate_per_s,
    simulate,
)

LINE = Topology.build(
    [Node("a", "127.0.0.1", Tier.SAT), Node("b", "127.0.0.1", Tier.SAT), Node("c", "127.0.0.1", Tier.CLOUD)],
    [Link("a", "b", 10, 40), Link("b", "c", 20, 80)],
    epoch=1,
)
PLAN = Plan.parse("one@a,two@b,three@c")
SKYLARK = Routing(Policy.SKYLARK, planned=True, destination="c")


def test_a_walk_is_what_the_proxy_decides() -> None:
    """Known plans lead each bundle to the next function's node, if the objective allows it; else it stays."""
    way = walk(Decisions(LINE, Objectives(1000)), PLAN, "a", 1_000_000, SKYLARK, random.Random(1))
    assert (way.holders, way.hops, way.broken) == (("b", "c"), (0, 0), 0)
    assert way.state_ms == pytest.approx((20 + 200) + (40 + 100))
    stays = walk(Decisions(LINE, Objectives(50)), PLAN, "a", 1_000_000, SKYLARK, random.Random(1))
    assert (stays.holders, stays.hops, stays.broken) == (("a", "b"), (1, 1), 0)
    assert stays.state_ms == way.state_ms


def test_stateless_goes_to_the_destination() -> None:
    """All bundles go to the cloud, whatever the objective, and what breaks it is counted."""
    stateless = Routing(Policy.STATELESS, planned=False, destination="c")
    way = walk(Decisions(LINE, Objectives(50)), PLAN, "a", 1_000_000, stateless, random.Random(1))
    assert (way.holders, way.hops, way.broken) == (("c", "c"), (1, 0), 2)


def test_the_next_candidate_takes_it() -> None:
    """A node that is away is passed over for the next one on the way back, as by the proxy."""
    plan = Plan.parse("one@a,two@c")
    decisions = Decisions(LINE, Objectives(1000))
    way = walk(decisions, plan, "a", 1_000_000, SKYLARK, random.Random(1), reachable=lambda node: node != "c")
    assert way.holders == ("b",)


def test_an_idle_link_takes_what_the_formula_says() -> None:
    """A single chain's time is that of the formula, and what its nodes take."""
    simulation = Simulation(Decisions(LINE, Objectives(1000)), SKYLARK, 1_000_000)
    metrics = simulation.run("skylark", [("a", PLAN)], 1.0).metrics
    assert metrics["state_ms"] == pytest.approx(360)
    assert metrics["workflow_ms"] == pytest.approx(360 + 3 * FETCH_MS_PER_MB + 2 * STORE_MS_PER_MB)


def test_a_link_carries_one_after_the_other() -> None:
    """Two transfers that begin at once end after one and after two of them; the other direction is free."""
    links = SimulatedLinks()
    assert links.carry(0.0, 1_000_000, [(("a", "b"), 8.0)], 50) == pytest.approx(1.1)
    assert links.carry(0.0, 1_000_000, [(("a", "b"), 8.0)], 50) == pytest.approx(2.1)
    assert links.carry(0.0, 1_000_000, [(("b", "a"), 8.0)], 50) == pytest.approx(1.1)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10**7)), min_size=1, max_size=30))
def test_a_link_never_carries_more_than_it_can(sent: list[tuple[float, int]]) -> None:
    """Whatever is sent when, all of it takes at least the link's time for its bytes."""
    links, ended_s = SimulatedLinks(), 0.0
    for now_s, size_bytes in sorted(sent):
        ended_s = links.carry(now_s, size_bytes, [(("a", "b"), 40.0)], 0.0)
    total_s = sum(8 * size_bytes / 40e6 for _, size_bytes in sent)
    assert ended_s - min(now_s for now_s, _ in sent) >= total_s - 1e-6
    assert links.carried_bytes == sum(size_bytes for _, size_bytes in sent)


def test_a_thousand_nodes_quickly() -> None:
    """3,000 bundles over 1,000 nodes take seconds, and skylark keeps every objective."""
    definition = example("parallel")
    started = time.perf_counter()
    found = {one.variant: one for one in simulate(definition, EXAMPLES / "experiments", 1000, 3000)}
    assert time.perf_counter() - started < 60
    assert {one.nodes for one in found.values()} == {1000}
    assert {one.bundles for one in found.values()} == {3000}
    assert found["skylark"].metrics["violation_share"] == 0.0 < found["stateless"].metrics["violation_share"]
    assert found["stateless"].metrics["migrated_mb"] == pytest.approx(10.0, abs=0.2)


def test_it_can_be_repeated() -> None:
    """The same seed gives the same figures."""
    definition = example("parallel")
    first, second = (simulate(definition, EXAMPLES / "experiments", 50, 300) for _ in range(2))
    assert [one.metrics for one in first] == [one.metrics for one in second]


def test_the_default_rate_is_calm() -> None:
    """Stateless chains of three functions take three ways to the cloud, of whose 80 Mbps they use a quarter."""
    assert calm_rate_per_s(LINE, 1_000_000, 3) == pytest.approx(0.25 * 80 / 8 / 3)


def test_the_elections_of_10000_nodes_keep_within_memory() -> None:
    """No more paths are kept than asked for, and those that are found anew give the same elections."""
    topology = Topology.build(*ring_graph(200, random.Random(1)), epoch=1)
    few, all_of_them = (Decisions(topology, Objectives(1000), max_electors=kept) for kept in (2, 4096))
    for decisions in (few, all_of_them):
        for number in range(20):
            decisions.elect(f"n{number}", "n0", 1_000_000, Policy.SKYLARK, random.Random(1))
    assert (len(few._electors), len(all_of_them._electors)) == (2, 20)
    ask = ("n3", "n0", 1_000_000, Policy.SKYLARK)
    assert few.elect(*ask, random.Random(1)) == all_of_them.elect(*ask, random.Random(1))


def test_only_chains_can_be_simulated(tmp_path: Path) -> None:
    """An experiment of elections is refused."""
    with pytest.raises(InvalidArgument, match="experiment of chains"):
        simulate(load(write(tmp_path)), tmp_path, None, 100)
