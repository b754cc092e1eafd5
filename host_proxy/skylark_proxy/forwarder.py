"""Carries out the outbox: copies and deletes bundles at other nodes, as long as it takes.

Transfers of one chain to one node keep their order. A node that is away is tried again after 0.2 s, then after twice
as long each time, up to 30 s; whatever waits for it waits together.
"""

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from skylark.plan import Plan
from skylark_proxy.errors import (
    Conflict,
    NotFound,
    PeerUnreachable,
    SkylarkError,
    StoreUnavailable,
    TooManyBundles,
    UnknownNode,
)
from skylark_proxy.model import BundleInfo, Node, StateKey, WriteId
from skylark_proxy.outbox import Entry, Kind, Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.store import Store

_LOG = logging.getLogger(__name__)
_FIRST_BACKOFF_S = 0.2
_LAST_BACKOFF_S = 30.0
_POLL_S = 1.0
_GIVE_UP_MISSING_MS = 60_000
_ANNOUNCED_S = 60.0
_CLOSE_S = 5.0
_SMALL_BYTES = 64 * 1024
"""A transfer of no more than this takes no longer than its announcement, and does not wait for it."""

_Lane = tuple[str, ...]
"""A node and a chain; with an entry's id too, where its bundle is not there (yet) and must not hold up the others."""


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
        self._announced: dict[str, bool] = {}
        self._to_announce: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._silent: set[str] = set()
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._ended = False
        self._counters = Counters()
        names = ["outbox-reader", "announcer", *(f"forwarder-{number}" for number in range(threads))]
        calls = [self._read, self._announce, *[self._forward] * threads]
        self._threads = [
            threading.Thread(target=call, name=name, daemon=True) for call, name in zip(calls, names, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is a new entry in the outbox."""
        self._wake.set()

    def brings(self, key: StateKey, target: str) -> bool:
        """Whether a bundle is so on its way to a node that the node had better wait for it than fetch it."""
        return target not in self._backoff and self._outbox.on_its_way(key, target) > _SMALL_BYTES

    def counters(self) -> Counters:
        """What it has done, and what waits."""
        with self._changed:
            waiting: dict[str, int] = {}
            for (target, *_), entries in self._lanes.items():
                waiting[target] = waiting.get(target, 0) + len(entries)
            return Counters(self._counters.done, self._counters.retried, self._counters.dropped, waiting)

    def close(self) -> None:
        """Stops; what is not done stays in the outbox for the next start."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._wake.set()
        self._to_announce.put(None)
        end_s = time.monotonic() + _CLOSE_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, end_s - time.monotonic()))

    def _read(self) -> None:
        """Takes entries as they come: first what a crash, or an answer that was lost, has left, then the new ones."""
        last, in_doubt = "0", True
        while not self._ended:
            self._wake.clear()
            try:
                if in_doubt:
                    last = self._line_up(list(self._outbox.unfinished(last)), last)
                    in_doubt = False
                while entries := self._outbox.take():
                    last = self._line_up(entries, last)
            except StoreUnavailable as error:
                _LOG.warning("the outbox cannot be read: %s", error)
                in_doubt = True
            except Exception:
                _LOG.exception("reading the outbox failed")
                in_doubt = True
            self._wake.wait(_POLL_S)

    def _line_up(self, entries: list[Entry], last: str) -> str:
        """Returns the id of the last entry that is lined up now."""
        for entry in entries:
            with self._changed:
                self._announced[entry.id] = False
                self._lanes.setdefault((entry.target, entry.key.chain_id), deque()).append(entry)
                self._changed.notify()
            if entry.kind is Kind.STORE:
                self._to_announce.put(entry)
            last = entry.id
        return last

    def _announce(self) -> None:
        """Tells targets what is coming, also what has to wait for other transfers first."""
        while (entry := self._to_announce.get()) is not None:
            self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        """Tells the target what is coming, if it does not know yet.

        One that cannot be told asks the other nodes instead; it is not told again before something has reached it, so
        that it holds nobody up.
        """
        told = self._announced.get(entry.id, True)
        if told or entry.target in self._backoff or entry.target in self._silent:
            return
        try:
            self._peers.announce(self._node_of(entry.target), entry.key, _ANNOUNCED_S)
            if entry.id in self._announced:
                self._announced[entry.id] = True
        except Exception as error:
            _LOG.info("announcing %s at %s: %s", entry.key, entry.target, error)
            self._silent.add(entry.target)

    def _forward(self) -> None:
        while (lane := self._next_lane()) is not None:
            entry = self._lanes[lane][0]
            try:
                done = self._carry_out(entry, lane)
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
                tried = {lane[0] for lane in self._busy if lane[0] in self._backoff}  # one try at a time is enough
                for lane in self._lanes:
                    if lane in self._busy or lane[0] in tried:
                        continue
                    due_s = max(self._backoff.get(what, _NONE).until_s for what in (lane[0], lane))
                    if due_s <= now_s:
                        self._busy.add(lane)
                        return lane
                    soonest_s = min(soonest_s, max(0.001, due_s - now_s))
                self._changed.wait(soonest_s)
        return None

    def _carry_out(self, entry: Entry, lane: _Lane) -> bool:
        """Whether the entry is dealt with; if not, it is tried again later."""
        awaited = self._outbox.awaits(entry)
        try:
            node = self._node_of(entry.target)
            if entry.kind is Kind.DELETE:
                self._peers.delete(node, entry.key, entry.write)
            else:
                self._copy(entry, node)
        except NotFound as error:
            age_ms = time.time_ns() // 1_000_000 - entry.added_ms
            if awaited and age_ms < _GIVE_UP_MISSING_MS and not isinstance(error, _Expired):
                return self._put_aside(entry, lane)
            _LOG.info("%s is gone, it is not forwarded to %s", entry.key, entry.target)
        except TooManyBundles as error:
            _LOG.warning("%s waits until %s has room for it: %s", entry.key, entry.target, error)
            return self._put_aside(entry, lane)
        except (PeerUnreachable, StoreUnavailable, UnknownNode) as error:
            _LOG.info("forwarding %s to %s is tried again: %s", entry.key, entry.target, error)
            return self._retry(entry.target)
        except SkylarkError as error:
            _LOG.error("%s cannot be forwarded to %s and stays here: %s", entry.key, entry.target, error)
            self._counters.dropped += 1
        self._silent.discard(entry.target)
        for what in (entry.target, lane):
            self._backoff.pop(what, None)
        try:
            self._outbox.remove(entry)
        except StoreUnavailable as error:
            _LOG.info("%s was forwarded, but the outbox cannot be told: %s", entry.key, error)
            return self._retry(entry.target)
        self._counters.done += 1
        self._announced.pop(entry.id, None)
        return True

    def _put_aside(self, entry: Entry, lane: _Lane) -> bool:
        """Moves an entry to a lane of its own, to be tried again there; the rest of its chain goes on."""
        own = (entry.target, entry.key.chain_id, entry.id)
        self._retry(own)
        if lane == own:
            return False
        with self._changed:
            self._lanes[own] = deque([entry])
        return True

    def _copy(self, entry: Entry, node: Node) -> None:
        stored = self._store.get(entry.key)
        if entry.crc32 not in (None, stored.info.crc32):
            raise NotFound("bundle", str(entry.key))  # it is not yet stored over the one before, or replaced itself
        if stored.info.size_bytes > _SMALL_BYTES:
            self._tell(entry)
        try:
            self._peers.put(node, entry.key, stored.fields, **copy_of(stored.info))
        except Conflict:
            _LOG.info("%s has a newer bundle under %s", node.name, entry.key)

    def _retry(self, what: str | _Lane) -> bool:
        """Puts off a node, or one chain at a node."""
        with self._changed:
            self._counters.retried += 1
            backoff = self._backoff.setdefault(what, Backoff())
            if backoff.until_s <= time.monotonic():  # else others that were under way at once have put it off already
                pause_s = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2**backoff.failures)
                backoff.failures = min(backoff.failures + 1, 16)
                backoff.until_s = time.monotonic() + pause_s * random.uniform(0.8, 1.2)
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
    home: str | None
    write: WriteId | None


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
        "home": info.home,
        "write": info.write,
    }
