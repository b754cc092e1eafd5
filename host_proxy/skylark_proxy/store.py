"""State bundles in Redis: one hash for each bundle, read with one command and replaced with one round trip.

| key | what it holds |
|---|---|
| `skylark:bundle:{CHAIN}:OWNER:TASK` | a hash: each field's bytes under its name, `@version`, and `@meta` as JSON |
| `skylark:ledger:{CHAIN}:OWNER:TASK` | a hash: the highest version, and who has which copy; see `lua/common.lua` |
| `skylark:held:{CHAIN}:TASK` | a set: the owners of whom this node has a copy of the task's bundle |
| `skylark:chain:{CHAIN}` | a sorted set: the chain's bundles here, each with the time in ms when it expires |

OWNER is empty for a bundle without an owner. The braces are Redis Cluster's hash tag, so a chain is in one slot. No
name begins with `@` (`model.NAME_PATTERN`).
"""

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec

from skylark.session import MAX_VERSION
from skylark.wire import Buffer
from skylark_proxy.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    StoreBrokenOff,
    StoreUnavailable,
    Superseded,
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.machine import REAL, Machine, now_ms
from skylark_proxy.model import BundleInfo, Metadata, Sealed, StateKey, check_name, parse_plan
from skylark_proxy.redis_protocol import Command, Replies
from skylark_proxy.redis_reader import Place, Value
from skylark_proxy.redis_wire import Wire, lacks_script

REMEMBERED_MS = 3_600_000
"""How long a deletion or an expired version is remembered: longer than any request can be under way."""

_SMALL_BYTES, _FEW_FIELDS = 16 * 1024, 64
"""Up to here a bundle is written by one command; Lua takes some thousand arguments."""

_VERSION, _META, _DELETED = b"@version", b"@meta", b"@deleted"
_LEDGER_PREFIX = b"skylark:ledger:"


Into = Callable[[str, int], memoryview]
"""Return the memory that a field is to be received into: writable bytes, of exactly its size.

It is called with the field's name and size in bytes, once for each large field (`redis_reader.LARGE_BYTES`) that Redis
sends; small ones come as objects of their own. Not all that was received is returned: after a broken connection it is
called again, and of several bundles one is meant. What it raises ends the read.
"""

Room = Callable[[int], contextlib.AbstractContextManager[None]]


_ANYTHING = contextlib.nullcontext()


def no_room_needed(_size_bytes: int) -> contextlib.AbstractContextManager[None]:
    """Take every write: nothing is known of Redis' disk."""
    return _ANYTHING


class _Script:
    """A script in Lua. Redis knows it by its hash once it has run it: a kilobyte less to send, for each write."""

    def __init__(self, name: str) -> None:
        folder = files("skylark_proxy") / "lua"
        self.source = b"\n".join((folder / f"{part}.lua").read_bytes() for part in ("common", name))
        self.sha1 = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def command(self, keys: Sequence[bytes], arguments: Iterable[str | int | None]) -> Command:
        values = [b"" if value is None else str(value).encode() for value in arguments]
        return (b"EVALSHA", self.sha1, b"%d" % len(keys), *keys, *values)


_COMMIT, _DELETE, _FORGET = _Script("commit"), _Script("delete"), _Script("forget")
_REFUSE, _NOTE, _ACKNOWLEDGE = _Script("refuse"), _Script("note"), _Script("acknowledge")
_SOURCES = {script.sha1: script.source for script in (_COMMIT, _DELETE, _FORGET, _REFUSE, _NOTE, _ACKNOWLEDGE)}


class StoredBundle(msgspec.Struct, frozen=True):
    """A bundle as it was read: its metadata, and the bytes of the fields that were asked for and exist."""

    info: BundleInfo
    fields: Mapping[str, bytes | memoryview]


class Holder(msgspec.Struct, frozen=True):
    """A node that has to be told something about a bundle.

    Attributes:
        mark: What the ledger says of it; see `lua/common.lua`.
    """

    node: str
    mark: str

    @property
    def is_promised(self) -> bool:
        """True if it gets every version."""
        return self.mark.startswith("p")

    @property
    def version(self) -> int:
        """The version that it has at least; 0: none that is known."""
        return 0 if self.refused_write else int(self.mark[1:].partition(".")[0])

    @property
    def given_version(self) -> int:
        """Of a cache: the version that it was given last; else 0."""
        return int(self.mark.partition(".")[2]) if self.mark.startswith("c") else 0

    @property
    def refused_write(self) -> str | None:
        """The id of the write that it has to undo and refuse."""
        return self.mark[1:] if self.mark.startswith("x") else None


