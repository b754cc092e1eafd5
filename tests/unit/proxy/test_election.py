import json
import math
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skylark_proxy.election
from skylark_proxy.election import (
    Candidate,
    Election,
    Elector,
    Reason,
    Verdict,
    elect,
    migration_time_ms,
    parse_policy,
)
from skylark_proxy.errors import InvalidArgument, UnknownNode
from skylark_proxy.model import Link, Node, Objectives, Policy, Tier
from skylark_proxy.paths import ShortestPaths
from skylark_proxy.topology import Topology, load_topology

EXAMPLE = Path(__file__).parents[3] / "examples" / "topologies" / "four-nodes.json"


def network(*links: Link, lone: tuple[str, ...] = (), epoch: int = 1) -> Topology:
    names = sorted({name for link in links for name in (link.source, link.target)} | set(lone))
    return Topology.build([Node(name, "127.0.0.1", Tier.SAT) for name in names], links, epoch)


def elect_in(
    topology: Topology,
    local: str,
    destination: str,
    *,
    size_bytes: int = 0,
    policy: Policy = Policy.SKYLARK,
    max_latency_ms: float = 150.0,
    min_bandwidth_mbps: float = 0.0,
    at_s: float = 0.0,
    seed: int = 0,
) -> Election:
    objectives = Objectives(max_latency_ms, min_bandwidth_mbps)
    return Elector(local).elect(topology, destination, size_bytes, policy, objectives, at_s, random.Random(seed))


def verdicts(election: Election) -> dict[str, str]:
    return {candidate.node: candidate.verdict for candidate in election.candidates}


def route(topology: Topology, local: str, destination: str, at_s: float = 0.0) -> str:
    return " ".join(point.node for point in ShortestPaths(topology, local, at_s).to(destination))


# The choice, on the example: sat1 -10- sat2 -10- sat3 -60- cloud1.


def test_migration_time_counts_bits() -> None:
    """One megabyte over 10 ms and 40 Mbps takes two latencies and eight megabits at 40 megabits a second."""
    assert migration_time_ms(1_000_000, 10.0, 40.0) == 2 * 10 + 200


def test_skylark_takes_the_first_node_from_the_destination_within_the_objective() -> None:
    """The elected node is the nearest to the destination whose migration time is at most `max_latency_ms`."""
    topology = load_topology(EXAMPLE, epoch=1)
    elected = {
        max_ms: elect_in(topology, "sat1", "cloud1", size_bytes=100_000, max_latency_ms=max_ms).elected
        for max_ms in (180.0, 179.9, 60.0, 59.9, 40.0, 39.9, 0.0)
    }

    assert elected == {
        180.0: "cloud1",
        179.9: "sat3",
        60.0: "sat3",
        59.9: "sat2",
        40.0: "sat2",
        39.9: "sat1",
        0.0: "sat1",
    }


def test_election_explains_itself() -> None:
    """An election tells its question, each candidate with its numbers and verdict, and whom to try next."""
    topology = load_topology(EXAMPLE, epoch=3)
    election = elect_in(topology, "sat1", "cloud1", size_bytes=100_000, max_latency_ms=100.0, at_s=12.5)

    assert json.loads(msgspec.json.encode(election)) == election.to_dict()
    assert election.to_dict() == {
        "policy": "skylark",
        "source": "sat1",
        "destination": "cloud1",
        "elected": "sat3",
        "reason": "first-within-objectives",
        "size_bytes": 100_000,
        "at_s": 12.5,
        "epoch": 3,
        "objectives": {"max_latency_ms": 100.0, "min_bandwidth_mbps": 0.0},
        "objective_met": True,
        "breach": None,
        "candidates": [
            {
                "node": "cloud1",
                "latency_ms": 80.0,
                "bandwidth_mbps": 40.0,
                "migration_time_ms": 180.0,
                "window_ends_s": None,
                "verdict": "latency-exceeded",
            },
            {
                "node": "sat3",
                "latency_ms": 20.0,
                "bandwidth_mbps": 40.0,
                "migration_time_ms": 60.0,
                "window_ends_s": None,
                "verdict": "elected",
            },
            {
                "node": "sat2",
                "latency_ms": 10.0,
                "bandwidth_mbps": 40.0,
                "migration_time_ms": 40.0,
                "window_ends_s": None,
                "verdict": "not-needed",
            },
            {
                "node": "sat1",
                "latency_ms": 0.0,
                "bandwidth_mbps": None,
                "migration_time_ms": 0.0,
                "window_ends_s": None,
                "verdict": "not-needed",
            },
        ],
        "fallbacks": ["sat2", "sat1"],
    }


