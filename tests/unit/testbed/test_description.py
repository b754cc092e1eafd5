"""Description files: what they say, and errors that name the file, the line and the field."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylark_proxy.model import Link, Objectives, Tier
from skylark_testbed.description import load
from skylark_testbed.errors import DescriptionError

EXAMPLES = Path(__file__).parents[3] / "examples" / "testbeds"

GOOD = """\
nodes:
  - {name: a, tier: Sat}
  - name: b
    tier: Cloud
    address: 127.0.0.9
    settings: {SKYLARK_WORKERS: 4}
topology:
  provider: static
  links:
    - {between: [a, b], latency_ms: 10, bandwidth_mbps: 40}
functions:
  - source: f.py
    nodes: [a]
  - source: g.wasm
objectives:
  max_latency_ms: 70
settings: {SKYLARK_REPLICATE: true, SKYLARK_WORKERS: 2}
seed: 5
jitter: 0.1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f.py").touch()
    (tmp_path / "g.wasm").touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "testbed.yaml"
    file.write_text(text)
    return file


def test_everything(folder: Path) -> None:
    """Each field arrives; a node's own settings win over those of all; addresses differ where none are given."""
    read = load(written(folder, GOOD))
    assert {name: node.tier for name, node in read.nodes.items()} == {"a": Tier.SAT, "b": Tier.CLOUD}
    assert (read.nodes["a"].address, read.nodes["b"].address) == ("127.0.2.1", "127.0.0.9")
    assert read.topology.first.links == (Link("a", "b", 10, 40),)
    assert [(one.source, one.nodes) for one in read.functions] == [
        (folder / "f.py", ("a",)), (folder / "g.wasm", ("a", "b")),
    ]  # fmt: skip
    assert read.objectives == Objectives(70, 0)
    assert read.settings == {
        "a": {"SKYLARK_REPLICATE": "true", "SKYLARK_WORKERS": "2"},
        "b": {"SKYLARK_REPLICATE": "true", "SKYLARK_WORKERS": "4"},
    }
    assert (read.seed, read.jitter) == (5, 0.1)


def test_turns(folder: Path) -> None:
    """A rotation in the file itself; without an interval it does not turn by itself."""
    turns = "turns: [[{between: [a, b], latency_ms: 1, bandwidth_mbps: 2}], []]"
    read = load(written(folder, GOOD.replace("static", "rotating").replace("links:", turns).replace(LINK, "")))
    assert [len(topology.links) for topology in read.topology.topologies] == [1, 0]
    assert read.topology.interval_s is None


LINK = "    - {between: [a, b], latency_ms: 10, bandwidth_mbps: 40}\n"


@pytest.mark.parametrize(("name", "nodes", "topologies"), [("four-nodes", 4, 1), ("constellation", 9, 7)])
def test_the_examples(name: str, nodes: int, topologies: int) -> None:
    """The examples are valid; each node of the constellation is in each of its topologies."""
    read = load(EXAMPLES / f"{name}.yaml")
    assert len(read.topology.topologies) == topologies
    assert {len(topology.nodes) for topology in read.topology.topologies} == {nodes}
    assert all(function.source.is_file() for function in read.functions)


