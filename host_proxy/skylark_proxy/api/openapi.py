"""The OpenAPI 3.1 description of the HTTP surface. Tests hold it against the routes, and fuzz the routes by it."""

from importlib.metadata import version
from typing import Any

from skylark import wire
from skylark_proxy.api.cloudevents import STRUCTURED
from skylark_proxy.errors import HTTP_STATUS
from skylark_proxy.model import NAME_PATTERN, Policy, Tier

Json = dict[str, Any]

_NAME: Json = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
_KEY: Json = {
    "type": "string",
    "pattern": f"^{NAME_PATTERN}(:{NAME_PATTERN})?:{NAME_PATTERN}$",
    "description": "`<chain_id>:<node>:<task_id>`, or `<chain_id>:<task_id>` where the node is not known.",
}
_NUMBER: Json = {"type": "number"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TEXT: Json = {"type": "string"}
_SOME: Json = {"type": "string", "minLength": 1}
_BINARY: Json = {wire.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_ANY: Json = {"*/*": {"schema": {}}}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Json, required: bool = True) -> Json:
    return {"type": "object", "properties": properties} | ({"required": list(properties)} if required else {})


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: Json = {
    "Error": _object(
        {
            "error": {
                "type": "object",
                "required": ["code", "message", "retryable"],
                "properties": {
                    "code": {"enum": [*HTTP_STATUS, "method-not-allowed", "http"]},
                    "message": _TEXT,
                    "retryable": {"type": "boolean"},
                    "traceback": _TEXT,
                },
            }
        }
    ),
    "Bundle": _object(
        {
            "key": _KEY,
            "version": _COUNT,
            "size_bytes": _COUNT,
            "fields": {"type": "object", "additionalProperties": _COUNT},
            "origin": _NAME,
            "created_ms": _COUNT,
            "expires_ms": _maybe(_COUNT),
            "crc32": _COUNT,
        }
    ),
    "Candidate": _object(
        {
            "node": _NAME,
            "latency_ms": _NUMBER,
            "bandwidth_mbps": _maybe(_NUMBER),
            "migration_time_ms": _NUMBER,
            "window_ends_s": _maybe(_NUMBER),
            "verdict": _TEXT,
        }
    ),
    "Election": _object(
        {
            "policy": {"enum": list(Policy)},
            "source": _NAME,
            "destination": _NAME,
            "elected": _NAME,
            "reason": _TEXT,
            "size_bytes": _COUNT,
            "at_s": _NUMBER,
            "epoch": _COUNT,
            "objectives": _object({"max_latency_ms": _NUMBER, "min_bandwidth_mbps": _NUMBER}),
            "objective_met": {"type": "boolean"},
            "breach": _maybe(_TEXT),
            "candidates": _array(_schema("Candidate")),
            "fallbacks": _array(_NAME),
        }
    ),
    "Placement": _object(
        {
            "key": _KEY,
            "version": _COUNT,
            "size_bytes": _COUNT,
            "duration_ms": _NUMBER,
            "objective_met": _maybe({"type": "boolean"}),
            "failed": _array(_object({"node": _NAME, "error": _TEXT})),
            "election": _maybe(_schema("Election")),
        }
    ),
    "Fetch": _object(
        {
            "key": _KEY,
            "version": _COUNT,
            "served_by": _NAME,
            "hops": _COUNT,
            "size_bytes": _COUNT,
            "duration_ms": _NUMBER,
        }
    ),
    "Report": _object(
        {
            "functions": _array(_NAME),
            "node": _NAME,
            "chain_id": _NAME,
            "task_id": _NAME,
            "key": _maybe(_KEY),
            "started_ms": _COUNT,
            "timings_ms": _object({"f": _NUMBER, "ex": _NUMBER, "dr": _NUMBER, "dm": _NUMBER}),
            "fetches": _array(_schema("Fetch")),
            "placements": _array(_schema("Placement")),
            "error": _maybe(_object({"code": _TEXT, "message": _TEXT})),
        }
    ),
    "Function": _object(
        {
            "name": _NAME,
            "component": _TEXT,
            "reuse": {"type": "boolean"},
            "limits": _object({"memory_bytes": _COUNT, "deadline_ms": _COUNT, "exchange_bytes": _COUNT}),
        }
    ),
    "Neighbor": _object(
        {
            "node": _NAME,
            "address": _TEXT,
            "tier": {"enum": list(Tier)},
            "latency_ms": _NUMBER,
            "bandwidth_mbps": _NUMBER,
            "up_until_s": _maybe(_NUMBER),
        }
    ),
    "Health": _object({"node": _NAME, "status": _TEXT}),
}


def _query(name: str, schema: Json, text: str, required: bool = False) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": text, "required": required}


def _path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "schema": schema, "required": True}