def test_none_within_the_objectives_elects_the_local_node() -> None:
    """Where no other node can be reached in time the bundle stays, and the election says why."""
    election = elect_in(load_topology(EXAMPLE, 1), "sat1", "cloud1", size_bytes=10**9, max_latency_ms=0.0)

    assert (election.elected, election.reason) == ("sat1", Reason.NONE_WITHIN_OBJECTIVES)
    assert election.objective_met
    assert election.fallbacks == ()
    assert verdicts(election) == {
        "cloud1": Verdict.LATENCY_EXCEEDED,
        "sat3": Verdict.LATENCY_EXCEEDED,
        "sat2": Verdict.LATENCY_EXCEEDED,
        "sat1": Verdict.ELECTED,
    }


def test_narrow_link_rules_out_what_lies_behind_it() -> None:
    """A node is out when the narrowest link on the way to it is below `min_bandwidth_mbps`."""
    topology = network(Link("a", "b", 1, 40), Link("b", "c", 1, 39.9), Link("c", "d", 1, 90))
    election = elect_in(topology, "a", "d", min_bandwidth_mbps=40.0)

    assert election.elected == "b"
    assert verdicts(election)["d"] == verdicts(election)["c"] == Verdict.BANDWIDTH_TOO_LOW


def test_contact_must_last_for_the_migration() -> None:
    """A node is out when a contact window on the way to it ends before the migration would; at its end is in time."""
    topology = network(Link("a", "b", 10, 8, up_until_s=100.0), Link("b", "c", 10, 8, up_from_s=0.0))
    # 1 MB to c: 2 * 20 ms + 1000 ms.
    in_time, late = (
        elect_in(topology, "a", "c", size_bytes=1_000_000, max_latency_ms=5000, at_s=at_s) for at_s in (98.95, 98.97)
    )

    assert in_time.elected == "c"
    assert in_time.candidates[0].window_ends_s == 100.0
    assert (late.elected, verdicts(late)["c"]) == ("b", Verdict.CONTACT_ENDS)
    assert elect_in(topology, "a", "c", size_bytes=0, at_s=100.0).reason is Reason.NO_ROUTE


def test_contact_may_end_with_the_migration() -> None:
    """A migration that is over at the very moment at which the contact ends is in time."""
    topology = network(Link("a", "b", 0, 8, up_until_s=100.0))

    assert elect_in(topology, "a", "b", size_bytes=1_000_000, max_latency_ms=1000.0, at_s=99.0).elected == "b"


@pytest.mark.parametrize("ends_s", [(50.0, 60.0), (60.0, 50.0), (None, 50.0), (50.0, None)])
def test_earliest_end_of_contact_counts(ends_s: tuple[float | None, float | None]) -> None:
    """A path is up as long as the one of its links whose contact ends first."""
    topology = network(Link("a", "b", 1, 8, up_until_s=ends_s[0]), Link("b", "c", 1, 8, up_until_s=ends_s[1]))

    assert elect_in(topology, "a", "c").candidates[0].window_ends_s == 50.0


def test_stateless_takes_the_destination_and_reports_the_breach() -> None:
    """The stateless policy migrates to the destination whatever it takes, and says which objective that breaks."""
    topology = load_topology(EXAMPLE, 1)
    slow = elect_in(topology, "sat1", "cloud1", policy=Policy.STATELESS, max_latency_ms=39.0)
    fast = elect_in(topology, "sat1", "cloud1", policy=Policy.STATELESS, max_latency_ms=160.0)

    assert (slow.elected, slow.reason) == (fast.elected, fast.reason) == ("cloud1", Reason.POLICY)
    assert (slow.objective_met, slow.breach) == (False, Verdict.LATENCY_EXCEEDED)
    assert (fast.objective_met, fast.breach) == (True, None)
    assert verdicts(slow)["cloud1"] == Verdict.ELECTED
    assert verdicts(slow)["sat3"] == Verdict.LATENCY_EXCEEDED
    assert slow.fallbacks == ("sat2", "sat1")


