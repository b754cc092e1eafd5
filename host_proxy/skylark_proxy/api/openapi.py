"""The OpenAPI 3.1 description of the HTTP surface. Tests hold it against the routes, and fuzz the routes by it."""

from skylark import wire
from skylark.cloudevents import STRUCTURED
from skylark.session import MAX_SEEN, MAX_VERSION
from skylark_proxy import bundle_http
from skylark_proxy.api.in_flight import HEALTH
from skylark_proxy.api.openapi_parts import (
    COUNT,
    ERROR,
    METHODS,
    NAME,
    NUMBER,
    TEXT,
    Json,
    array,
    document,
    errors,
    header,
    json_content,
    maybe,
    path,
    query,
    record,
    schema,
)
from skylark_proxy.model import NAME_PATTERN, WRITE_ID_PATTERN, Ack, Policy, Read, Tier
from skylark_proxy.propagation import LOST, UNREACHABLE
from skylark_proxy.topology_source import Source

_KEY: Json = {
    "type": "string",
    "pattern": f"^{NAME_PATTERN}(:{NAME_PATTERN})?:{NAME_PATTERN}$",
    "description": "`<chain_id>:<node>:<task_id>`, or `<chain_id>:<task_id>` where the node is not known.",
}
_SOME: Json = {"type": "string", "minLength": 1}
_BINARY: Json = {wire.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_ANY: Json = {"*/*": {"schema": {}}}


def _new_key(task: str) -> Json:
    """A key to save under; its node is not looked at."""
    members = {"chain_id": NAME, task: NAME, "node_id": maybe(TEXT)}
    return {"type": "object", "properties": members, "required": ["chain_id", task], "additionalProperties": False}


_SCHEMAS: Json = {
    "Error": ERROR,
    "Bundle": record(
        {
            "key": _KEY,
            "held_by": NAME,
            "version": COUNT,
            "size_bytes": COUNT,
            "fields": {"type": "object", "additionalProperties": COUNT},
            "origin": NAME,
            "created_ms": COUNT,
            "expires_ms": maybe(COUNT),
            "age_ms": maybe(COUNT),
            "crc32": COUNT,
        }
    ),
    "Candidate": record(
        {
            "node": NAME,
            "latency_ms": NUMBER,
            "bandwidth_mbps": maybe(NUMBER),
            "migration_time_ms": NUMBER,
            "window_ends_s": maybe(NUMBER),
            "verdict": TEXT,
        }
    ),
    "StateKey": record({"chain_id": NAME, "node_id": maybe(NAME), "task_id": NAME}),
    "State": record({"key": schema("StateKey"), "value": {}}),
    "NewState": record({"key": {"oneOf": [_new_key("task_id"), _new_key("fn_name")]}, "value": {}})
    | {"additionalProperties": False},
    "ElectionTimes": record(
        {
            "nodes": COUNT,
            "links": COUNT,
            "runs": COUNT,
            "build_ms": NUMBER,
            "first_ms": NUMBER,
            "further_ms": NUMBER,
            "published_ms": maybe(NUMBER),
        }
    ),
    "Election": record(
        {
            "policy": {"enum": list(Policy)},
            "source": NAME,
            "destination": NAME,
            "elected": NAME,
            "reason": TEXT,
            "size_bytes": COUNT,
            "at_s": NUMBER,
            "epoch": COUNT,
            "objectives": record({"max_latency_ms": NUMBER, "min_bandwidth_mbps": NUMBER}),
            "objective_met": {"type": "boolean"},
            "breach": maybe(TEXT),
            "candidates": array(schema("Candidate")),
            "fallbacks": array(NAME),
        }
    ),
    "Placement": record(
        {
            "key": _KEY,
            "version": COUNT,
            "size_bytes": COUNT,
            "duration_ms": NUMBER,
            "objective_met": maybe({"type": "boolean"}),
            "on_the_way_to": array(NAME),
            "destination_from": {"enum": ["function", "plan", "request", "default"]},
            "failed": array(record({"node": NAME, "error": TEXT})),
            "election": maybe(schema("Election")),
        }
    ),
    "Fetch": record(
        {
            "key": _KEY,
            "version": COUNT,
            "served_by": NAME,
            "age_ms": maybe(COUNT),
            "stale": maybe({"enum": [UNREACHABLE, LOST]}),
            "hops": COUNT,
            "size_bytes": COUNT,
            "duration_ms": NUMBER,
        }
    ),
    "Report": record(
        {
            "functions": array(NAME),
            "node": NAME,
            "chain_id": NAME,
            "task_id": NAME,
            "key": maybe(_KEY),
            "started_ms": COUNT,
            "timings_ms": record({"f": NUMBER, "ex": NUMBER, "dr": NUMBER, "dm": NUMBER}),
            "fetches": array(schema("Fetch")),
            "placements": array(schema("Placement")),
            "left_out": COUNT | {"description": "Further fetches and placements, beyond the first 256 of each kind."},
            "error": maybe(record({"code": TEXT, "message": TEXT})),
        }
    ),
    "Function": record(
        {
            "name": NAME,
            "component": TEXT,
            "reuse": {"type": "boolean"},
            "limits": record({"memory_bytes": COUNT, "deadline_ms": COUNT}),
        }
    ),
    "Neighbor": record(
        {
            "node": NAME,
            "address": TEXT,
            "tier": {"enum": list(Tier)},
            "latency_ms": NUMBER,
            "bandwidth_mbps": NUMBER,
            "up_until_s": maybe(NUMBER),
        }
    ),
    "Topology": record(
        {
            "epoch": COUNT,
            "source": {"enum": list(Source)},
            "age_s": maybe(NUMBER),
        }
    ),
    "Health": record({"node": NAME, "status": TEXT}),
}


_DESTINATION = query("destination", NAME, "The node that the next function will run on.")
_ANY_CASE = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in policy) for policy in Policy)
_POLICY = query(
    "policy",
    {"type": "string", "pattern": f"^({_ANY_CASE})$", "examples": list(Policy)},
    f"How to elect the node that will hold the bundle: {', '.join(Policy)}, in any case.",
)
_TTL = query("ttl_ms", {"type": "integer", "minimum": 1, "maximum": 315_360_000_000}, "Milliseconds until it expires.")
_SCOPE = query("scope", {"enum": ["local"]}, "Ask this node alone.")
_ASKER = query("asker", NAME, "The node that asks, if it can wait for a bundle that is being brought to it.")
_KEEPER = query("keeper", NAME, "The node that asks, if it will keep a copy: it is told of later versions.")
_COPY_AT = query("copy_at", NAME, "A node that gets this version from the one who asks, and further ones from here.")
_WRITE = query(
    "write", {"type": "string", "pattern": f"^{WRITE_ID_PATTERN}$"}, "Only the bundle that this write has made."
)
_BELOW = query(
    "below",
    {"enum": ["newer", "deleted"]},
    "Between nodes, with `Skylark-Version`: drop the copy if it is older, or also that version, which was deleted.",
)
_FIELDS = query("fields", {"type": "string", "pattern": f"^{NAME_PATTERN}(,{NAME_PATTERN})*$"}, "Only these fields.")
_VERSION: Json = {"type": "string", "pattern": '^"[1-9][0-9]{0,15}"$'}
_VERSION_NUMBER: Json = {"type": "integer", "minimum": 1, "maximum": MAX_VERSION}
_READ = query(
    "read",
    {"enum": list(Read)},
    "What will do: the nearest copy (if missing), the owner's bundle if it can be asked, or the owner's only.",
)
_MIN_VERSION = query("min_version", _VERSION_NUMBER, "The version that the reader has seen: it is given none older.")
_OWNER = header(bundle_http.OWNER, NAME, "Between nodes: the node that decides the bundle's versions.")
_SEEN_ONE = ":".join([NAME_PATTERN] * 3) + "=[0-9]{1,16}"
_SEEN_TEXT: Json = {"type": "string", "pattern": f"^{_SEEN_ONE}(,{_SEEN_ONE})*$"}