class Committed(msgspec.Struct, frozen=True):
    """A bundle that was stored, and the holders that do not have this version."""

    info: BundleInfo
    behind: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did.

    Attributes:
        existed: True if there was something to remove.
        version: The version of the deletion.
        behind: The holders that do not know of it.
    """

    existed: bool
    version: int
    behind: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of a bundle beside its contents.

    Attributes:
        version: Its highest version; 0: nothing is known.
        deleted: True if that version is a deletion.
        present: True if the bundle is there.
        behind: The holders that do not have this version.
    """

    version: int
    deleted: bool
    present: bool
    behind: tuple[Holder, ...] = ()


class _Meta(msgspec.Struct, omit_defaults=True):
    """What `@meta` holds. `write` is read by the scripts too."""

    created_ms: int
    origin: str
    crc32: int
    write: str
    sizes: dict[str, int]
    expires_ms: int | None = None
    plan: str | None = None
    seen: dict[str, int] = {}
    confirmed_ms: int | None = None


class Store:
    """The bundles of one node's Redis. Safe for threads; every call blocks until Redis has answered.

    Every method raises `StoreUnavailable` where Redis is away or refuses, and `StoreTimeout` where it does not answer
    in time; both name the server. After a timeout, a write may have happened.

    Args:
        wire: The way to Redis.
        node: The name of this node.
        max_bundle_bytes: The bytes of all fields together that a write accepts. Redis itself takes at most 512 MB in
            one field.
        max_bundles_per_chain: How many bundles of a chain are held at once. None: any number.
        machine: Whose clock counts the time to live.
        room: Called with the bytes of a bundle before it is sent, with 0 before anything else that writes; what it
            returns is open while the write is under way. It raises `StoreUnavailable` where there is no room.
    """

    def __init__(
        self,
        wire: Wire,
        node: str,
        *,
        max_bundle_bytes: int = 256 * 1024 * 1024,
        max_bundles_per_chain: int | None = None,
        machine: Machine = REAL,
        room: Room = no_room_needed,
    ) -> None:
        self.node = node
        self._wire = wire
        self._max_bundle_bytes = max_bundle_bytes
        self._max_bundles_per_chain = max_bundles_per_chain
        self._machine = machine
        self._room = room

    def get(self, key: StateKey, fields: Collection[str] | None = None, into: Into | None = None) -> StoredBundle:
        """Read a bundle of the owner that the key names, with one command.

        Args:
            key: Its node is the owner; None: the bundle of this task that has no owner.
            fields: Only these fields; one that the bundle does not have is left out. None reads all.
            into: Where large fields are to lie. None: in new memory.

        Raises:
            NotFound: It is not here, or has expired.
        """
        [reply] = self._values(key, [key], fields, into)
        found = self._stored(key, reply, fields)
        if found is None:
            raise NotFound("bundle", str(key), (self.node,))
        return found

    def find(self, key: StateKey, fields: Collection[str] | None = None, into: Into | None = None) -> StoredBundle:
        """Read the bundle that a reader means: that of the key's owner, or of any owner if it names none.

        A bundle without an owner is meant by the key of any node. Of several, the one with the highest version is read.

        Args:
            fields: As for `get`; none at all reads only the metadata.
            into: As for `get`.

        Raises:
            NotFound: None is here.
        """
        if key.node is not None:
            try:
                return self.get(key, fields, into)
            except NotFound:
                candidates = [key.anywhere()]
        else:
            [owners] = self._read(key, (b"SMEMBERS", _held_key(key)))
            candidates = [key.at(self.node), key.anywhere(), *(key.at(owner.decode()) for owner in sorted(owners))]
        replies = self._values(key, candidates, fields, into)
        found = [self._stored(candidate, reply, fields) for candidate, reply in zip(candidates, replies, strict=True)]
        newest = max(filter(None, found), key=lambda stored: stored.info.version, default=None)
        if newest is None:
            raise NotFound("bundle", str(key), (self.node,))
        return newest

    def commit(
        self,
        key: StateKey,
        sealed: Sealed,
        *,
        expected_version: int | None = None,
        known_version: int | None = None,
        promised: Sequence[str] = (),
    ) -> Committed:
        """Replace a bundle that this node owns, all or nothing, with one round trip.

        A script compares the versions and puts the fields in their place. Those of a small bundle are its arguments.
        Those of a large one do not pass through it, which would copy them twice: one transaction (MULTI) puts them
        under a staging key, lets the script rename it, and removes what was refused. Either way Redis does nothing
        before the last byte has arrived, syncs its file once, and leaves no staging key, whatever fails.

        Args:
            expected_version: The version that the bundle must have now; 0: it must not exist. None: any.
            known_version: The highest version that the writer knew of when it began. None: it need not know.
            promised: Nodes that get a copy of this and of every further version from here.

        Returns:
            The bundle as it is stored now. A write that has happened already is a success.

        Raises:
            Conflict: The stored version is not the expected one.
            Superseded: There is a later version than the known one.
            TooLarge: The fields exceed `max_bundle_bytes`.
            TooManyBundles: It would be a new one, and the chain has `max_bundles_per_chain` already.
        """
        _check_number("expected_version", expected_version, 0)
        own = key.at(self.node)
        arguments = (None, None, expected_version, known_version, len(promised), *promised)
        try:
            return self._commit(own, sealed, arguments)
        except StoreBrokenOff:
            try:
                return self._commit(own, sealed, arguments)
            except Superseded as error:  # it may have happened, and another write after it
                raise StoreUnavailable(f"{self._wire.server}: it is not known whether {own} was written") from error

    def commit_copy(self, key: StateKey, sealed: Sealed, version: int, *, promised: Sequence[str] = ()) -> Committed:
        """Store a copy of another node's bundle, or a bundle without an owner, with its version.

        Args:
            key: Its node is the owner; None: it has none.

        Raises:
            InvalidArgument: This node is the owner.
            Superseded: A later version, or the deletion of this one, is known here.
            TooLarge, TooManyBundles: See `commit`.
        """
        _check_number("version", version, 1)
        if key.node == self.node:
            raise InvalidArgument("key", str(key), f"a key of another node: {self.node} gives its bundles' versions")
        arguments = (version, key.node, None, None, len(promised), *promised)
        try:
            return self._commit(key, sealed, arguments)
        except StoreBrokenOff:
            return self._commit(key, sealed, arguments)

    def delete(
        self,
        key: StateKey,
        *,
        expected_version: int | None = None,
        known_version: int | None = None,
        always: bool = False,
    ) -> Removed:
        """Delete a bundle that this node owns. Redis frees its memory in the background.

        Args:
            expected_version: The version that the bundle must have, from 1 on. None: any.
            known_version: The highest version that who deletes knew of. None: it need not know.
            always: Leave a deletion also where nothing is known of the bundle.

        Raises:
            Conflict: The stored version is not the expected one.
            Superseded: There is a later version than the known one.
        """
        _check_number("expected_version", expected_version, 1)
        own = key.at(self.node)
        keys = (_bundle_key(own), _index_key(own), _ledger_key(own))
        arguments = (_member(own), REMEMBERED_MS, expected_version, known_version, 1 if always else None)
        outcome, version, *rest = self._run(_DELETE, keys, arguments)
        if outcome == b"conflict":
            raise Conflict(str(own), expected_version or 0, int(version))
        if outcome == b"superseded":
            raise Superseded(str(own), int(version))
        return Removed(outcome == b"deleted", int(version), _holders(rest[0]))

    def forget(self, key: StateKey, version: int, *, deleted: bool) -> Removed:
        """Drop a copy that is older than a version of its owner (or that version, if it is a deletion).

        No older one is taken from now on. The same goes for a bundle without an owner.

        Raises:
            InvalidArgument: This node is the owner.
        """
        _check_number("version", version, 1)
        if key.node == self.node:
            raise InvalidArgument("key", str(key), f"a key of another node: {self.node} gives its bundles' versions")
        keys = (_bundle_key(key), _index_key(key), _ledger_key(key), _held_key(key))
        arguments = (_member(key), REMEMBERED_MS, key.node, version, 1 if deleted else None)
        existed, behind = self._run(_FORGET, keys, arguments)
        return Removed(bool(existed), version, _holders(behind))

    def refuse(self, key: StateKey, write: str) -> Removed:
        """Undo a write to a bundle of this node whose sender has given it up; take it no more if it is under way."""
        own = key.at(self.node)
        keys = (_bundle_key(own), _index_key(own), _ledger_key(own))
        existed, behind = self._run(_REFUSE, keys, (_member(own), REMEMBERED_MS, write))
        return Removed(bool(existed), 0, _holders(behind))

    def note_cache(self, key: StateKey, node: str, version: int) -> tuple[Holder, ...]:
        """Note that a node keeps a version of a bundle of this node; return the holders that do not have the newest."""
        own = key.at(self.node)
        keys = (_bundle_key(own), _ledger_key(own))
        return _holders(self._run(_NOTE, keys, (node, f"c{version}.{version}", REMEMBERED_MS)))

    def note_refusal(self, key: StateKey, write: str) -> Holder:
        """Note that the node that the key names has to undo and refuse a write, which may still reach it."""
        assert key.node is not None
        holder = Holder(key.node, f"x{write}")
        self._run(_NOTE, (_bundle_key(key), _ledger_key(key)), (holder.node, holder.mark, REMEMBERED_MS))
        return holder

    def note_holder(self, key: StateKey, node: str) -> Holder:
        """Note that a node may have a copy of a bundle of this node that it was once promised."""
        own, holder = key.at(self.node), Holder(node, "p0")
        self._run(_NOTE, (_bundle_key(own), _ledger_key(own)), (node, holder.mark, REMEMBERED_MS))
        return holder

    def acknowledge(self, key: StateKey, holder: Holder, version: int) -> None:
        """Note that a holder has a version that it was promised."""
        self._acknowledge(key, holder, f"p{version}", None)

    def release(self, key: StateKey, holder: Holder, version: int | None = None) -> None:
        """Note that a holder has undone a write, or has no copy before a version of which it was told.

        It is no holder any more, unless that version itself may still be on its way to it.
        """
        on_its_way = version is not None and holder.given_version >= version
        self._acknowledge(key, holder, f"c{version}.{holder.given_version}" if on_its_way else None, version)

    def _acknowledge(self, key: StateKey, holder: Holder, after: str | None, told: int | None) -> None:
        arguments = (holder.node, holder.mark, after, told, REMEMBERED_MS)
        self._run(_ACKNOWLEDGE, (_bundle_key(key), _ledger_key(key)), arguments)

    def ledger(self, key: StateKey) -> Ledger:
        """Read what is known of a bundle beside its contents."""
        commands = (b"HGETALL", _ledger_key(key)), (b"HGET", _bundle_key(key), _VERSION)
        entries, version = self._read(key, *commands)
        return _ledger(_pairs(entries), int(version or 0))

    def behind(self) -> Iterator[tuple[StateKey, tuple[Holder, ...]]]:
        """Yield each bundle that has holders which do not have its version, and these.

        It walks over all ledgers, in bounded steps. It is how a node finds out at its start what is left to do.
        """
        for page in self._wire.scan(_LEDGER_PREFIX + b"*"):
            for name in page:
                key = _key_of_ledger(name)
                ledger = self.ledger(key)
                if ledger.behind:
                    yield key, ledger.behind

    def list(self, chain_id: str) -> Iterator[BundleInfo]:
        """Yield the bundles of a chain that are here, in no order, each once.

        It walks over the keys of the whole database (in a cluster: of the node that has the chain) in bounded
        steps and holds nothing up. A bundle that comes or goes meanwhile may be missing.
        """
        prefix = b"skylark:bundle:{%s}:" % check_name("chain_id", chain_id).encode()
        seen: set[bytes] = set()
        for page in self._wire.scan(prefix + b"*", prefix):
            fresh = [name for name in dict.fromkeys(page) if name not in seen]
            seen.update(fresh)
            keys = [_key_of(chain_id, name.removeprefix(prefix)) for name in fresh]
            if not keys:
                continue
            replies = self._values(keys[0], keys, ())
            for key, reply in zip(keys, replies, strict=True):
                stored = self._stored(key, reply, ())
                if stored is not None:
                    yield stored.info

    def _commit(self, key: StateKey, sealed: Sealed, arguments: Sequence[str | int | None]) -> Committed:
        """`arguments` are those of the script, from the version of a copy on."""
        data = {check_name("fields", name): _flat(value) for name, value in sealed.fields.items()}
        sizes = {name: len(value) for name, value in data.items()}
        size_bytes = sum(sizes.values())
        if size_bytes > self._max_bundle_bytes:
            raise TooLarge(f"bundle {key}", size_bytes, self._max_bundle_bytes)
        _check_number("ttl_ms", sealed.ttl_ms, 1)
        meta = self._meta(key, sealed, sizes)
        member = _member(key)
        bundle, index, ledger = _bundle_key(key, member), _index_key(key), _ledger_key(key, member)
        staging, held = b"skylark:staging:{%s}" % key.chain_id.encode(), _held_key(key)
        first = (len(data) + 1, member, sealed.ttl_ms, self._max_bundles_per_chain, meta.write, REMEMBERED_MS)
        script = _COMMIT.command((bundle, staging, index, ledger, held), (*first, *arguments))
        fields: list[bytes | memoryview] = [_META, msgspec.json.encode(meta)]
        for name, value in data.items():
            fields += (name.encode(), value)
        if size_bytes <= _SMALL_BYTES and len(data) <= _FEW_FIELDS:
            commands: Sequence[Command] = ((*script, *fields),)
        else:
            commands = ((b"MULTI",), (b"HSET", staging, *fields), script, (b"UNLINK", staging), (b"EXEC",))
        with self._room(size_bytes):
            replies = self._send(bundle, commands)
        outcome, number, *rest = replies[0] if len(commands) == 1 else replies[-1][1]
        version = int(number)
        match outcome:
            case b"stored":
                sizes, age_ms = meta.sizes, sealed.age_ms or 0 if meta.confirmed_ms is not None else None
                info = BundleInfo(key, version, self.node, sealed.meta, sizes, meta.expires_ms, age_ms)
                return Committed(info, _holders(rest[1]))
            case b"same":
                return Committed(self._info(key, version, _decoded(self._wire, key, rest[0])), _holders(rest[1]))
            case b"conflict":
                raise Conflict(str(key), int(arguments[2] or 0), version)
            case b"superseded" | b"refused":
                raise Superseded(str(key), version)
            case b"full":
                raise TooManyBundles(key.chain_id, self.node, version)
        raise StoreUnavailable(f"{self._wire.server}: the fields of bundle {key} were lost before they were committed")

    def _meta(self, key: StateKey, sealed: Sealed, sizes: dict[str, int]) -> _Meta:
        given, at_ms = sealed.meta, now_ms(self._machine)
        meta = _Meta(given.created_ms, given.origin, given.crc32, given.write, sizes)
        meta.expires_ms = at_ms + sealed.ttl_ms if sealed.ttl_ms is not None else None
        meta.plan = str(given.plan) if given.plan else None
        meta.seen = {str(other): version for other, version in given.seen.items()}
        meta.confirmed_ms = at_ms - (sealed.age_ms or 0) if key.node not in (None, self.node) else None
        return meta

    def _stored(self, key: StateKey, reply: Any, fields: Collection[str] | None) -> StoredBundle | None:
        if fields is None:
            values = _pairs(reply)
        else:
            values = {name: value for name, value in zip(_names(fields), reply, strict=True) if value is not None}
        version, meta = values.get(_VERSION), values.get(_META)
        if version is None or meta is None:
            return None
        info = self._info(key, int(version), _decoded(self._wire, key, meta))
        found = {name: values[name.encode()] for name in info.sizes if name.encode() in values}
        if fields is None and len(found) != len(info.sizes):
            raise StoreUnavailable(f"{self._wire.server}: bundle {key} lacks fields that its metadata names")
        return StoredBundle(info, found)

    def _info(self, key: StateKey, version: int, meta: _Meta) -> BundleInfo:
        plan = parse_plan(meta.plan) if meta.plan else None
        seen = {StateKey.parse(other): number for other, number in meta.seen.items()}
        told = Metadata(meta.origin, meta.created_ms, meta.crc32, meta.write, plan, seen)
        age_ms = None if meta.confirmed_ms is None else max(0, now_ms(self._machine) - meta.confirmed_ms)
        return BundleInfo(key, version, self.node, told, meta.sizes, meta.expires_ms, age_ms)

    def _values(
        self, at: StateKey, keys: Sequence[StateKey], fields: Collection[str] | None, into: Into | None = None
    ) -> Replies:
        """Read fields of bundles that are on the same server."""
        names = _names(fields) if fields is not None else None
        commands = [_reading(key, names) for key in keys]
        return self._wire.exchange(_bundle_key(at), commands, repeatable=True, place=_place(names, into or _new_memory))

    def _read(self, key: StateKey, *commands: Command) -> Replies:
        return self._wire.exchange(_bundle_key(key), commands, repeatable=True)

    def _run(self, script: _Script, keys: Sequence[bytes], arguments: Iterable[str | int | None]) -> Any:
        """Run a script that may be run twice: the second time it finds done what the first one did."""
        command = script.command(keys, arguments)
        with self._room(0):
            try:
                [reply] = self._send(keys[0], [command])
            except StoreBrokenOff:
                [reply] = self._send(keys[0], [command])
        return reply

    def _send(self, key: bytes, commands: Sequence[Command]) -> Replies:
        """Send commands; once more, with the script's source, to a Redis that has not had it since it started.

        Raises:
            StoreBrokenOff: The connection broke, and they may have been done.
        """
        try:
            return self._wire.exchange(key, commands, repeatable=False)
        except StoreUnavailable as error:
            if not lacks_script(error):
                raise
        sources = [
            (b"EVAL", _SOURCES[bytes(command[1])], *command[2:]) if command[0] == b"EVALSHA" else command
            for command in commands
        ]
        return self._wire.exchange(key, sources, repeatable=False)


