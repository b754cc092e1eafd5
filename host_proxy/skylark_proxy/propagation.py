"""Moves bundles: the fetch ladder, and the carrying out of elections. What it did is in what it returns."""

import contextlib
import itertools
import logging
import os
import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypedDict, TypeVar

import msgspec

from skylark.plan import Plan
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
from skylark_proxy.forwarder import Forwarder, copy_of
from skylark_proxy.model import BundleInfo, Node, Objectives, Policy, StateKey, WriteId
from skylark_proxy.outbox import Entry, Kind, Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.placement import (
    Defaults,
    FailedAttempt,
    FetchedBundle,
    PlacedBundle,
    Route,
    Write,
    fetch_ladder,
)
from skylark_proxy.store import Store
from skylark_proxy.topology import Topology, TopologyProvider

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class _Sealed(TypedDict):
    origin: str
    created_ms: int
    crc32: int
    expected_version: int | None
    ttl_ms: int | None
    version: int | None
    plan: Plan | None
    home: str | None
    write: WriteId | None


class Propagation:
    """Fetches and places the bundles of one node. Safe for threads; every call blocks.

    Args:
        node: The name of the local node.
        outbox: What has to be carried to other nodes later.
        forwarder: Who carries it.
        arrivals: What other nodes have announced.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        peers: Peers,
        provider: TopologyProvider,
        outbox: Outbox,
        forwarder: Forwarder,
        arrivals: Arrivals,
        defaults: Defaults,
    ) -> None:
        self.node = node
        self.arrivals = arrivals
        self._outbox = outbox
        self._forwarder = forwarder
        self.defaults = defaults
        self.store = store
        self._peers = peers
        self._provider = provider
        self._elector = Elector(node)
        self._random = random.Random()  # a policy, not a secret
        self._writer = os.urandom(8).hex()
        self._writes = itertools.count(1)

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
        (info, found), hops = self._first(key, lambda name: self._fetch_at(name, key, fields))
        if info.key.node != self.node and self.defaults.keep_fetched and not fields:
            self._keep(info, found)
        return FetchedBundle(info, found, hops, _since_ms(started))

    def head(self, key: StateKey) -> tuple[BundleInfo, int]:
        """The metadata of a bundle, and the hops to it; looked for, and waited for, as `fetch` does.

        From another node it comes without the sizes of the fields.
        """
        return self._first(key, lambda name: self._head_at(name, key))

    def head_here(self, key: StateKey) -> BundleInfo:
        """The metadata of a bundle at the local node, which is waited for if it is on its way.

        Raises:
            NotFound: It is not here.
        """
        return _meant(self._here(key, lambda: self.store.head(key)), key)

    def brings(self, key: StateKey, target: str) -> bool:
        """Whether a bundle is so on its way to a node that the node had better wait for it than fetch it."""
        return self._forwarder.brings(key, target)

    def _first(self, key: StateKey, at: Callable[[str], T]) -> tuple[T, int]:
        """What the first node that has a bundle gives, and how many were asked in vain before."""
        unavailable: SkylarkError | None = None
        asked: list[str] = []
        for name in fetch_ladder(key, self.node, self.topology()):
            try:
                return at(name), len(asked)
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
            InvalidArgument: A version is expected, and the key names no node: each node counts its own.
            StoreUnavailable: Not even the local store took it.
        """
        if write.expected_version is not None and write.key.node is None:
            expected = "<chain_id>:<node>:<task_id>, since a version is expected, and each node counts its own"
            raise InvalidArgument("key", str(write.key), expected)
        started = time.perf_counter()
        size_bytes = sum(map(len, write.fields.values()))
        election = None if write.key.node else self.elect(size_bytes, write.destination, write.policy)
        route = Route.decide(write, election, self.node, self.topology(), self.defaults)
        sealed = self._seal(write)
        failed: list[FailedAttempt] = []
        for name in route.candidates:
            later = route.later_from(name, self.node, bool(failed))
            copy_at = route.cloud_at_once if route.cloud_at_once != name else None
            try:
                version = self._put_at(name, write.key, write.fields, sealed, later, copy_at or write.copy_at)
                break
            except (PeerUnreachable, StoreUnavailable) as error:
                if name == route.candidates[-1]:
                    raise
                _LOG.warning("storing %s at %s failed, trying the next candidate: %s", write.key, name, error)
                failed.append(FailedAttempt(name, error.message))
        if copy_at is not None:
            home = name if write.version is None else write.home
            copy: _Sealed = {**sealed, "version": version, "expected_version": None, "home": home}
            self._put_at(copy_at, write.key, write.fields, copy)
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

    def delete(self, key: StateKey, write: WriteId | None = None) -> bool:
        """Deletes a bundle, and its copies, at the node that its key names, else here; False if there was none.

        The copies are deleted by the outbox, as soon as their nodes can be reached; what has been stored there since
        stays.

        Args:
            write: Only the bundle that this write has made.
        """
        if key.node not in (None, self.node):
            return self._peers.delete(self._peer(key.node or ""), key, write)
        copies, transfers = self._outbox.copies(key), self._outbox.settled(key)
        made_by = write
        if copies and made_by is None:
            with contextlib.suppress(NotFound):
                made_by = self.store.head(key).write
        try:
            self._delete_copies(key, copies, made_by)
            existed = self.store.delete(key, write=write)
        except StoreUnavailable as error:
            if not error.full:
                raise
            existed = self.store.delete(key, write=write)  # makes room; an end here leaves the copies noted
            self._delete_copies(key, copies, made_by)
        for transfer in transfers:
            self._outbox.remove(transfer)
        if copies:
            self._forwarder.wake()
        if copies and (existed or write is None):
            self._outbox.forget_copies(key)
        return existed

    def _delete_copies(self, key: StateKey, copies: Collection[str], write: WriteId | None) -> None:
        for target in copies:
            self._outbox.add(Kind.DELETE, key, target, bundle_http.now_ms(), write=write)

    def _fetch_at(self, name: str, key: StateKey, fields: Collection[str]) -> tuple[BundleInfo, Mapping[str, Buffer]]:
        if name == self.node:
            return self._fetch_here(key, fields)
        peer = self._peer(name)
        bundle = self._peers.get(peer, key, fields, self.node)
        if bundle is None:
            self.arrivals.expect(key)
            with contextlib.suppress(NotFound):
                return self._fetch_here(key, fields)
            bundle = self._peers.get(peer, key, fields)
        assert bundle is not None  # who does not say that it can wait gets the bundle
        return _meant(bundle.info, key), bundle.fields

    def _fetch_here(self, key: StateKey, fields: Collection[str]) -> tuple[BundleInfo, Mapping[str, Buffer]]:
        stored = self._here(key, lambda: self.store.get(key, fields or None))
        return _meant(stored.info, key), stored.fields

    def _head_at(self, name: str, key: StateKey) -> BundleInfo:
        if name == self.node:
            return self.head_here(key)
        return _meant(self._peers.head(self._peer(name), key), key)

    def _here(self, key: StateKey, read: Callable[[], T]) -> T:
        """Reads a bundle in the local store, and waits for one that is expected."""
        expected = self.arrivals.expects(key)
        try:
            return read()
        except NotFound:
            if not expected:
                raise
        self.arrivals.wait(key)
        return read()

    def _put_at(
        self,
        name: str,
        key: StateKey,
        fields: Mapping[str, Buffer],
        sealed: _Sealed,
        later: tuple[str, ...] = (),
        copy_at: str | None = None,
    ) -> int:
        """Stores at a node, which has to see to the copies at the nodes `later`; returns the version.

        A copy at `copy_at` is made by somebody else; the node is to know of it.
        """
        if name != self.node:
            return self._peers.put(self._peer(name), key, fields, **sealed, replicate=bool(later), copy_at=copy_at)
        views = {name: bytes(value) if isinstance(value, bytearray) else value for name, value in fields.items()}
        entries: list[Entry] = []
        try:
            if copy_at is not None:
                self._outbox.note_copy(key, copy_at)
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
        for entry in entries:
            self._outbox.settle(entry, info.version, info.size_bytes)
        if entries:
            self._forwarder.wake()
        return info.version

    def _seal(self, write: Write) -> _Sealed:
        """What goes with a bundle's bytes wherever they are put: the same at every attempt."""
        return {
            "origin": write.origin or self.node,
            "created_ms": write.created_ms if write.created_ms is not None else time.time_ns() // 1_000_000,
            "crc32": bundle_http.checksum(write.fields),
            "expected_version": write.expected_version,
            "ttl_ms": write.ttl_ms if write.ttl_ms is not None else self.defaults.ttl_ms,
            "version": write.version,
            "plan": write.plan,
            "home": write.home,
            "write": write.write or WriteId(self._writer, next(self._writes)),
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


def _meant(info: BundleInfo, key: StateKey) -> BundleInfo:
    """The bundle, if it is the one that a key means.

    Raises:
        NotFound: It is another node's bundle of the same task.
    """
    if not info.answers(key):
        raise NotFound("bundle", str(key), (info.key.node or "",))
    return info


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
