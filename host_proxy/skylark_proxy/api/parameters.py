"""Parameters and bodies of requests, parsed once, with errors that name them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from skylark.plan import Plan
from skylark.session import MAX_VERSION
from skylark_proxy import bundle_http
from skylark_proxy.election import MAX_SIZE_BYTES, parse_policy
from skylark_proxy.errors import InvalidArgument, TooLarge
from skylark_proxy.model import Ack, Policy, Read, StateKey, check_name, parse_plan
from skylark_proxy.name_lists import distinct_names

Choice = TypeVar("Choice", bound=StrEnum)

_NODES_PARAMETERS = ("asker", "keeper", "copy_at", "below", "write")
_NODES_HEADERS = (bundle_http.OWNER, bundle_http.VERSION, bundle_http.KNOWN)
_QUERY = "skylark_query"
MAX_TIME_MS = 1 << 53
"""The highest time, or age, in milliseconds: up to here the numbers of JSON are exact."""

_MAX_TTL_MS = 10 * 365 * 24 * 3600 * 1000


def text(request: Request, name: str) -> str | None:
    """A parameter of the query; None if it is missing.

    Raises:
        InvalidArgument: It is given more than once, or is empty.
    """
    values = _query(request.scope).get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise InvalidArgument(name, values, "one value")
    if values[0] == "":
        raise InvalidArgument(name, "", "a value, or no such parameter")
    return values[0]


def _query(scope: Scope) -> dict[str, list[str]]:
    """The parameters of a query, read once for all that look at it."""
    found: dict[str, list[str]] | None = scope.get(_QUERY)
    if found is None:
        found = scope[_QUERY] = {}
        query: bytes = scope["query_string"]
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
    return found


def name(request: Request, parameter: str) -> str | None:
    """A name of a node, chain or the like."""
    value = text(request, parameter)
    return check_name(parameter, value) if value is not None else None


def number(request: Request, parameter: str, minimum: int, maximum: int) -> int | None:
    """A whole number."""
    value = text(request, parameter)
    return None if value is None else _number(parameter, value, minimum, maximum)


def ttl_ms(request: Request) -> int | None:
    """`ttl_ms`, at most ten years."""
    return number(request, "ttl_ms", 1, _MAX_TTL_MS)


def size_bytes(request: Request) -> int:
    """`size`, a bundle's size in bytes; 0 if missing."""
    return number(request, "size", 0, MAX_SIZE_BYTES) or 0


def seconds(request: Request, parameter: str) -> float | None:
    """A time in seconds since the epoch."""
    value = text(request, parameter)
    if value is None:
        return None
    expected = "a number of seconds since the epoch"
    try:
        parsed = float(value)
    except ValueError:
        raise InvalidArgument(parameter, value, expected) from None
    if not 0 <= parsed < 1e12:
        raise InvalidArgument(parameter, value, expected)
    return parsed


def policy(request: Request) -> Policy | None:
    """`policy`."""
    value = text(request, "policy")
    return parse_policy(value) if value is not None else None


def ack(request: Request) -> Ack | None:
    """`ack`: when a store is acknowledged."""
    return _choice(request, "ack", Ack)


def read(request: Request) -> Read:
    """`read`: what a fetch may be content with."""
    return _choice(request, "read", Read) or Read.NEAREST


def below(request: Request) -> str | None:
    """`below`: why an older copy is to be dropped."""
    value = text(request, "below")
    if value not in (None, "newer", "deleted"):
        raise InvalidArgument("below", value, "newer or deleted")
    return value


def plan(request: Request) -> Plan | None:
    """`plan`: what the chain will run, and where."""
    value = text(request, "plan")
    return None if value is None else parse_plan(value)


def truth(request: Request, parameter: str) -> bool | None:
    """`true` or `false`."""
    value = text(request, parameter)
    if value not in (None, "true", "false"):
        raise InvalidArgument(parameter, value, "true or false")
    return None if value is None else value == "true"