def _names(fields: Collection[str]) -> tuple[bytes, ...]:
    """Return what is read of a bundle where only these fields are wanted."""
    return _VERSION, _META, *(check_name("fields", name).encode() for name in dict.fromkeys(fields))


def _reading(key: StateKey, names: Sequence[bytes] | None) -> Command:
    return (b"HGETALL", _bundle_key(key)) if names is None else (b"HMGET", _bundle_key(key), *names)


def _place(names: Sequence[bytes] | None, into: Into) -> Place:
    """Return where the values of these fields go; None: of all fields, each of which comes behind its name."""

    def place(before: Sequence[Value], size: int) -> memoryview:
        name = names[len(before)] if names is not None else before[-1]
        assert isinstance(name, bytes)
        return _new_memory("", size) if name.startswith(b"@") else into(name.decode(), size)

    return place


def _new_memory(_name: str, size: int) -> memoryview:
    return memoryview(bytearray(size))


def _pairs(reply: Any) -> Mapping[bytes, bytes]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _decoded(wire: Wire, key: StateKey, meta: bytes) -> _Meta:
    try:
        return msgspec.json.decode(meta, type=_Meta)
    except (ValueError, msgspec.DecodeError) as error:
        raise StoreUnavailable(f"{wire.server}: the metadata of bundle {key} is damaged: {error}") from error


