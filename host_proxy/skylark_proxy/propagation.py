"""Moves bundles: the fetch ladder, and the carrying out of elections. What it did is in what it returns."""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

import msgspec

from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.election import Election, Elector
from skylark_proxy.errors import (
    InvalidArgument,
    NotFound,
    PeerUnreachable,
    SkylarkError,
    StoreUnavailable,
    UnknownNode,
)
from skylark_proxy.forwarder import copy_of
from skylark_proxy.model import Ack, BundleInfo, Node, Objectives, Plan, Policy, StateKey
from skylark_proxy.outbox import Entry, Kind, Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.store import Store, StoredBundle
from skylark_proxy.topology import Topology, TopologyProvider

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FetchedBundle:
    """A bundle and the way to it.

    Attributes:
        info: Its metadata; the key names the node that served it.
        fields: The fields that were asked for and exist.
        hops: How many nodes were asked before one had it: 0, the local node had it.
        duration_ms: T(dr).
    """

    info: BundleInfo
    fields: Mapping[str, Buffer]
    hops: int
    duration_ms: float


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A node that was to store a bundle and did not."""

    node: str
    error: str


@dataclass(frozen=True, slots=True)
class PlacedBundle:
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
        version: The version of which this is a copy; None: the next one.
        plan: The chain's plan, which travels with the bundle.
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
    plan: Plan | None = None
    destination_from: str = "default"

    def with_fields(self, fields: Mapping[str, Buffer], crc32: int | None = None) -> "Write":
        """The same with these fields.

        Raises:
            InvalidArgument: They do not have the checksum `crc32`.
        """
        if crc32 is not None:
            bundle_http.verify(crc32, fields)
        return replace(self, fields=fields)


class _Sealed(TypedDict):
    origin: str
    created_ms: int
    crc32: int
    expected_version: int | None
    ttl_ms: int | None
    version: int | None
    plan: Plan | None


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


class Propagation:
    """Fetches and places the bundles of one node. Safe for threads; every call blocks.

    Args:
        node: The name of the local node.
        outbox: What has to be carried to other nodes later; `wake` is called when there is something new.
        arrivals: What other nodes have announced.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        peers: Peers,
        provider: TopologyProvider,
        outbox: Outbox,
        wake: Callable[[], None],
        arrivals: Arrivals,
        defaults: Defaults,
    ) -> None:
        self.node = node
        self.arrivals = arrivals
        self._outbox = outbox
        self._wake = wake
        self.defaults = defaults
        self.store = store
        self._peers = peers
        self._provider = provider
        self._elector = Elector(node)
        self._random = random.Random()  # a policy, not a secret

    def topology(self) -> Topology:
        """The topology now."""
        return self._provider.current(time.time())

    def destination(self, named: str | None = None) -> str:
        """The node that elections lead to: the one that is named, else the default, else the first cloud node."""
        if named or self.defaults.destination:
            return named or self.defaults.destination or ""
        cloud = self.topology().cloud_nodes()
        return cloud[0].name if cloud else self.node

    def fetch(self, key: StateKey, fields: Collection[str] = ()) -> FetchedBundle:
        """Fetches a bundle: from the local node, else the node that the key names, else the cloud node.

        A bundle that was announced to the local node is waited for.

        Raises:
            NotFound: All of them answered, and none has it.
            PeerUnreachable, StoreUnavailable: One that may have it did not answer, and the others do not have it.
        """
        started = time.perf_counter()
        unavailable: SkylarkError | None = None
        asked: list[str] = []
        for name in self._ladder(key):
            try:
                info, found = self._fetch_at(name, key, fields)
                if asked and self.defaults.keep_fetched and not fields:
                    self._keep(info, found)
                return FetchedBundle(info, found, len(asked), _since_ms(started))
            except NotFound:
                asked.append(name)
            except (PeerUnreachable, StoreUnavailable, UnknownNode) as error:
                _LOG.info("fetching %s: %s", key, error)
                unavailable = error if error.retryable else unavailable
                asked.append(name)
        if unavailable is not None:
            raise unavailable
        raise NotFound("bundle", str(key), tuple(asked))

    def place(self, write: Write) -> PlacedBundle:
        """Stores a bundle where the election, or its key, says; the next candidate where a node is away.

        Returns:
            Where it is. One Redis at least has acknowledged it.

        Raises:
            Conflict: The stored version is not the expected one.
            TooLarge: It exceeds the limit of the node that is to hold it.
            UnknownNode: The destination, or the key's node, is not in the topology.
            StoreUnavailable: Not even the local store took it.
        """
        started = time.perf_counter()
        size_bytes = sum(map(len, write.fields.values()))
        election = None if write.key.node else self.elect(size_bytes, write.destination, write.policy)
        route = self._route(write, election)
        sealed = self._seal(write)
        failed: list[FailedAttempt] = []
        for name in route.candidates:
            later = route.later_from(name, self.node, bool(failed))
            try:
                version = self._put_at(name, write.key, write.fields, sealed, later)
                break
            except (PeerUnreachable, StoreUnavailable) as error:
                if name == route.candidates[-1]:
                    raise
                _LOG.warning("storing %s at %s failed, trying the next candidate: %s", write.key, name, error)
                failed.append(FailedAttempt(name, error.message))
        if route.cloud_at_once not in (None, name):
            copy: _Sealed = {**sealed, "version": version, "expected_version": None}
            self._put_at(route.cloud_at_once or "", write.key, write.fields, copy, ())
        return PlacedBundle(
            key=write.key.at(name),
            version=version,
            size_bytes=size_bytes,
            election=election,
            failed=tuple(failed),
            duration_ms=_since_ms(started),
            on_the_way_to=later,
            destination_from=write.destination_from,
        )

    def _route(self, write: Write, election: Election | None) -> "_Route":
        """Decides who is to hold a bundle now, and who is to get it afterwards."""
        ack = write.ack or self.defaults.ack
        replicate = self.defaults.replicate if write.replicate is None else write.replicate
        cloud = next((node.name for node in self.topology().cloud_nodes()), None)
        if ack is Ack.CLOUD and cloud is None:
            raise InvalidArgument("ack", ack.value, "local or elected: the topology has no cloud node")
        if election is None:
            candidates: tuple[str, ...] = (write.key.node or self.node,)
        elif ack is Ack.LOCAL:
            candidates = (self.node,)
        else:
            candidates = tuple(dict.fromkeys((election.elected, *election.fallbacks, self.node)))
        return _Route(
            candidates,
            elected=election.elected if election else None,
            cloud_later=cloud if replicate and ack is not Ack.CLOUD else None,
            cloud_at_once=cloud if ack is Ack.CLOUD else None,
            forward=ack is Ack.LOCAL,
        )

    def elect(
        self,
        size_bytes: int,
        destination: str | None = None,
        policy: Policy | None = None,
        at_s: float | None = None,
        objectives: Objectives | None = None,
    ) -> Election:
        """The election for a bundle of this size; nothing is moved.

        Raises:
            UnknownNode: The destination is not in the topology.
            InvalidArgument: A number is out of range.
        """
        at_s = time.time() if at_s is None else at_s
        topology = self._provider.current(at_s)
        election = self._elector.elect(
            topology,
            self.destination(destination),
            size_bytes,
            policy or self.defaults.policy,
            objectives or topology.objectives or self.defaults.objectives,
            at_s,
            self._random,
        )
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("election %s", msgspec.json.encode(election.to_dict()).decode())
        return election

    def delete(self, key: StateKey) -> bool:
        """Deletes a bundle, and its copies, at the node that its key names, else here; False if there was none.

        The copies that the outbox has made are deleted by the outbox, as soon as their nodes can be reached.
        """
        if key.node not in (None, self.node):
            return self._peers.delete(self._peer(key.node or ""), key)
        copies = self._outbox.copies(key)
        for target in copies:
            self._outbox.add(Kind.DELETE, key, target, bundle_http.now_ms())
        existed = self.store.delete(key)
        if copies:
            self._outbox.forget_copies(key)
            self._wake()
        return existed

    def _ladder(self, key: StateKey) -> list[str]:
        names = [self.node]
        if key.node is not None:
            names.append(key.node)
        names += [node.name for node in self.topology().cloud_nodes()[:1]]
        return list(dict.fromkeys(names))

    def _fetch_at(self, name: str, key: StateKey, fields: Collection[str]) -> tuple[BundleInfo, Mapping[str, Buffer]]:
        if name == self.node:
            stored = self._fetch_here(key, fields)
            return stored.info, stored.fields
        bundle = self._peers.get(self._peer(name), key, fields)
        return bundle.info, bundle.fields

    def _fetch_here(self, key: StateKey, fields: Collection[str]) -> StoredBundle:
        expected = self.arrivals.expects(key)
        try:
            return self.store.get(key, fields or None)
        except NotFound:
            if not expected:
                raise
        self.arrivals.wait(key)
        return self.store.get(key, fields or None)

    def _put_at(
        self, name: str, key: StateKey, fields: Mapping[str, Buffer], sealed: _Sealed, later: tuple[str, ...]
    ) -> int:
        """Stores at a node, which has to see to the copies at the nodes `later`; returns the version."""
        if name != self.node:
            return self._peers.put(self._peer(name), key, fields, **sealed, replicate=bool(later))
        views = {name: bytes(value) if isinstance(value, bytearray) else value for name, value in fields.items()}
        entries: list[Entry] = []
        try:
            for target in later:
                entry = self._outbox.add(Kind.STORE, key, target, bundle_http.now_ms(), sealed["crc32"])
                entries.append(entry)
            info = self.store.put(key, views, **sealed)
        except SkylarkError:
            with contextlib.suppress(StoreUnavailable):  # an entry without its bundle is dropped in the end
                for entry in entries:
                    self._outbox.remove(entry)
            raise
        self.arrivals.settle(key)
        if entries:
            self._wake()
        return info.version

    def _seal(self, write: Write) -> _Sealed:
        """What goes with a bundle's bytes wherever they are put: the same at every attempt."""
        return {
            "origin": write.origin or self.node,
            "created_ms": write.created_ms if write.created_ms is not None else time.time_ns() // 1_000_000,
            "crc32": bundle_http.checksum(write.fields.values()),
            "expected_version": write.expected_version,
            "ttl_ms": write.ttl_ms if write.ttl_ms is not None else self.defaults.ttl_ms,
            "version": write.version,
            "plan": write.plan,
        }

    def _keep(self, info: BundleInfo, fields: Mapping[str, Buffer]) -> None:
        """Keeps a bundle that came from afar. Not keeping it loses nothing, so a failure is only logged."""
        views = {name: memoryview(value) for name, value in fields.items()}
        try:
            self.store.put(info.key, views, **copy_of(info))
        except SkylarkError as error:
            _LOG.info("bundle %s is not kept locally: %s", info.key, error)

    def _peer(self, name: str) -> Node:
        return self.topology().node(name)


@dataclass(frozen=True, slots=True)
class _Route:
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

    def later_from(self, holder: str, local: str, fallen_back: bool) -> tuple[str, ...]:
        """The nodes that get it by its holder's outbox; from the local one also the elected node, if it was away."""
        elected = self.elected if holder == local and (self.forward or fallen_back) else None
        return tuple(dict.fromkeys(name for name in (elected, self.cloud_later) if name not in (None, holder)))


def check_held(key: StateKey, node: str) -> StateKey:
    """The key, if this node is the one that it names.

    Raises:
        InvalidArgument: It names another node: the sender's topology is wrong about this address.
    """
    if key.node not in (None, node):
        raise InvalidArgument("key", str(key), f"a key of node {node!r}, which this is")
    return key


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
