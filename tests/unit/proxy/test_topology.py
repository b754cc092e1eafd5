import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.errors import InvalidArgument, UnknownNode
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.topology import MAX_NODES, StaticTopology, Topology, TopologyProvider, load_topology

EXAMPLE = Path(__file__).parents[3] / "examples" / "topologies" / "four-nodes.json"

CLOUD = {"node_name": "cloud1", "node_ip": "127.0.0.11", "node_type": "Cloud"}
SAT1 = {"node_name": "sat1", "node_ip": "127.0.0.12:30002", "node_type": "Sat"}
SAT2 = {"node_name": "sat2", "node_ip": "sat2.example", "node_type": "Sat"}
SPARE = {"node_name": "spare", "node_ip": "[::1]:30002", "node_type": "Edge"}
VALID: dict[str, Any] = {
    "edges": [
        {"source": SAT1, "target": SAT2, "latency": 10, "bandwidth": 40.5},
        {"source": SAT2, "target": CLOUD, "latency": 60, "bandwidth": 90, "from": 100, "until": 200},
    ],
    "nodes": [SPARE],
}


def parse(document: object) -> Topology:
    return Topology.parse(json.dumps(document), epoch=1)


def changed(path: str, value: object) -> dict[str, Any]:
    """The valid document with the value at `path` (steps parted by spaces) replaced."""
    document: dict[str, Any] = json.loads(json.dumps(VALID))
    *steps, last = path.split()
    place: Any = document
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return document


def without(edge: int, field: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(VALID))
    del document["edges"][edge][field]
    return document


def line(*latencies_ms: float) -> tuple[list[Node], list[Link]]:
    nodes = [Node(f"n{index}", "127.0.0.1", Tier.SAT) for index in range(len(latencies_ms) + 1)]
    return nodes, [Link(f"n{index}", f"n{index + 1}", ms, 1.0) for index, ms in enumerate(latencies_ms)]


def test_example_is_the_published_cluster() -> None:
    """The example has one cloud node, which only sat3 has contact with, and a line of three satellites."""
    topology = load_topology(EXAMPLE, epoch=7)

    assert topology.epoch == 7
    assert [node.name for node in topology.cloud_nodes()] == ["cloud1"]
    assert [node.address for node in topology.nodes.values()] == [f"127.0.0.{last}" for last in range(11, 15)]
    assert {name: list(topology.neighbors(name, 0.0)) for name in topology.nodes} == {
        "cloud1": ["sat3"],
        "sat1": ["sat2"],
        "sat2": ["sat1", "sat3"],
        "sat3": ["cloud1", "sat2"],
    }


def test_parse_reads_every_field() -> None:
    """Nodes, links, windows and lone nodes of the JSON become model objects."""
    topology = parse(VALID)

    assert list(topology.nodes) == ["cloud1", "sat1", "sat2", "spare"]
    assert topology.node("spare") == Node("spare", "[::1]:30002", Tier.EDGE)
    assert topology.nodes_of(Tier.SAT) == (topology.node("sat1"), topology.node("sat2"))
    assert topology.links == (Link("sat1", "sat2", 10.0, 40.5), Link("sat2", "cloud1", 60.0, 90.0, 100.0, 200.0))


def test_topology_of_one_node_needs_no_edge() -> None:
    """A single node without links is a topology."""
    assert list(parse({"edges": [], "nodes": [CLOUD]}).nodes) == ["cloud1"]


def test_null_windows_are_no_windows() -> None:
    """A `from` or `until` of null means unbounded, as if it were missing."""
    topology = parse(changed("edges 1 from", None))

    assert topology.links[1].up_from_s is None
    assert topology.links[1].is_up(-1e9)


