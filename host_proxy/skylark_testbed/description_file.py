"""The YAML form of a description; `skylark testbed example` prints it. Paths in a file are relative to it."""

import math
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.json_paths import value_at
from skylark_proxy.model import NAME_PATTERN, Link, Node, Objectives, Tier
from skylark_proxy.nodeinfo.links import SimSettings
from skylark_proxy.nodeinfo.messages import MAX_BANDWIDTH_MBPS, RangesJson
from skylark_proxy.nodeinfo.rotating import INTERVAL_EXPECTED, MAX_INTERVAL_S, MIN_INTERVAL_S, load_rotation
from skylark_proxy.topology import Topology, load_topology
from skylark_proxy.topology_json import MAX_LATENCY_MS, MIN_BANDWIDTH_MBPS
from skylark_testbed.description import Description, FunctionFile, ProviderName, TopologyPlan
from skylark_testbed.errors import DescriptionError
from skylark_testbed.yaml_file import YamlFile, read_yaml

MAX_NODES = 64
"""Each is two processes, and each pair has a relay."""

_OWN_SETTINGS = ("NODE", "HOST", "PORT", "TOPOLOGY", "NODE_INFO_URL", "DATA_DIR", "FUNCTIONS", "REDIS_URL", "CACHE_DIR")
"""Settings that the testbed itself makes for each node."""

Name = Annotated[str, Meta(pattern=f"^{NAME_PATTERN}$")]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
Scalar = str | bool | int | float


class NodeYaml(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    tier: Tier | None = None
    address: str | None = None
    settings: dict[str, Scalar] = {}


class LinkYaml(msgspec.Struct, forbid_unknown_fields=True):
    between: tuple[Name, Name]
    latency_ms: Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)]
    bandwidth_mbps: Annotated[float, Meta(ge=MIN_BANDWIDTH_MBPS, le=MAX_BANDWIDTH_MBPS)]


class TopologyYaml(msgspec.Struct, forbid_unknown_fields=True):
    provider: ProviderName = "static"
    file: str | None = None
    links: list[LinkYaml] | None = None
    turns: list[list[LinkYaml]] | None = None
    interval_s: Annotated[float, Meta(ge=MIN_INTERVAL_S, le=MAX_INTERVAL_S)] | None = None
    density: Annotated[float, Meta(ge=0, le=1)] | None = None
    ranges: RangesJson | None = None