def test_random_takes_any_node_of_the_path() -> None:
    """The random policy elects every node of the path in time, both ends too, and no other; a seed repeats it."""
    topology = load_topology(EXAMPLE, 1)
    elections = [elect_in(topology, "sat2", "cloud1", policy=Policy.RANDOM, seed=seed) for seed in range(60)]

    assert {election.elected for election in elections} == {"sat2", "sat3", "cloud1"}
    assert elections == [elect_in(topology, "sat2", "cloud1", policy=Policy.RANDOM, seed=seed) for seed in range(60)]


@pytest.mark.parametrize("policy", Policy)
def test_destination_is_local(policy: Policy) -> None:
    """A bundle whose destination is the local node stays there under any policy and any objectives."""
    election = elect_in(
        load_topology(EXAMPLE, 1), "sat1", "sat1", policy=policy, max_latency_ms=0, min_bandwidth_mbps=1e9
    )

    assert (election.elected, election.reason) == ("sat1", Reason.DESTINATION_IS_LOCAL)
    assert election.objective_met
    assert verdicts(election) == {"sat1": Verdict.ELECTED}


@pytest.mark.parametrize("policy", Policy)
def test_no_route_elects_the_local_node(policy: Policy) -> None:
    """Where no links that are up lead to the destination the bundle stays, and the election says so."""
    topology = network(Link("a", "b", 1, 1), Link("c", "d", 1, 1), Link("b", "c", 1, 1, up_until_s=10.0))
    election = elect_in(topology, "a", "d", policy=policy, at_s=10.0)

    assert (election.elected, election.reason) == ("a", Reason.NO_ROUTE)
    assert verdicts(election) == {"a": Verdict.ELECTED}
    assert election.fallbacks == ()


def test_unknown_nodes_are_errors() -> None:
    """A destination or a local node that is not in the topology is an error that names it."""
    topology = load_topology(EXAMPLE, 1)

    with pytest.raises(UnknownNode, match="sat9"):
        elect_in(topology, "sat1", "sat9")
    with pytest.raises(UnknownNode, match="sat8"):
        elect_in(topology, "sat8", "sat1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_bytes", -1),
        ("size_bytes", 2**63),
        ("max_latency_ms", -0.1),
        ("max_latency_ms", math.nan),
        ("max_latency_ms", math.inf),
        ("min_bandwidth_mbps", -1.0),
        ("min_bandwidth_mbps", math.nan),
        ("min_bandwidth_mbps", math.inf),
        ("at_s", math.nan),
        ("at_s", math.inf),
    ],
)
def test_numbers_out_of_range_are_errors(field: str, value: float) -> None:
    """A size, an objective or a time that makes no sense is refused by its name."""
    with pytest.raises(InvalidArgument) as caught:
        elect_in(load_topology(EXAMPLE, 1), "sat1", "cloud1", **{field: value})  # type: ignore[arg-type]

    assert caught.value.field == field


def test_largest_numbers_stay_finite() -> None:
    """The largest bundle over the narrowest link has a finite migration time, so that JSON can carry it."""
    election = elect_in(network(Link("a", "b", 3_600_000, 1e-6)), "a", "b", size_bytes=2**63 - 1)

    assert math.isfinite(election.candidates[0].migration_time_ms)
    assert election.elected == "a"


def test_paths_of_another_time_are_refused() -> None:
    """Paths over links that are not the ones up at the time of the election are not used."""
    paths = ShortestPaths(network(Link("a", "b", 1, 1, up_until_s=10.0)), "a", at_s=0.0)

    assert elect(paths, "b", 0, Policy.SKYLARK, Objectives(), 9.0, random.Random(0)).elected == "b"
    with pytest.raises(InvalidArgument, match="at_s"):
        elect(paths, "b", 0, Policy.SKYLARK, Objectives(), 10.0, random.Random(0))