BAD_LATENCIES: list[object] = ["1", None, True, [], -1e-9, -1, 3_600_000.1, 10**400, -(10**400)]
BAD_BANDWIDTHS: list[object] = ["1", None, {}, 0, -0.0, -40, 1e-300, 10**400]
BAD_NAMES = [1, None, "", "a:b", "-a", "a*", "x" * 129]
BAD_TIERS = ["Moon", "cloud", "", 1, None]
BAD_ADDRESSES = [1, "", "a b", "h:", "h:0", "h:65536", "h:x", "::1", "[::1", "[1.2.3.4]", "256.1.1.1", "1.2.3", "-h"]
MALFORMED: list[tuple[object, str]] = [
    ([], "topology"),
    (None, "topology"),
    ({}, "edges"),
    ({"edges": []}, "edges"),
    ({"edges": {}}, "edges"),
    ({"edges": VALID["edges"], "nodes": None}, "nodes"),
    ({"edges": [], "node": []}, "node"),
    (changed("edges 1", 3), "edges[1]"),
    (changed("edges 1 source", "sat2"), "edges[1].source"),
    (changed("edges 1 bandwith", 3), "edges[1].bandwith"),
    (changed("edges 1 source node_tier", "Sat"), "edges[1].source.node_tier"),
    *((without(1, field), f"edges[1].{field}") for field in ("source", "target", "latency", "bandwidth")),
    *((changed("edges 1 latency", bad), "edges[1].latency") for bad in BAD_LATENCIES),
    *((changed("edges 1 bandwidth", bad), "edges[1].bandwidth") for bad in BAD_BANDWIDTHS),
    *((changed("edges 1 from", bad), "edges[1].from") for bad in ("now", True, [1], 10**400)),
    *((changed("edges 1 until", bad), "edges[1].until") for bad in ("now", 100, 99)),
    *((changed("nodes 0 node_name", bad), "nodes[0].node_name") for bad in BAD_NAMES),
    *((changed("nodes 0 node_type", bad), "nodes[0].node_type") for bad in BAD_TIERS),
    *((changed("nodes 0 node_ip", bad), "nodes[0].node_ip") for bad in BAD_ADDRESSES),
    (changed("edges 1 target", SAT2), "edges[1].target"),
]


@pytest.mark.parametrize(("document", "field"), MALFORMED)
def test_malformed_document_names_the_field(document: object, field: str) -> None:
    """A document with one wrong value is refused by the path of that value and with what was expected there."""
    with pytest.raises(InvalidArgument) as caught:
        parse(document)

    assert caught.value.field == field
    assert caught.value.expected
    assert str(caught.value).startswith(f"{field}: ")


def test_unknown_tier_says_which_exist() -> None:
    """The error for a tier that does not exist shows it and lists those that do."""
    with pytest.raises(InvalidArgument, match=r"nodes\[0\]\.node_type: 'Moon' is not valid.*Cloud, Edge, Sat"):
        parse(changed("nodes 0 node_type", "Moon"))


def test_missing_field_is_said_to_be_missing() -> None:
    """The error for a field that is not there says so, not that None is a bad value only."""
    with pytest.raises(InvalidArgument, match=r"edges\[0\]\.latency.*a number of ms.*the field is missing"):
        parse(without(0, "latency"))


