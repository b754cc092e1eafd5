"""The words of Skylark as types. This module knows no other of the proxy but the errors."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from skylark.names import EXPECTED_NAME, MAX_KEY_LENGTH, NAME, is_name
from skylark.plan import EXPECTED as EXPECTED_PLAN
from skylark.plan import MAX_LENGTH as MAX_PLAN_LENGTH
from skylark.plan import Plan
from skylark_proxy.errors import InvalidArgument, InvalidKey

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


@dataclass(frozen=True, slots=True)
class StateKey:
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


@dataclass(frozen=True, slots=True)
class WriteId:
    """Names a write of a bundle: the process that made it, at random, and the number of its writes up to this one.

    Sent again, a write is known by it; and one that was held up on its way is known to be older than what its writer
    has written since.
    """

    writer: str
    number: int

    @classmethod
    def parse(cls, text: str, field_name: str) -> "WriteId":
        """Reads one.

        Raises:
            InvalidArgument: It is none.
        """
        if not re.fullmatch(WRITE_ID_PATTERN, text):
            raise InvalidArgument(field_name, text[:64], "16 hexadecimal digits, -, and a number from 1 on")
        writer, _, number = text.partition("-")
        return cls(writer, int(number))

    def __str__(self) -> str:
        return f"{self.writer}-{self.number}"


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


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """A bundle's metadata: everything but its bytes.

    `created_ms` is in milliseconds since the epoch, `origin` the node whose function made the bundle, `crc32` the
    checksum of all fields in the order of `sizes`, `expires_ms` when it ends (None: never), `plan` that of its chain
    (None: it has none). `home` is the node that acknowledged it and counts its versions, of whose bundle this is a copy
    where that is another node (None: its versions are counted by its writers, the same at every node). `write` names
    the write that made it, the same for all copies.
    """

    key: StateKey
    version: int
    created_ms: int
    origin: str
    crc32: int
    sizes: dict[str, int] = field(default_factory=dict)
    expires_ms: int | None = None
    plan: Plan | None = None
    home: str | None = None
    write: WriteId | None = None

    def answers(self, key: StateKey) -> bool:
        """Whether this is the bundle that a key means: of the node that it names, or a copy of it; any without one."""
        return key.node in (None, self.key.node) or self.home in (None, key.node)

    @property
    def size_bytes(self) -> int:
        """The bytes of all fields together."""
        return sum(self.sizes.values())