def test_policies_are_parsed_by_name() -> None:
    """Each policy is read from its name, in any case; another text is an error that lists the names."""
    assert [parse_policy(policy.value) for policy in Policy] == list(Policy)
    assert [parse_policy(text) for text in ("Skylark", "Random", "STATELESS")] == list(Policy)
    for text in ("", "Skylark ", "fastest"):
        with pytest.raises(InvalidArgument, match=f"policy: {text!r}.*skylark, random, stateless"):
            parse_policy(text)


# The path.


def test_path_has_the_lowest_latency_then_the_fewest_hops() -> None:
    """Lower latency beats fewer hops, and among equal latencies fewer hops win."""
    detour = (Link("a", "b", 1, 1), Link("b", "c", 1, 1))

    assert route(network(*detour, Link("a", "c", 2.001, 1)), "a", "c") == "a b c"
    assert route(network(*detour, Link("a", "c", 2.0, 1)), "a", "c") == "a c"
    assert route(network(*detour, Link("a", "c", 2.0004, 1)), "a", "c") == "a c"


def test_equal_paths_are_told_apart_from_the_destination() -> None:
    """Among paths of equal latency and hops the smaller name nearer to the destination decides."""
    topology = network(
        *(Link("src", first, 1, 1) for first in ("a", "z")),
        Link("a", "y", 1, 1),
        Link("z", "b", 1, 1),
        *(Link(last, "dst", 1, 1) for last in ("y", "b")),
    )

    assert route(topology, "src", "dst") == "src z b dst"


def test_links_without_latency_do_not_loop() -> None:
    """Rings of links with zero latency have paths too, with the fewest hops."""
    ring = network(*(Link(f"n{i}", f"n{(i + 1) % 6}", 0, 1) for i in range(6)))

    assert route(ring, "n0", "n2") == "n0 n1 n2"
    assert route(ring, "n0", "n3") == "n0 n1 n2 n3"
    assert route(ring, "n0", "n0") == "n0"


@pytest.mark.parametrize(
    ("end_a", "end_b", "chosen"),
    [
        ([3_600_000.0], [3_600_000.0], "a"),
        ([3_600_000.0], [3_599_999.999], "b"),
        ([3_599_999.999], [3_599_999.999, 0.0], "a"),
        ([3_600_000.0, 0.0], [3_600_000.0], "b"),
        ([3_599_999.999, *[0.0] * 500], [3_600_000.0], "a"),
    ],
)
def test_one_microsecond_in_nine_hours_decides(end_a: list[float], end_b: list[float], chosen: str) -> None:
    """Sums near the limit of a topology are exact: one microsecond less decides, then one hop less, then the name."""
    links = []
    for chain, end in (("a", end_a), ("b", end_b)):
        latencies_ms = [3_600_000.0] * 8 + end
        names = ["src", *(f"{chain}{index}" for index in range(1, len(latencies_ms))), "dst"]
        links += [Link(one, other, ms, 1) for (one, other), ms in zip(pairwise(names), latencies_ms, strict=True)]

    assert f" {chosen}1 " in route(network(*links), "src", "dst")


def test_a_long_path_is_walked_without_recursion() -> None:
    """A path over thousands of nodes is elected on like any other."""
    names = [f"n{index:05}" for index in range(5000)]
    topology = network(*(Link(one, other, 1, 1) for one, other in pairwise(names)))
    election = elect_in(topology, names[0], names[-1], max_latency_ms=2000)

    assert len(election.candidates) == 5000
    assert election.elected == names[1000]
    assert election.candidates[0].latency_ms == 4999.0


# A slow reference, written from the definition alone: every simple path is listed and the best taken.

NAMES = ("kiwi", "fig", "apple", "plum", "date", "lime")
LATENCIES_MS = st.sampled_from([0.0, 0.0004, 0.001, 1.0, 1.0004, 2.0, 3.0, 3_600_000.0]) | st.floats(0, 30)
TIMES_S = st.sampled_from([None, None, None, 0.0, 5.0, 10.0, 10.001, 20.0, 1000.0])


def opens(window: tuple[float | None, float | None]) -> bool:
    """Whether a window begins before it ends."""
    start_s, end_s = window
    return start_s is None or end_s is None or start_s < end_s


