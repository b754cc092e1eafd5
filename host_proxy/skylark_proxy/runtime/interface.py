"""The WIT package `skylark:state` as the host sees it: types of its calls, and what crosses with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skylark.wire import Buffer
from skylark_proxy.errors import Conflict, SkylarkError, TooLarge
from skylark_proxy.model import Ack, Policy, Read
from skylark_proxy.runtime import abi
from skylark_proxy.runtime.abi import U16, U32, U64, Bool, Bytes, Enum, ListOf, Option, Record, Tail, Text, Variant
from skylark_proxy.target import Target

BUNDLES = "skylark:state/bundles@0.1.0"
HANDLER = Target.HOSTED.component.export
WORLD = Target.HOSTED.component.qualified_world

MAX_FIELDS = 65_535
"""Fields that a bundle may have; the bundle format counts them with 16 bits."""

_MAX_TOLD = 1 << 16
"""Bytes of what a guest says of its failure that its caller is told: the last ones, where the reason is."""


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


Into = Callable[[str, int], memoryview]
"""Return memory of the guest's for the contents of a field, by its name and size in bytes. Any thread may write to it.

A field of what was fetched that is such a view is where it belongs already; any other one is copied. What it raises
(`NoRoom`) has to reach the caller of `State.fetch`.
"""


class State(Protocol):
    """What the host does when a guest calls `bundles`: bound to one invocation, called in its worker thread.

    The fields of a store are views of the guest's memory, and end with the call: what is to outlive it has to be
    copied.
    """

    def fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int, into: Into) -> Fetched: ...

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored: ...

    def delete(self, key: str) -> bool: ...


class GivenBytes(Bytes):
    """A `list<u8>` that the guest gives away: a pair of its address and a view. The host has to free it."""

    def _loaded(self, memory: abi.Memory, at: int, size: int) -> Any:
        return at, memory.read(at, size)


_CONFLICT = Record(expected=U64, actual=U64)
_SIZE_LIMIT = Record(size_bytes=U64, limit_bytes=U64)
_ERROR = Variant(
    not_found=Text(),
    conflict=_CONFLICT,
    too_large=_SIZE_LIMIT,
    invalid_key=Text(),
    invalid_argument=Text(),
    forbidden=Text(),
    unavailable=Text(),
    timed_out=Text(),
    internal=Text(),
)
_PLACEMENT = Record(
    key=Option(Text()),
    destination=Option(Text()),
    policy=Option(Enum(*Policy)),
    ttl_ms=Option(U64),
    expected_version=Option(U64),
    ack=Option(Enum(*Ack)),
)

INVOCATION = Record(
    functions=ListOf(Text()),
    chain_id=Text(),
    task_id=Text(),
    node=Text(),
    state=Option(Text()),
    content_type=Text(),
    body=Bytes(),
)
_RESPONSE = Record(status=U16, content_type=Text(), body=Bytes())
_OUTCOME = Record(key=Option(Text()), response=Option(_RESPONSE))
_FAILURE = Record(function=Tail(_MAX_TOLD), kind=Tail(_MAX_TOLD), message=Tail(_MAX_TOLD), traceback=Tail(_MAX_TOLD))
HANDLED = Variant(ok=_OUTCOME, err=_FAILURE)
NAMES = ListOf(Text())

FETCH = Record(key=Text(), fields=ListOf(Text()), read=Enum(*Read), min_version=U64)
FETCHED = Variant(
    ok=Record(
        key=Text(),
        version=U64,
        origin=Text(),
        hops=U32,
        age_ms=Option(U64),
        stale=Option(Enum("owner-unreachable", "owner-lost-it")),
        contents=ListOf(Record(name=Text(), value=Bytes())),
    ),
    err=_ERROR,
)
STORE = Record(contents=ListOf(Record(name=Text(), value=GivenBytes()), MAX_FIELDS), placement=_PLACEMENT)
STORED = Variant(ok=Record(key=Text(), version=U64), err=_ERROR)
DELETE = Record(key=Text())
DELETED = Variant(ok=Bool(), err=_ERROR)

_CASE_OF_CODE = {
    "unknown-node": "invalid-argument",
    "no-route": "unavailable",
    "overloaded": "unavailable",
    "outbox-full": "unavailable",
    "too-many-bundles": "unavailable",
}


def error_case(error: SkylarkError) -> tuple[str, Any]:
    """The case of the WIT `error` of an error of the proxy, and its value."""
    if isinstance(error, Conflict):
        return "conflict", (error.expected, error.actual)
    if isinstance(error, TooLarge):
        return "too-large", (error.size_bytes, error.limit_bytes)
    case = _CASE_OF_CODE.get(error.code, error.code)
    return case if case in _ERROR else "internal", error.message


def placement(lifted: Sequence[Any]) -> Placement:
    """The WIT `placement` of a call."""
    key, destination, policy, ttl_ms, expected_version, ack = lifted
    return Placement(
        key=key,
        destination=destination,
        policy=None if policy is None else Policy(policy),
        ttl_ms=ttl_ms,
        expected_version=expected_version,
        ack=None if ack is None else Ack(ack),
    )
