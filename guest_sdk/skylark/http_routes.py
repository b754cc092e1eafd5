"""Requests to a server of functions, read without a look at their bodies. Paths and parameters are the proxy's."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

from skylark.http_answers import Refused
from skylark.names import EXPECTED_NAME, chain_of, is_name
from skylark.plan import EXPECTED as EXPECTED_PLAN
from skylark.plan import Plan
from skylark.state import Ack, Policy

T = TypeVar("T")

MAX_BODY_BYTES = 128 << 20
"""The largest request body where nobody says otherwise."""

EXPECTED_KEY = "<chain_id>:<node>:<task_id> or <chain_id>:<task_id>"

MAX_HEADERS = 100
"""The most headers of a request: each becomes a key of a dict; see `json_names`."""

_PARAMETERS = frozenset({"key", "chain", "destination", "policy", "ttl_ms", "ack", "plan", "fuse"})
_POLICIES = {policy.value: policy for policy in Policy}
_ACKS = {ack.value: ack for ack in Ack}
_SHOWN = 64
_MAX_TTL_MS = 10 * 365 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Head:
    """A request without its body: the path is decoded, the names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str]) -> "Head":
        """Reads a request's target, `/path?query`."""
        return cls(method, *path_of(target), {name.lower(): value for name, value in headers.items()})


def too_many_headers(count: int, limit: int) -> Refused:
    """The refusal of a request with more headers than it may have."""
    return Refused("headers-too-large", f"the request has {count} headers, the limit is {limit}", limit=limit)


def check_coding(values: Iterable[str]) -> None:
    """Refuse a body that is coded, such as by gzip: a function could not tell it from one that is not.

    Args:
        values: The values of the request's `Content-Encoding` fields.

    Raises:
        Refused: One names a coding other than `identity` (RFC 9110, section 15.5.16).
    """
    for coding in ",".join(values).split(","):
        if coding.strip(" \t").lower() not in ("", "identity"):
            message = f"Content-Encoding: {coding.strip()[:100]!r} is not supported; expected a body without a coding"
            raise Refused("coding-not-supported", message)


def path_of(target: str) -> tuple[str, str]:
    """The decoded path, and the query, of a target `/path?query`."""
    path, _, query = target.partition("?")
    return unquote(path), query


@dataclass(frozen=True)
class Call:
    """What a caller asks for.

    Attributes:
        functions: One function, or several that share a sandbox and a bundle.
        state_key: The predecessor's bundle; None for the first function of a chain.
        chain_id: The chain; None: the key's, or a new one.
        fuse: Whether the functions that follow in the plan, on this node and in the same component, run too.
    """

    functions: tuple[str, ...]
    state_key: str | None = None
    chain_id: str | None = None
    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    ack: Ack | None = None
    plan: Plan | None = None
    fuse: bool = True
    content_type: str = ""


class Page(Enum):
    """A request that runs no function."""

    FUNCTIONS = "/functions"
    LIVENESS = "/health/liveness"
    READINESS = "/health/readiness"


def route(head: Head, known: Collection[str] | None = None, root: tuple[str, ...] | None = None) -> Call | Page:
    """What a request asks for.

    Args:
        known: The functions that there are; None: that is found out later.
        root: The functions that `/` and `/process` run; None: there are no such paths.

    Raises:
        Refused: There is no such path, method or function, or a parameter is not valid.
    """
    if head.path in ("/", "/process") and root is not None:
        return _at_root(head, root, known)
    if head.path == "/functions" or head.path.startswith("/health"):
        return _page(head)
    prefix, _, names = head.path.rpartition("/")
    if prefix != "/functions" or not names:
        beside = "/, /process, " if root is not None else ""
        raise Refused("not-found", f"no path {head.path!r}; there are {beside}/functions/NAME, /functions and /health")
    _allow(head, "POST")
    return _call(head, tuple(_name("functions", part) for part in names.split("+")), known)


def instead_of(name: str, known: Collection[str]) -> str:
    """Say which parameters there are, to somebody who has used another one."""
    from difflib import get_close_matches  # here: nobody else has to wait for it

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"no such parameter; did you mean {close[0]}?"
    return f"no such parameter; known: {', '.join(sorted(known))}" if known else "no parameters"


def body_size(head: Head, limit_bytes: int) -> int | None:
    """The size of the body that a request announces; None if it does not.

    Raises:
        Refused: It is no number, or exceeds the limit.
    """
    text = head.headers.get("content-length")
    if text is None:
        return None
    size = _number("Content-Length", text, 0, (1 << 63) - 1)
    if size > limit_bytes:
        raise Refused.too_large(size, limit_bytes)
    return size