@st.composite
def small_networks(draw: st.DrawFn) -> Topology:
    names = NAMES[: draw(st.sampled_from([6, 5, 4, 3, 2]))]
    pairs = [(one, other) for one in names for other in names if one != other]
    chain = list(pairwise(draw(st.permutations(names))))[draw(st.integers(0, 1)) :]
    links = []
    for source, target in chain + draw(st.lists(st.sampled_from(pairs), max_size=10)):
        start, end = draw(st.tuples(TIMES_S, TIMES_S).filter(opens))
        bandwidth_mbps = draw(st.sampled_from([0.8, 8.0, 40.0, 90.0]))
        links.append(Link(source, target, draw(LATENCIES_MS), bandwidth_mbps, start, end))
    return network(*links, lone=names)


def simple_paths(hops: dict[str, dict[str, Link]], path: list[str], destination: str) -> Iterator[list[str]]:
    if path[-1] == destination:
        yield path
        return
    for name in hops.get(path[-1], {}):
        if name not in path:
            yield from simple_paths(hops, [*path, name], destination)


def reference_path(topology: Topology, local: str, destination: str, at_s: float) -> list[tuple[str, Link | None]]:
    """The nodes of the defined path, each with the link that leads to it; empty where there is none."""

    def goodness(link: Link) -> tuple[int, float, float]:
        ends_s = math.inf if link.up_until_s is None else link.up_until_s
        return -round(link.latency_ms * 1000), link.bandwidth_mbps, ends_s

    best: dict[str, dict[str, Link]] = {}
    for link in sorted(topology.links, key=goodness):  # a better link overwrites a worse one
        if (link.up_from_s is None or at_s >= link.up_from_s) and (link.up_until_s is None or at_s < link.up_until_s):
            best.setdefault(link.source, {})[link.target] = link
            best.setdefault(link.target, {})[link.source] = link

    def cost(path: list[str]) -> tuple[int, int, list[str]]:
        latencies = [round(best[one][other].latency_ms * 1000) for one, other in pairwise(path)]
        return sum(latencies), len(path), path[::-1]

    path = min(simple_paths(best, [local], destination), key=cost, default=[])
    before = [None, *path]
    return [(name, best[prev][name] if prev else None) for prev, name in zip(before, path, strict=False)]


def reference_candidate(
    name: str, links: list[Link], size_bytes: int, objectives: Objectives, at_s: float
) -> Candidate:
    """What migrating over these links takes, and the verdict were no other node elected."""
    if not links:
        return Candidate(name, 0.0, None, 0.0, None, Verdict.NOT_NEEDED)
    latency_ms = sum(round(link.latency_ms * 1000) for link in links) / 1000
    narrowest_mbps = min(link.bandwidth_mbps for link in links)
    time_ms = 2 * latency_ms + 8 * size_bytes / (1000 * narrowest_mbps)
    ends_s = [link.up_until_s for link in links if link.up_until_s is not None]
    verdict = Verdict.NOT_NEEDED
    if any(end_s < at_s + time_ms / 1000 for end_s in ends_s):
        verdict = Verdict.CONTACT_ENDS
    if narrowest_mbps < objectives.min_bandwidth_mbps:
        verdict = Verdict.BANDWIDTH_TOO_LOW
    if time_ms > objectives.max_latency_ms:
        verdict = Verdict.LATENCY_EXCEEDED
    return Candidate(name, latency_ms, narrowest_mbps, time_ms, min(ends_s, default=None), verdict)


QUESTIONS = st.fixed_dictionaries(
    {
        "size_bytes": st.sampled_from([0, 1, 1000, 100_000, 1_000_000, 10**7, 10**8]),
        "max_latency_ms": st.sampled_from([0.0, 2.0, 4.0, 20.0, 200.0, 1e4, 1e9, 1e9, 1e9]),
        "min_bandwidth_mbps": st.sampled_from([0.0, 8.0, 40.0, 91.0]),
        "at_s": st.sampled_from([-1.0, 0.0, 4.0, 5.0, 9.99, 10.0, 10.001, 25.0]),
        "seed": st.integers(0, 5),
    }
)


