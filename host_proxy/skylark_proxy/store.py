"""State bundles in Redis: one hash for each bundle, read with one command and replaced with one round trip.

A bundle's hash holds each field's bytes under the field's name, its version in `@version` and the rest of its
metadata, as JSON, in `@meta`; no name begins with `@` (`model.NAME_PATTERN`). Its key is
`skylark:bundle:{<chain_id>}:<task_id>`: the braces are Redis Cluster's hash tag, so a chain is in one slot.

Beside them, the sorted set `skylark:chain:{<chain_id>}` has a chain's task ids, each with the time, in milliseconds by
the clock of Redis, when its bundle expires (`inf`: never). It counts a chain's bundles without a walk over the keys.
What has expired goes from it when a put meets the limit, so that it is never in the way of one, and with a deletion;
the set itself expires with the bundle that lives longest.
"""

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import redis
from redis.exceptions import BusyLoadingError, MovedError, NoPermissionError, NoScriptError, RedisClusterException
from redis.sentinel import SentinelConnectionPool

from skylark.plan import Plan
from skylark_proxy.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    StoreUnavailable,
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.model import BundleInfo, StateKey, WriteId, check_name, parse_plan
from skylark_proxy.redis_client import Client, describe, translate
from skylark_proxy.redis_protocol import Command, Pool, Replies, round_trip

MAX_VERSION = 2**53 - 1
"""The largest version: Lua, which compares the versions in Redis, counts in doubles."""

_SCAN_COUNT = 1000
_PROBE = b"skylark:probe"
_MAX_PROBES = 4096  # keys to try until each primary of a cluster has one; a primary without slots has none

_COMMIT = b"""
local current = tonumber(redis.call('HGET', KEYS[1], '@version') or 0)
local parts, expected, version = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local crc32, ttl_ms, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
local node, home, writer, number = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
if redis.call('HLEN', KEYS[2]) ~= parts then return {'incomplete', current} end
if current > 0 and (number or version) then
  local meta = redis.call('HGET', KEYS[1], '@meta')
  local stored = cjson.decode(meta)
  if number and stored.writer == writer then
    if stored.number == number then return {'same', current, meta} end
    if stored.number > number then return {'conflict', current} end
  end
  if version and stored.home and home ~= '' and stored.home ~= home then
    if stored.home == node then return {'conflict', current} end
  elseif version and version <= current then
    return {version == current and stored.crc32 == crc32 and 'same' or 'conflict', current, meta}
  end
end
if expected and expected ~= current then return {'conflict', current} end
if limit and current == 0 and redis.call('ZCARD', KEYS[3]) >= limit then
  local time = redis.call('TIME')
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
  if redis.call('ZCARD', KEYS[3]) >= limit then return {'full', limit} end
end
version = version or current + 1
redis.call('HSET', KEYS[2], '@version', string.format('%.0f', version))
redis.call('RENAME', KEYS[2], KEYS[1])
if ttl_ms then
  local time, left_ms = redis.call('TIME'), redis.call('PTTL', KEYS[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('ZADD', KEYS[3], time[1] * 1000 + math.floor(time[2] / 1000) + ttl_ms, ARGV[6])
  if left_ms == -1 then
    local last_ms = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
    if last_ms ~= 'inf' then redis.call('PEXPIREAT', KEYS[3], last_ms) end
  elseif left_ms < ttl_ms then
    redis.call('PEXPIRE', KEYS[3], ARGV[5])
  end
else
  redis.call('ZADD', KEYS[3], 'inf', ARGV[6])
  redis.call('PERSIST', KEYS[3])
end
return {'stored', version}
"""
"""Publishes a staged bundle, or leaves it for the UNLINK that follows. RENAME alone writes the bundle's own key.

KEYS: the bundle, the staging key, the chain's sorted set. ARGV: the number of fields that the staging key must have,
the version that the bundle must have (or empty), the version to store (or empty: the next), the checksum, the time to
live (or empty), the task's id, how many bundles the chain may have (or empty), this node, the bundle's home (or empty),
the two parts of the write's id (or empty).

Versions are compared with those of the same home. A copy replaces one of another home, since nobody can tell which is
newer, but never a bundle that is at home here.
"""

_COMMIT_SHA1 = hashlib.sha1(_COMMIT, usedforsecurity=False).hexdigest().encode()
"""The name by which Redis knows a script that it has run: a kilobyte less to send and to hash, for each put."""

