"""What is asked of a propagation, and what it answers: writes, routes, and bundles with the way that they went.

The decisions of a propagation are here too, apart from their carrying out, so that a simulation can take the same ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from skylark.plan import Plan
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.election import Election
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Ack, BundleInfo, Objectives, Policy, StateKey
from skylark_proxy.topology import Topology


class FetchedBundle(msgspec.Struct, frozen=True):
    """A bundle and the way to it.

    Attributes:
        info: Its metadata.
        fields: The fields that were asked for and exist.
        hops: How many nodes were asked before one had it: 0, the local node had it.
        duration_ms: T(dr).
        stale: Why it may not be the owner's present one, where the owner was asked for: `owner-unreachable`, or
            `owner-lost-it`. None: it is the owner's, or a copy with which the reader is content.
    """

    info: BundleInfo
    fields: Mapping[str, Buffer]
    hops: int
    duration_ms: float
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A node that was to store a bundle and did not."""

    node: str
    error: str


class PlacedBundle(msgspec.Struct, frozen=True):
    """Where a bundle was put, and why.

    Attributes:
        key: Names the node that holds it.
        election: The election that was carried out; None where the key named the node.
        failed: The nodes that were tried before, with their errors.
        duration_ms: T(dm), from the election to the acknowledgement.
        on_the_way_to: The nodes that will get it, or a copy, by the outbox.
        destination_from: Who named the destination of the election; see `Write`.
    """

    key: StateKey
    version: int
    size_bytes: int
    election: Election | None
    failed: tuple[FailedAttempt, ...]
    duration_ms: float
    on_the_way_to: tuple[str, ...] = ()
    destination_from: str = "default"

    @property
    def objective_met(self) -> bool | None:
        """Whether the migration to where the bundle really is was to be within the objectives; None: no election."""
        if self.election is None:
            return None
        if self.key.node == self.election.elected:
            return self.election.objective_met
        return True  # fallbacks are within the objectives, as is the local node


@dataclass(frozen=True, slots=True)
class Write:
    """A bundle to be stored.

    Attributes:
        key: The bundle. One that names a node is stored there, without an election.
        destination: The node that the next function will run on; None: the node's default.
        policy: The policy of the election; None: the node's default.
        origin: The node whose function made the bundle; None: this one.
        created_ms: When it was made, in milliseconds since the epoch; None: now.
        ack: When the store is acknowledged; None: the node's default.
        replicate: Whether the cloud is to get a copy, sooner or later; None: the node's default.
        version: Of a bundle without an owner: its version. None: the owner gives the next one.
        write: The write's id; None: it gets one.
        plan: The chain's plan, which travels with the bundle.
        seen: Versions of other bundles that the chain has seen; see `Metadata`.
        destination_from: Who said where the chain goes on: `function`, `plan`, `request` or `default`.
    """

    key: StateKey
    fields: Mapping[str, Buffer]
    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    expected_version: int | None = None
    origin: str | None = None
    created_ms: int | None = None
    ack: Ack | None = None
    replicate: bool | None = None
    version: int | None = None
    write: str | None = None
    plan: Plan | None = None
    seen: Mapping[StateKey, int] = field(default_factory=dict)
    destination_from: str = "default"

    def with_fields(self, fields: Mapping[str, Buffer], crc32: int | None = None) -> "Write":
        """Return the same with these fields.

        Raises:
            InvalidArgument: They do not have the checksum `crc32`.
        """
        if crc32 is not None:
            bundle_http.verify(crc32, fields)
        return replace(self, fields=fields)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing."""

    destination: str | None = None
    policy: Policy = Policy.SKYLARK
    objectives: Objectives = field(default_factory=Objectives)
    ttl_ms: int | None = None
    keep_fetched: bool = False
    ack: Ack = Ack.ELECTED
    replicate: bool = False


class Route(msgspec.Struct, frozen=True):
    """Who is to hold a bundle.

    Attributes:
        candidates: The first of them that can be reached holds it.
        elected: The elected node, if there was an election.
        cloud_later: The cloud node, if it is to get a copy by the outbox.
        cloud_at_once: The cloud node, if it is to have it before the answer.
        forward: Whether the elected node is to get it by the outbox.
    """

    candidates: tuple[str, ...]
    elected: str | None
    cloud_later: str | None
    cloud_at_once: str | None
    forward: bool

    @classmethod
    def decide(
        cls, write: Write, election: Election | None, local: str, topology: Topology, defaults: Defaults
    ) -> "Route":
        """Decides who is to hold a bundle now, and who is to get it afterwards.

        Args:
            election: None where the write's key names the node.
            local: The node that stores it.

        Raises:
            InvalidArgument: The cloud is to have it, and there is none.
        """
        ack = write.ack or defaults.ack
        replicate = defaults.replicate if write.replicate is None else write.replicate
        clouds = topology.cloud_nodes()
        cloud = clouds[0].name if clouds else None
        if ack is Ack.CLOUD and cloud is None:
            raise InvalidArgument("ack", ack.value, "local or elected: the topology has no cloud node")
        if election is None:
            candidates: tuple[str, ...] = (write.key.node or local,)
        elif ack is Ack.LOCAL or election.elected == local:
            candidates = (local,)
        else:
            candidates = tuple(dict.fromkeys((election.elected, *election.fallbacks, local)))
        return cls(
            candidates,
            elected=election.elected if election else None,
            cloud_later=cloud if replicate and ack is not Ack.CLOUD else None,
            cloud_at_once=cloud if ack is Ack.CLOUD else None,
            forward=ack is Ack.LOCAL,
        )

    def later_from(self, holder: str, local: str, fallen_back: bool) -> tuple[str, ...]:
        """The nodes that get it by its holder's outbox; from the local one also the elected node, if it was away."""
        elected = self.elected if holder == local and (self.forward or fallen_back) else None
        return tuple(dict.fromkeys(name for name in (elected, self.cloud_later) if name not in (None, holder)))


def fetch_ladder(key: StateKey, local: str, topology: Topology) -> tuple[str, ...]:
    """The nodes to ask for a bundle, in order: the local one, the one that the key names, the first of the cloud."""
    named = (key.node,) if key.node is not None else ()
    return tuple(dict.fromkeys((local, *named, *(node.name for node in topology.cloud_nodes()[:1]))))
