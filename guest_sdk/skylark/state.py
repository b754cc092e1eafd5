"""What a function holds of the chain's state: the bundle it was given, and the API to others."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from skylark.errors import InvalidArgument
from skylark.session import MAX_VERSION
from skylark.wire import Buffer


class Policy(Enum):
    """How the node that will hold a bundle is elected."""

    SKYLARK = "skylark"
    """The node nearest to the destination that the bundle reaches within the operator's objectives."""
    RANDOM = "random"
    """A random node of the path to the destination."""
    STATELESS = "stateless"
    """Always the destination."""


class Ack(Enum):
    """When a store is acknowledged."""

    LOCAL = "local"
    """Once the local node has the bundle; it travels to the elected node afterwards, however long that takes."""
    ELECTED = "elected"
    """Once the elected node has it, or the next one on the way back that can be reached."""
    CLOUD = "cloud"
    """Once the elected node and the cloud have it."""


class Read(Enum):
    """What a fetch is content with. No choice gives an older version than the chain has seen."""

    NEAREST = "nearest"
    """The local copy if there is one, else the owner's bundle, else the cloud's copy."""
    LATEST = "latest"
    """The owner's bundle. Where the owner cannot be asked, or has lost it: the nearest copy, which says so."""
    OWNER = "owner"
    """The owner's bundle, or an error."""


class Staleness(Enum):
    """Why a copy may be older than its owner's bundle."""

    OWNER_UNREACHABLE = "owner-unreachable"
    OWNER_LOST_IT = "owner-lost-it"
    """The owner does not have the bundle, and has not deleted it."""


class Bundle(Mapping[str, memoryview]):
    """The state of a chain at one task: field names to bytes.

    A value is a read-only view without a copy; `bytes(bundle["name"])` makes one. For the first function of a chain
    the bundle is empty, and `key` is None.

    Attributes:
        key: Names the owner, whoever served it.
        version: It rises with every store and every deletion; compare it, and expect no certain number.
        origin: The node whose function made it.
        hops: How many nodes were asked before one had it.
        age_ms: Of a copy: how long ago its owner had it, at least. None: it came from its owner, or has none.
        stale: Why its owner was asked in vain. None: it is the owner's, or a copy with which the fetch is content.
    """

    def __init__(
        self,
        fields: Mapping[str, memoryview],
        *,
        key: str | None,
        version: int = 0,
        origin: str = "",
        hops: int = 0,
        age_ms: int | None = None,
        stale: Staleness | None = None,
    ) -> None:
        self._fields = dict(fields)
        self.key = key
        self.version = version
        self.origin = origin
        self.hops = hops
        self.age_ms = age_ms
        self.stale = stale

    def __getitem__(self, name: str) -> memoryview:
        try:
            return self._fields[name]
        except KeyError:
            raise KeyError(f"bundle {self.key} has no field {name!r}; it has: {', '.join(self) or 'none'}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def overlaid(self, fields: Mapping[str, Buffer]) -> "Bundle":
        """The same bundle with these fields added or replaced."""
        views = {name: memoryview(value).toreadonly() for name, value in fields.items()}
        return Bundle(
            {**self._fields, **views},
            key=self.key,
            version=self.version,
            origin=self.origin,
            hops=self.hops,
            age_ms=self.age_ms,
            stale=self.stale,
        )


@dataclass(frozen=True)
class Stored:
    """Where a bundle was put: `key` names the node that holds it and owns it."""

    key: str
    version: int


@dataclass(frozen=True)
class Placement:
    """Where and how to store a bundle. What is None is taken from the invocation."""

    key: str | None = None
    """The key to store under; None: this invocation's own task."""
    destination: str | None = None
    """The node that the next function will run on."""
    policy: Policy | None = None
    ttl_ms: int | None = None
    """Milliseconds until the bundle expires."""
    expected_version: int | None = None
    """Store only if the owner's version is this one; 0: only if there is no bundle. `key` then has to name the owner,
    which alone decides."""
    ack: Ack | None = None
    """When the store is acknowledged."""


class Backend(Protocol):
    """How state reaches the node's proxy: WIT imports in a sandbox, HTTP in plain CPython."""

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle: ...

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored: ...

    def delete(self, key: str) -> bool: ...


class State:
    """The explicit way to state: `ctx.state`. Every call is one request to the node's proxy; none is retried."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def fetch(
        self,
        key: str,
        fields: Collection[str] = (),
        read: Read | Literal["nearest", "latest", "owner"] = Read.NEAREST,
        min_version: int = 0,
    ) -> Bundle:
        """Fetch a bundle: from the local node, its owner or the cloud, as `read` says.

        None is older than what was read or written at this node or by this chain.

        Args:
            key: `<chain_id>:<node>:<task_id>` is the bundle of that owner, or a copy of it;
                `<chain_id>:<task_id>`, where the owner is not known, any of this task.
            fields: Only these fields; empty: all. Those that the bundle lacks are left out.
            read: What the function is content with.
            min_version: A version that was seen elsewhere; 0: none. No older one is given.

        Raises:
            NotFound: No node where the proxy looked has it, or its owner has deleted it.
            InvalidKey, InvalidArgument: An argument is not valid.
            Unavailable: A node or store cannot be reached, or only older copies than what was seen can be had.
            TimedOut: A node or store does not answer in time.
        """
        return self._backend.fetch(key, fields, _read(read), _version(min_version))

    def store(
        self,
        fields: Mapping[str, Buffer],
        *,
        key: str | None = None,
        destination: str | None = None,
        policy: Policy | None = None,
        ttl_ms: int | None = None,
        expected_version: int | None = None,
        ack: Ack | None = None,
    ) -> Stored:
        """Stores fields as one bundle, replacing what was there. The arguments are explained at `Placement`.

        Returns:
            The key with the node where the bundle really is; it is durable there.

        Raises:
            Conflict: `expected_version` was given and the owner has another one.
            TooLarge: The bundle exceeds the node's limit.
            InvalidKey, InvalidArgument: An argument is not valid.
            Unavailable, TimedOut: Not even the local store took it.
        """
        return self._backend.store(fields, Placement(key, destination, policy, ttl_ms, expected_version, ack))

    def delete(self, key: str) -> bool:
        """Delete a bundle at its owner: the node that the key names, else the local one. False if there was none.

        Copies go as soon as their nodes can be reached; this chain is given none from now on.
        """
        return self._backend.delete(key)


def _read(given: object) -> Read:
    try:
        return Read(given)
    except ValueError:
        names = ", ".join(one.value for one in Read)
        raise InvalidArgument(f"read: {given!r} is not valid; expected one of {names}") from None


def _version(given: int) -> int:
    if not isinstance(given, int) or not 0 <= given <= MAX_VERSION:
        raise InvalidArgument(f"min_version: {given!r} is not valid; expected a version, or 0")
    return given