@given(small_networks(), st.data(), QUESTIONS)
def test_elections_equal_the_reference(topology: Topology, data: st.DataObject, question: dict[str, float]) -> None:
    """On any small network the path, every number and verdict, the elected node and the fallbacks are the defined."""
    local, destination = data.draw(st.permutations(list(topology.nodes)))[:2]
    policy = data.draw(st.sampled_from(Policy))
    election = elect_in(topology, local, destination, policy=policy, **question)  # type: ignore[arg-type]

    size_bytes, at_s = int(question["size_bytes"]), question["at_s"]
    objectives = Objectives(question["max_latency_ms"], question["min_bandwidth_mbps"])
    path = reference_path(topology, local, destination, at_s)
    steps = path or [(local, None)]
    links = [link for _, link in steps if link is not None]
    judged = [
        reference_candidate(name, links[:count], size_bytes, objectives, at_s) for count, (name, _) in enumerate(steps)
    ][::-1]
    eligible = [candidate.node for candidate in judged if candidate.verdict is Verdict.NOT_NEEDED]

    if not path or policy is Policy.SKYLARK:
        assert election.elected == eligible[0]
    elif policy is Policy.STATELESS:
        assert election.elected == destination
    place = [candidate.node for candidate in judged].index(election.elected)
    assert election.fallbacks == tuple(
        candidate.node for candidate in judged[place + 1 :] if candidate.node in eligible
    )
    assert election.objective_met == (election.elected in eligible)
    assert (election.reason is Reason.NO_ROUTE) == (not path)
    judged[place] = msgspec.structs.replace(judged[place], verdict=Verdict.ELECTED)
    assert election.candidates == tuple(judged)


@given(small_networks(), st.data(), st.sampled_from([0.0, 7.0, 10.0]))
def test_path_up_to_a_node_is_the_path_to_it(topology: Topology, data: st.DataObject, at_s: float) -> None:
    """All paths from a node form a tree, in whatever order they are asked for, and a node's values are cumulative."""
    names = list(topology.nodes)
    paths = ShortestPaths(topology, data.draw(st.sampled_from(names)), at_s)

    for destination in data.draw(st.permutations(names)):
        path = paths.to(destination)
        for count, point in enumerate(path, start=1):
            assert paths.to(point.node) == path[:count]
        latencies_ms = [point.latency_ms for point in path]
        assert latencies_ms == sorted(latencies_ms)


# The cache.


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times for which shortest paths were computed."""
    times: list[float] = []

    class Counted(ShortestPaths):
        def __init__(self, topology: Topology, local: str, at_s: float) -> None:
            times.append(at_s)
            super().__init__(topology, local, at_s)

    monkeypatch.setattr(skylark_proxy.election, "ShortestPaths", Counted)
    return times


def elect_simply(elector: Elector, topology: Topology, at_s: float) -> str:
    return elector.elect(topology, "c", 0, Policy.SKYLARK, Objectives(), at_s, random.Random(0)).elected


def test_paths_are_computed_once_for_each_set_of_live_links(computed: list[float]) -> None:
    """Elections share their paths until a contact window begins or ends, and again when the links are as before."""
    elector = Elector("a")
    topology = network(Link("a", "b", 1, 1), Link("b", "c", 1, 1, up_from_s=10.0, up_until_s=20.0))

    assert [elect_simply(elector, topology, at_s) for at_s in (0, 9, 10, 19, 20, 9)] == ["a", "a", "c", "c", "a", "a"]
    assert computed == [0, 10, 20]


def test_a_changed_topology_is_seen_at_once(computed: list[float]) -> None:
    """A new epoch, and another topology that has the same epoch, are never answered from old paths."""
    elector = Elector("a")
    linked = network(Link("a", "b", 1, 1), Link("b", "c", 1, 1))
    parted, parted_later = (network(Link("a", "b", 1, 1), lone=("c",), epoch=epoch) for epoch in (1, 2))

    assert [elect_simply(elector, t, 0) for t in (linked, parted_later, linked, parted)] == ["c", "a", "c", "a"]
    assert len(computed) == 3


def test_kept_paths_are_bounded(computed: list[float]) -> None:
    """Of more topologies than fit, the paths of the least recently used are computed anew."""
    elector = Elector("a", max_kept=2)
    one, two, three = (network(Link("a", "b", 1, 1), Link("b", "c", 1, 1), epoch=epoch) for epoch in (1, 2, 3))

    for topology in (one, two, one, three, one):
        elect_simply(elector, topology, 0)
    assert len(computed) == 3
    elect_simply(elector, two, 0)
    assert len(computed) == 4


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("max_kept", [1, 4])
def test_threads_share_an_elector(max_kept: int, computed: list[float]) -> None:
    """Elections by many threads at once equal those of one thread, and paths that are kept are computed once."""
    rng = random.Random(1)
    names = [f"n{index:03}" for index in range(200)]

    def random_link() -> Link:
        one, other = rng.sample(names, 2)
        return Link(one, other, rng.choice([1, 2, 3]), 40)

    networks = [network(*(random_link() for _ in range(500)), lone=tuple(names), epoch=epoch) for epoch in range(4)]
    questions = [(rng.choice(networks), rng.choice(names)) for _ in range(400)]

    def ask(elector: Elector, topology: Topology, destination: str) -> Election:
        return elector.elect(topology, destination, 1000, Policy.SKYLARK, Objectives(8.0), 0.0, random.Random(0))

    shared = Elector("n000", max_kept)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: ask(shared, *question), questions))
    if max_kept == len(networks):
        assert len(computed) == len(networks)
    assert answers == [ask(Elector("n000"), *question) for question in questions]


@pytest.fixture
def elected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was elected, and not answered from before."""
    asked: list[tuple[object, ...]] = []
    real = skylark_proxy.election.elect

    def counted(*question: Any) -> Election:
        asked.append(question)
        return real(*question)

    monkeypatch.setattr(skylark_proxy.election, "elect", counted)
    return asked


