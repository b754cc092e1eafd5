"""The words of Skylark as types. This module knows no other of the proxy but the errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from skylark.names import EXPECTED_NAME, MAX_KEY_LENGTH, NAME, is_name
from skylark.plan import EXPECTED as EXPECTED_PLAN
from skylark.plan import MAX_LENGTH as MAX_PLAN_LENGTH
from skylark.plan import Plan
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, InvalidKey, NotFound

DEFAULT_PORT = 30002
"""The port of a proxy where an address names none."""

WRITE_ID_PATTERN = r"[0-9a-f]{16}-[1-9][0-9]{0,14}"
"""What the id of a write looks like."""

NAME_PATTERN = NAME.pattern
"""What a chain id, task id, node name, field name or function name may look like: no colon, no glob, no brace."""


def check_name(field_name: str, value: str) -> str:
    """Returns `value` if it is a name.

    Raises:
        InvalidArgument: It is not; the error names `field_name`.
    """
    if not is_name(value):
        raise InvalidArgument(field_name, value, EXPECTED_NAME)
    return value


class Tier(StrEnum):
    """Where a node stands; the Kubernetes label `node-type` has the same values."""

    CLOUD = "Cloud"
    EDGE = "Edge"
    SAT = "Sat"


class Policy(StrEnum):
    """How the node that holds a bundle is chosen."""

    SKYLARK = "skylark"
    RANDOM = "random"
    STATELESS = "stateless"


class Ack(StrEnum):
    """When a store is acknowledged."""

    LOCAL = "local"
    """Once the local node has it; it travels to the elected node afterwards, however long that takes."""
    ELECTED = "elected"
    """Once the elected node has it, or the next one that can be reached."""
    CLOUD = "cloud"
    """Once the elected node and the cloud have it."""


class Read(StrEnum):
    """What a fetch may be content with."""

    NEAREST = "nearest"
    """The nearest copy that is no older than what the reader has seen. Its age is told."""
    LATEST = "latest"
    """The owner's bundle. Where the owner cannot be asked, the nearest copy, which says so."""
    OWNER = "owner"
    """The owner's bundle, or an error."""


# What every fetch and store makes is a struct of msgspec: a dataclass costs several times as much to make and to hash.


class StateKey(msgspec.Struct, frozen=True):
    """`<chain_id>:<node>:<task_id>`, or `<chain_id>:<task_id>` where the node is not known (`node` is None)."""

    chain_id: str
    task_id: str
    node: str | None = None

    @classmethod
    def parse(cls, text: str, field_name: str = "key") -> "StateKey":
        """Reads a key of two or three parts.

        Raises:
            InvalidKey: The text is not a state key.
        """
        parts = text.split(":") if len(text) <= MAX_KEY_LENGTH else []
        if len(parts) not in (2, 3) or not all(is_name(part) for part in parts):
            raise InvalidKey(field_name, text[:MAX_KEY_LENGTH], "<chain_id>:<node>:<task_id> or <chain_id>:<task_id>")
        return cls(chain_id=parts[0], task_id=parts[-1], node=parts[1] if len(parts) == 3 else None)

    def at(self, node: str) -> "StateKey":
        """The same bundle's key at another node."""
        return StateKey(self.chain_id, self.task_id, node)

    def anywhere(self) -> "StateKey":
        """The same bundle's key without a node."""
        return StateKey(self.chain_id, self.task_id)

    def __str__(self) -> str:
        middle = f":{self.node}" if self.node is not None else ""
        return f"{self.chain_id}{middle}:{self.task_id}"


def check_write_id(text: str, field_name: str = "write") -> str:
    """Return `text` if it is the id of a write.

    A write keeps its id at every attempt and in every copy, so that it happens once however often it is sent.

    Raises:
        InvalidArgument: It is not; the error names `field_name`.
    """
    if not re.fullmatch(WRITE_ID_PATTERN, text):
        raise InvalidArgument(field_name, text[:64], "16 hexadecimal digits, -, and a number from 1 on")
    return text