@pytest.mark.parametrize(("change", "value"), [("node_ip", "127.0.0.99"), ("node_type", "Edge")])
def test_node_described_twice_differently_names_both(change: str, value: str) -> None:
    """Two descriptions of one node that differ are refused by the paths of both."""
    with pytest.raises(InvalidArgument) as caught:
        parse(changed(f"edges 1 source {change}", value))

    assert caught.value.field == "edges[1].source"
    assert "edges[0].target" in caught.value.expected
    assert value in str(caught.value)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ("", "line 1 column 1"),
        ("  \n ", "line 2 column 2"),
        ('{\n  "edges": [}\n}', "line 2 column 13"),
        ('{"edges": []} x', "line 1 column 15"),
        ('{"edges": [', "line 1 column 12"),
        ('{"edges": [{"latency": NaN}]}', "NaN"),
        (b"\xff\xfe\x00", "JSON"),
        (b'{"edges": "\xff"}', "JSON"),
        ('{"edges": ["\\ud800"]}', "JSON"),
        ('{"edges": [{"source": {"node_name": "\\ud800"}}]}', "JSON"),
        ("[" * 100_000, ""),
        ('{"edges": [3], "edges": []}', "edges[0]"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(data: bytes | str, where: str) -> None:
    """Data that is not JSON is refused, where there is a place with its line and column."""
    with pytest.raises(InvalidArgument) as caught:
        Topology.parse(data, epoch=1)

    assert where in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    "edges",
    "nodes",
    "edges 0",
    "nodes 0",
    "edges 0 source",
    *(f"edges 1 {name}" for name in ("source", "target", "latency", "bandwidth", "from", "until")),
    *(f"nodes 0 {name}" for name in ("node_name", "node_ip", "node_type")),
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_is_read_or_refused(place: str, value: object) -> None:
    """Whatever stands at a place of the document, it is read or refused as an invalid argument; nothing else."""
    try:
        topology = parse(changed(place, value))
    except InvalidArgument:
        return
    assert Topology.parse(topology.to_json(), 1) == topology


@given(st.binary() | st.text())
def test_any_data_is_refused(data: bytes | str) -> None:
    """Arbitrary bytes and text are refused as an invalid argument."""
    with pytest.raises(InvalidArgument):
        Topology.parse(data, epoch=1)


TIMES_S = st.none() | st.floats(-1e12, 1e12)


def opens(window: tuple[float | None, float | None]) -> bool:
    """Whether a window begins before it ends."""
    start_s, end_s = window
    return start_s is None or end_s is None or start_s < end_s


NAMES = [f"node{number}" for number in range(6)]


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    nodes = [Node(name, f"10.0.0.1:{index + 1}", draw(st.sampled_from(Tier))) for index, name in enumerate(NAMES)]
    links = []
    for _ in range(draw(st.integers(0, 8))):
        source, target = draw(st.permutations(NAMES))[:2]
        window = draw(st.tuples(TIMES_S, TIMES_S).filter(opens))
        links.append(Link(source, target, draw(st.floats(0, 3.6e6)), draw(st.floats(1e-6, 1e12)), *window))
    return Topology.build(nodes, links, draw(st.integers(0, 2**40)))


@given(topologies())
def test_json_round_trip(topology: Topology) -> None:
    """A topology read from its own JSON is equal to it, lone nodes and windows included."""
    assert Topology.parse(topology.to_json(), topology.epoch) == topology


@given(topologies(), st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_same_links_are_up_within_a_contact_interval(topology: Topology, one_s: float, other_s: float) -> None:
    """Two times in one contact interval have the same links up; so do a window's end and just after it."""
    for at_s in (one_s, *(end for link in topology.links for end in (link.up_from_s, link.up_until_s) if end)):
        for later_s in (other_s, math.nextafter(at_s, math.inf)):
            if topology.contact_interval(at_s) == topology.contact_interval(later_s):
                assert [link.is_up(at_s) for link in topology.links] == [link.is_up(later_s) for link in topology.links]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:31020", "127.0.0.1:31020"),
        ("127.0.0.1", "127.0.0.1:30002"),
        ("Sat1.example", "sat1.example:30002"),
        ("[::1]", "[0:0:0:0:0:0:0:1]:30002"),
        ("[::ffff:10.0.0.1]:7", "10.0.0.1:7"),
    ],
)
def test_two_nodes_with_one_address_are_refused(one: str, other: str) -> None:
    """A topology whose nodes share an address, however it is written, is refused and both are named."""
    a, b = ({"node_name": name, "node_ip": ip, "node_type": "Sat"} for name, ip in (("a", one), ("b", other)))
    for document in (
        {"edges": [{"source": a, "target": b, "latency": 1, "bandwidth": 1}]},
        {"edges": [], "nodes": [a, b]},
    ):
        with pytest.raises(InvalidArgument, match=r"node_ip: .*for node b; node a has this one"):
            parse(document)


@pytest.mark.parametrize(
    ("one", "other"), [("127.0.0.1:1", "127.0.0.1:2"), ("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.1:1")]
)
def test_nodes_of_one_host_have_ports_of_their_own(one: str, other: str) -> None:
    """Addresses that differ in the host or the port are two nodes'."""
    a, b = ({"node_name": name, "node_ip": ip, "node_type": "Sat"} for name, ip in (("a", one), ("b", other)))
    assert list(parse({"edges": [], "nodes": [a, b]}).nodes) == ["a", "b"]


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf])
def test_time_must_be_finite(at_s: float) -> None:
    """A time that is not a finite number is refused."""
    with pytest.raises(InvalidArgument, match="at_s"):
        parse(VALID).contact_interval(at_s)


def test_duplicate_links_collapse_and_parallel_ones_stay() -> None:
    """A link given again, also reversed, is kept once; one that differs in its window is another link."""
    nodes, links = line(5.0)
    reverse = Link("n1", "n0", 5.0, 1.0)
    later = Link("n0", "n1", 5.0, 1.0, up_from_s=100.0)

    assert Topology.build(nodes, [*links, reverse, later, *links], epoch=1).links == (links[0], later)


def test_neighbors_follow_the_contact_windows() -> None:
    """A node's neighbours are those with contact at the time, from `from` on and until just before `until`."""
    topology = parse(VALID)

    assert list(topology.neighbors("sat2", 99.9)) == ["sat1"]
    assert list(topology.neighbors("sat2", 100)) == ["cloud1", "sat1"]
    assert list(topology.neighbors("sat2", 199.9)) == ["cloud1", "sat1"]
    assert list(topology.neighbors("sat2", 200)) == ["sat1"]
    assert topology.neighbors("spare", 100) == {}


