"""What a node has yet to tell others of its bundles: which copies to make, to drop, and which writes to undo.

What is to be done stands in the ledgers of the node's Redis, written in one transaction with the bundle. This is the
queue of it in memory: after a start it is filled from the ledgers. An entry says only which bundle and which node; what
that node gets is decided when it is done, from what is there then. So entries for the same two are one, and no order
among them matters.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from skylark_proxy.errors import OutboxFull
from skylark_proxy.machine import Machine
from skylark_proxy.model import StateKey

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 30.0
SUPPLIED_S = 5.0
"""How long somebody else has for bringing a copy."""
_POLL_S = 1.0


@dataclass(slots=True)
class Entry:
    """A bundle that a node is to be told of.

    Attributes:
        size_bytes: Of the bundle, if it is to be copied; 0: not known, or nothing to copy.
        is_supplied: True if somebody else brings it, so that the target may have it by now.
        refused: A write that it has to undo and refuse.
        announced: True once the target has been told to wait for it, or need not be.
        again: True if it was put in once more while it was being done.
    """

    key: StateKey
    target: str
    size_bytes: int = 0
    announced: bool = False
    is_supplied: bool = False
    refused: str | None = None
    busy: bool = False
    again: bool = False
    failures: int = 0
    due_s: float = 0.0


@dataclass(slots=True)
class _Pause:
    until_s: float
    failures: int = 1


class Outbox:
    """The queue. Safe for threads.

    A node that is away is tried again after 0.2 s, then after twice as long each time, up to 30 s, with one entry; all
    others for it wait.

    Args:
        max_entries: How many entries it takes from those who can be told that it is full.
    """

    def __init__(self, machine: Machine, max_entries: int) -> None:
        self._machine = machine
        self._max_entries = max_entries
        self._targets: OrderedDict[str, OrderedDict[StateKey, Entry]] = OrderedDict()
        self._pauses: dict[str, _Pause] = {}
        self._changed = machine.condition()
        self._count = 0
        self._ended = False

    def check_room(self) -> None:
        """Return if there is room for what a write promises.

        Raises:
            OutboxFull: There is none.
        """
        if self._count >= self._max_entries:
            raise OutboxFull(self._count, self._max_entries)

    def add(
        self,
        key: StateKey,
        targets: Iterable[str],
        size_bytes: int = 0,
        *,
        is_supplied: bool = False,
        refused: str | None = None,
    ) -> None:
        """Enter a bundle for each of these nodes, also where there is no room: it has been promised already.

        Args:
            is_supplied: True if somebody else brings it: after a while it is asked whether it is there.
            refused: A write that was given up, which they have to undo and refuse.
        """
        due_s = self._machine.monotonic_s() + SUPPLIED_S if is_supplied else 0.0
        with self._changed:
            for target in targets:
                entries = self._targets.setdefault(target, OrderedDict())
                entry = entries.get(key)
                if entry is None:
                    entries[key] = Entry(key, target, size_bytes, is_supplied=is_supplied, due_s=due_s, refused=refused)
                    self._count += 1
                    continue
                entry.size_bytes, entry.announced = size_bytes, False
                entry.again = entry.busy
                entry.is_supplied &= is_supplied
                entry.refused = refused or entry.refused
                entry.due_s = min(entry.due_s, due_s)
            self._changed.notify_all()

    def take(self) -> Entry | None:
        """Wait for an entry that may be tried now; None once all is to end. Give it to `done` or `retry`."""
        with self._changed:
            while not self._ended:
                now_s = self._machine.monotonic_s()
                entry, soonest_s = self._next(now_s)
                if entry is not None:
                    entry.busy = True
                    return entry
                self._changed.wait(min(_POLL_S, max(0.001, soonest_s - now_s)))
        return None

    def take_unannounced(self, over_bytes: int) -> Entry | None:
        """Wait for an entry of more than this size whose target does not know of it; None once all is to end."""
        with self._changed:
            while not self._ended:
                for target, entries in self._targets.items():
                    if target in self._pauses:
                        continue
                    for entry in entries.values():
                        if not entry.announced and entry.size_bytes > over_bytes:
                            entry.announced = True
                            return entry
                self._changed.wait(_POLL_S)
        return None

    def done(self, entry: Entry) -> None:
        """Take an entry out, unless it was entered again meanwhile."""
        with self._changed:
            entry.busy = False
            self._pauses.pop(entry.target, None)
            if entry.again:
                entry.again, entry.failures = False, 0
            else:
                self._remove(entry)
            self._changed.notify_all()

    def retry(self, entry: Entry, *, whole_target: bool) -> None:
        """Put an entry off, or all that is for its target."""
        with self._changed:
            entry.busy = entry.again = False
            now_s = self._machine.monotonic_s()
            if whole_target:
                pause = self._pauses.get(entry.target)
                if pause is None:
                    pause = self._pauses[entry.target] = _Pause(0.0, 0)
                if pause.until_s <= now_s:  # else others that were under way at once have put it off already
                    pause.until_s = now_s + self._pause_s(pause.failures)
                    pause.failures += 1
            else:
                self._pauses.pop(entry.target, None)
                entry.due_s = now_s + self._pause_s(entry.failures)
                entry.failures += 1
            self._changed.notify_all()

    def on_its_way(self, key: StateKey, target: str) -> int:
        """Return the size in bytes of a bundle that is to be copied to a node that can be reached; 0: there is none."""
        with self._changed:
            if target in self._pauses:
                return 0
            entries = self._targets.get(target) or OrderedDict[StateKey, Entry]()
            owned = (entry.size_bytes for other, entry in entries.items() if _is_same(other, key))
            return max(owned, default=0)

    def waiting(self) -> dict[str, int]:
        """Return how many entries wait, by node."""
        with self._changed:
            return {target: len(entries) for target, entries in self._targets.items() if entries}

    def end(self) -> None:
        """Let everybody who waits go; what is left stands in the ledgers."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """True once `end` was called."""
        return self._ended

    def __len__(self) -> int:
        return self._count

    def _next(self, now_s: float) -> tuple[Entry | None, float]:
        """Return an entry that is due, or None and when the next one will be. Nodes take turns."""
        soonest_s = now_s + _POLL_S
        for target, entries in self._targets.items():
            pause = self._pauses.get(target)
            if pause is not None:
                if pause.until_s > now_s:
                    soonest_s = min(soonest_s, pause.until_s)
                    continue
                if any(entry.busy for entry in entries.values()):  # one try is enough to find out
                    continue
            for entry in entries.values():
                if entry.busy:
                    continue
                if entry.due_s <= now_s:
                    self._targets.move_to_end(target)
                    return entry, now_s
                soonest_s = min(soonest_s, entry.due_s)
        return None, soonest_s

    def _remove(self, entry: Entry) -> None:
        entries = self._targets.get(entry.target) or OrderedDict[StateKey, Entry]()
        if entries.get(entry.key) is entry:
            del entries[entry.key]
            self._count -= 1
        if not entries:
            self._targets.pop(entry.target, None)

    def _pause_s(self, failures: int) -> float:
        pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * float(2 ** min(failures, 16)))
        return pause_s * self._machine.random().uniform(0.8, 1.2)


def _is_same(entered: StateKey, asked: StateKey) -> bool:
    return entered == asked or (asked.node is None and entered.anywhere() == asked)