def _ledger(entries: Mapping[bytes, bytes], present_version: int) -> Ledger:
    version, deleted = int(entries.get(_VERSION, 0)), _DELETED in entries
    holders = (Holder(name.decode(), mark.decode()) for name, mark in entries.items() if not name.startswith(b"@"))
    behind = tuple(holder for holder in holders if _is_behind(holder, version, deleted))
    return Ledger(max(version, present_version), deleted, present_version > 0, behind)


def _is_behind(holder: Holder, version: int, deleted: bool) -> bool:
    return holder.refused_write is not None or deleted or holder.version < version


def _holders(flat: Sequence[bytes]) -> tuple[Holder, ...]:
    return tuple(Holder(node.decode(), mark.decode()) for node, mark in zip(flat[::2], flat[1::2], strict=True))


def _member(key: StateKey) -> str:
    return f"{key.node or ''}:{key.task_id}"


def _bundle_key(key: StateKey, member: str | None = None) -> bytes:
    return f"skylark:bundle:{{{key.chain_id}}}:{member or _member(key)}".encode()


def _ledger_key(key: StateKey, member: str | None = None) -> bytes:
    return f"skylark:ledger:{{{key.chain_id}}}:{member or _member(key)}".encode()


def _held_key(key: StateKey) -> bytes:
    return f"skylark:held:{{{key.chain_id}}}:{key.task_id}".encode()


def _index_key(key: StateKey) -> bytes:
    return f"skylark:chain:{{{key.chain_id}}}".encode()


def _key_of(chain_id: str, member: bytes) -> StateKey:
    owner, _, task_id = member.decode().partition(":")
    return StateKey(chain_id, task_id, owner or None)


def _key_of_ledger(name: bytes) -> StateKey:
    chain_id, _, member = name.removeprefix(_LEDGER_PREFIX + b"{").partition(b"}:")
    return _key_of(chain_id.decode(), member)


def _flat(value: Buffer) -> bytes | memoryview:
    if isinstance(value, bytes):
        return value
    view = memoryview(value)
    return view.cast("B") if view.c_contiguous else view.tobytes()


def _check_number(field: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= MAX_VERSION:
        raise InvalidArgument(field, value, f"a whole number from {least} to {MAX_VERSION}")
