"""Carries out the outbox: copies and deletes bundles at other nodes, as long as it takes.

Transfers of one chain to one node keep their order. A node that is away is tried again after 0.2 s, then after twice
as long each time, up to 30 s; whatever waits for it waits together.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from skylark_proxy.errors import (
    Conflict,
    NotFound,
    PeerUnreachable,
    SkylarkError,
    StoreUnavailable,
    UnknownNode,
)
from skylark_proxy.model import BundleInfo, Node, Plan, StateKey
from skylark_proxy.outbox import Entry, Kind, Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.store import Store

_LOG = logging.getLogger(__name__)
_FIRST_BACKOFF_S = 0.2
_LAST_BACKOFF_S = 30.0
_POLL_S = 1.0
_GIVE_UP_MISSING_MS = 60_000
_ANNOUNCED_S = 60.0

_Lane = tuple[str, str]
"""A node and a chain."""


@dataclass(slots=True)
class Backoff:
    """What is put off: until when, and how often it has failed."""

    until_s: float = 0.0
    failures: int = 0


_NONE = Backoff()


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
        self, outbox: Outbox, store: Store, peers: Peers, node_of: Callable[[str], Node], threads: int = 4
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._peers = peers
        self._node_of = node_of
        self._lanes: dict[_Lane, deque[Entry]] = {}
        self._busy: set[_Lane] = set()
        self._backoff: dict[str | _Lane, Backoff] = {}
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._ended = False
        self._counters = Counters()
        names = ["outbox-reader", *(f"forwarder-{number}" for number in range(threads))]
        calls = [self._read, *[self._forward] * threads]
        self._threads = [
            threading.Thread(target=call, name=name, daemon=True) for call, name in zip(calls, names, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is a new entry in the outbox."""
        self._wake.set()

    def counters(self) -> Counters:
        """What it has done, and what waits."""
        with self._changed:
            waiting: dict[str, int] = {}
            for (target, _), entries in self._lanes.items():
                waiting[target] = waiting.get(target, 0) + len(entries)
            return Counters(self._counters.done, self._counters.retried, self._counters.dropped, waiting)

    def close(self) -> None:
        """Stops; what is not done stays in the outbox for the next start."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _read(self) -> None:
        """Takes entries as they come: first what a crash has left, then the new ones."""
        left_over = False
        while not self._ended:
            self._wake.clear()
            try:
                if not left_over:
                    self._line_up(list(self._outbox.unfinished()))
                    left_over = True
                while entries := self._outbox.take():
                    self._line_up(entries)
            except StoreUnavailable as error:
                _LOG.warning("the outbox cannot be read: %s", error)
            self._wake.wait(_POLL_S)

    def _line_up(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.kind is Kind.STORE:
                self._announce(entry)
            with self._changed:
                self._lanes.setdefault((entry.target, entry.key.chain_id), deque()).append(entry)
                self._changed.notify()

    def _announce(self, entry: Entry) -> None:
        """Tells the target what is coming. If it cannot be told, a fetch there asks the other nodes instead."""
        if entry.target in self._backoff:
            return
        try:
            self._peers.announce(self._node_of(entry.target), entry.key, _ANNOUNCED_S)
        except SkylarkError as error:
            _LOG.info("announcing %s at %s: %s", entry.key, entry.target, error)

    def _forward(self) -> None:
        while (lane := self._next_lane()) is not None:
            entry = self._lanes[lane][0]
            try:
                done = self._carry_out(entry)
            except Exception:
                _LOG.exception("forwarding %s to %s failed", entry.key, entry.target)
                done = self._retry(lane)
            with self._changed:
                self._busy.discard(lane)
                if done:
                    self._lanes[lane].popleft()
                    if not self._lanes[lane]:
                        del self._lanes[lane]
                self._changed.notify_all()

    def _next_lane(self) -> _Lane | None:
        """Waits for a lane whose first entry may be tried now; None when all is to end."""
        with self._changed:
            while not self._ended:
                now_s, soonest_s = time.monotonic(), _POLL_S
                for lane in self._lanes:
                    due_s = max(self._backoff.get(what, _NONE).until_s for what in (lane[0], lane))
                    if lane not in self._busy and due_s <= now_s:
                        self._busy.add(lane)
                        return lane
                    soonest_s = min(soonest_s, max(0.001, due_s - now_s))
                self._changed.wait(soonest_s)
        return None

    def _carry_out(self, entry: Entry) -> bool:
        """Whether the entry is dealt with; if not, it is tried again later."""
        try:
            node = self._node_of(entry.target)
            if entry.kind is Kind.DELETE:
                self._peers.delete(node, entry.key)
            else:
                self._copy(entry.key, node)
        except NotFound as error:
            if time.time_ns() // 1_000_000 - entry.added_ms < _GIVE_UP_MISSING_MS and not isinstance(error, _Expired):
                return self._retry((entry.target, entry.key.chain_id))  # its bundle may be about to be stored
            _LOG.info("%s is gone, it is not forwarded to %s", entry.key, entry.target)
        except (PeerUnreachable, StoreUnavailable, UnknownNode) as error:
            _LOG.info("forwarding %s to %s is tried again: %s", entry.key, entry.target, error)
            return self._retry(entry.target)
        except SkylarkError as error:
            _LOG.error("%s cannot be forwarded to %s and stays here: %s", entry.key, entry.target, error)
            self._counters.dropped += 1
        for what in (entry.target, (entry.target, entry.key.chain_id)):
            self._backoff.pop(what, None)
        try:
            self._outbox.remove(entry)
        except StoreUnavailable as error:
            _LOG.info("%s was forwarded, but the outbox cannot be told: %s", entry.key, error)
            return self._retry(entry.target)
        self._counters.done += 1
        return True

    def _copy(self, key: StateKey, node: Node) -> None:
        stored = self._store.get(key)
        try:
            self._peers.put(node, key, stored.fields, **copy_of(stored.info))
        except Conflict:
            _LOG.info("%s has a newer bundle under %s", node.name, key)

    def _retry(self, what: str | _Lane) -> bool:
        """Puts off a node, or one chain at a node."""
        with self._changed:
            backoff = self._backoff.setdefault(what, Backoff())
            pause_s = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2**backoff.failures)
            backoff.failures = min(backoff.failures + 1, 16)
            backoff.until_s = time.monotonic() + pause_s * random.uniform(0.8, 1.2)
            self._counters.retried += 1
        return False


class _Expired(NotFound):
    pass


class Copy(TypedDict):
    """What goes with the bytes of a copy."""

    origin: str
    created_ms: int
    crc32: int
    version: int
    ttl_ms: int | None
    plan: Plan | None


def copy_of(info: BundleInfo) -> Copy:
    """What goes with a copy of a bundle: the same version, and no longer a life than it has left.

    Raises:
        NotFound: It has expired.
    """
    ttl_ms = None if info.expires_ms is None else info.expires_ms - time.time_ns() // 1_000_000
    if ttl_ms is not None and ttl_ms <= 0:
        raise _Expired("bundle", str(info.key))
    return {
        "origin": info.origin,
        "created_ms": info.created_ms,
        "crc32": info.crc32,
        "version": info.version,
        "ttl_ms": ttl_ms,
        "plan": info.plan,
    }