_IF_CHANGED = header("If-None-Match", TEXT, "Versions that the caller has: 304 if it is one of them still.")

_SIZE = query("size", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "The bundle's size in bytes.")
_STATE_KEY = query("key", _KEY, "The state's key.", required=True)
_REPLICATE = query("replicate", {"enum": ["true", "false"]}, "Whether the cloud gets a copy, sooner or later.")
_PLAN_STEP = f"{NAME_PATTERN}(@{NAME_PATTERN})?"
_PLAN = query(
    "plan",
    {"type": "string", "pattern": f"^{_PLAN_STEP}(,{_PLAN_STEP})*$"},
    "The chain's functions, each with its node where that is known: `preprocess@sat1,detect@sat2,alarm`.",
)
_FUSE = query(
    "fuse",
    {"enum": ["true", "false"]},
    "Whether the functions that follow in the plan, on this node and in the same component, run too; true if missing.",
)
_ACK = query("ack", {"enum": list(Ack)}, "When the store is acknowledged; the node's default if missing.")

_REFRESH: Json = {
    "summary": "Asks the node-info service now, or reads the topology's file again.",
    "responses": {"200": json_content(schema("Topology"), "What is known then.")} | errors(400, 503),
}
_READINESS: Json = {
    "summary": "Whether the node can serve.",
    "responses": {
        "200": json_content(record({"node": NAME, "status": TEXT, "topology": schema("Topology")}), "It can."),
        "503": json_content(schema("Health"), "Redis does not answer."),
    },
}