@pytest.mark.parametrize(
    ("before", "after", "line", "field", "named"),
    [
        ("between: [a, b]", "between: [a, mars]", 10, "topology.links[0].between[1]", "'mars'"),
        ("between: [a, b]", "between: [a, a]", 10, "topology.links[0].between", "two nodes"),
        ("between: [a, b]", "between: [a]", 10, "topology.links[0].between", "two nodes"),
        ("bandwidth_mbps: 40", "bandwidth_mbps: -40", 10, "topology.links[0].bandwidth_mbps", "-40"),
        ("bandwidth_mbps: 40", "bandwidth_mbps: .inf", 10, "topology.links[0].bandwidth_mbps", "inf"),
        ("latency_ms: 10", "latency_ms: .nan", 10, "topology.links[0].latency_ms", "nan"),
        ("latency_ms: 10", "latency_ms: fast", 10, "topology.links[0].latency_ms", "'fast'"),
        ("latency_ms: 10, ", "", 10, "topology.links[0].latency_ms", "missing"),
        ("name: b", "name: a", 3, "nodes[1].name", "each name once"),
        ("name: b", "name: b:c", 3, "nodes[1].name", "'b:c'"),
        ("tier: Cloud", "tier: Moon", 4, "nodes[1].tier", "Cloud, Edge, Sat"),
        ("    tier: Cloud\n", "", 3, "nodes[1].tier", "Cloud, Edge, Sat"),
        ("127.0.0.9", "10.0.0.9", 5, "nodes[1].address", "loopback"),
        ("tier: Cloud", "tier: Cloud\n    rack: 7", 5, "nodes[1].rack", "no such field"),
        ("tier: Cloud", "tier: Cloud\n    tier: Sat", 5, "nodes[1].tier", "each key once"),
        ("SKYLARK_WORKERS: 4", "SKYLARK_WORKERS: many", 6, "nodes[1].settings.SKYLARK_WORKERS", "1 to 1024"),
        ("SKYLARK_WORKERS: 4", "SKYLARK_PORT: 4", 6, "nodes[1].settings.SKYLARK_PORT", "does not make"),
        ("SKYLARK_WORKERS: 4", "SKYLARK_SPEED: 4", 6, "nodes[1].settings.SKYLARK_SPEED", "a known setting"),
        ("SKYLARK_WORKERS: 4", "SKYLARK_WORKERS: [4]", 6, "nodes[1].settings", "text, a number"),
        ("provider: static", "provider: magic", 8, "topology.provider", "static, rotating, random"),
        ("provider: static", "provider: static\n  interval_s: 5", 9, "topology.interval_s", "provider static"),
        ("provider: static", "provider: static\n  file: t.json", 7, "topology", "either file or links"),
        ("provider: static", "provider: rotating", 9, "topology.links", "provider rotating"),
        ("source: f.py", "source: gone.py", 12, "functions[0].source", "gone.py"),
        ("nodes: [a]", "nodes: [a, mars]", 13, "functions[0].nodes[1]", "'mars'"),
        ("max_latency_ms: 70", "max_latency_ms: -1", 16, "objectives.max_latency_ms", "-1"),
        ("seed: 5", "seed: 5.5", 18, "seed", "whole number"),
        ("jitter: 0.1", "jitter: 10", 19, "jitter", "0 to 1"),
        ("jitter: 0.1", "jitter: 0.1\ncolour: red", 20, "colour", "no such field"),
        ("seed: 5", "seed: [5", 19, "", "YAML"),
        ("seed: 5", '"a.]": 5', 18, "a.]", "no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong(folder: Path, before: str, after: str, line: int, field: str, named: str) -> None:
    """An error names the file, the line and the field, and says what was expected."""
    assert before in GOOD
    file = written(folder, GOOD.replace(before, after, 1))
    with pytest.raises(DescriptionError) as caught:
        load(file)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("topology", "field", "named"),
    [
        ("{provider: static, file: gone.json}", "topology.file", "gone.json"),
        ("{provider: rotating, file: bad.json}", "topology.file", "topologies"),
        ("{provider: random, density: 2}", "topology.density", "from 0 to 1"),
        ("{provider: random, ranges: {Sat-Sat: {latency_ms: [9, 1]}}}", "topology.ranges.Sat-Sat.latency_ms", "lowest"),
        ("{provider: random}", "nodes", "at least one node"),
        ("{}", "topology", "either file or links"),
        ("{links: []}", "nodes", "at least one node"),
    ],
)
def test_what_is_wrong_with_a_topology(folder: Path, topology: str, field: str, named: str) -> None:
    """So does an error of a topology's file, and of what links are drawn from."""
    (folder / "bad.json").write_text('{"interval_s": 5, "topologies": []}')
    nodes = "nodes: [{name: a, tier: Sat}]\n" if "ranges" in topology or "density" in topology else ""
    with pytest.raises(DescriptionError) as caught:
        load(written(folder, f"{nodes}topology: {topology}\n"))
    assert caught.value.field == field
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "just text", "- a\n- b\n", "topology: 7\n", "a: &x [*x]\n", "\x00", "? [a]\n: b\n"]
)
def test_what_is_no_description(folder: Path, text: str) -> None:
    """Whatever a file has in it, the error is ours."""
    with pytest.raises(DescriptionError, match=r"testbed\.yaml:1: "):
        load(written(folder, text))


def test_no_file(tmp_path: Path) -> None:
    """A file that cannot be read is said to be that."""
    with pytest.raises(DescriptionError, match="No such file"):
        load(tmp_path / "gone.yaml")


@settings(max_examples=300)
@given(st.data())
def test_a_broken_file_is_always_our_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file that is cut off or changed anywhere is read, or refused; nothing else happens."""
    folder = tmp_path_factory.mktemp("description")
    (folder / "f.py").touch()
    (folder / "g.wasm").touch()
    start, end = sorted((data.draw(st.integers(0, len(GOOD))), data.draw(st.integers(0, len(GOOD)))))
    text = GOOD[:start] + data.draw(st.text("ab:-[]{}&*!|>'\"%@` \n\t0.", max_size=5)) + GOOD[end:]
    file = written(folder, text)
    with contextlib.suppress(DescriptionError):
        load(file)
