"""The OpenAPI 3.1 description of the node-info service."""

from skylark_proxy.api.openapi_parts import (
    COUNT,
    ERROR,
    NAME,
    NUMBER,
    TEXT,
    Json,
    array,
    document,
    errors,
    json_content,
    maybe,
    query,
    record,
    schema,
)
from skylark_proxy.model import Tier
from skylark_proxy.nodeinfo.links import DEFAULT_RANGES
from skylark_proxy.nodeinfo.messages import MAX_BANDWIDTH_MBPS, MAX_DRAWN_LATENCY_MS
from skylark_proxy.nodeinfo.rotating import MAX_INTERVAL_S, MIN_INTERVAL_S
from skylark_proxy.topology_json import MAX_LATENCY_MS, MIN_BANDWIDTH_MBPS

MAX_EPOCH = 2**53
MAX_WAIT_MS = 60_000

_LATENCY: Json = {"type": "number", "minimum": 0, "maximum": MAX_LATENCY_MS}
_BANDWIDTH: Json = {"type": "number", "minimum": MIN_BANDWIDTH_MBPS, "maximum": MAX_BANDWIDTH_MBPS}
_NOT_NEGATIVE: Json = {"type": "number", "minimum": 0, "maximum": 1e12}


def _closed(properties: Json, *required: str) -> Json:
    """An object of a request: nothing else may be in it, and what is not required may be missing or null."""
    optional = {name: maybe(one) for name, one in properties.items() if name not in required}
    return {
        "type": "object",
        "properties": properties | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def _bounds(item: Json) -> Json:
    return {
        "type": "array",
        "prefixItems": [item, item],
        "items": False,
        "minItems": 2,
        "description": "The lowest value, then the highest.",
    }


_RANGES = _closed(
    {"latency_ms": _bounds(_LATENCY | {"maximum": MAX_DRAWN_LATENCY_MS}), "bandwidth_mbps": _bounds(_BANDWIDTH)}
)

_SCHEMAS: Json = {
    "Error": ERROR,
    "Node": record({"node_name": NAME, "node_ip": TEXT, "node_type": {"enum": list(Tier)}}),
    "Edge": {
        "type": "object",
        "properties": {
            "source": schema("Node"),
            "target": schema("Node"),
            "latency": NUMBER | {"description": "Milliseconds."},
            "bandwidth": NUMBER | {"description": "Mbps."},
            "from": NUMBER | {"description": "When the contact begins, as a Unix time in seconds; missing: unbounded."},
            "until": NUMBER | {"description": "When the contact ends."},
        },
        "required": ["source", "target", "latency", "bandwidth"],
    },
    "Topology": {
        "type": "object",
        "properties": {
            "epoch": COUNT,
            "edges": array(schema("Edge")),
            "nodes": array(schema("Node")) | {"description": "Those without edges; missing: there are none."},
            "objectives": schema("Objectives"),
        },
        "required": ["epoch", "edges"],
    },
    "Objectives": record(
        {
            "max_latency": NUMBER | {"description": "The longest migration of a bundle, in milliseconds."},
            "min_bandwidth": NUMBER | {"description": "The narrowest link that a bundle may take, in Mbps."},
        }
    ),
    "SimSettings": record(
        {
            "interval_s": NUMBER,
            "density": NUMBER,
            "ranges": {"type": "object", "additionalProperties": schema("Range")},
        }
    ),
    "Range": record({"latency_ms": array(NUMBER), "bandwidth_mbps": array(NUMBER)}),
    "Epoch": record({"epoch": COUNT}),
}


def _body(given: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": given}}}


_PATHS: Json = {
    "/local-node-info": {
        "get": {
            "summary": "The node that the service runs on.",
            "responses": {"200": json_content(schema("Node"), "The node.")} | errors(404),
        }
    },
    "/cloud-node-info": {
        "get": {
            "summary": "The first node of the cloud, by name.",
            "responses": {"200": json_content(schema("Node"), "The node.")} | errors(404),
        }
    },
    "/objectives": {
        "get": {
            "summary": "What the operator asks of a migration.",
            "responses": {"200": json_content(schema("Objectives"), "The objectives.")},
        },
        "post": {
            "summary": "Changes the objectives; what is missing stays as it is.",
            "requestBody": _body(_closed({"max_latency": _NOT_NEGATIVE, "min_bandwidth": _NOT_NEGATIVE})),
            "responses": {"200": json_content(schema("Objectives"), "The objectives in force.")} | errors(400, 413),
        },
    },
    "/node-graph": {
        "get": {
            "summary": "The edges of the topology now.",
            "responses": {"200": json_content(array(schema("Edge")), "The edges.")},
        }
    },
    "/current-topology": {
        "get": {
            "summary": "The topology and the objectives now, under one epoch.",
            "description": "With `after` and `wait_ms`: as soon as the epoch is another one than `after`; 304 if it "
            "is not until then. The epoch rises with every change of the topology or of the objectives.",
            "parameters": [
                query("after", COUNT | {"maximum": MAX_EPOCH}, "The epoch that is known already."),
                query("wait_ms", COUNT | {"maximum": MAX_WAIT_MS}, "How long to wait; needs `after`."),
            ],
            "responses": {
                "200": json_content(schema("Topology"), "The topology; `ETag` is its epoch."),
                "304": {"description": "The epoch is still the one of `after`, or of `If-None-Match`."},
            }
            | errors(400),
        }
    },
    "/next-topology": {
        "get": {
            "summary": "The topology that follows: the next turn, or the next draw.",
            "description": "Where nothing is known to follow, the topology now. `epoch` is the one now.",
            "responses": {"200": json_content(schema("Topology"), "The topology.")},
        }
    },
    "/static-topology": {
        "get": {
            "summary": "One of the topologies of a rotation, whoever's turn it is.",
            "description": "Without a rotation there is one, number 0: the current one. `epoch` is the one now.",
            "parameters": [query("t", COUNT | {"maximum": MAX_EPOCH}, "Its number, from 0; missing: the last one.")],
            "responses": {"200": json_content(schema("Topology"), "The topology.")} | errors(400),
        }
    },
    "/sim-settings": {
        "get": {
            "summary": "What links are drawn from; 400 where none are drawn.",
            "responses": {"200": json_content(schema("SimSettings"), "The settings.")} | errors(400),
        },
        "post": {
            "summary": "Changes what links are drawn from, and draws them anew; what is missing stays as it is.",
            "requestBody": _body(
                _closed(
                    {
                        "interval_s": {"type": "number", "minimum": MIN_INTERVAL_S, "maximum": MAX_INTERVAL_S},
                        "density": {"type": "number", "minimum": 0, "maximum": 1},
                        "ranges": _closed({"-".join(pair): _RANGES for pair in DEFAULT_RANGES}),
                    }
                )
            ),
            "responses": {"200": json_content(schema("SimSettings"), "The settings in force.")} | errors(400, 413),
        },
    },
    "/measurements": {
        "post": {
            "summary": "Reports what a node measured of its link to another one: latency, bandwidth, or both.",
            "requestBody": _body(
                _closed(
                    {
                        "source": NAME,
                        "target": NAME,
                        "latency_ms": _LATENCY,
                        "bandwidth_mbps": _BANDWIDTH,
                        "at_s": _NOT_NEGATIVE | {"description": "When, as a Unix time in seconds; missing: now."},
                    },
                    "source",
                    "target",
                )
            ),
            "responses": {
                "200": json_content(
                    record({"counts": {"type": "boolean"}, "epoch": COUNT}),
                    "Whether it counts: it does not if it has expired, or if the nodes have no link now.",
                )
            }
            | errors(400, 404, 413),
        }
    },
    "/refresh": {
        "post": {
            "summary": "Reads files and the cluster again, draws links again, takes the next turn of a rotation.",
            "responses": {"200": json_content(schema("Epoch"), "The epoch after it.")} | errors(400, 503),
        }
    },
    "/health": {
        "get": {
            "summary": "Whether the service lives.",
            "responses": {
                "200": json_content(
                    record({"node": NAME, "status": TEXT, "epoch": COUNT, "problem": maybe(TEXT)}),
                    "It does. `problem` says why its topology may be out of date; null: it is not.",
                )
            },
        }
    },
    "/openapi.json": {
        "get": {"summary": "This description.", "responses": {"200": json_content({}, "This description.")}}
    },
}


def description() -> Json:
    """The description of all endpoints."""
    text = "Who the nodes are, how they are linked now, and what the operator asks for."
    paths = {path: {method: _guarded(item) for method, item in items.items()} for path, items in _PATHS.items()}
    return document("Skylark node-info service", text, paths, _SCHEMAS)


def _guarded(item: Json) -> Json:
    """With the answers of what stands before an operation; see `access`."""
    return item | {"responses": errors(400, 401, 403) | item["responses"]}
