"""The building blocks of OpenAPI 3.1 descriptions, shared by those of the proxy and of the node-info service."""

from importlib.metadata import version
from typing import Any

from skylark.http_answers import OF_ANY_REQUEST, STATUS
from skylark_proxy.errors import HTTP_STATUS
from skylark_proxy.model import NAME_PATTERN

Json = dict[str, Any]

METHODS = ("get", "head", "put", "post", "delete")
"""Those that a path's item may describe."""

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
                "code": {"enum": sorted({*HTTP_STATUS, *STATUS, "http"})},
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
        408: "The request did not come in time.",
        411: "A request of HTTP/1.0 has a body without a Content-Length.",
        409: "The stored version is not the expected one; between nodes also (`superseded`): it is later than any "
        "that the sender knew of.",
        413: "A body or bundle exceeds the limit.",
        414: "The request's first line is too long.",
        415: "The body has a Content-Encoding, or is a CloudEvent in a form that is not known.",
        417: "The request has an Expect that is not 100-continue.",
        422: "The function failed; `cause` and `traceback` say why.",
        429: "Too many requests are being answered, or the chain has too many bundles; see `Retry-After`.",
        431: "The request has too many headers, or too long ones.",
        501: "The request has a Transfer-Encoding that is not chunked.",
        503: "A store or node cannot be reached, its disk is full, or the proxy is overloaded; see `Retry-After`.",
        504: "A store, a node or the function did not answer in time.",
        505: "The request is not of HTTP/1.",
    }
    return {str(status): json_content(schema("Error"), texts[status]) for status in statuses}


def with_answers(item: Json, answers: Json) -> Json:
    """Return a path's item whose operations have these answers too, where they do not describe them themselves."""
    bodiless = {status: {"description": "See GET."} for status in answers}
    return item | {
        name: item[name] | {"responses": (bodiless if name == "head" else answers) | item[name]["responses"]}
        for name in METHODS
        if name in item
    }


def document(title: str, text: str, paths: Json, schemas: Json) -> Json:
    """Return a whole description. Every operation also has the answers to requests that are refused unread."""
    unread = errors(*OF_ANY_REQUEST)
    referred = {status: {"$ref": f"#/components/responses/{status}"} for status in unread}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version("skylark"),
            "description": text,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {template: with_answers(item, referred) for template, item in paths.items()},
        "components": {"schemas": schemas, "responses": unread},
    }
