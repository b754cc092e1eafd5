"""Clients for a Redis, a Sentinel's service or a Redis Cluster, by URL; and its errors in our words."""

import re
from typing import Any, cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from skylark_proxy.errors import ConfigError, SkylarkError, StoreTimeout, StoreUnavailable

Client = redis.Redis | redis.RedisCluster
"""What `connect` returns and `Store` takes. A Sentinel's client is a `redis.Redis` with a pool of its own."""

_SOCKET_READ_BYTES = 256 * 1024


def connect(url: str, *, timeout_s: float = 10.0, connect_timeout_s: float = 2.0, max_connections: int = 256) -> Client:
    """Makes a client with one connection pool. Only a cluster is contacted now, the others at the first command.

    Args:
        url: `redis://` or `rediss://` `[user:password@]host[:port][/db]`, `unix:///path[?db=]`,
            `redis+sentinel://[user:password@]host:port[,host:port]/service[/db]` (with `?sentinel_username=` and
            `?sentinel_password=` where the sentinels ask for them), or
            `redis+cluster://[user:password@]host:port[,host:port]`.
        timeout_s: How long Redis may take for each answer, and for each megabyte that is sent.
        connect_timeout_s: How long a new connection may take.
        max_connections: The size of the pool. More callers at once than this get `StoreUnavailable`.

    Raises:
        ConfigError: The URL is none of these. The error never shows a password.
        StoreUnavailable: No node of the cluster answers.
    """
    options: dict[str, Any] = {
        "protocol": 2,  # RESP3's push messages have no place between our replies, and HELLO costs a round trip
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "socket_read_size": _SOCKET_READ_BYTES,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        parts = urlsplit(url)
        if parts.scheme == "redis+sentinel":
            return _connect_sentinel(parts, {**options, "max_connections": max_connections})
        if parts.scheme == "redis+cluster":
            return _connect_cluster(parts, {**options, "max_connections": max_connections})
        return _connect_one(parts, url, options, max_connections)
    except ValueError:
        # Without the cause: its text can hold the password.
        raise ConfigError(
            "SKYLARK_REDIS_URL",
            re.sub(r"(password=)[^&#]*", r"\1***", re.sub(r"^([\w+]*:?/{0,2}).*@", r"\1***@", url, flags=re.S)),
            "redis://host[:port][/db], rediss://..., unix:///path, redis+sentinel://host:port[,host:port]/service[/db]"
            " or redis+cluster://host:port[,host:port]",
        ) from None
    except (redis.RedisError, RedisClusterException) as error:
        raise translate(error, f"Redis cluster at {parts.netloc.rpartition('@')[2]}") from error


def _connect_one(parts: SplitResult, url: str, options: dict[str, Any], max_connections: int) -> redis.Redis:
    named = parts.path if parts.scheme == "unix" else parts.hostname
    if not named or (parts.scheme == "unix" and parts.hostname):
        raise ValueError("no server named")
    if parts.scheme != "unix" and not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError("the database is not a number")
    pool = redis.ConnectionPool(**{"max_connections": max_connections, **parse_url(url), **options})  # type: ignore[no-untyped-call]
    try:
        pool.connection_class(**pool.connection_kwargs)
    except TypeError:
        raise ValueError("an option that redis-py does not know") from None
    return redis.Redis(connection_pool=pool)


def _connect_sentinel(parts: SplitResult, options: dict[str, Any]) -> redis.Redis:
    path = re.fullmatch(r"/([^/]+)(?:/(\d+))?", parts.path)
    if path is None:
        raise ValueError("no service named")
    query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    own = {"username": query.pop("sentinel_username", None), "password": query.pop("sentinel_password", None)}
    if query:
        raise ValueError("unknown option")
    shared = ("protocol", "socket_timeout", "socket_connect_timeout", "retry")
    sentinel_options = {name: options[name] for name in shared} | own
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(parts), sentinel_kwargs=sentinel_options, **options, **_credentials(parts)
    )
    return cast(redis.Redis, sentinel.master_for(unquote(path[1]), db=int(path[2] or 0)))


def _connect_cluster(parts: SplitResult, options: dict[str, Any]) -> redis.RedisCluster:
    if parts.path not in ("", "/") or parts.query:
        raise ValueError("a cluster has one database and takes no options")
    nodes = [
        ClusterNode(host, port)  # type: ignore[no-untyped-call]
        for host, port in _hosts(parts)
    ]
    return redis.RedisCluster(startup_nodes=nodes, **options, **_credentials(parts))


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    hosts = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname or not one.port:
            raise ValueError("host and port are needed")
        hosts.append((one.hostname, one.port))
    return hosts


def _credentials(parts: SplitResult) -> dict[str, Any]:
    return {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
    }


def describe(client: Client) -> str:
    if isinstance(client, redis.RedisCluster):
        return f"Redis cluster at {', '.join(sorted(client.nodes_manager.nodes_cache))}"
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"Redis service {pool.service_name!r} of Sentinel"
    where = pool.connection_kwargs
    return f"Redis at {where['path']}" if "path" in where else f"Redis at {where['host']}:{where.get('port', 6379)}"


def translate(error: Exception, server: str) -> SkylarkError:
    kind = StoreTimeout if isinstance(error, redis.TimeoutError) else StoreUnavailable
    translated = kind(f"{server}: {error or type(error).__name__}")
    translated.full = isinstance(error, redis.exceptions.OutOfMemoryError)
    return translated
