"""Moves bundles: the fetch ladder, and the carrying out of elections. What it did is in what it returns.

docs/consistency.md says what a reader and a writer may rely on.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from skylark.state import Staleness
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.election import Election, Elector
from skylark_proxy.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PeerUnreachable,
    SkylarkError,
    Stale,
    StoreUnavailable,
    Superseded,
    UnknownNode,
)
from skylark_proxy.forwarder import SMALL_BYTES, Forwarder
from skylark_proxy.machine import REAL, Machine, now_ms
from skylark_proxy.model import BundleInfo, Metadata, Node, Objectives, Policy, Read, Sealed, StateKey
from skylark_proxy.outbox import Outbox
from skylark_proxy.placement import (
    Defaults,
    FailedAttempt,
    FetchedBundle,
    PlacedBundle,
    Route,
    Write,
    fetch_ladder,
)
from skylark_proxy.seen import Seen
from skylark_proxy.store import Committed, Holder, Into, Removed, Store, StoredBundle
from skylark_proxy.topology import Topology, TopologyProvider

T = TypeVar("T")
Found = tuple[BundleInfo, Mapping[str, Buffer]]

_LOG = logging.getLogger(__name__)
_MAX_REBASES = 8

UNREACHABLE, LOST = Staleness.OWNER_UNREACHABLE.value, Staleness.OWNER_LOST_IT.value
"""Why a copy may be stale: its owner cannot be asked, or does not have the bundle any more and has not deleted it."""


class Owners(Protocol):
    """What is asked of the nodes that own bundles; see `Peers`."""

    def get(
        self,
        node: Node,
        key: StateKey,
        fields: Collection[str] = (),
        *,
        asker: str | None,
        keeper: str | None,
        newer_than: int,
    ) -> "Found | OnItsWay | Unchanged": ...

    def head(self, node: Node, key: StateKey) -> BundleInfo: ...

    def put(self, node: Node, key: StateKey, sealed: Sealed, terms: "Terms") -> int: ...

    def put_copy(
        self,
        node: Node,
        key: StateKey,
        sealed: Sealed,
        version: int,
        *,
        supplied: str | None = None,
        replicate: bool = False,
    ) -> None: ...

    def delete(
        self, node: Node, key: StateKey, *, expected_version: int | None, known_version: int | None
    ) -> Removed: ...

    def forget(self, node: Node, key: StateKey, version: int, *, deleted: bool) -> bool: ...


class OnItsWay:
    """The bundle is being brought to the one who asks."""


class Unchanged:
    """The owner has no newer version than the one that the asker has."""


class Terms(msgspec.Struct, frozen=True):
    """On which terms an owner stores a bundle.

    Attributes:
        expected_version: The version that the bundle must have now; 0: it must not exist. None: any.
        known_version: The highest version that the writer knew of when it began; None: it need not know.
        replicate: True if the owner sees to a copy in the cloud.
        supplied: A node that gets this version from the writer, and further ones from the owner.
    """

    expected_version: int | None = None
    known_version: int | None = None
    replicate: bool = False
    supplied: str | None = None


class Propagation:
    """Fetches and places the bundles of one node. Safe for threads; every call blocks.

    Args:
        store: The store of the local node.
        peers: The other nodes.
        outbox: What other nodes have to be told.
        forwarder: Who tells them.
        arrivals: What other nodes have announced.
    """

    def __init__(
        self,
        store: Store,
        peers: Owners,
        provider: TopologyProvider,
        outbox: Outbox,
        forwarder: Forwarder,
        arrivals: Arrivals,
        defaults: Defaults,
        machine: Machine = REAL,
    ) -> None:
        self.node = store.node
        self.arrivals = arrivals
        self.defaults = defaults
        self.store = store
        self.seen = Seen()
        self._outbox = outbox
        self._forwarder = forwarder
        self._peers = peers
        self._provider = provider
        self._machine = machine
        self._elector = Elector(self.node)
        self._writer = machine.token()
        self._writes = itertools.count(1)
        self._last_given = 0
        self._giving = machine.condition()

    def topology(self) -> Topology:
        """Return the topology now."""
        return self._provider.current(self._machine.now_s())

    def destination(self, named: str | None = None) -> str:
        """Return the node that elections lead to: the named one, else the default, else the first cloud node."""
        if named or self.defaults.destination:
            return named or self.defaults.destination or ""
        cloud = self.topology().cloud_nodes()
        return cloud[0].name if cloud else self.node

    # Reading.

    def fetch(
        self,
        key: StateKey,
        fields: Collection[str] = (),
        read: Read = Read.NEAREST,
        min_version: int = 0,
        *,
        hold: bool = True,
        into: Into | None = None,
    ) -> FetchedBundle:
        """Fetch a bundle: from the local node, else the owner that the key names, else the cloud node.

        A bundle that was announced to the local node is waited for. None is older than what was seen at this node.

        Args:
            fields: Only these fields; empty: all.
            read: What the reader is content with.
            min_version: The version that the reader has seen: none older is given.
            hold: True if a copy may be kept here, where the node's settings say so.
            into: Where large fields that are here are to lie; see `store.Into`. Those of other nodes come as they are.

        Raises:
            NotFound: All who were asked answered, and none has it; or the owner has deleted it.
            Stale: Only older copies than what was seen can be had, since the owner cannot be asked.
            PeerUnreachable, StoreUnavailable: One that may have it did not answer, and the others do not have it.
        """
        started_s = self._machine.monotonic_s()
        keeps = hold and self.defaults.keep_fetched and not fields
        compares = read is not Read.NEAREST  # else the local node was asked before, and has none that is new enough
        waits = not compares and max(min_version, self.seen.version(key)) == 0

        def at(name: str) -> Found:
            if name == self.node:
                return self._fetch_here(key, fields, into)
            return self._ask(name, key, fields, into, keeps=keeps, compares=compares, waits=waits)

        (info, found), hops, stale = self._first(key, read, min_version, at)
        self._note(info)
        return FetchedBundle(info, found, hops, 1000 * (self._machine.monotonic_s() - started_s), stale)

    def head(
        self, key: StateKey, read: Read = Read.NEAREST, min_version: int = 0
    ) -> tuple[BundleInfo, int, str | None]:
        """Return the metadata of a bundle, the hops to it, and why it may be stale; see `fetch`.

        From another node it comes without the sizes of the fields.
        """
        (info, _), hops, stale = self._first(key, read, min_version, lambda at: (self._head_at(at, key), {}))
        self._note(info)
        return info, hops, stale

    def head_here(self, key: StateKey) -> BundleInfo:
        """Return the metadata of a bundle at the local node, which is waited for if it is on its way.

        Raises:
            NotFound: It is not here.
        """
        return self._here(key, lambda: self.store.find(key, ())).info

    def brings(self, key: StateKey, target: str) -> bool:
        """Return True if we are about to deliver this bundle to `target`, so it should wait instead of fetching."""
        return self._outbox.on_its_way(key, target) > SMALL_BYTES

    def _first(
        self, key: StateKey, read: Read, min_version: int, at: Callable[[str], Found]
    ) -> tuple[Found, int, str | None]:
        """Return what the first suitable node gives, how many were asked before in vain, and why it may be stale."""
        asked: list[str] = []
        unavailable: SkylarkError | None = None
        too_old: BundleInfo | None = None
        stale: str | None = None
        floor = max(min_version, self.seen.version(key))  # as of now: what others see meanwhile is not this reader's
        for name in self._ladder(key, read):
            try:
                found = at(name)
                if key.node is None:
                    floor = max(min_version, self.seen.version(found[0].key))
                if found[0].version >= floor:
                    return found, len(asked), stale
                too_old = found[0]
            except NotFound as error:
                if name == key.node:
                    if error.deleted_version:
                        self.seen.note(key, error.deleted_version)
                        raise NotFound("bundle", str(key), (*asked, name), error.deleted_version) from None
                    stale = LOST
            except (PeerUnreachable, StoreUnavailable, UnknownNode) as error:
                _LOG.info("fetching %s: %s", key, error)
                unavailable = error if error.retryable else unavailable
                stale = UNREACHABLE if name == key.node else stale
            asked.append(name)
        if too_old is not None:
            reason = unavailable.message if unavailable is not None else "nobody has a newer one at the moment"
            raise Stale(str(key), too_old.version, floor, reason)
        if unavailable is not None:
            raise unavailable
        raise NotFound("bundle", str(key), tuple(asked))

    def _ladder(self, key: StateKey, read: Read) -> Iterator[str]:
        """Yield the nodes to ask, in order. Without an owner in the key there is none to prefer."""
        if key.node is not None and read is not Read.NEAREST:
            yield key.node
            if read is Read.OWNER:
                return
            others = (name for name in fetch_ladder(key, self.node, self.topology()) if name != key.node)
        else:
            yield self.node  # most bundles are here: the topology is looked at for the others only
            others = (name for name in fetch_ladder(key, self.node, self.topology()) if name != self.node)
        yield from others

    def _ask(
        self,
        name: str,
        key: StateKey,
        fields: Collection[str],
        into: Into | None,
        *,
        keeps: bool,
        compares: bool,
        waits: bool,
    ) -> Found:
        """Ask another node.

        Args:
            keeps: True if a copy is to be kept here, if its owner gives it: it has to know who has copies.
            compares: True if the copy here will do, if the owner has no newer one. Its bytes do not travel then.
            waits: True if the bundle may be waited for here, if it is on its way.
        """
        peer, is_owner = self._peer(name), name == key.node
        here = self._version_here(key) if compares and is_owner else 0
        asker, keeper = self.node if waits else None, self.node if keeps and key.node in (None, name) else None
        found = self._peers.get(peer, key, fields, asker=asker, keeper=keeper, newer_than=here)
        if isinstance(found, OnItsWay | Unchanged):
            if isinstance(found, OnItsWay):
                self.arrivals.expect(key)
            try:
                info, contents = self._fetch_here(key, fields, into)
                return (msgspec.structs.replace(info, age_ms=0) if here else info), contents
            except NotFound:
                keeper = None
                found = self._peers.get(peer, key, fields, asker=None, keeper=None, newer_than=0)
        assert not isinstance(found, OnItsWay | Unchanged)  # neither is answered to who does not ask for it
        if keeper is not None and found[0].key.node == name:
            self._keep(*found)
        return found

    def _fetch_here(self, key: StateKey, fields: Collection[str], into: Into | None) -> Found:
        stored = self._here(key, lambda: self.store.find(key, fields or None, into))
        return stored.info, stored.fields

    def _head_at(self, name: str, key: StateKey) -> BundleInfo:
        return self.head_here(key) if name == self.node else self._peers.head(self._peer(name), key)

    def _here(self, key: StateKey, read: Callable[[], StoredBundle]) -> StoredBundle:
        """Read a bundle in the local store, and wait for one that is expected."""
        expected = self.arrivals.expects(key)
        try:
            return read()
        except NotFound:
            if not expected:
                raise self._absent(key) from None
        self.arrivals.wait(key)
        try:
            return read()
        except NotFound:
            raise self._absent(key) from None

    def _absent(self, key: StateKey) -> NotFound:
        """Return the error for a bundle that is not here; it says if this node owned it, and it has come to an end."""
        gone = self.store.ledger(key) if key.node == self.node else None
        return NotFound("bundle", str(key), (self.node,), gone.version if gone and not gone.present else 0)

    def _version_here(self, key: StateKey) -> int:
        try:
            return self.store.get(key, ()).info.version
        except (NotFound, StoreUnavailable):
            return 0

    def _note(self, info: BundleInfo) -> None:
        self.seen.note(info.key, info.version)
        self.seen.note_all(info.meta.seen)

    def _keep(self, info: BundleInfo, fields: Mapping[str, Buffer]) -> None:
        """Keep a bundle that came from its owner. Not keeping it loses nothing, so a failure is only logged."""
        try:
            self.store.commit_copy(info.key, info.sealed(fields, now_ms(self._machine)), info.version)
        except SkylarkError as error:
            _LOG.info("bundle %s is not kept locally: %s", info.key, error)

    # Writing.

    def place(self, write: Write) -> PlacedBundle:
        """Store a bundle where the election, or its key, says; the next candidate where a node is away.

        Returns:
            Where it is. One Redis at least has acknowledged it.

        Raises:
            Conflict: The stored version is not the expected one.
            TooLarge: It exceeds the limit of the node that is to hold it.
            UnknownNode: The destination, or the key's node, is not in the topology.
            InvalidArgument: A version is expected, and the key names no node: each owner counts its own.
            OutboxFull: It is to be copied, and too much waits for other nodes already; nothing was stored.
            StoreUnavailable: Not even the local store took it.
        """
        if write.expected_version is not None and write.key.node is None:
            expected = "<chain_id>:<node>:<task_id>, since a version is expected, and each node counts its own"
            raise InvalidArgument("key", str(write.key), expected)
        started_s = self._machine.monotonic_s()
        size_bytes = sum(map(len, write.fields.values()))
        election = None if write.key.node else self.elect(size_bytes, write.destination, write.policy)
        route = Route.decide(write, election, self.node, self.topology(), self.defaults)
        sealed = self._seal(write)
        failed: list[FailedAttempt] = []
        for name in route.candidates:
            later = route.later_from(name, self.node, bool(failed))
            supplied = route.cloud_at_once if route.cloud_at_once != name else None
            try:
                version = self._put_at(name, write, sealed, later, supplied)
                break
            except (PeerUnreachable, StoreUnavailable) as error:
                if name == route.candidates[-1]:
                    raise
                _LOG.warning("storing %s at %s failed, trying the next candidate: %s", write.key, name, error)
                failed.append(FailedAttempt(name, error.message))
                self._give_up(write, sealed, name, error)
        owned = write.key.anywhere() if write.version is not None else write.key.at(name)
        if supplied is not None:
            self._supply(supplied, owned, sealed, version)
        self.seen.note(owned, version)
        return PlacedBundle(
            key=write.key.at(name),
            version=version,
            size_bytes=size_bytes,
            election=election,
            failed=tuple(failed),
            duration_ms=1000 * (self._machine.monotonic_s() - started_s),
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
        """Return the election for a bundle of this size; nothing is moved.

        Raises:
            UnknownNode: The destination is not in the topology.
            InvalidArgument: A number is out of range.
        """
        at_s = self._machine.now_s() if at_s is None else at_s
        topology = self._provider.current(at_s)
        election = self._elector.elect(
            topology,
            self.destination(destination),
            size_bytes,
            policy or self.defaults.policy,
            objectives or topology.objectives or self.defaults.objectives,
            at_s,
            self._machine.random(),
        )
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("election %s", msgspec.json.encode(election.to_dict()).decode())
        return election

    def _put_at(self, name: str, write: Write, sealed: Sealed, later: tuple[str, ...], supplied: str | None) -> int:
        """Store at a node, which sees to copies at the nodes `later`; return the version."""
        key = write.key
        if name == self.node:
            return self._put_here(write, sealed, later, supplied)
        node, replicate = self._peer(name), bool(later)
        if write.version is not None:
            self._peers.put_copy(node, key.anywhere(), sealed, write.version, supplied=supplied, replicate=replicate)
            return write.version
        owned = key.at(name)

        def attempt(known: int) -> int:
            return self._peers.put(node, owned, sealed, Terms(write.expected_version, known, replicate, supplied))

        version = self._rebased(owned, attempt)
        if key.node is not None:
            self._drop_older_copy(owned, version, deleted=False)
        return version

    def _put_here(self, write: Write, sealed: Sealed, later: Sequence[str], supplied: str | None) -> int:
        if write.version is not None:
            self.put_copy_here(write.key.anywhere(), sealed, write.version, later=later, supplied=supplied)
            return write.version
        owned = write.key.at(self.node)

        def attempt(known: int) -> int:
            return self.put_here(owned, sealed, Terms(write.expected_version, known, supplied=supplied), later)

        return self._rebased(owned, attempt)

    def _rebased(self, owned: StateKey, attempt: Callable[[int], T]) -> T:
        """Write or delete, on the newest version that is known; again, if there is a newer one.

        The caller still waits, so its write is the latest one after all. One that is late, because it was held up on
        its way and given up, finds a version of which it does not know, and nobody tries it again.
        """
        known = self.seen.version(owned)
        for _ in range(_MAX_REBASES):
            try:
                return attempt(known)
            except Superseded as error:
                known = error.actual
            except Conflict as error:
                self.seen.note(owned, error.actual)  # who was told of it is not given an older one to try again with
                raise
        raise PeerUnreachable(owned.node or self.node, f"{owned} is written by too many at once")

    def _commit(
        self, key: StateKey, commit: Callable[[Sequence[str]], Committed], later: Sequence[str], supplied: str | None
    ) -> int:
        """Store here, and see to it that those who have copies, or are promised one, are told."""
        promised = tuple(dict.fromkeys((*later, *([supplied] if supplied is not None else []))))
        if promised:
            self._outbox.check_room()
        try:
            with self._noticing():
                committed = commit(promised)
        finally:
            self.arrivals.settle(key)
        self._tell_holders(key, committed.behind, committed.info.size_bytes, supplied)
        return committed.info.version

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        """Have the ledgers looked at if Redis fails: something may have been done that others have to be told."""
        try:
            yield
        except StoreUnavailable:
            self._forwarder.look_again()
            raise

    def _tell_holders(
        self, key: StateKey, behind: Collection[Holder], size_bytes: int = 0, supplied: str | None = None
    ) -> None:
        for holder in behind:
            if holder.node == supplied:  # the writer brings it; only if that fails it is for us to do
                self._outbox.add(key, [holder.node], is_supplied=True)
            else:
                self._outbox.add(key, [holder.node], size_bytes if holder.is_promised else 0)

    def _drop_older_copy(self, owned: StateKey, version: int, *, deleted: bool) -> None:
        """Drop the copy here of a bundle that this node just had written or deleted, so that no reader here gets it."""
        try:
            self.store.forget(owned, version, deleted=deleted)
        except StoreUnavailable as error:  # who reads here has seen the new version, and is not given this one
            _LOG.info("the copy of %s before version %d stays: %s", owned, version, error)

    def _give_up(self, write: Write, sealed: Sealed, name: str, error: SkylarkError) -> None:
        """See to it that a write which may still reach a node does not happen there: the bundle is put elsewhere."""
        in_doubt = error.in_doubt if isinstance(error, PeerUnreachable) else not getattr(error, "full", False)
        if write.version is not None or not in_doubt:
            return
        key = write.key.at(name)
        try:
            self.store.note_refusal(key, sealed.meta.write)
        except StoreUnavailable as failure:
            _LOG.warning("a late write of %s is refused only as long as this process runs: %s", key, failure)
        self._outbox.add(key, [name], refused=sealed.meta.write)

    def _supply(self, name: str, owned: StateKey, sealed: Sealed, version: int) -> None:
        """Bring a copy to a node before the answer."""
        try:
            if name == self.node:
                self.put_copy_here(owned, sealed, version)
            else:
                self._peers.put_copy(self._peer(name), owned, sealed, version)
        except Superseded as error:
            _LOG.info("%s knows of a later version of %s: %s", name, owned, error)

    def _seal(self, write: Write) -> Sealed:
        """Return what is put wherever the bundle goes: the same at every attempt."""
        meta = Metadata(
            origin=write.origin or self.node,
            created_ms=write.created_ms if write.created_ms is not None else now_ms(self._machine),
            crc32=bundle_http.checksum(write.fields),
            write=write.write or f"{self._writer}-{next(self._writes)}",
            plan=write.plan,
            seen=write.seen,
        )
        views = {name: bytes(value) if isinstance(value, bytearray) else value for name, value in write.fields.items()}
        ttl_ms = write.ttl_ms if write.ttl_ms is not None else self.defaults.ttl_ms
        return Sealed(views, meta, ttl_ms, 0)

    # Deleting.

    def delete(self, key: StateKey, expected_version: int | None = None) -> bool:
        """Delete a bundle at its owner; return False if there was none. See `remove`."""
        return self.remove(key, expected_version)[1].existed

    def remove(self, key: StateKey, expected_version: int | None = None) -> tuple[StateKey, Removed]:
        """Delete a bundle at its owner; return its key with the owner, and what was done.

        Copies are dropped by the outbox, as soon as their nodes can be reached. Until then none of them is given to a
        reader who knows of the deletion.

        Args:
            key: Without a node: the bundle that is here, whoever owns it.
            expected_version: The version that the bundle must have. None: any.

        Raises:
            Conflict: The stored version is not the expected one.
        """
        owned = self._owned(key)
        if owned.node is None:
            removed = Removed(self.delete_shared(owned, version := self.next_version(owned)), version)
        elif owned.node == self.node:
            removed = self._rebased(owned, lambda known: self.delete_here(owned, expected_version, known))
        else:
            removed = self._delete_at(owned, expected_version)
            if removed.version:
                self._drop_older_copy(owned, removed.version, deleted=True)
        if removed.version:
            self.seen.note(owned, removed.version)
        return owned, removed

    def _owned(self, key: StateKey) -> StateKey:
        """Return the key with the owner of the bundle that is meant; without a node if it has none."""
        if key.node not in (None, self.node):
            return key
        try:
            return self.head_here(key).key
        except NotFound:
            return key.at(self.node)

    def next_version(self, key: StateKey) -> int:
        """Return a version for a bundle without an owner: the time in us, above all that were seen or given here.

        It is seen once something was stored or deleted with it: a write that fails hides nothing.
        """
        with self._giving:
            self._last_given = max(int(self._machine.now_s() * 1e6), self.seen.version(key) + 1, self._last_given + 1)
            return self._last_given

    def delete_shared(self, key: StateKey, version: int, at: str | None = None) -> bool:
        """Delete a bundle without an owner at a node (None: here); return False if there was none."""
        if at in (None, self.node):
            return self.forget_here(key, version, deleted=True)
        return self._peers.forget(self._peer(at or ""), key, version, deleted=True)

    def _delete_at(self, owned: StateKey, expected_version: int | None) -> Removed:
        assert owned.node is not None
        peer = self._peer(owned.node)
        return self._rebased(
            owned,
            lambda known: self._peers.delete(peer, owned, expected_version=expected_version, known_version=known),
        )

    # What other nodes ask of this one.

    def give(
        self,
        key: StateKey,
        fields: Collection[str],
        *,
        asker: str | None = None,
        keeper: str | None = None,
        newer_than: int = 0,
    ) -> Found | OnItsWay | Unchanged:
        """Return a bundle that is here to another node.

        Args:
            asker: The node that asks, if it can wait for a bundle that is on its way to it.
            keeper: The node that asks, if it will keep a copy.
            newer_than: The version that the asker has.

        Raises:
            NotFound: It is not here; the error says if it was deleted.
        """
        if asker is not None and self.brings(key, asker):
            return OnItsWay()
        try:
            if newer_than and self.store.find(key, ()).info.version <= newer_than:
                return Unchanged()
            stored = self.store.find(key, fields or None)
        except NotFound:
            raise self._absent(key) from None
        if keeper is not None and stored.info.key.node == self.node:
            with self._noticing():
                behind = self.store.note_cache(stored.info.key, keeper, stored.info.version)
            self._tell_holders(stored.info.key, behind)
        return stored.info, stored.fields

    def tell(self, key: StateKey) -> BundleInfo:
        """Return the metadata of a bundle that is here to another node; see `give`."""
        try:
            return self.store.find(key, ()).info
        except NotFound:
            raise self._absent(key) from None

    def put_here(self, key: StateKey, sealed: Sealed, terms: Terms, later: Sequence[str] = ()) -> int:
        """Store a bundle that this node owns; return its version.

        Args:
            later: Nodes that get a copy from here.

        Raises:
            Conflict, Superseded, TooLarge, TooManyBundles: See `Store.commit`.
        """

        def commit(promised: Sequence[str]) -> Committed:
            expected, known = terms.expected_version, terms.known_version
            return self.store.commit(key, sealed, expected_version=expected, known_version=known, promised=promised)

        return self._commit(key, commit, (*later, *self._replicas(terms.replicate)), terms.supplied)

    def put_copy_here(
        self,
        key: StateKey,
        sealed: Sealed,
        version: int,
        *,
        later: Sequence[str] = (),
        replicate: bool = False,
        supplied: str | None = None,
    ) -> None:
        """Store a copy of another node's bundle, or a bundle without an owner.

        Raises:
            Superseded: A later version, or its deletion, is known here.
        """

        def commit(promised: Sequence[str]) -> Committed:
            return self.store.commit_copy(key, sealed, version, promised=promised)

        self._commit(key, commit, (*later, *self._replicas(replicate)), supplied)

    def delete_here(
        self, key: StateKey, expected_version: int | None = None, known_version: int | None = None
    ) -> Removed:
        """Delete a bundle that this node owns, and its copies."""
        with self._noticing():
            removed = self.store.delete(key, expected_version=expected_version, known_version=known_version)
            if not removed.existed and not removed.version and (holder := self._stray_copy(key)) is not None:
                deleted = self.store.delete(key, always=True)
                removed = Removed(True, deleted.version, (self.store.note_holder(key, holder),))
        self._tell_holders(key, removed.behind)
        return removed

    def forget_here(self, key: StateKey, version: int, *, deleted: bool) -> bool:
        """Drop a copy that is older than a version of its owner; return False if there was none."""
        with self._noticing():
            removed = self.store.forget(key, version, deleted=deleted)
        self._tell_holders(key, removed.behind)
        self.arrivals.settle(key)
        return removed.existed

    def refuse_here(self, key: StateKey, write: str) -> None:
        """Undo a write whose sender has given it up, and take it no more."""
        with self._noticing():
            removed = self.store.refuse(key, write)
        self._tell_holders(key.at(self.node), removed.behind)

    def _replicas(self, replicate: bool) -> tuple[str, ...]:
        """Return the cloud node, if it is to get a copy from here."""
        if not replicate:
            return ()
        return tuple(node.name for node in self.topology().cloud_nodes()[:1] if node.name != self.node)

    def _stray_copy(self, key: StateKey) -> str | None:
        """Return the node that has a copy of a bundle of which nothing is known here: the data here was lost."""
        for name in self._replicas(True):
            try:
                if self._peers.head(self._peer(name), key).key == key:
                    return name
            except (NotFound, PeerUnreachable, UnknownNode):
                continue
        return None

    def _peer(self, name: str) -> Node:
        return self.topology().node(name)


def check_held(key: StateKey, node: str) -> StateKey:
    """Return the key, if this node is the one that it names.

    Raises:
        InvalidArgument: It names another node: the sender's topology is wrong about this address.
    """
    if key.node not in (None, node):
        raise InvalidArgument("key", str(key), f"a key of node {node!r}, which this is")
    return key