def test_best_of_parallel_links() -> None:
    """Among parallel links lower latency wins, then higher bandwidth, then the later end; those down do not count."""
    nodes, _ = line(5.0)
    worst_to_best = [
        Link("n0", "n1", 6.0, 900.0),
        Link("n1", "n0", 5.0004, 30.0),
        Link("n1", "n0", 5.0, 40.0, up_until_s=50.0),
        Link("n0", "n1", 5.0003, 40.0, up_until_s=60.0),
        Link("n0", "n1", 5.0, 40.0, up_from_s=5.0),
    ]
    for best in range(len(worst_to_best)):
        for links in (worst_to_best[: best + 1], worst_to_best[best::-1]):
            topology = Topology.build(nodes, [*links, Link("n0", "n1", 1.0, 1.0, up_until_s=10.0)], epoch=1)

            assert topology.neighbors("n0", 10.0) == {"n1": worst_to_best[best]}
            assert topology.neighbors("n1", 10.0) == {"n0": worst_to_best[best]}


@pytest.mark.parametrize("ask", [lambda t: t.node("sat9"), lambda t: t.neighbors("sat9", 0.0)])
def test_unknown_node_lists_the_known(ask: Callable[[Topology], object]) -> None:
    """Asking for a node that is not there raises an error with the names of those that are."""
    with pytest.raises(UnknownNode, match=r"sat9.*cloud1, sat1, sat2, spare"):
        ask(parse(VALID))


@pytest.mark.parametrize(
    ("link", "field"),
    [
        (Link("n0", "n9", 1.0, 1.0), r"edges\[1\]\.target"),
        (Link("n9", "n1", 1.0, 1.0), r"edges\[1\]\.source"),
        (Link("n0", "n0", 1.0, 1.0), r"edges\[1\]\.target"),
        (Link("n0", "n1", math.nan, 1.0), r"edges\[1\]\.latency"),
        (Link("n0", "n1", math.inf, 1.0), r"edges\[1\]\.latency"),
        (Link("n0", "n1", 1.0, math.nan), r"edges\[1\]\.bandwidth"),
        (Link("n0", "n1", 1.0, math.inf), r"edges\[1\]\.bandwidth"),
        (Link("n0", "n1", 1.0, 1.0, math.nan), r"edges\[1\]\.from"),
        (Link("n0", "n1", 1.0, 1.0, None, math.inf), r"edges\[1\]\.until"),
    ],
)
def test_build_checks_what_a_provider_draws(link: Link, field: str) -> None:
    """Links that do not come from JSON are checked alike, so that infinities never reach an election."""
    nodes, links = line(5.0)

    with pytest.raises(InvalidArgument, match=field):
        Topology.build(nodes, [*links, link], epoch=1)


def test_build_checks_nodes() -> None:
    """Nodes that do not come from JSON are checked alike."""
    with pytest.raises(InvalidArgument, match=r"nodes\[0\]\.node_ip"):
        Topology.build([Node("a", "no address", Tier.SAT)], [], epoch=1)


def test_latencies_together_have_a_limit() -> None:
    """Latencies whose sum float64 could not hold exactly with the hops are refused."""
    nodes, links = line(*[3_600_000.0] * 19)
    Topology.build(nodes, links, epoch=1)

    nodes, links = line(*[3_600_000.0] * 20)
    with pytest.raises(InvalidArgument, match=r"72000000 ms.*at most 68719476 ms together"):
        Topology.build(nodes, links, epoch=1)


def test_number_of_nodes_has_a_limit() -> None:
    """A topology with more nodes than a path's hops can be counted for is refused."""
    nodes = (Node(f"n{index}", "127.0.0.1", Tier.SAT) for index in range(MAX_NODES + 1))

    with pytest.raises(InvalidArgument, match=r"65537 nodes.*at most 65536 nodes"):
        Topology.build(nodes, [], epoch=1)


def test_static_topology_is_the_files(tmp_path: Path) -> None:
    """The static provider answers one and the same topology at every time, also once the file is gone."""
    file = tmp_path / "topology.json"
    file.write_text(json.dumps(VALID))
    provider: TopologyProvider = StaticTopology(file)
    file.unlink()

    assert provider.current(0.0) == parse(VALID)
    assert provider.current(1e9) is provider.current(0.0)


def test_static_topology_names_the_bad_file(tmp_path: Path) -> None:
    """A file that is not there, is a folder or has a bad field is refused by its name, and the field's."""
    file = tmp_path / "topology.json"
    for path in (file, tmp_path):
        with pytest.raises(InvalidArgument, match=f"{path.name}.*can be read"):
            StaticTopology(path)

    file.write_text(json.dumps(changed("edges 1 latency", -1)))
    with pytest.raises(InvalidArgument, match=r"topology\.json: edges\[1\]\.latency: -1"):
        StaticTopology(file)


def test_a_path_that_none_can_be(tmp_path: Path) -> None:
    """A zero byte in a path, as a YAML file may have it, is told as any file that cannot be read."""
    with pytest.raises(InvalidArgument, match="a file that can be read"):
        load_topology(tmp_path / "a\0b", epoch=1)
