"""The providers of node-info: the same object while nothing changes, a higher epoch when something does."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Node, Tier
from skylark_proxy.nodeinfo.cluster import LinkedNodes
from skylark_proxy.nodeinfo.drawn import DrawnTopology
from skylark_proxy.nodeinfo.links import DEFAULT_RANGES, LinkRange, SimSettings
from skylark_proxy.nodeinfo.provider import FileTopology, Provider
from skylark_proxy.nodeinfo.rotating import RotatingTopology
from skylark_proxy.topology import Topology

EXAMPLES = Path(__file__).parents[4] / "examples" / "topologies"
SATELLITES = ["pi5u2", "pi5u3", "pi5u4", "pi4u5", "pi4u6", "pi4u8", "pi4p1"]


class Nodes(Provider):
    """Nodes that a test changes."""

    def __init__(self, *names: str) -> None:
        self.name(*names)

    def name(self, *names: str) -> None:
        self.topology = Topology.build([Node(name, "127.0.0.1", Tier.SAT) for name in names], [], epoch=1)

    def current(self, at_s: float) -> Topology:
        return self.topology


def rotation_file(folder: Path, *latencies_ms: float, interval_s: object = 60) -> Path:
    """A rotation of topologies that differ in the latency of their one link."""
    ends = {
        end: {"node_name": name, "node_ip": address, "node_type": "Sat"}
        for end, name, address in (("source", "a", "127.0.0.1"), ("target", "b", "127.0.0.2"))
    }
    topologies = [{"edges": [ends | {"latency": latency_ms, "bandwidth": 1}]} for latency_ms in latencies_ms]
    path = folder / "rotation.json"
    path.write_text(json.dumps({"interval_s": interval_s, "topologies": topologies}))
    return path


def latency_ms(topology: Topology) -> float:
    return topology.links[0].latency_ms


class TestFile:
    def test_what_is_read_again_and_equal_is_no_change(self, tmp_path: Path) -> None:
        """A refresh keeps the object where the file says the same, and raises the epoch where it says another."""
        path = tmp_path / "topology.json"
        path.write_bytes((EXAMPLES / "four-nodes.json").read_bytes())
        provider = FileTopology(path)
        first = provider.current(0.0)
        provider.refresh()
        assert provider.current(0.0) is first
        path.write_bytes(Topology.build(first.nodes.values(), first.links[:2], epoch=1).to_json())
        provider.refresh()
        assert (len(provider.current(0.0).links), provider.current(0.0).epoch) == (2, first.epoch + 1)

    def test_a_file_that_has_become_invalid_changes_nothing(self, tmp_path: Path) -> None:
        """The error names what is wrong, and the topology before it stays."""
        path = tmp_path / "topology.json"
        path.write_bytes((EXAMPLES / "four-nodes.json").read_bytes())
        provider = FileTopology(path)
        first = provider.current(0.0)
        path.write_text('{"edges": 1}')
        with pytest.raises(InvalidArgument, match="edges"):
            provider.refresh()
        assert provider.current(0.0) is first

    def test_time_changes_nothing(self) -> None:
        """A file has no next topology, and one that takes turns with itself."""
        provider = FileTopology(EXAMPLES / "four-nodes.json")
        current = provider.current(0.0)
        assert (provider.upcoming(0.0), provider.next_change_s(0.0)) == (current, math.inf)
        assert (list(provider.rotation(0.0)), provider.problem()) == ([current], None)


class TestRotating:
    @given(st.floats(0, 1e10, allow_nan=False))
    def test_the_turn_is_that_of_the_time(self, at_s: float) -> None:
        """Topology number `time / interval`, modulo their number, holds until the next turn begins."""
        provider = RotatingTopology(EXAMPLES / "constellation.json")
        turn = math.floor(at_s / 60)
        expected = provider.rotation(at_s)
        assert provider.current(at_s).links == expected[turn % 7].links
        assert provider.upcoming(at_s).links == expected[(turn + 1) % 7].links
        assert at_s < provider.next_change_s(at_s) == (turn + 1) * 60

    def test_within_a_turn_it_is_the_same_object(self, tmp_path: Path) -> None:
        """The object stays for a turn; the epoch rises with each, also when a topology comes back."""
        provider = RotatingTopology(rotation_file(tmp_path, 1, 2))
        seen = [provider.current(at_s) for at_s in (0.0, 59.9, 60.0, 119.9, 120.0)]
        assert seen[0] is seen[1] and seen[2] is seen[3]
        assert [latency_ms(topology) for topology in seen] == [1, 1, 2, 2, 1]
        assert seen[0].epoch < seen[2].epoch < seen[4].epoch

    def test_refresh_reads_the_file_and_takes_the_next_turn(self, tmp_path: Path) -> None:
        """What was the second topology is the first to come, with what the file says now."""
        provider = RotatingTopology(rotation_file(tmp_path, 1, 2, 3))
        first = provider.current(0.0)
        rotation_file(tmp_path, 1, 20, 3)
        provider.refresh()
        assert (latency_ms(provider.current(0.0)), provider.current(0.0).epoch) == (20, first.epoch + 1)

    def test_an_interval_can_be_given_beside_the_file(self, tmp_path: Path) -> None:
        """It stands for the file's own, also after a refresh."""
        provider = RotatingTopology(rotation_file(tmp_path, 1, 2), interval_s=5)
        provider.refresh()
        assert provider.next_change_s(0.0) == 5

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("{", "interval_s"),
            ('{"interval_s": 1}', "topologies"),
            ('{"interval_s": 1, "topologies": []}', "at least one topology"),
            ('{"interval_s": 0, "topologies": [1]}', "interval_s: 0"),
            ('{"interval_s": 1, "topologies": [{"edges": []}, 1]}', r"topologies\[0\].edges"),
            ('{"interval_s": 1, "topologies": [{"edges": [{}]}]}', r"topologies\[0\].edges\[0\].source"),
            ('{"interval_s": 1, "topologies": [], "x": 1}', "x"),
        ],
    )
    def test_what_is_wrong_in_a_file_is_named(self, tmp_path: Path, text: str, named: str) -> None:
        """The error names the file and the field."""
        path = tmp_path / "rotation.json"
        path.write_text(text)
        with pytest.raises(InvalidArgument, match=named) as raised:
            RotatingTopology(path)
        assert str(path) in raised.value.message

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """So is a file that cannot be read."""
        with pytest.raises(InvalidArgument, match=r"none\.json"):
            RotatingTopology(tmp_path / "none.json")