def _header(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": text}


def _json(schema: Json, text: str) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> Json:
    """The answers that can go wrong; every one is an `Error`."""
    texts = {
        400: "Something in the request is not valid; the message names it.",
        404: "There is no such thing.",
        409: "The stored version is not the expected one.",
        413: "A body or bundle exceeds the limit.",
        422: "The function failed; `cause` and `traceback` say why.",
        503: "A store or node cannot be reached, or the proxy is overloaded; see `Retry-After`.",
        504: "A store, a node or the function did not answer in time.",
    }
    return {str(status): _json(_schema("Error"), texts[status]) for status in statuses}


_DESTINATION = _query("destination", _NAME, "The node that the next function will run on.")
_POLICY = _query("policy", {"enum": list(Policy)}, "How to elect the node that will hold the bundle.")
_TTL = _query("ttl_ms", {"type": "integer", "minimum": 1, "maximum": 315_360_000_000}, "Milliseconds until it expires.")
_SCOPE = _query("scope", {"enum": ["local"]}, "Ask this node alone.")
_FIELDS = _query("fields", {"type": "string", "pattern": f"^{NAME_PATTERN}(,{NAME_PATTERN})*$"}, "Only these fields.")
_VERSION: Json = {"anyOf": [{"type": "string", "pattern": '^"[1-9][0-9]{0,14}"$'}, {"const": "*"}]}

_PATHS: Json = {
    "/bundles": {
        "get": {
            "summary": "The bundles of a chain that this node holds.",
            "parameters": [_query("chain", _NAME, "The chain's id.", required=True)],
            "responses": {"200": _json(_object({"bundles": _array(_schema("Bundle"))}), "The bundles.")}
            | _errors(400, 503, 504),
        }
    },
    "/bundles/{key}": {
        "parameters": [_path("key", _KEY)],
        "get": {
            "summary": "A bundle: from this node, the node that the key names, or the cloud.",
            "parameters": [_FIELDS, _SCOPE],
            "responses": {"200": {"description": "The bundle.", "content": _BINARY}} | _errors(400, 404, 503, 504),
        },
        "head": {
            "summary": "A bundle's metadata.",
            "parameters": [_FIELDS, _SCOPE],
            "responses": {
                "200": {"description": "It exists."},
                **{status: {"description": "See GET."} for status in ("400", "404", "503", "504")},
            },
        },
        "put": {
            "summary": "Stores a bundle: at the node that the key names, else where an election says.",
            "parameters": [
                _DESTINATION,
                _POLICY,
                _TTL,
                _SCOPE,
                _header("If-Match", _VERSION, "Store only over this version."),
                _header("If-None-Match", {"const": "*"}, "Store only if there is no bundle."),
            ],
            "requestBody": {"required": True, "content": _BINARY},
            "responses": {"200": _json(_schema("Placement"), "Where it was put, and why.")}
            | _errors(400, 404, 409, 413, 503, 504),
        },
        "delete": {
            "summary": "Deletes a bundle at the node that the key names, else here.",
            "parameters": [_SCOPE],
            "responses": {"204": {"description": "It is gone."}} | _errors(400, 404, 503, 504),
        },
    },
    "/functions": {
        "get": {
            "summary": "The functions that this node can run.",
            "responses": {"200": _json(_object({"functions": _array(_schema("Function"))}), "The functions.")},
        }
    },
    "/functions/{functions}": {
        "parameters": [_path("functions", {"type": "string", "pattern": f"^{NAME_PATTERN}([+]{NAME_PATTERN})*$"})],
        "post": {
            "summary": "Runs a function, or several of one component, joined by `+`.",
            "description": "The body is the function's input. CloudEvents 1.0 are accepted in both modes; their "
            "extensions `statekey`, `chainid` and `destination` stand for `key`, `chain` and `destination`.",
            "parameters": [
                _query("key", _KEY, "The predecessor's bundle."),
                _query("chain", _NAME, "The chain's id; a new one if missing."),
                _DESTINATION,
                _POLICY,
                _TTL,
            ],
            "requestBody": {
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    STRUCTURED: {
                        "schema": _object(
                            {"specversion": {"const": "1.0"}, "id": _SOME, "source": _SOME, "type": _SOME}
                        )
                    },
                }
            },
            "responses": {
                "200": _json(_schema("Report"), "What happened; or the function's own answer, of any media type.")
                | {"content": {"application/json": {"schema": {}}, "application/octet-stream": {}, STRUCTURED: {}}},
                "default": {"description": "The function's own answer.", "content": _ANY},
            }
            | _errors(400, 404, 409, 413, 422, 503, 504),
        },
    },
    "/tasks/{task_id}": {
        "parameters": [_path("task_id", _NAME)],
        "get": {
            "summary": "What one of the last 1,024 invocations did.",
            "responses": {"200": _json(_schema("Report"), "The report.")} | _errors(400, 404),
        },
    },
    "/storage-node": {
        "get": {
            "summary": "The address of the node that a bundle would be put at; as JSON, the whole election.",
            "parameters": [
                _query("size", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "The bundle's size in bytes."),
                _query(
                    "time",
                    {"type": "number", "minimum": 0, "exclusiveMaximum": 1e12},
                    "When, as a Unix time in seconds.",
                ),
                _DESTINATION,
                _POLICY,
            ],
            "responses": {
                "200": _json(_schema("Election"), "The election.")
                | {"content": {"text/plain": {"schema": _TEXT}, "application/json": {"schema": _schema("Election")}}},
                **_errors(400, 404),
            },
        }
    },
    "/neighbors": {
        "get": {
            "summary": "The nodes that are in contact now, with the best link to each.",
            "responses": {
                "200": _json(
                    _object({"node": _NAME, "epoch": _COUNT, "neighbors": _array(_schema("Neighbor"))}),
                    "The neighbors.",
                )
            },
        }
    },
    "/health/liveness": {
        "get": {
            "summary": "Whether the process lives.",
            "responses": {
                "200": _json(_schema("Health"), "It does."),
                "503": _json(_schema("Health"), "Too many workers are blocked: start it anew."),
            },
        }
    },
    "/health/readiness": {
        "get": {
            "summary": "Whether the node can serve.",
            "responses": {
                "200": _json(_schema("Health"), "It can."),
                "503": _json(_schema("Health"), "Redis does not answer."),
            },
        }
    },
    "/openapi.json": {"get": {"summary": "This description.", "responses": {"200": _json({}, "This description.")}}},
}


def description() -> Json:
    """The description of all endpoints."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Skylark host proxy",
            "version": version("skylark"),
            "description": "State bundles, functions and elections of one node.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _PATHS,
        "components": {"schemas": _SCHEMAS},
    }