def names(request: Request, parameter: str) -> tuple[str, ...]:
    """Names, separated by commas, each once; none if the parameter is missing."""
    value = text(request, parameter)
    return distinct_names(parameter, value.split(",")) if value is not None else ()


def key_in_path(request: Request) -> StateKey:
    """The state key that the path ends with."""
    return StateKey.parse(request.path_params["key"])


def local_only(request: Request) -> bool:
    """Whether `scope=local`: ask this node alone, as nodes do among each other.

    Raises:
        InvalidArgument: It is not, and something is there that only nodes tell each other.
    """
    value = text(request, "scope")
    if value not in (None, "local"):
        raise InvalidArgument("scope", value, "local, or no such parameter")
    if value is None:
        _check_no_nodes_terms(request)
    return value == "local"


def _check_no_nodes_terms(request: Request) -> None:
    given: Mapping[str, str] = request.query_params if request.scope["query_string"] else {}
    for found, names in ((given, _NODES_PARAMETERS), (request.headers, _NODES_HEADERS)):
        for one in names:
            if one in found:
                raise InvalidArgument(one, found[one], "no such thing without scope=local: only nodes say it")


def expected_version(request: Request) -> int | None:
    """The version that `If-Match` names; 0 for `If-None-Match: *`; None without either.

    `If-Match: *` (any version, but one) is no condition that a store can check, and is refused.
    """
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if none_match is not None:
        if none_match.strip() != "*" or match is not None:
            raise InvalidArgument("If-None-Match", none_match, "*, and no If-Match beside it")
        return 0
    if match is None:
        return None
    return _number("If-Match", match.strip().strip('"'), 1, MAX_VERSION)


def version_here(request: Request) -> int:
    """The version in `If-None-Match` of a fetch: the asker has that one. 0 without it."""
    value = request.headers.get("if-none-match")
    return 0 if value is None else _number("If-None-Match", value.strip().strip('"'), 1, MAX_VERSION)


def header_number(request: Request, header: str, maximum: int) -> int | None:
    """A whole number in a header; None if it is missing."""
    value = request.headers.get(header)
    return None if value is None else _number(header, value, 0, maximum)


async def body(request: Request, limit_bytes: int, frame_bytes: int = 0) -> bytes | bytearray:
    """The whole body of a request; see `read_body`."""
    return await read_body(request.headers, request.receive, limit_bytes, frame_bytes)


async def read_body(
    headers: Mapping[str, str], receive: Receive, limit_bytes: int, frame_bytes: int = 0
) -> bytes | bytearray:
    """The whole body, without a copy where it comes in one piece.

    Args:
        frame_bytes: What may come on top of the limit, for what is around the contents that the limit is for.

    Raises:
        TooLarge: It exceeds the limit; what comes after is not read.
        ClientDisconnect: The client went away before it was whole.
    """
    length = headers.get("content-length")
    if length is not None and int(length) > limit_bytes + frame_bytes:
        raise TooLarge("body", int(length), limit_bytes)
    data: bytes | bytearray = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece, more = message.get("body", b""), message.get("more_body", False)
        if len(data) + len(piece) > limit_bytes + frame_bytes:
            raise TooLarge("body", len(data) + len(piece), limit_bytes)
        if not data:
            data = piece if not more else bytearray(piece)
        else:
            data += piece
    return data


def _choice(request: Request, parameter: str, kind: type[Choice]) -> Choice | None:
    value = text(request, parameter)
    if value is not None and value not in list(kind):
        raise InvalidArgument(parameter, value, f"one of {', '.join(kind)}")
    return kind(value) if value is not None else None


def _number(parameter: str, value: str, minimum: int, maximum: int) -> int:
    parsed = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None
    if parsed is None or not minimum <= parsed <= maximum:
        raise InvalidArgument(parameter, value, f"a whole number from {minimum} to {maximum}")
    return parsed
