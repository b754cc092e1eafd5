"""The building blocks of OpenAPI 3.1 descriptions, shared by those of the proxy and of the node-info service."""

from importlib.metadata import version
from typing import Any

from skylark_proxy.errors import HTTP_STATUS
from skylark_proxy.model import NAME_PATTERN

Json = dict[str, Any]

NAME: Json = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
TEXT: Json = {"type": "string"}


def maybe(schema: Json) -> Json:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(properties: Json, required: bool = True) -> Json:
    """An object with these properties, all of them there unless `required` is false."""
    return {"type": "object", "properties": properties} | ({"required": list(properties)} if required else {})


def array(items: Json) -> Json:
    """An array of such items."""
    return {"type": "array", "items": items}


def schema(name: str) -> Json:
    """A reference to a schema of the description."""
    return {"$ref": f"#/components/schemas/{name}"}


ERROR: Json = record(
    {
        "error": {
            "type": "object",
            "required": ["code", "message", "retryable"],
            "properties": {
                "code": {"enum": [*HTTP_STATUS, "method-not-allowed", "http"]},
                "message": TEXT,
                "retryable": {"type": "boolean"},
                "traceback": TEXT,
            },
        }
    }
)


def query(name: str, schema: Json, text: str, required: bool = False) -> Json:
    """A parameter of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": text, "required": required}


def path(name: str, schema: Json) -> Json:
    """A parameter in the path."""
    return {"name": name, "in": "path", "schema": schema, "required": True}


def header(name: str, schema: Json, text: str) -> Json:
    """A header of the request."""
    return {"name": name, "in": "header", "schema": schema, "description": text}


def json_content(schema: Json, text: str) -> Json:
    """An answer in JSON."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def errors(*statuses: int) -> Json:
    """The answers that can go wrong; every one is an `Error`."""
    texts = {
        400: "Something in the request is not valid; the message names it.",
        401: "The nodes share a key, and the request is not signed with it.",
        403: "The nodes share a key, and this is for clients on this node; or a function named another chain's bundle.",
        404: "There is no such thing.",
        409: "The stored version is not the expected one; between nodes also (`superseded`): it is later than any "
        "that the sender knew of.",
        413: "A body or bundle exceeds the limit.",
        422: "The function failed; `cause` and `traceback` say why.",
        429: "Too many requests are being answered, or the chain has too many bundles; see `Retry-After`.",
        503: "A store or node cannot be reached, or the proxy is overloaded; see `Retry-After`.",
        504: "A store, a node or the function did not answer in time.",
    }
    return {str(status): json_content(schema("Error"), texts[status]) for status in statuses}


def document(title: str, text: str, paths: Json, schemas: Json) -> Json:
    """A whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version("skylark"),
            "description": text,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