def parse_plan(text: str, field_name: str = "plan") -> Plan:
    """Reads a plan.

    Raises:
        InvalidArgument: It is none; the error names `field_name`.
    """
    try:
        return Plan.parse(text)
    except ValueError:
        raise InvalidArgument(field_name, text[:MAX_PLAN_LENGTH], EXPECTED_PLAN) from None


@dataclass(frozen=True, slots=True)
class Node:
    """A host that runs one proxy. `address` is a host or `host:port`; without a port it is the default, 30002."""

    name: str
    address: str
    tier: Tier


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two nodes, the same in both directions.

    `up_from_s` and `up_until_s` bound the contact window in seconds since the epoch; None means unbounded.
    """

    source: str
    target: str
    latency_ms: float
    bandwidth_mbps: float
    up_from_s: float | None = None
    up_until_s: float | None = None

    def is_up(self, at_s: float) -> bool:
        """Whether the link has contact at the time `at_s`."""
        return (self.up_from_s is None or self.up_from_s <= at_s) and (
            self.up_until_s is None or at_s < self.up_until_s
        )


@dataclass(frozen=True, slots=True)
class Objectives:
    """What the operator asks of a migration. `min_bandwidth_mbps` 0 asks nothing of the bandwidth."""

    max_latency_ms: float = 150.0
    min_bandwidth_mbps: float = 0.0


class Metadata(msgspec.Struct, frozen=True):
    """What is said about a bundle's contents when they are written. It is the same in every copy.

    Attributes:
        origin: The node whose function made the bundle.
        created_ms: When, in milliseconds since the epoch, by the clock of that node.
        crc32: The checksum of all fields; see `bundle_http.checksum`.
        write: The id of the write that made the bundle.
        plan: The plan of the bundle's chain.
        seen: Versions of other bundles that the chain has read or written, so that its next function sees none older.
    """

    origin: str
    created_ms: int
    crc32: int
    write: str
    plan: Plan | None = None
    seen: Mapping["StateKey", int] = msgspec.field(default_factory=dict)


class Sealed(msgspec.Struct, frozen=True):
    """A bundle on its way to a store: its fields, what is said about them, and how long they live.

    Attributes:
        fields: Each field's bytes; a memoryview is sent without a copy.
        ttl_ms: The time to live in milliseconds; None: for ever.
        age_ms: Of a copy: how long ago its owner had it.
    """

    fields: Mapping[str, Buffer]
    meta: Metadata
    ttl_ms: int | None = None
    age_ms: int | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes of all fields together."""
        return sum(map(len, self.fields.values()))


class BundleInfo(msgspec.Struct, frozen=True):
    """All that is known of a bundle at a node but its bytes.

    Attributes:
        key: Names the owner, who decides the bundle's versions. None as its node: it has no owner, each writer gives
            its version and the highest one wins, the same at every node (the published system's single states).
        held_by: The node that has it; another one than the owner has a copy.
        sizes: Each field's size in bytes. It is empty where only a part was asked for at another node.
        expires_ms: When it ends, in milliseconds since the epoch, by the clock of whoever reads this; None: never.
        age_ms: Of a copy: how long ago its owner had it, at least.
    """

    key: StateKey
    version: int
    held_by: str
    meta: Metadata
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    expires_ms: int | None = None
    age_ms: int | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes of all fields together."""
        return sum(self.sizes.values())

    @property
    def public_key(self) -> StateKey:
        """The key that names the owner; of a bundle without one, the node that has it."""
        return self.key if self.key.node is not None else self.key.at(self.held_by)

    @property
    def is_copy(self) -> bool:
        """True if another node decides the versions."""
        return self.key.node is not None and self.key.node != self.held_by

    def sealed(self, fields: Mapping[str, Buffer], now_ms: int) -> Sealed:
        """Return the bundle as it is sent to another node: with no longer a life than it has left.

        Raises:
            NotFound: It has expired.
        """
        ttl_ms = None if self.expires_ms is None else self.expires_ms - now_ms
        if ttl_ms is not None and ttl_ms <= 0:
            raise NotFound("bundle", str(self.key), (self.held_by,))
        return Sealed(fields, self.meta, ttl_ms, self.age_ms or 0)
