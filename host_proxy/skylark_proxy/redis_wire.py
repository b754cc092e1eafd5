"""Commands on their way to one Redis, a Sentinel's service or a Redis Cluster, and what is done when one breaks off."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import redis
from redis.exceptions import BusyLoadingError, MovedError, NoPermissionError, NoScriptError, RedisClusterException
from redis.sentinel import SentinelConnectionPool

from skylark_proxy.errors import StoreUnavailable
from skylark_proxy.redis_client import Client, describe, translate
from skylark_proxy.redis_connections import KeptConnections
from skylark_proxy.redis_protocol import Command, Pool, Replies, round_trip
from skylark_proxy.redis_reader import Place

_PROBE = b"skylark:probe"
_MAX_PROBES = 4096  # keys to try until each primary of a cluster has one; a primary without slots has none
_SCAN_COUNT = b"1000"


class Wire(Protocol):
    """What a `Store` needs of Redis. Every method raises `StoreUnavailable`, or `StoreTimeout`, where Redis fails."""

    server: str
    """The server's address without secrets, for messages."""

    def exchange(
        self, key: bytes, commands: Sequence[Command], *, repeatable: bool, place: Place | None = None
    ) -> Replies:
        """Send commands to the server that has `key`, all at once, and return their replies.

        Args:
            repeatable: True if doing them twice is the same as once: they are sent again where a connection breaks.
            place: Where large values go, if all replies are lists of values. It is called again for what is sent again.
        """

    def scan(self, pattern: bytes, key: bytes | None = None) -> Iterator[list[bytes]]:
        """Yield pages of the keys that match, in no order; one can come twice.

        Args:
            key: Look only at the server that has this key. None: at all servers.
        """


class RedisWire:
    """The wire to a real Redis. Safe for threads; every call blocks.

    A pooled connection that Redis has closed is replaced before anything is sent on it. Where one breaks later, what is
    repeatable is sent once more, and nothing else. After a timeout nothing is repeated.

    Args:
        client: Made by `connect`. Its own retry policy does not matter. `close` closes it.
    """

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # Any: half of redis-py's methods are untyped
        self._in_cluster = isinstance(client, redis.RedisCluster)
        self._one = None if isinstance(client, redis.RedisCluster) else _kept(client.connection_pool)
        self.server = describe(client)

    def exchange(
        self, key: bytes, commands: Sequence[Command], *, repeatable: bool, place: Place | None = None
    ) -> Replies:
        """See `Wire.exchange`."""
        return self._exchange(key, commands, repeatable=repeatable, place=place)

    def scan(self, pattern: bytes, key: bytes | None = None) -> Iterator[list[bytes]]:
        """See `Wire.scan`. It walks over the keys in bounded steps and holds nothing up."""
        for where in self._pools() if key is None else [key]:
            cursor = b"0"
            while True:
                command = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
                [(cursor, page)] = self._exchange(where, [command], repeatable=True)
                yield page
                if cursor == b"0":
                    break

    def ping(self) -> None:
        """Return once Redis (in a cluster: every primary) has answered."""
        for pool in self._pools():
            self._exchange(pool, [(b"PING",)], repeatable=True)

    def check_writable(self) -> None:
        """Return once Redis (in a cluster: every primary with slots) has answered that it takes writes.

        The question is a write that changes nothing, `SET … XX` of a key that nobody has: Redis refuses it as any
        other one, if it is a replica, full, loading, or cannot write its disk, and else puts nothing on its disk.

        Raises:
            StoreUnavailable: It does not, with its reason.
        """
        for pool, key in self._probes():
            try:
                self._exchange(pool, [(b"PING",), (b"SET", key, b"", b"XX")], repeatable=True)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, NoPermissionError):  # a user that may not ask; it has answered
                    raise

    def durability(self) -> str | None:
        """Find out whether what Redis acknowledges is on disk.

        Returns:
            None where it is (with `appendfsync everysec`: within a second), else a sentence for the log.
        """
        settings = (b"appendonly", b"appendfsync", b"maxmemory-policy")
        for pool in self._pools():
            commands = [(b"CONFIG", b"GET", name) for name in settings]
            try:
                replies = self._exchange(pool, commands, repeatable=True)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, redis.ResponseError):
                    raise
                return f"{self.server}: unknown whether Redis persists, since it does not let us read its settings"
            appendonly, appendfsync, policy = (_setting(reply) for reply in replies)
            if appendonly != b"yes":
                return f"{self.server}: appendonly is not on, a crash of Redis loses acknowledged bundles"
            if appendfsync == b"no":
                return f"{self.server}: appendfsync is 'no', a power failure loses acknowledged bundles"
            if policy != b"noeviction":
                return f"{self.server}: maxmemory-policy is {policy.decode()!r}, Redis may evict bundles"
        return None

    def close(self) -> None:
        """Close every connection. The wire cannot be used after it."""
        self._client.close()
        if self._in_cluster:
            return
        pool = self._client.connection_pool
        pool.disconnect()
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                sentinel.close()

    def _exchange(
        self, where: bytes | Pool, commands: Sequence[Command], *, repeatable: bool, place: Place | None = None
    ) -> Replies:
        try:
            try:
                return round_trip(self._pool(where), commands, place)
            except redis.ReadOnlyError:  # nothing was done; after a failover the address may lead to the new primary
                self._reconnect(where)
            except MovedError:  # the cluster's node refused them all: the slot is elsewhere now
                self._refresh()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if isinstance(error, BusyLoadingError | redis.AuthenticationError):
                    raise
                self._refresh()
                if not repeatable or isinstance(error, redis.TimeoutError):
                    raise
            return round_trip(self._pool(where), commands, place)
        except (redis.RedisError, RedisClusterException) as error:
            raise translate(error, self.server) from error

    def _probes(self) -> Iterator[tuple[Pool, bytes]]:
        """Yield the pool of each server, with a key that the server takes."""
        if self._one is not None:
            yield self._one, _PROBE
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

    def _pool(self, where: bytes | Pool) -> Pool:
        if not isinstance(where, bytes):
            return where
        return self._one or self._node_pool(self._client.get_node_from_key(where))

    def _pools(self) -> Sequence[Pool]:
        return [self._one] if self._one else [self._node_pool(node) for node in self._client.get_primaries()]

    def _node_pool(self, node: Any) -> Pool:
        # Cluster pipelines block EVAL and SCAN; a node takes every command.
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


def _kept(pool: redis.ConnectionPool) -> Pool:
    # A Sentinel's pool looks at each connection that it is given back: the service may have another primary by then.
    own = cast(Pool, pool)
    return own if isinstance(pool, SentinelConnectionPool) else KeptConnections(own)


def lacks_script(error: StoreUnavailable) -> bool:
    """Return True if Redis has not had a script since it started."""
    return isinstance(error.__cause__, NoScriptError)


def _setting(reply: Any) -> bytes:
    values = list(reply.values()) if isinstance(reply, dict) else reply[1::2]
    return values[0] if values else b""