class FunctionYaml(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    nodes: list[Name] | None = None


class ObjectivesYaml(msgspec.Struct, forbid_unknown_fields=True):
    max_latency_ms: NotNegative = Objectives().max_latency_ms
    min_bandwidth_mbps: NotNegative = Objectives().min_bandwidth_mbps


class DescriptionYaml(msgspec.Struct, forbid_unknown_fields=True):
    topology: TopologyYaml
    nodes: list[NodeYaml] = []
    functions: list[FunctionYaml] = []
    objectives: ObjectivesYaml = msgspec.field(default_factory=ObjectivesYaml)
    settings: dict[str, Scalar] = {}
    seed: Annotated[int, Meta(ge=0)] = 0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    tls: bool = False


_EXPECTED = {
    "": "a mapping with `topology` and, if need be, nodes, functions, objectives, settings, seed, jitter and tls",
    "nodes": "a list of nodes",
    "nodes[]": "a mapping with `name`, `tier` and, if need be, address and settings",
    "name": "a name: 1 to 128 of A-Z a-z 0-9 . _ -",
    "tier": f"one of {', '.join(Tier)}",
    "address": "a loopback address",
    "topology": "a mapping with `provider` and, by provider, file, links, turns, interval_s, density and ranges",
    "provider": "one of static, rotating, random",
    "links": "a list of links",
    "links[]": "a mapping with `between`, `latency_ms` and `bandwidth_mbps`",
    "turns": "a list of lists of links",
    "turns[]": "a list of links",
    "turns[][]": "a mapping with `between`, `latency_ms` and `bandwidth_mbps`",
    "between": "the names of two nodes",
    "between[]": "the name of a node",
    "latency_ms[]": "a number of ms, 0 or more",
    "bandwidth_mbps[]": "a number of Mbps above 0",
    "settings[]": "text, a number, true or false",
    "latency_ms": f"a number of ms from 0 to {MAX_LATENCY_MS:.0f}",
    "bandwidth_mbps": f"a number of Mbps, at least {MIN_BANDWIDTH_MBPS:.6f}",
    "interval_s": INTERVAL_EXPECTED,
    "density": "a number from 0 to 1",
    "ranges": "ranges by pairs of tiers, such as Cloud-Sat: {latency_ms: [20, 100], bandwidth_mbps: [80, 200]}",
    "file": "the path of a topology's JSON file",
    "functions": "a list of functions",
    "functions[]": "a mapping with `source` and, if need be, nodes",
    "source": "the path of a Python file (*.py) or component (*.wasm)",
    "objectives": "a mapping with max_latency_ms and min_bandwidth_mbps",
    "max_latency_ms": "a number of ms, 0 or more",
    "min_bandwidth_mbps": "a number of Mbps, 0 or more",
    "settings": "settings by the names of environment variables, SKYLARK_…",
    "seed": "a whole number, 0 or more",
    "jitter": "a number from 0 to 1",
    "tls": "true or false",
}


def parse(path: Path) -> Description:
    """Reads a description file.

    Raises:
        DescriptionError: It cannot be read or is not valid; the error names the file, the line and the field.
    """
    file = read_yaml(path)
    try:
        read = msgspec.convert(file.content, DescriptionYaml)
    except msgspec.ValidationError as error:
        raise _explained(file, str(error)) from error
    plan = _plan(file, read)
    names = tuple(plan.first.nodes)
    return Description(
        topology=plan,
        functions=tuple(_function(file, f"functions[{at}]", one, names) for at, one in enumerate(read.functions)),
        objectives=Objectives(read.objectives.max_latency_ms, read.objectives.min_bandwidth_mbps),
        seed=read.seed,
        jitter=read.jitter,
        tls=read.tls,
        settings=_settings(file, read, names),
    )


def _plan(file: YamlFile, read: DescriptionYaml) -> TopologyPlan:
    asked = read.topology
    _check_fields(file, asked)
    topologies = _topologies(file, read)
    if len(topologies[0].nodes) > MAX_NODES:
        raise file.error("nodes", f"{len(topologies[0].nodes)} nodes", f"at most {MAX_NODES} nodes")
    drawing = SimSettings()
    if asked.provider == "random":
        drawing = _drawing(file, asked)
    return TopologyPlan(asked.provider, topologies, asked.interval_s, drawing)


_FIELDS = {
    "static": ({"file", "links"}, {"file", "links"}),
    "rotating": ({"file", "turns", "interval_s"}, {"file", "turns"}),
    "random": ({"file", "interval_s", "density", "ranges"}, set()),
}
"""The fields that a provider may have, and those of which it has to have one."""


def _check_fields(file: YamlFile, asked: TopologyYaml) -> None:
    allowed, sources = _FIELDS[asked.provider]
    given = {name for name in asked.__struct_fields__ if getattr(asked, name) is not None} - {"provider"}
    for name in sorted(given - allowed):
        expected = f"no such field for the provider {asked.provider}, but {', '.join(sorted(allowed))}"
        raise file.error(f"topology.{name}", name, expected)
    if sources and len(given & sources) != 1:
        found = " and ".join(sorted(given & sources)) or None
        raise file.error("topology", found, f"either {' or '.join(sorted(sources))}")


def _topologies(file: YamlFile, read: DescriptionYaml) -> tuple[Topology, ...]:
    if read.topology.file is not None:
        return _topologies_of_file(file, read)
    nodes = _nodes(file, read.nodes)
    if read.topology.turns is None:
        return (_topology(file, "topology.links", nodes, read.topology.links or []),)
    turns = [_topology(file, f"topology.turns[{at}]", nodes, turn) for at, turn in enumerate(read.topology.turns)]
    if not turns:
        raise file.error("topology.turns", [], "at least one turn")
    return tuple(turns)


def _topologies_of_file(file: YamlFile, read: DescriptionYaml) -> tuple[Topology, ...]:
    path = file.path.parent / str(read.topology.file)
    try:
        if read.topology.provider == "rotating":
            topologies = load_rotation(path).topologies
        else:
            topologies = (load_topology(path, epoch=1),)
    except InvalidArgument as error:
        raise file.error("topology.file", read.topology.file, f"a topology's file ({error})") from error
    known = {name: node for topology in topologies for name, node in topology.nodes.items()}
    for at, node in enumerate(read.nodes):
        if node.name not in known:
            raise file.error(f"nodes[{at}].name", node.name, f"a node of {read.topology.file}: {', '.join(known)}")
        if node.tier is not None or node.address is not None:
            raise file.error(f"nodes[{at}]", node.name, f"only name and settings, as {read.topology.file} has the rest")
    return tuple(Topology.build(known.values(), topology.links, epoch=1) for topology in topologies)


def _nodes(file: YamlFile, given: Sequence[NodeYaml]) -> list[Node]:
    nodes: dict[str, Node] = {}
    for at, node in enumerate(given):
        field = f"nodes[{at}]"
        if node.name in nodes:
            raise file.error(f"{field}.name", node.name, "each name once")
        if node.tier is None:
            raise file.error(f"{field}.tier", None, f"one of {', '.join(Tier)}")
        address = node.address or f"127.0.2.{at + 1}"
        if not _is_loopback(address):
            raise file.error(f"{field}.address", address, _EXPECTED["address"])
        nodes[node.name] = Node(node.name, address, node.tier)
    if not nodes:
        raise file.error("nodes", None, "at least one node, or a topology with a file")
    return list(nodes.values())


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _topology(file: YamlFile, field: str, nodes: Sequence[Node], links: Sequence[LinkYaml]) -> Topology:
    names = [node.name for node in nodes]
    for at, link in enumerate(links):
        for end, name in enumerate(link.between):
            if name not in names:
                raise file.error(f"{field}[{at}].between[{end}]", name, f"a node: {', '.join(names)}")
        if link.between[0] == link.between[1]:
            raise file.error(f"{field}[{at}].between", list(link.between), "two nodes")
    try:
        made = (Link(*link.between, link.latency_ms, link.bandwidth_mbps) for link in links)
        return Topology.build(nodes, made, epoch=1)
    except InvalidArgument as error:
        raise file.error(field, error.value, error.expected) from error


def _drawing(file: YamlFile, asked: TopologyYaml) -> SimSettings:
    defaults = SimSettings()
    try:
        ranges = defaults.ranges if asked.ranges is None else asked.ranges.over(defaults.ranges)
    except InvalidArgument as error:
        raise file.error(f"topology.{error.field}", error.value, error.expected) from error
    density = defaults.density if asked.density is None else asked.density
    return SimSettings(asked.interval_s or math.inf, density, ranges)


def _function(file: YamlFile, field: str, given: FunctionYaml, names: Sequence[str]) -> FunctionFile:
    source = file.path.parent / given.source
    if source.suffix not in (".py", ".wasm") or not source.is_file():
        raise file.error(f"{field}.source", given.source, f"{_EXPECTED['source']} that exists")
    for at, name in enumerate(given.nodes or ()):
        if name not in names:
            raise file.error(f"{field}.nodes[{at}]", name, f"a node: {', '.join(names)}")
    return FunctionFile(source, tuple(names if given.nodes is None else given.nodes))


def _settings(file: YamlFile, read: DescriptionYaml, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """The settings of each node: those of all, then its own."""
    of_all = _checked(file, "settings", read.settings)
    own = {node.name: _checked(file, f"nodes[{at}].settings", node.settings) for at, node in enumerate(read.nodes)}
    return {name: merged for name in names if (merged := of_all | own.get(name, {}))}


def _checked(file: YamlFile, field: str, given: Mapping[str, Scalar]) -> dict[str, str]:
    settings = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    for name, value in settings.items():
        if not name.startswith("SKYLARK_") or name.removeprefix("SKYLARK_") in _OWN_SETTINGS:
            raise file.error(f"{field}.{name}", value, "a setting SKYLARK_… of a node that the testbed does not make")
        try:
            Config.load({name: value})
        except ConfigError as error:
            raise file.error(f"{field}.{name}", value, error.expected) from error
    return settings


_MSGSPEC_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_MSGSPEC_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`")


def _explained(file: YamlFile, message: str) -> DescriptionError:
    """msgspec's error as ours: which field, which value, what was expected."""
    match, about = _MSGSPEC_PATH.search(message), _MSGSPEC_FIELD.search(message)
    path = match["path"] if match else ""
    expected = _expected_at(path) or message.partition(" - at ")[0]
    path = path.removesuffix("[...]")  # msgspec does not name a mapping's keys
    if about is None:
        return file.error(path, value_at(file.content, path), expected)
    field = f"{path}.{about['name']}".lstrip(".")
    if about["what"] == "contains unknown":
        return file.error(field, value_at(file.content, field), f"no such field, but {expected}")
    return file.error(field, None, f"{_expected_at(field) or expected}; the field is missing")


def _expected_at(path: str) -> str | None:
    return _EXPECTED.get(re.sub(r"\[[^\]]*\]", "[]", path).rpartition(".")[2])