def _save(summary: str, *parameters: Json) -> Json:
    return {
        "post": {
            "summary": summary,
            "parameters": [*parameters, _TTL, _ACK],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema("NewState")}}},
            "responses": {
                "200": {
                    "description": "The key with the node where the state is; as JSON, why it is there.",
                    "content": {"text/plain": {"schema": _KEY}, "application/json": {"schema": schema("Placement")}},
                }
            }
            | errors(400, 404, 409, 413, 503, 504),
        }
    }


_BETWEEN_NODES = (
    f"Between nodes, with `scope=local`: `{bundle_http.OWNER}` names the node that decides the bundle's versions, "
    f"`{bundle_http.VERSION}` is the version of a copy, and a version after `{bundle_http.KNOWN}` is not replaced."
)
_ETAG: Json = {"required": True, "schema": _VERSION, "description": "The bundle's version."}
_STORED: Json = {"ETag": _ETAG, bundle_http.KEY: {"required": True, "schema": _KEY, "description": "Where it is."}}
_GIVEN: Json = {
    "ETag": _ETAG,
    bundle_http.KEY: {"required": True, "schema": _KEY, "description": "The key; its node is the owner."},
    bundle_http.SERVED_BY: {"required": True, "schema": NAME, "description": "The node that had it."},
    bundle_http.HOPS: {"required": True, "schema": COUNT, "description": "How many nodes were asked before in vain."},
    bundle_http.OWNER: {"schema": NAME, "description": "The node that decides its versions; missing if there is none."},
    bundle_http.AGE_MS: {"schema": COUNT, "description": "Of a copy: how long ago its owner had it, in milliseconds."},
    "Age": {"schema": COUNT, "description": "The same in seconds."},
    bundle_http.STALE: {
        "schema": {"enum": [UNREACHABLE, LOST]},
        "description": "Of a copy that came in place of its owner's bundle: why that could not be had.",
    },
    bundle_http.TTL_MS: {"schema": COUNT, "description": "What it has left to live."},
    bundle_http.SEEN: {"schema": _SEEN_TEXT, "description": "Versions of other bundles that the chain has seen."},
}
_DELETED: Json = {
    bundle_http.DELETED: {
        "schema": COUNT,
        "description": "The version of the deletion: no node gives who brings it as `min_version` what was deleted.",
    },
    bundle_http.OWNER: {"schema": NAME, "description": "The node that decided its versions; missing if there is none."},
}