def test_the_same_question_is_answered_once(elected: list[tuple[object, ...]]) -> None:
    """An election is kept while its topology holds, for the same destination, size, policy and objectives."""
    elector, topology = Elector("a"), network(Link("a", "b", 1, 1), Link("b", "c", 1, 1))
    question = ("c", 1000, Policy.SKYLARK, Objectives(50.0))
    others = [
        ("b", *question[1:]),
        ("c", 1001, *question[2:]),
        ("c", 1000, Policy.STATELESS, question[3]),
        (*question[:3], Objectives(50.0, 1.0)),
    ]
    answers = [elector.elect(topology, *question, at_s, random.Random(0)) for at_s in (0.0, 1.0, 2.0)]
    assert [answer.at_s for answer in answers] == [0.0, 1.0, 2.0]
    assert len({msgspec.json.encode(msgspec.structs.replace(answer, at_s=0.0)) for answer in answers}) == 1
    assert len(elected) == 1
    for number, other in enumerate(others, 2):
        elector.elect(topology, *other, 0.0, random.Random(0))
        assert len(elected) == number
    later = network(Link("a", "b", 1, 1), Link("b", "c", 1, 1), epoch=2)
    elector.elect(later, *question, 0.0, random.Random(0))
    assert len(elected) == len(others) + 2


def test_answers_that_are_kept_are_bounded(elected: list[tuple[object, ...]]) -> None:
    """However many sizes there are, no more than so many elections are kept."""
    elector, topology = Elector("a"), network(Link("a", "c", 1, 1))
    for _ in range(2):
        for size_bytes in range(1000):
            elector.elect(topology, "c", size_bytes, Policy.SKYLARK, Objectives(), 0.0, random.Random(0))
    assert len(elected) == 2000
    [kept] = elector._kept.values()
    assert len(kept.answers) <= 256


def test_a_random_node_is_drawn_each_time() -> None:
    """The policy `random` draws for every election."""
    elector, topology, rng = Elector("a"), network(Link("a", "b", 1, 1), Link("b", "c", 1, 1)), random.Random(0)
    asked = (topology, "c", 1000, Policy.RANDOM, Objectives(), 0.0, rng)
    assert {elector.elect(*asked).elected for _ in range(100)} == {"a", "b", "c"}


def test_a_contact_that_ends_meanwhile() -> None:
    """The same question has another answer when too little is left of a contact window, while its link is still up."""
    elector, topology = Elector("a"), network(Link("a", "c", 10, 1, up_from_s=0.0, up_until_s=100.0))
    asked = ("c", 10_000, Policy.SKYLARK, Objectives(1000.0))
    answers = [elector.elect(topology, *asked, at_s, random.Random(0)) for at_s in (50.0, 99.0, 99.95, 50.0)]
    assert [answer.elected for answer in answers] == ["c", "c", "a", "c"]
