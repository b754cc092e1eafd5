"""The durable outbox of a node: transfers that must happen, in a Redis stream with a consumer group.

An entry names a bundle and what is to become of it; the bundle's bytes stay in the node's own store. An entry is added
before the bundle that it is for, so that a crash between the two leaves an entry without a bundle (which is dropped)
and never a bundle without its entry. What a consumer has taken and not finished is taken again after a crash.

What this process has added is also known without asking Redis: whether a bundle is on its way to a node, and which
entries a later store or a deletion has made needless.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from skylark_proxy.errors import OutboxFull, StoreUnavailable
from skylark_proxy.model import StateKey, WriteId
from skylark_proxy.store import Store

_STREAM = b"skylark:outbox"
_GROUP = b"forwarders"
_CONSUMER = b"forwarder"
_FIELD = b"entry"
_PAGE = 256
_COPIES_TTL_MS = b"%d" % (30 * 24 * 3600 * 1000)


class Kind(StrEnum):
    """What is to be done at the target."""

    STORE = "store"
    """Put a copy of the bundle there."""
    DELETE = "delete"
    """Delete the bundle there."""


class _Record(msgspec.Struct, omit_defaults=True):
    kind: Kind
    key: str
    target: str
    added_ms: int
    token: str
    crc32: int | None = None
    write: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A transfer.

    Attributes:
        id: Its place in the stream.
        key: The bundle.
        target: The node's name.
        added_ms: When, in milliseconds since the epoch.
        token: Names it, in all processes.
        crc32: The checksum of the bundle that it is for; another one under this key is that of before. None: any.
        write: The write that made the bundle which is to be deleted; one that another write made stays. None: any.
    """

    id: str
    kind: Kind
    key: StateKey
    target: str
    added_ms: int
    token: str
    crc32: int | None = None
    write: WriteId | None = None


@dataclass(slots=True)
class _Known:
    """What this process knows of an entry that it has added. `version` is that of its bundle, once that is stored."""

    target: str
    entry: Entry | None = None
    version: int | None = None
    size_bytes: int = 0


