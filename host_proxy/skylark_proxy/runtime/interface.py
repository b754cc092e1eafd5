"""The WIT package `skylark:state` as the host sees it: types of its calls, and how their values are lowered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from skylark.wire import Buffer
from skylark_proxy.errors import Conflict, SkylarkError, TooLarge
from skylark_proxy.model import Ack, Policy, Read
from skylark_proxy.runtime import values
from skylark_proxy.runtime.values import Case
from skylark_proxy.target import Target

T = TypeVar("T")

BUNDLES = "skylark:state/bundles@0.1.0"
HANDLER = Target.HOSTED.component.export
WORLD = Target.HOSTED.component.qualified_world


@dataclass(frozen=True, slots=True)
class Fetched:
    """A bundle and where it came from.

    Attributes:
        hops: How many nodes were asked before one had it.
        age_ms: Of a copy: how long ago its owner had it, at least.
        stale: Why its owner was asked in vain; see `FetchedBundle`.
    """

    key: str
    version: int
    origin: str
    hops: int
    fields: Mapping[str, Buffer]
    age_ms: int | None = None
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how to store a bundle; None: what the invocation says."""

    key: str | None = None
    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    expected_version: int | None = None
    ack: Ack | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """The key with the node where a bundle was put, and its version."""

    key: str
    version: int


class State(Protocol):
    """What the host does when a guest calls `bundles`: bound to one invocation, called in its worker thread."""

    def fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int) -> Fetched: ...

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored: ...

    def delete(self, key: str) -> bool: ...


_PAYLOAD = values.variant({"inline": values.string, "file": values.string})
_NUMBERS_OF = {
    "conflict": values.record({"expected": values.number("u64"), "actual": values.number("u64")}),
    "too-large": values.record({"size-bytes": values.number("u64"), "limit-bytes": values.number("u64")}),
}
_TEXT_OF = dict.fromkeys(
    ("not-found", "invalid-key", "invalid-argument", "forbidden", "unavailable", "timed-out", "internal"), values.string
)
_ERROR = values.variant({**_TEXT_OF, **_NUMBERS_OF})

INVOCATION = values.record(
    {
        "functions": values.list_of(values.string),
        "chain-id": values.string,
        "task-id": values.string,
        "node": values.string,
        "state": values.option(values.string),
        "content-type": values.string,
        "body": _PAYLOAD,
    }
)
FETCH_RESULT = values.result(
    values.record(
        {
            "key": values.string,
            "version": values.number("u64"),
            "origin": values.string,
            "hops": values.number("u32"),
            "age-ms": values.option(values.number("u64")),
            "stale": values.option(values.enum),
            "contents": _PAYLOAD,
        }
    ),
    _ERROR,
)
STORE_RESULT = values.result(values.record({"key": values.string, "version": values.number("u64")}), _ERROR)
DELETE_RESULT = values.result(values.boolean, _ERROR)

_CASE_OF_CODE = {
    "unknown-node": "invalid-argument",
    "no-route": "unavailable",
    "overloaded": "unavailable",
    "outbox-full": "unavailable",
    "too-many-bundles": "unavailable",
}


def error_case(error: SkylarkError) -> Case:
    """The WIT `error` of an error of the proxy."""
    if isinstance(error, Conflict):
        return Case("conflict", (error.expected, error.actual))
    if isinstance(error, TooLarge):
        return Case("too-large", (error.size_bytes, error.limit_bytes))
    case = _CASE_OF_CODE.get(error.code, error.code)
    return Case(case if case in _TEXT_OF else "internal", error.message)


def placement(lifted: Mapping[str, object]) -> Placement:
    """The WIT `placement` of a call."""
    policy, ack = lifted["policy"], lifted["ack"]
    return Placement(
        key=_optional(str, lifted["key"]),
        destination=_optional(str, lifted["destination"]),
        policy=None if policy is None else Policy(str(policy)),
        ttl_ms=_optional(int, lifted["ttl-ms"]),
        expected_version=_optional(int, lifted["expected-version"]),
        ack=None if ack is None else Ack(str(ack)),
    )


def _optional(kind: type[T], value: object) -> T | None:
    if value is None or isinstance(value, kind):
        return value
    raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