def _at_root(head: Head, root: tuple[str, ...], known: Collection[str] | None) -> Call:
    """`POST /` and `POST /process`, and `GET /?key=`, by which the published functions were called."""
    _allow(head, *(("GET", "POST") if head.path == "/" else ("POST",)))
    call = _call(head, root, known)
    if head.method == "GET" and call.state_key is None:
        raise Refused.invalid("key", None, f"the predecessor's state, {EXPECTED_KEY}, or a POST")
    return call


def _page(head: Head) -> Page:
    path = Page.READINESS.value if head.path == "/health" else head.path
    if path not in [page.value for page in Page]:
        raise Refused("not-found", f"no path {head.path!r}; there are /health, /health/liveness and /health/readiness")
    _allow(head, "GET", "HEAD")
    return Page(path)


def _allow(head: Head, *methods: str) -> None:
    if head.method not in methods:
        allowed = ", ".join(methods)
        message = f"{head.path} does not take {head.method}; it takes {allowed}"
        raise Refused("method-not-allowed", message, allowed=allowed)


def _call(head: Head, functions: tuple[str, ...], known: Collection[str] | None) -> Call:
    for name in functions:
        if known is not None and name not in known:
            message = f"no function {name!r} (looked at: {', '.join(known)})"
            raise Refused("not-found", message, what="function", name=name, looked_at=tuple(known))
    content_type = head.headers.get("content-type", "")
    if not head.query:
        return Call(functions, content_type=content_type)
    query = _Query(head.query)
    key = query.text("key")
    chain_of_key = read_key("key", key) if key is not None else None
    chain_id = query.name("chain")
    if chain_of_key is not None and chain_id not in (None, chain_of_key):
        raise Refused.invalid("chain", chain_id, f"the chain of the key, {chain_of_key}")
    return Call(
        functions=functions,
        state_key=key,
        chain_id=chain_id,
        destination=query.name("destination"),
        policy=query.choice("policy", _POLICIES, str.lower),
        ttl_ms=query.number("ttl_ms", 1, _MAX_TTL_MS),
        ack=query.choice("ack", _ACKS),
        plan=query.plan(),
        fuse=query.truth("fuse") is not False,
        content_type=content_type,
    )


class _Query:
    """The parameters of a query. One that is not known is refused: its sender would believe that it is heeded."""

    def __init__(self, query: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in _PARAMETERS:
                raise Refused.invalid(name[:_SHOWN], value[:_SHOWN], instead_of(name[:_SHOWN], _PARAMETERS))
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """A parameter, None if it is missing; given twice or empty it is refused."""
        values = self._values.get(name, [])
        if len(values) > 1:
            raise Refused.invalid(name, values, "one value")
        if values == [""]:
            raise Refused.invalid(name, "", "a value, or no such parameter")
        return values[0] if values else None

    def name(self, name: str) -> str | None:
        value = self.text(name)
        return _name(name, value) if value is not None else None

    def number(self, name: str, minimum: int, maximum: int) -> int | None:
        value = self.text(name)
        return _number(name, value, minimum, maximum) if value is not None else None

    def plan(self) -> Plan | None:
        value = self.text("plan")
        try:
            return Plan.parse(value) if value is not None else None
        except ValueError:
            raise Refused.invalid("plan", str(value)[:4096], EXPECTED_PLAN) from None

    def truth(self, name: str) -> bool | None:
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise Refused.invalid(name, value, "true or false")
        return None if value is None else value == "true"

    def choice(self, name: str, choices: Mapping[str, T], fold: Callable[[str], str] = str) -> T | None:
        value = self.text(name)
        if value is None:
            return None
        if fold(value) not in choices:
            raise Refused.invalid(name, value, f"one of {', '.join(choices)}")
        return choices[fold(value)]


def read_key(name: str, text: str) -> str:
    """The chain of a state key.

    Raises:
        Refused: The text is no state key; the error names `name`.
    """
    chain_id = chain_of(text)
    if chain_id is None:
        raise Refused.invalid(name, text[:386], EXPECTED_KEY, "invalid-key")
    return chain_id


def _name(field: str, text: str) -> str:
    if not is_name(text):
        raise Refused.invalid(field, text, EXPECTED_NAME)
    return text


def _number(field: str, text: str, minimum: int, maximum: int) -> int:
    parsed = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
    if parsed is None or not minimum <= parsed <= maximum:
        raise Refused.invalid(field, text, f"a whole number from {minimum} to {maximum}")
    return parsed