class Outbox:
    """The stream of one node. Safe for threads; every call blocks.

    Every method raises `StoreUnavailable` where Redis is away or refuses.

    Args:
        store: The node's store.
        max_entries: How many entries the outbox holds.
    """

    def __init__(self, store: Store, max_entries: int) -> None:
        self._store = store
        self._max_entries = max_entries
        self._process = os.urandom(8).hex()
        self._numbers = itertools.count(1)
        self._known: dict[StateKey, dict[str, _Known]] = {}
        self._lock = threading.Lock()
        with contextlib.suppress(_GroupExists):
            self._create_group()

    def add(
        self,
        kind: Kind,
        key: StateKey,
        target: str,
        added_ms: int,
        crc32: int | None = None,
        write: WriteId | None = None,
    ) -> Entry:
        """Adds a transfer; once this returns it will happen, or be found impossible.

        Raises:
            OutboxFull: There are too many entries; nothing was added.
        """
        length = len(self)
        if length >= self._max_entries:
            raise OutboxFull(length, self._max_entries)
        if kind is Kind.STORE:
            self.note_copy(key, target)
        token = f"{self._process}-{next(self._numbers)}"
        record = msgspec.json.encode(
            _Record(kind, str(key), target, added_ms, token, crc32, str(write) if write else None)
        )
        with self._lock:
            known = self._known.setdefault(key.anywhere(), {})[token] = _Known(target)
        try:
            [identity] = self._store.execute(_STREAM, (b"XADD", _STREAM, b"*", _FIELD, record))
        except StoreUnavailable:
            self._forget(key, token)
            raise
        known.entry = Entry(identity.decode(), kind, key, target, added_ms, token, crc32, write)
        return known.entry

    def settle(self, entry: Entry, version: int, size_bytes: int) -> None:
        """The bundle that an entry is for has been stored: entries to the same node for a version before it go."""
        with self._lock:
            of_bundle = self._known.get(entry.key.anywhere(), {})
            if entry.token in of_bundle:
                of_bundle[entry.token].version, of_bundle[entry.token].size_bytes = version, size_bytes
            same = [known for known in of_bundle.values() if known.target == entry.target]
        for known in same:
            if known.entry is not None and known.version is not None and known.version < version:
                self.remove(known.entry)

    def settled(self, key: StateKey) -> list[Entry]:
        """The transfers of a bundle that has been stored; to be given to `remove` if it is deleted."""
        with self._lock:
            of_bundle = list(self._known.get(key.anywhere(), {}).values())
        return [known.entry for known in of_bundle if known.entry is not None and known.version is not None]

    def on_its_way(self, key: StateKey, target: str) -> int:
        """The bytes of a bundle that has been stored and is to be brought to a node; 0 if there is none."""
        with self._lock:
            of_bundle = self._known.get(key.anywhere(), {}).values()
            return max((known.size_bytes for known in of_bundle if known.target == target), default=0)

    def awaits(self, entry: Entry) -> bool:
        """Whether the bundle that an entry is for may not be stored yet; of a former process's, nobody knows.

        To be asked before the bundle is looked for, since it may be stored in between.
        """
        if not entry.token.startswith(self._process):
            return True
        known = self._known.get(entry.key.anywhere(), {}).get(entry.token)
        return known is not None and known.version is None

    def note_copy(self, key: StateKey, target: str) -> None:
        """Notes that a node gets a copy of a bundle, so that it is deleted with it."""
        copies = _copies(key)
        self._store.execute(copies, (b"SADD", copies, target.encode()), (b"PEXPIRE", copies, _COPIES_TTL_MS))

    def copies(self, key: StateKey) -> list[str]:
        """The nodes that were to get a copy of a bundle from here."""
        [names] = self._store.execute(_copies(key), (b"SMEMBERS", _copies(key)))
        return sorted(name.decode() for name in names)

    def forget_copies(self, key: StateKey) -> None:
        """Forgets them: they are to be deleted."""
        self._store.execute(_copies(key), (b"UNLINK", _copies(key)))

    def remove(self, entry: Entry) -> None:
        """Forgets a transfer: it is done, or what it was for did not come about."""
        identity = entry.id.encode()
        acknowledge, delete = (b"XACK", _STREAM, _GROUP, identity), (b"XDEL", _STREAM, identity)
        self._store.execute(_STREAM, (b"MULTI",), acknowledge, delete, (b"EXEC",))
        self._forget(entry.key, entry.token)

    def unfinished(self, after: str = "0") -> Iterator[Entry]:
        """What this consumer took before and did not finish, in order: what a crash, or a lost answer, has left.

        Args:
            after: The last entry that is known to have been taken.
        """
        while page := self._take(after.encode()):
            yield from page
            after = page[-1].id

    def take(self) -> list[Entry]:
        """The next entries that nobody has taken, in order; none if there are none."""
        return self._take(b">")

    def __len__(self) -> int:
        [length] = self._store.execute(_STREAM, (b"XLEN", _STREAM))
        return int(length)

    def _forget(self, key: StateKey, token: str) -> None:
        with self._lock:
            of_bundle = self._known.get(key.anywhere(), {})
            of_bundle.pop(token, None)
            if not of_bundle:
                self._known.pop(key.anywhere(), None)

    def _take(self, after: bytes) -> list[Entry]:
        command = (b"XREADGROUP", b"GROUP", _GROUP, _CONSUMER, b"COUNT", b"%d" % _PAGE)
        try:
            [reply] = self._store.execute(_STREAM, (*command, b"STREAMS", _STREAM, after))
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error):
                raise
            self._create_group()  # Redis has lost its data, or was emptied
            return []
        streams = dict(reply) if isinstance(reply, list) else reply or {}
        return [_entry(identity, fields) for identity, fields in streams.get(_STREAM, []) if fields]

    def _create_group(self) -> None:
        try:
            self._store.execute(_STREAM, (b"XGROUP", b"CREATE", _STREAM, _GROUP, b"0", b"MKSTREAM"))
        except StoreUnavailable as error:
            if "BUSYGROUP" in str(error):
                raise _GroupExists from error
            raise


class _GroupExists(Exception):
    pass


def _copies(key: StateKey) -> bytes:
    return b"skylark:copies:{%s}:%s" % (key.chain_id.encode(), key.task_id.encode())


def _entry(identity: bytes, fields: list[bytes] | dict[bytes, bytes]) -> Entry:
    values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    record = msgspec.json.decode(values[_FIELD], type=_Record)
    key = StateKey.parse(record.key)
    write = WriteId.parse(record.write, "write") if record.write is not None else None
    rest = (record.target, record.added_ms, record.token, record.crc32, write)
    return Entry(identity.decode(), record.kind, key, *rest)
