"""Carries out the outbox: brings copies of bundles at other nodes up to date, as long as it takes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from skylark_proxy.errors import (
    NotFound,
    PeerUnreachable,
    SkylarkError,
    StoreUnavailable,
    Superseded,
    TooManyBundles,
    UnknownNode,
)
from skylark_proxy.machine import Machine, now_ms
from skylark_proxy.model import BundleInfo, Node, Sealed, StateKey
from skylark_proxy.outbox import Entry, Outbox
from skylark_proxy.store import Holder, Ledger, Store

_LOG = logging.getLogger(__name__)
_ANNOUNCED_S = 60.0
_CLOSE_S = 5.0
_RECOVER_S = 1.0
SMALL_BYTES = 64 * 1024
"""A transfer of no more than this takes no longer than its announcement, and does not wait for it."""


class CopyHolders(Protocol):
    """What is asked of the nodes that have copies; see `Peers`."""

    def head(self, node: Node, key: StateKey) -> BundleInfo: ...

    def put_copy(self, node: Node, key: StateKey, sealed: Sealed, version: int) -> None: ...

    def forget(self, node: Node, key: StateKey, version: int, *, deleted: bool) -> bool: ...

    def refuse(self, node: Node, key: StateKey, write: str) -> None: ...

    def announce(self, node: Node, key: StateKey, for_s: float) -> None: ...


@dataclass(slots=True)
class Counters:
    """What a forwarder has done since it started."""

    done: int = 0
    retried: int = 0
    dropped: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    """Transfers that wait, by node."""


class Forwarder:
    """Threads that work off the outbox of a node.

    Args:
        node_of: Finds a node of the topology by name; raises `UnknownNode`.
        threads: How many transfers go on at once.
    """

    def __init__(
        self,
        outbox: Outbox,
        store: Store,
        holders: CopyHolders,
        node_of: Callable[[str], Node],
        machine: Machine,
        threads: int = 4,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._holders = holders
        self._node_of = node_of
        self._machine = machine
        self._silent: set[str] = set()
        self._doubt = machine.condition()
        self._in_doubt = True
        self._counters = Counters()
        calls = {"outbox-reader": self._recover, "announcer": self._announce}
        calls |= {f"forwarder-{number}": self._forward for number in range(threads)}
        self._threads = [machine.start(call, name) for name, call in calls.items()]

    def counters(self) -> Counters:
        """Return what it has done, and what waits."""
        done = self._counters
        return Counters(done.done, done.retried, done.dropped, self._outbox.waiting())

    def close(self) -> None:
        """Stop. What is not done stays in the ledgers for the next start."""
        self._outbox.end()
        end_s = self._machine.monotonic_s() + _CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - self._machine.monotonic_s()))

    def look_again(self) -> None:
        """Look into the ledgers soon: a write may have been done that nobody has heard of."""
        with self._doubt:
            self._in_doubt = True
            self._doubt.notify_all()

    def _recover(self) -> None:
        """Find in the ledgers what is left to do: what a process before this one has left, or a lost answer."""
        while not self._outbox.ended:
            with self._doubt:
                wanted, self._in_doubt = self._in_doubt, False
            try:
                for key, holders in self._store.behind() if wanted else ():
                    self._outbox.add(key, [holder.node for holder in holders])
            except StoreUnavailable as error:
                _LOG.warning("what is left to forward cannot be read: %s", error)
                self._in_doubt = True
            except Exception:
                _LOG.exception("reading what is left to forward failed")
                self._in_doubt = True
            with self._doubt:
                if wanted or not self._in_doubt:
                    self._doubt.wait(_RECOVER_S)

    def _announce(self) -> None:
        """Tell targets what is coming, also what has to wait for other transfers first.

        One that cannot be told asks the other nodes instead; it is not told again before something has reached it, so
        that it holds nobody up.
        """
        while (entry := self._outbox.take_unannounced(SMALL_BYTES)) is not None:
            if entry.target in self._silent:
                continue
            try:
                self._holders.announce(self._node_of(entry.target), entry.key, _ANNOUNCED_S)
            except Exception as error:
                _LOG.info("announcing %s at %s: %s", entry.key, entry.target, error)
                self._silent.add(entry.target)

    def _forward(self) -> None:
        while (entry := self._outbox.take()) is not None:
            try:
                self._carry_out(entry)
            except Exception:
                _LOG.exception("forwarding %s to %s failed", entry.key, entry.target)
                self._retry(entry, whole_target=True)

    def _carry_out(self, entry: Entry) -> None:
        try:
            if entry.refused is not None:
                self._store.note_refusal(entry.key, entry.refused)
                entry.refused = None
            ledger = self._store.ledger(entry.key)
            for holder in ledger.behind:
                if holder.node == entry.target:
                    self._bring_up_to_date(entry.key, holder, ledger, is_supplied=entry.is_supplied)
        except TooManyBundles as error:
            _LOG.warning("%s waits until %s has room for it: %s", entry.key, entry.target, error)
            return self._retry(entry, whole_target=False)
        except (PeerUnreachable, StoreUnavailable, UnknownNode) as error:
            _LOG.info("forwarding %s to %s is tried again: %s", entry.key, entry.target, error)
            return self._retry(entry, whole_target=True)
        except SkylarkError as error:
            _LOG.error("%s cannot be forwarded to %s and stays here: %s", entry.key, entry.target, error)
            self._counters.dropped += 1
        self._counters.done += 1
        self._silent.discard(entry.target)
        self._outbox.done(entry)
        return None

    def _bring_up_to_date(self, key: StateKey, holder: Holder, ledger: Ledger, *, is_supplied: bool) -> None:
        """Let one holder know what has become of a bundle, and note that it does."""
        if holder.refused_write is not None:
            if holder.node == self._store.node:
                self._store.refuse(key, holder.refused_write)
            else:
                self._holders.refuse(self._node_of(holder.node), key, holder.refused_write)
            return self._store.release(key, holder)
        node = self._node_of(holder.node)
        if holder.is_promised and ledger.present and not ledger.deleted:
            try:
                if is_supplied and self._has(node, key, ledger.version):
                    return self._store.acknowledge(key, holder, ledger.version)
                return self._copy(key, holder, node)
            except NotFound:  # it has gone in this moment
                ledger = self._store.ledger(key)
        gone = ledger.deleted or not ledger.present  # else a cache of the present version may stay
        self._holders.forget(node, key, ledger.version, deleted=gone)
        return self._store.release(key, holder, ledger.version)

    def _has(self, node: Node, key: StateKey, version: int) -> bool:
        try:
            return self._holders.head(node, key).version >= version
        except NotFound:
            return False

    def _copy(self, key: StateKey, holder: Holder, node: Node) -> None:
        stored = self._store.get(key)
        sealed = stored.info.sealed(stored.fields, now_ms(self._machine))
        try:
            self._holders.put_copy(node, key, sealed, stored.info.version)
        except Superseded as error:
            _LOG.info("%s knows of a later version of %s: %s", node.name, key, error)
        self._store.acknowledge(key, holder, stored.info.version)

    def _retry(self, entry: Entry, *, whole_target: bool) -> None:
        self._counters.retried += 1
        self._outbox.retry(entry, whole_target=whole_target)
