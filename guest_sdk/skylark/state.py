"""What a function holds of the chain's state: the bundle it was given, and the API to others."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

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


class Bundle(Mapping[str, memoryview]):
    """The state of a chain at one task: field names to bytes.

    A value is a read-only view without a copy; `bytes(bundle["name"])` makes one. For the first function of a chain
    the bundle is empty, and `key` is None.
    """

    def __init__(
        self, fields: Mapping[str, memoryview], *, key: str | None, version: int = 0, origin: str = "", hops: int = 0
    ) -> None:
        self._fields = dict(fields)
        self.key = key
        self.version = version
        self.origin = origin
        self.hops = hops

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
        return Bundle({**self._fields, **views}, key=self.key, version=self.version, origin=self.origin, hops=self.hops)


@dataclass(frozen=True)
class Stored:
    """Where a bundle was put: `key` names the node that holds it."""

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
    """Store only if the stored version is this one; 0: only if there is no bundle. `key` then has to name the node:
    each node counts its own versions."""
    ack: Ack | None = None
    """When the store is acknowledged."""


class Backend(Protocol):
    """How state reaches the node's proxy: WIT imports in a sandbox, HTTP in plain CPython."""

    def fetch(self, key: str, fields: Collection[str]) -> Bundle: ...

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored: ...

    def delete(self, key: str) -> bool: ...


class State:
    """The explicit way to state: `ctx.state`. Every call is one request to the node's proxy; none is retried."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def fetch(self, key: str, fields: Collection[str] = ()) -> Bundle:
        """Fetches a bundle from the local node, else from the node that the key names, else from the cloud.

        Args:
            key: `<chain_id>:<node>:<task_id>` is that node's bundle, or a copy of it that is nearer;
                `<chain_id>:<task_id>`, where the node is not known, any of this task.
            fields: Only these fields; empty: all. Those that the bundle lacks are left out.

        Raises:
            NotFound: No node where the proxy looked has it.
            InvalidKey: `key` is not a state key.
            Unavailable, TimedOut: A node or store cannot be reached.
        """
        return self._backend.fetch(key, fields)

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
            Conflict: `expected_version` was given and another one is stored.
            TooLarge: The bundle exceeds the node's limit.
            InvalidKey, InvalidArgument: An argument is not valid.
            Unavailable, TimedOut: Not even the local store took it.
        """
        return self._backend.store(fields, Placement(key, destination, policy, ttl_ms, expected_version, ack))

    def delete(self, key: str) -> bool:
        """Deletes a bundle at the node that the key names, or at the local one. Returns False if there was none."""
        return self._backend.delete(key)
