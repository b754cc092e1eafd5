"""The JSON form of a topology (design: `{"edges": [{"source", "target", "latency", "bandwidth", "from", "until"}]}`).

It is parsed into typed objects; an error names the field by its path, such as `edges[3].latency`.
"""

import json
import re
from collections.abc import Iterator

import msgspec

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.json_paths import value_at
from skylark_proxy.model import Link, Node, Tier

MAX_LATENCY_MS = 3_600_000.0
"""An hour for one link: more than light needs to Mars and back."""

MIN_BANDWIDTH_MBPS = 1e-6
"""One bit a second: keeps a migration time finite."""


class NodeJson(msgspec.Struct, forbid_unknown_fields=True):
    node_name: str
    node_ip: str
    node_type: Tier

    def to_node(self) -> Node:
        return Node(self.node_name, self.node_ip, self.node_type)


class EdgeJson(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    source: NodeJson
    target: NodeJson
    latency: float
    bandwidth: float
    up_from: float | None = msgspec.field(name="from", default=None)
    until: float | None = None

    def to_link(self) -> Link:
        ends = self.source.node_name, self.target.node_name
        return Link(*ends, self.latency, self.bandwidth, self.up_from, self.until)


class TopologyJson(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    edges: list[EdgeJson]
    nodes: list[NodeJson] = []

    def described(self) -> Iterator[tuple[str, Node]]:
        """Each description of a node with its JSON path."""
        for index, edge in enumerate(self.edges):
            yield f"edges[{index}].source", edge.source.to_node()
            yield f"edges[{index}].target", edge.target.to_node()
        for index, node in enumerate(self.nodes):
            yield f"nodes[{index}]", node.to_node()


EXPECTED = {
    "topology": "an object with the fields `edges` and, if need be, `nodes`",
    "edges": "an array of edges",
    "nodes": "an array of nodes",
    "edge": "an object with source, target, latency, bandwidth and, if need be, from and until",
    "node": "an object with node_name, node_ip and node_type",
    "node_name": "a name as text",
    "node_ip": "a host name or IP address, with `:port` or without; an IPv6 address in brackets",
    "node_type": f"one of {', '.join(Tier)}",
    "latency": f"a number of ms from 0 to {MAX_LATENCY_MS:.0f}",
    "bandwidth": f"a finite number of Mbps, at least {MIN_BANDWIDTH_MBPS:.6f}",
    "from": "a number of seconds since the epoch, or null",
    "until": "a number of seconds since the epoch, or null",
}
"""What is expected of each field; `source` and `target` are a `node`, an item of `edges` is an `edge`."""

_MSGSPEC_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MSGSPEC_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`")


def decode(data: bytes | str) -> TopologyJson:
    try:
        return msgspec.json.decode(data, type=TopologyJson)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise _explain(data, exc) from exc


def _explain(data: bytes | str, cause: Exception) -> InvalidArgument:
    """Turns msgspec's error into ours: where in the JSON, which value, what was expected."""
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        return _not_json(data, f"{exc.msg} at line {exc.lineno} column {exc.colno}")
    except (ValueError, RecursionError) as exc:
        return _not_json(data, str(exc))
    if not isinstance(cause, msgspec.ValidationError):
        return _not_json(data, str(cause))
    match = _MSGSPEC_PATH.search(str(cause))
    path = match["path"] if match else ""
    field = _MSGSPEC_FIELD.search(str(cause))
    if field is None:
        return InvalidArgument(path or "topology", value_at(document, path), _expected_at(path))
    place = f"{path}.{field['name']}".lstrip(".")
    if field["what"] == "contains unknown":
        return InvalidArgument(place, value_at(document, place), f"no such field, but {_expected_at(path)}")
    return InvalidArgument(place, None, f"{_expected_at(place)}; the field is missing")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _not_json(data: bytes | str, reason: str) -> InvalidArgument:
    start = data[:40] if isinstance(data, str) else data[:40].decode(errors="replace")
    return InvalidArgument("topology", start, f"JSON ({reason})")


def _expected_at(path: str) -> str:
    last = path.rpartition(".")[2] or "topology"
    kinds = {"source": "node", "target": "node"}
    if last.endswith("]"):
        last = {"edges": "edge", "nodes": "node"}[last.partition("[")[0]]
    return EXPECTED[kinds.get(last, last)]