_DELETE = b"""
local current, expected = tonumber(redis.call('HGET', KEYS[1], '@version') or 0), tonumber(ARGV[1])
if expected and expected ~= current then return current end
if ARGV[3] ~= '' and current > 0 then
  local stored = cjson.decode(redis.call('HGET', KEYS[1], '@meta'))
  if stored.writer ~= ARGV[3] or stored.number ~= tonumber(ARGV[4]) then return 0 end
end
redis.call('UNLINK', KEYS[1])
if redis.call('ZREM', KEYS[2], ARGV[2]) == 1 then
  local time = redis.call('TIME')
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
  local last_ms = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
  if last_ms and last_ms ~= 'inf' then redis.call('PEXPIREAT', KEYS[2], last_ms) end
end
return current
"""
"""Deletes a bundle that has a version (or any, if empty), and says which it had: 0 if there was none.

KEYS: the bundle, the chain's sorted set. ARGV: the version, the task's id, the two parts of the id of the write that
made the bundle (or empty: any).
"""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle as it was read: its metadata, and the bytes of the fields that were asked for and exist."""

    info: BundleInfo
    fields: dict[str, bytes]


class _Meta(msgspec.Struct, omit_defaults=True):
    """What `@meta` holds. `crc32` is read by the commit script too."""

    created_ms: int
    origin: str
    crc32: int
    sizes: dict[str, int]
    expires_ms: int | None = None
    plan: str | None = None
    home: str | None = None
    writer: str | None = None
    number: int | None = None


class Store:
    """The bundles of one node's Redis. Safe for threads; every call blocks until Redis has answered.

    Every method that talks to Redis raises `StoreUnavailable` where Redis is away or refuses, and `StoreTimeout`
    where it does not answer in time; both name the server.

    Retries: a pooled connection that Redis has closed is replaced before anything is sent on it, for reads and
    writes alike. Where a connection breaks later, reads, and puts that name the `version` to store or have an id, are
    sent once more, because doing them twice is the same as once. No other write is repeated: its first try may have
    happened, and then a second would count the version up again or meet a conflict with itself; the caller, who
    gets `StoreUnavailable`, can read the version and decide. After a timeout nothing is repeated.
    """

    def __init__(
        self,
        client: Client,
        node: str,
        *,
        max_bundle_bytes: int = 256 * 1024 * 1024,
        max_bundles_per_chain: int | None = None,
    ) -> None:
        """Wraps a client made by `connect`, which the store closes.

        Args:
            client: The Redis, Sentinel or Cluster client. Its own retry policy does not matter.
            node: The name of this node, which the keys in answers bear.
            max_bundle_bytes: The bytes of all fields together that a put accepts. Redis itself takes at most
                512 MB in one field.
            max_bundles_per_chain: How many bundles of a chain are held at once. None: any number.
        """
        self._client: Any = client  # Any: half of redis-py's methods are untyped
        self._in_cluster = isinstance(client, redis.RedisCluster)
        self._node = node
        self._max_bundle_bytes = max_bundle_bytes
        self._max_bundles_per_chain = max_bundles_per_chain
        self._server = describe(client)

    def get(self, key: StateKey, fields: Collection[str] | None = None) -> StoredBundle:
        """Reads a bundle with one command.

        Args:
            key: The bundle; its node is not looked at.
            fields: Only these fields; one that the bundle does not have is left out. None reads all.

        Raises:
            NotFound: There is no such bundle, or it has expired.
        """
        if fields is None:
            [reply] = self._read(_bundle_key(key), (b"HGETALL", _bundle_key(key)))
            values = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        else:
            names = [check_name("fields", name).encode() for name in fields]
            wanted = [b"@version", b"@meta", *names]
            [reply] = self._read(_bundle_key(key), (b"HMGET", _bundle_key(key), *wanted))
            values = {name: value for name, value in zip(wanted, reply, strict=True) if value is not None}
        info = self._info(key, values.pop(b"@version", None), values.pop(b"@meta", None))
        found = {name: values[name.encode()] for name in info.sizes if name.encode() in values}
        if fields is None and len(found) != len(info.sizes):
            raise StoreUnavailable(f"{self._server}: bundle {key} lacks fields that its metadata names")
        return StoredBundle(info, found)

    def head(self, key: StateKey) -> BundleInfo:
        """Reads a bundle's metadata and none of its bytes.

        Raises:
            NotFound: There is no such bundle, or it has expired.
        """
        [reply] = self._read(_bundle_key(key), (b"HMGET", _bundle_key(key), b"@version", b"@meta"))
        return self._info(key, *reply)

    def put(
        self,
        key: StateKey,
        fields: Mapping[str, bytes | memoryview],
        *,
        origin: str,
        created_ms: int,
        crc32: int,
        expected_version: int | None = None,
        version: int | None = None,
        ttl_ms: int | None = None,
        plan: Plan | None = None,
        home: str | None = None,
        write: WriteId | None = None,
    ) -> BundleInfo:
        """Replaces a whole bundle, all or nothing, with one round trip.

        One transaction (MULTI) puts the fields under a staging key, lets a script compare the versions and rename
        it, and removes what was refused. So Redis does nothing before the last byte has arrived, syncs its file
        once, and leaves no staging key, whatever fails. The bytes do not pass through the script, which would
        copy them twice.

        Args:
            key: The bundle; its node is not looked at.
            fields: Every field's bytes. A memoryview is sent without a copy.
            origin: The node whose function made the bundle.
            created_ms: When, in milliseconds since the epoch.
            crc32: The checksum of all bytes, which is stored and not verified.
            expected_version: The version that the bundle must have now; 0: it must not exist. None: any.
            version: The version to store, for a bundle that another node made. It must be newer than the stored
                one; the same version with the same checksum is a success and writes nothing. None: the next one.
            ttl_ms: How long the bundle lives. None: for ever, also where the one before it had an end.
            plan: The chain's plan.
            home: The node of whose bundle this is a copy, where `version` is given. A copy does not replace a bundle
                whose home is this node.
            write: The write's id: the same one again is a success and writes nothing.

        Returns:
            The metadata as it is stored now.

        Raises:
            Conflict: The stored version is not the expected one, or not older than `version`, or its writer has
                written a later one since.
            TooLarge: The fields exceed `max_bundle_bytes`.
            TooManyBundles: It would be a new one, and the chain has `max_bundles_per_chain` already.
        """
        _check_number("expected_version", expected_version, 0)
        _check_number("version", version, 1)
        _check_number("ttl_ms", ttl_ms, 1)
        if version is not None and expected_version is not None:
            raise InvalidArgument("expected_version", expected_version, "none where the version to store is given")
        data = {check_name("fields", name): _flat(value) for name, value in fields.items()}
        sizes = {name: len(value) for name, value in data.items()}
        if sum(sizes.values()) > self._max_bundle_bytes:
            raise TooLarge(f"bundle {key}", sum(sizes.values()), self._max_bundle_bytes)
        expires_ms = time.time_ns() // 1_000_000 + ttl_ms if ttl_ms is not None else None
        meta = _Meta(created_ms, origin, crc32, sizes, expires_ms, str(plan) if plan else None)
        meta.home = home if version is not None else self._node
        if write is not None:
            meta.writer, meta.number = write.writer, write.number
        conditions = (expected_version, version, crc32, ttl_ms, key.task_id, self._max_bundles_per_chain)
        commands = _put_commands(key, data, meta, (*conditions, self._node, meta.home, meta.writer, meta.number))
        replies = self._commit(key, commands, repeatable=version is not None or write is not None)
        _, (outcome, actual, *stored), _ = replies[-1]
        if outcome == b"same":
            return self._info(key, b"%d" % actual, *stored)
        if outcome == b"conflict":
            wanted = version if expected_version is None else expected_version
            raise Conflict(str(key), actual - 1 if wanted is None else wanted, actual)
        if outcome == b"full":
            raise TooManyBundles(key.chain_id, self._node, actual)
        if outcome == b"incomplete":
            raise StoreUnavailable(f"{self._server}: the fields of bundle {key} were lost before they were committed")
        return _bundle_info(key.at(self._node), actual, meta)

    def delete(self, key: StateKey, expected_version: int | None = None, write: WriteId | None = None) -> bool:
        """Deletes a bundle; Redis frees its memory in the background.

        Args:
            key: The bundle; its node is not looked at.
            expected_version: The version that the bundle must have, from 1 on. None: any.
            write: The write that made the bundle; one that another write made is not there. None: any.

        Returns:
            Whether there was a bundle.

        Raises:
            Conflict: There is a bundle with another version.
        """
        _check_number("expected_version", expected_version, 1)
        name = _bundle_key(key)
        command = (
            *(b"EVAL", _DELETE, b"2", name, _index_key(key)),
            *(_optional(expected_version), key.task_id.encode()),
            *((write.writer.encode(), b"%d" % write.number) if write is not None else (b"", b"")),
        )
        [actual] = self._exchange(name, [command], repeatable=False)
        if expected_version is not None and actual not in (0, expected_version):
            raise Conflict(str(key), expected_version, actual)
        return bool(actual)

    def list(self, chain_id: str) -> Iterator[BundleInfo]:
        """Yields the bundles of a chain, in no order, each once.

        It walks over the keys of the whole database (in a cluster: of the node that has the chain) in bounded
        steps and holds nothing up. A bundle that comes or goes meanwhile may be missing.
        """
        prefix = b"skylark:bundle:{%s}:" % check_name("chain_id", chain_id).encode()
        seen: set[bytes] = set()
        cursor = b"0"
        while True:
            scan = (b"SCAN", cursor, b"MATCH", prefix + b"*", b"COUNT", b"%d" % _SCAN_COUNT)
            [(cursor, page)] = self._read(prefix, scan)
            fresh = [name for name in dict.fromkeys(page) if name not in seen]
            seen.update(fresh)
            metas = self._read(prefix, *((b"HMGET", name, b"@version", b"@meta") for name in fresh)) if fresh else ()
            for name, (version, meta) in zip(fresh, metas, strict=True):
                if version is not None:
                    yield self._info(StateKey(chain_id, name.removeprefix(prefix).decode()), version, meta)
            if cursor == b"0":
                return

    def execute(self, key: bytes, *commands: Command) -> Replies:
        """Sends other commands to the server that has `key`, all at once, and returns their replies. None is repeated.

        For what is kept beside the bundles; see `outbox`.
        """
        return self._exchange(key, commands, repeatable=False)

    def ping(self) -> None:
        """Returns once Redis (in a cluster: every primary) has answered."""
        for pool in self._pools():
            self._read(pool, (b"PING",))

    def check_writable(self) -> None:
        """Return once Redis (in a cluster: every primary with slots) has answered that it takes writes.

        The question is a write that changes nothing, `SET … XX` of a key that nobody has: Redis refuses it as any
        other one, if it is a replica, full, loading, or cannot write its disk, and else puts nothing on its disk.

        Raises:
            StoreUnavailable: It does not, with its reason.
        """
        for pool, key in self._probes():
            try:
                self._read(pool, (b"PING",), (b"SET", key, b"", b"XX"))
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, NoPermissionError):  # a user that may not ask; it has answered
                    raise

    def _probes(self) -> Iterator[tuple[Pool, bytes]]:
        """Yield the pool of each server, with a key that the server takes."""
        if not self._in_cluster:
            yield self._client.connection_pool, _PROBE
            return
        left = {node.name for node in self._client.get_primaries()}
        for number in range(_MAX_PROBES):
            key = b"%s:{%d}" % (_PROBE, number)
            node = self._client.get_node_from_key(key)
            if node is not None and node.name in left:
                left.remove(node.name)
                yield self._node_pool(node), key
            if not left:
                return

    def durability(self) -> str | None:
        """Whether what Redis acknowledges is on disk.

        Returns:
            None where it is (with `appendfsync everysec`: within a second), else a sentence for the log.
        """
        settings = (b"appendonly", b"appendfsync", b"maxmemory-policy")
        for pool in self._pools():
            try:
                replies = self._read(pool, *((b"CONFIG", b"GET", name) for name in settings))
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, redis.ResponseError):
                    raise
                return f"{self._server}: unknown whether Redis persists, since it does not let us read its settings"
            appendonly, appendfsync, policy = (_setting(reply) for reply in replies)
            if appendonly != b"yes":
                return f"{self._server}: appendonly is not on, a crash of Redis loses acknowledged bundles"
            if appendfsync == b"no":
                return f"{self._server}: appendfsync is 'no', a power failure loses acknowledged bundles"
            if policy != b"noeviction":
                return f"{self._server}: maxmemory-policy is {policy.decode()!r}, Redis may evict bundles"
        return None

    def close(self) -> None:
        """Closes every connection. The store cannot be used after it."""
        self._client.close()
        if self._in_cluster:
            return
        pool = self._client.connection_pool
        pool.disconnect()
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                sentinel.close()

    def _commit(self, key: StateKey, commands: Sequence[Command], *, repeatable: bool) -> Replies:
        """Sends the commands of a put; once more, with the script, to a Redis that has not had it since it started."""
        try:
            return self._exchange(_bundle_key(key), commands, repeatable=repeatable)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
            with_script = [
                (b"EVAL", _COMMIT, *command[2:]) if command[0] == b"EVALSHA" else command for command in commands
            ]
            return self._exchange(_bundle_key(key), with_script, repeatable=repeatable)

    def _info(self, key: StateKey, version: bytes | None, meta: bytes | None) -> BundleInfo:
        if version is None or meta is None:
            raise NotFound("bundle", str(key), (self._node,))
        try:
            return _bundle_info(key.at(self._node), int(version), msgspec.json.decode(meta, type=_Meta))
        except (ValueError, msgspec.DecodeError) as error:
            raise StoreUnavailable(f"{self._server}: the metadata of bundle {key} is damaged: {error}") from error

    def _read(self, where: bytes | Pool, *commands: Command) -> Replies:
        return self._exchange(where, commands, repeatable=True)

    def _exchange(self, where: bytes | Pool, commands: Sequence[Command], *, repeatable: bool) -> Replies:
        """Sends commands to a pool, or to the server that has a key, all at once, and returns their replies.

        Raises:
            StoreUnavailable: The connection, or one of the commands, failed.
        """
        try:
            try:
                return round_trip(self._pool(where), commands)
            except redis.ReadOnlyError:  # after a failover: the address may lead to the new primary by now
                self._reconnect(where)
                if not repeatable:
                    raise
            except MovedError:  # the cluster's node refused them all: the slot is elsewhere now
                self._refresh()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if isinstance(error, BusyLoadingError | redis.AuthenticationError):
                    raise
                self._refresh()
                if not repeatable or isinstance(error, redis.TimeoutError):
                    raise
            return round_trip(self._pool(where), commands)
        except (redis.RedisError, RedisClusterException) as error:
            raise translate(error, self._server) from error

    def _pool(self, where: bytes | Pool) -> Pool:
        if not isinstance(where, bytes):
            return where
        if self._in_cluster:
            return self._node_pool(self._client.get_node_from_key(where))
        return cast(Pool, self._client.connection_pool)

    def _pools(self) -> Sequence[Pool]:
        if self._in_cluster:
            return [self._node_pool(node) for node in self._client.get_primaries()]
        return [self._client.connection_pool]

    def _node_pool(self, node: Any) -> Pool:
        """The pool of one node of a cluster. (Cluster pipelines block EVAL and SCAN; a node takes every command.)"""
        return cast(Pool, self._client.get_redis_connection(node).connection_pool)

    def _reconnect(self, where: bytes | Pool) -> None:
        """Close the connections that nobody uses at the moment, so that names are looked up again."""
        if self._in_cluster:
            self._refresh()
        else:
            self._pool(where).disconnect(inuse_connections=False)

    def _refresh(self) -> None:
        if self._in_cluster:
            self._client.nodes_manager.initialize()


def _put_commands(
    key: StateKey,
    data: Mapping[str, bytes | memoryview],
    meta: _Meta,
    arguments: Sequence[str | int | None],
) -> list[Command]:
    """`arguments` are those of the script, from the second on."""
    staging = b"skylark:staging:{%s}" % key.chain_id.encode()
    fields = (part for name, value in data.items() for part in (name.encode(), value))
    values = (b"%d" % (len(data) + 1), *map(_optional, arguments))
    return [
        (b"MULTI",),
        (b"HSET", staging, b"@meta", msgspec.json.encode(meta), *fields),
        (b"EVALSHA", _COMMIT_SHA1, b"3", _bundle_key(key), staging, _index_key(key), *values),
        (b"UNLINK", staging),
        (b"EXEC",),
    ]


def _bundle_key(key: StateKey) -> bytes:
    return f"skylark:bundle:{{{key.chain_id}}}:{key.task_id}".encode()


def _index_key(key: StateKey) -> bytes:
    return f"skylark:chain:{{{key.chain_id}}}".encode()


def _bundle_info(key: StateKey, version: int, meta: _Meta) -> BundleInfo:
    plan = parse_plan(meta.plan) if meta.plan else None
    write = WriteId(meta.writer, meta.number) if meta.writer is not None and meta.number is not None else None
    rest = (meta.created_ms, meta.origin, meta.crc32, meta.sizes, meta.expires_ms, plan, meta.home, write)
    return BundleInfo(key, version, *rest)


def _flat(value: bytes | memoryview) -> bytes | memoryview:
    if isinstance(value, bytes):
        return value
    view = memoryview(value)
    return view.cast("B") if view.c_contiguous else view.tobytes()


def _optional(value: str | int | None) -> bytes:
    return b"" if value is None else str(value).encode()


def _setting(reply: Any) -> bytes:
    values = list(reply.values()) if isinstance(reply, dict) else reply[1::2]
    return values[0] if values else b""


def _check_number(field: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= MAX_VERSION:
        raise InvalidArgument(field, value, f"a whole number from {least} to {MAX_VERSION}")