class TestConstellation:
    def test_it_has_the_published_nodes(self) -> None:
        """One cloud node, seven satellites and one edge node, in each of seven topologies."""
        for topology in RotatingTopology(EXAMPLES / "constellation.json").rotation(0.0):
            tiers = {name: node.tier for name, node in topology.nodes.items()}
            assert tiers == {"pi5u1": Tier.CLOUD, "pi4u7": Tier.EDGE} | dict.fromkeys(SATELLITES, Tier.SAT)

    def test_the_ground_sees_one_satellite_after_the_other(self) -> None:
        """The cloud's and the edge's contacts move along the satellites, which stay linked in a line."""
        rotation = RotatingTopology(EXAMPLES / "constellation.json").rotation(0.0)
        assert [list(topology.neighbors("pi5u1", 0.0)) for topology in rotation] == [[name] for name in SATELLITES]
        edge = [next(iter(topology.neighbors("pi4u7", 0.0))) for topology in rotation]
        assert edge == [SATELLITES[(number + 3) % 7] for number in range(7)]
        for topology in rotation:
            assert all(b in topology.neighbors(a, 0.0) for a, b in pairwise(SATELLITES))


class TestDrawn:
    @given(st.integers(0, 2**31), st.floats(0, 1e10))
    def test_equal_seeds_draw_equal_links(self, seed: int, at_s: float) -> None:
        """Two services with one seed and clock agree on the topology, and on the next one."""
        one, other = (DrawnTopology(Nodes("a", "b", "c"), SimSettings(), seed) for _ in range(2))
        assert one.current(at_s).links == other.current(at_s).links
        assert one.upcoming(at_s).links == other.current(one.next_change_s(at_s)).links

    def test_without_a_seed_they_differ(self) -> None:
        """A seed that nobody gave is a random one."""
        one, other = (DrawnTopology(Nodes("a", "b", "c"), SimSettings()) for _ in range(2))
        assert one.current(0.0).links != other.current(0.0).links

    def test_links_hold_for_an_interval(self) -> None:
        """They are redrawn after 15 s, and not before."""
        provider = DrawnTopology(Nodes("a", "b", "c"), SimSettings(), seed=1)
        seen = [provider.current(at_s) for at_s in (0.0, 14.9, 15.0)]
        assert seen[0] is seen[1] is not seen[2]
        assert (seen[2].epoch, provider.next_change_s(14.9)) == (seen[0].epoch + 1, 15.0)
        assert seen[0].links != seen[2].links

    def test_refresh_draws_anew(self) -> None:
        """Within an interval links change when they are asked to."""
        provider = DrawnTopology(Nodes("a", "b", "c"), SimSettings(), seed=1)
        first = provider.current(0.0)
        provider.refresh()
        assert provider.current(0.0).epoch == first.epoch + 1
        assert provider.current(0.0).links != first.links

    def test_nodes_that_come_and_go_are_linked_at_once(self) -> None:
        """A change of the nodes is a change of the topology."""
        nodes = Nodes("a", "b")
        provider = DrawnTopology(nodes, SimSettings(), seed=1)
        first = provider.current(0.0)
        nodes.name("a", "c", "d")
        assert list(provider.current(0.0).nodes) == ["a", "c", "d"]
        assert len(provider.current(0.0).links) == 3
        assert provider.current(0.0).epoch == first.epoch + 1

    def test_other_settings_draw_at_once_and_equal_ones_do_not(self) -> None:
        """Ranges that are set hold from then on; setting the same again changes nothing."""
        provider = DrawnTopology(Nodes("a", "b"), SimSettings(), seed=1)
        first = provider.current(0.0)
        provider.set_settings(SimSettings(), 0.0)
        assert provider.current(0.0) is first
        ranges = dict(DEFAULT_RANGES) | {(Tier.SAT, Tier.SAT): LinkRange((7, 7), (9, 9))}
        provider.set_settings(SimSettings(ranges=ranges), 0.0)
        (link,) = provider.current(0.0).links
        assert (link.latency_ms, link.bandwidth_mbps) == (7, 9)

    def test_settings_that_no_topology_could_have_are_refused(self) -> None:
        """Latencies that add up to more than a topology may have are an error, and change nothing."""
        provider = DrawnTopology(Nodes(*(f"n{number}" for number in range(200))), SimSettings(), seed=1)
        ranges = dict(DEFAULT_RANGES) | {(Tier.SAT, Tier.SAT): LinkRange((0, 10_000), (1, 1))}
        with pytest.raises(InvalidArgument, match="ranges"):
            provider.set_settings(SimSettings(ranges=ranges), 0.0)
        assert provider.settings == SimSettings()


class TestLinkedNodes:
    def test_links_of_a_file_join_the_nodes_that_are_there(self) -> None:
        """The nodes are those of the cluster; a link of which an end is missing is left out until it is back."""
        nodes = Nodes("sat1", "sat2", "new")
        provider = LinkedNodes(nodes, FileTopology(EXAMPLES / "four-nodes.json"))
        first = provider.current(0.0)
        assert provider.current(0.0) is first
        assert list(first.nodes) == ["new", "sat1", "sat2"]
        assert [(link.source, link.target) for link in first.links] == [("sat1", "sat2")]
        nodes.name("sat1", "sat2", "sat3")
        assert len(provider.current(0.0).links) == 2
        assert provider.current(0.0).epoch == first.epoch + 1


def test_all_providers_are_of_one_kind(tmp_path: Path) -> None:
    """Each answers the same questions, so that the service need not know which it has."""
    rotating: Any = RotatingTopology(rotation_file(tmp_path, 1))
    providers: list[Provider] = [Nodes("a"), rotating, DrawnTopology(Nodes("a"), SimSettings(), 1)]
    for provider in providers:
        assert provider.current(0.0) is provider.current(0.0)
        assert provider.problem() is None
        assert provider.rotation(0.0)