_PATHS: Json = {
    "/bundles": {
        "get": {
            "summary": "The bundles of a chain that this node holds.",
            "parameters": [query("chain", NAME, "The chain's id.", required=True)],
            "responses": {"200": json_content(record({"bundles": array(schema("Bundle"))}), "The bundles.")}
            | errors(400, 503, 504),
        }
    },
    "/bundles/{key}": {
        "parameters": [path("key", _KEY)],
        "get": {
            "summary": "A bundle: from this node, the node that the key names, or the cloud.",
            "description": "Never an older version than was read or written through this node; see `min_version`.",
            "parameters": [_FIELDS, _READ, _MIN_VERSION, _SCOPE, _OWNER, _ASKER, _KEEPER, _IF_CHANGED],
            "responses": {
                "200": {"description": "The bundle.", "headers": _GIVEN, "content": _BINARY},
                "202": {"description": "It is being brought to the node that asks."},
                "304": {"description": "It is still of the version of `If-None-Match`."},
            }
            | errors(400, 404, 503, 504),
        },
        "head": {
            "summary": "A bundle's metadata.",
            "parameters": [_FIELDS, _READ, _MIN_VERSION, _SCOPE, _OWNER, _IF_CHANGED],
            "responses": {
                "200": {"description": "It exists.", "headers": _GIVEN},
                **{status: {"description": "See GET."} for status in ("304", "400", "404", "503", "504")},
            },
        },
        "put": {
            "summary": "Stores a bundle: at the node that the key names, else where an election says.",
            "description": f"`{bundle_http.SEEN}` has the versions of other bundles that the chain has seen, at most "
            f"{MAX_SEEN}: `KEY=VERSION,…`. Who fetches this bundle is given none older. {_BETWEEN_NODES}",
            "parameters": [
                _DESTINATION,
                _POLICY,
                _TTL,
                _ACK,
                _REPLICATE,
                _COPY_AT,
                _SCOPE,
                header("If-Match", _VERSION, "Store only over this version."),
                header("If-None-Match", {"const": "*"}, "Store only if there is no bundle."),
            ],
            "requestBody": {"required": True, "content": _BINARY},
            "responses": {
                "200": json_content(
                    {"anyOf": [schema("Placement"), record({"version": COUNT})]},
                    "Where it was put, and why; between nodes only its version.",
                )
                | {"headers": _STORED}
            }
            | errors(400, 404, 409, 413, 503, 504),
        },
        "delete": {
            "summary": "Deletes a bundle, and its copies, at the node that the key names, else here.",
            "description": _BETWEEN_NODES,
            "parameters": [
                header("If-Match", _VERSION, "Delete only this version."),
                _SCOPE,
                _WRITE,
                _BELOW,
            ],
            "responses": {"204": {"description": "It is gone.", "headers": _DELETED}} | errors(400, 404, 409, 503, 504),
        },
    },
    "/bundles/{key}/announcement": {
        "parameters": [path("key", _KEY)],
        "post": {
            "summary": "Another node says that a bundle is on its way here: a fetch waits for it.",
            "parameters": [
                query("wait_ms", {"type": "integer", "minimum": 1, "maximum": 600_000}, "Milliseconds to wait at most.")
            ],
            "responses": {"204": {"description": "It is expected."}} | errors(400),
        },
    },
    "/functions": {
        "get": {
            "summary": "The functions that this node can run.",
            "responses": {"200": json_content(record({"functions": array(schema("Function"))}), "The functions.")},
        }
    },
    "/functions/{functions}": {
        "parameters": [path("functions", {"type": "string", "pattern": f"^{NAME_PATTERN}([+]{NAME_PATTERN})*$"})],
        "post": {
            "summary": "Runs a function, or several of one component, joined by `+`.",
            "description": "The body is the function's input. CloudEvents 1.0 are accepted in both modes; their "
            "extensions `statekey`, `chainid` and `destination` stand for `key`, `chain` and `destination`.",
            "parameters": [
                query("key", _KEY, "The predecessor's bundle."),
                query("chain", NAME, "The chain's id; a new one if missing."),
                _DESTINATION,
                _POLICY,
                _TTL,
                _ACK,
                _PLAN,
                _FUSE,
            ],
            "requestBody": {
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    STRUCTURED: {
                        "schema": record({"specversion": {"const": "1.0"}, "id": _SOME, "source": _SOME, "type": _SOME})
                    },
                }
            },
            "responses": {
                "200": json_content(schema("Report"), "What happened; or the function's own answer, of any media type.")
                | {"content": {"application/json": {"schema": {}}, "application/octet-stream": {}, STRUCTURED: {}}},
                "default": {"description": "The function's own answer.", "content": _ANY},
            }
            | errors(400, 403, 404, 409, 413, 415, 422, 503, 504),
        },
    },
    "/tasks/{task_id}": {
        "parameters": [path("task_id", NAME)],
        "get": {
            "summary": "What one of the last 1,024 invocations did.",
            "responses": {"200": json_content(schema("Report"), "The report.")} | errors(400, 404),
        },
    },
    "/state": {
        "get": {
            "summary": "A single state: from this node, the node that the key names, or the cloud.",
            "description": "Its value is that of the bundle's only field, else an object of all fields' values. "
            "A field is text in UTF-8, or JSON if its name ends in `.json`.",
            "parameters": [_STATE_KEY],
            "responses": {"200": json_content(schema("State"), "The state.")} | errors(400, 404, 503, 504),
        },
        "delete": {
            "summary": "Deletes a single state at this node, at the node that the key names, and in the cloud.",
            "description": "A key without a node: also at the nodes of the way to the default destination.",
            "parameters": [_STATE_KEY],
            "responses": {
                "200": json_content(record({"key": schema("StateKey"), "nodes": array(NAME)}), "Who had held it.")
            }
            | errors(400, 404, 503, 504),
        },
    },
    "/save/sat": _save(
        "Stores a single state where an election says, with copies at this node and in the cloud.",
        _DESTINATION,
        _POLICY,
    ),
    "/save/edge": _save("Stores a single state at this node, with a copy in the cloud."),
    "/save/cloud": _save("Stores a single state in the cloud."),
    "/storage-node": {
        "get": {
            "summary": "The address of the node that a bundle would be put at; as JSON, the whole election.",
            "parameters": [
                _SIZE,
                query(
                    "time",
                    {"type": "integer", "minimum": 0, "maximum": 2**53},
                    "How long the function has run, in ms; as in the published system nothing depends on it.",
                ),
                query(
                    "at",
                    {"type": "number", "minimum": 0, "exclusiveMaximum": 1e12},
                    "When, as a Unix time in seconds; now if missing.",
                ),
                _DESTINATION,
                _POLICY,
            ],
            "responses": {
                "200": json_content(schema("Election"), "The election.")
                | {"content": {"text/plain": {"schema": TEXT}, "application/json": {"schema": schema("Election")}}},
                **errors(400, 404),
            },
        }
    },
    "/neighbors": {
        "get": {
            "summary": "The nodes that are in contact now, with the best link to each.",
            "responses": {
                "200": json_content(
                    record(
                        {
                            "node": NAME,
                            "epoch": COUNT,
                            "source": {"enum": list(Source)},
                            "age_s": maybe(NUMBER),
                            "neighbors": array(schema("Neighbor")),
                        }
                    ),
                    "The neighbors; where they are known from, and seconds since the node-info service confirmed it.",
                )
            },
        }
    },
    "/refresh": {"get": _REFRESH, "post": _REFRESH},
    "/benchmark": {
        "get": {
            "summary": "Elections over graphs of 10 to 10,000 nodes, measured on this node; one request at a time.",
            "parameters": [_SIZE],
            "responses": {
                "200": json_content(
                    record({"machine": {"type": "object"}, "note": TEXT, "results": array(schema("ElectionTimes"))}),
                    "The medians.",
                )
            }
            | errors(400, 503),
        }
    },
    "/health": {"get": _READINESS},
    "/health/liveness": {
        "get": {
            "summary": "Whether the process lives.",
            "responses": {
                "200": json_content(schema("Health"), "It does."),
                "503": json_content(schema("Health"), "Too many workers are blocked: start it anew."),
            },
        }
    },
    "/health/readiness": {"get": _READINESS},
    "/openapi.json": {
        "get": {"summary": "This description.", "responses": {"200": json_content({}, "This description.")}}
    },
}


def description() -> Json:
    """The description of all endpoints."""
    paths = {template: _guarded(template, item) for template, item in _PATHS.items()}
    return document("Skylark host proxy", "State bundles, functions and elections of one node.", paths, _SCHEMAS)


def _guarded(template: str, item: Json) -> Json:
    """With the answers of what stands before an operation; see `access` and `in_flight`."""
    refusals = errors(401, 403) if template.startswith(HEALTH) else errors(400, 401, 403, 429, 503)
    bodiless = {status: {"description": "See GET."} for status in refusals}
    return item | {
        name: item[name] | {"responses": (bodiless if name == "head" else refusals) | item[name]["responses"]}
        for name in _operations(item)
    }


def _operations(item: Json) -> list[str]:
    return [name for name in METHODS if name in item]
