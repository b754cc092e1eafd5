"""Clients for a Redis, a Sentinel's service or a Redis Cluster, by URL; and its errors in our words."""

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import MaxConnectionsError, RedisClusterException
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from skylark_proxy.errors import StoreBrokenOff, StoreTimeout, StoreUnavailable
from skylark_proxy.redis_url import check_url, credentials, hosts, wrong
from skylark_proxy.tls import TlsFiles

Client = redis.Redis | redis.RedisCluster
"""What `connect` returns and `Store` takes. A Sentinel's client is a `redis.Redis` with a pool of its own."""

_SENTENCE = 300  # characters


def connect(
    url: str,
    *,
    timeout_s: float = 10.0,
    connect_timeout_s: float = 2.0,
    max_connections: int = 256,
    tls: TlsFiles | None = None,
) -> Client:
    """Makes a client with one connection pool. Only a cluster is contacted now, the others at the first command.

    Args:
        url: `redis://` or `rediss://` `[user:password@]host[:port][/db]`, `unix:///path[?db=]`,
            `redis+sentinel://[user:password@]host:port[,host:port]/service[/db]` (with `?sentinel_username=` and
            `?sentinel_password=` where the sentinels ask for them), or
            `redis+cluster://[user:password@]host:port[,host:port]`; `rediss+sentinel` and `rediss+cluster` by TLS.
        timeout_s: How long Redis may take for each answer, and for each megabyte that is sent.
        connect_timeout_s: How long a new connection may take.
        tls: Whom to believe and what to show where the URL says `rediss`, and nothing else itself.
        max_connections: The size of the pool. More callers at once than this get `StoreUnavailable`.

    Raises:
        ConfigError: The URL is none of these. The error never shows a password.
        StoreUnavailable: No node of the cluster answers.
    """
    options: dict[str, Any] = {
        "protocol": 2,  # RESP3's push messages have no place between our replies, and HELLO costs a round trip
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    parts = check_url(url)
    encrypted = _encryption(tls or TlsFiles()) if parts.scheme.startswith("rediss") else {}
    try:
        match parts.scheme.rpartition("+")[2]:
            case "sentinel":
                return _connect_sentinel(parts, {**options, **encrypted, "max_connections": max_connections})
            case "cluster":
                return _connect_cluster(parts, {**options, **encrypted, "max_connections": max_connections})
        encrypted.pop("ssl", None)  # the URL says so
        return _connect_one(url, options, encrypted, max_connections)
    except (ValueError, TypeError):  # without the cause: its text can hold the password
        raise wrong(url, "one of its options has a wrong value") from None
    except (redis.RedisError, RedisClusterException) as error:
        raise translate(error, f"Redis cluster at {parts.netloc.rpartition('@')[2]}") from error


def _encryption(tls: TlsFiles) -> dict[str, Any]:
    """The options of a connection by TLS. redis-py reads the files for each new connection."""
    files = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    given = {name: str(path) for name, path in files.items() if path is not None}
    return {"ssl": True, "ssl_check_hostname": True} | given


def _connect_one(url: str, options: dict[str, Any], encrypted: dict[str, Any], max_connections: int) -> redis.Redis:
    own = parse_url(url)  # type: ignore[no-untyped-call]
    if own.get("ssl_cert_reqs") == "none":
        encrypted = {}
    pool = redis.ConnectionPool(**{"max_connections": max_connections, **encrypted, **own, **options})
    pool.connection_class(**pool.connection_kwargs)  # an option with a wrong value fails here, and not in a request
    return redis.Redis(connection_pool=pool)


def _connect_sentinel(parts: SplitResult, options: dict[str, Any]) -> redis.Redis:
    _, service, *database = parts.path.split("/")
    query = dict(parse_qsl(parts.query))
    own = {"username": query.get("sentinel_username"), "password": query.get("sentinel_password")}
    shared = ("protocol", "socket_timeout", "socket_connect_timeout", "retry")
    sentinel_options = {
        name: value for name, value in options.items() if name in shared or name.startswith("ssl")
    } | own
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        hosts(parts), sentinel_kwargs=sentinel_options, **options, **credentials(parts)
    )
    return cast(redis.Redis, sentinel.master_for(unquote(service), db=int(database[0]) if database else 0))


def _connect_cluster(parts: SplitResult, options: dict[str, Any]) -> redis.RedisCluster:
    nodes = [
        ClusterNode(host, port)  # type: ignore[no-untyped-call]
        for host, port in hosts(parts)
    ]
    return redis.RedisCluster(startup_nodes=nodes, **options, **credentials(parts))


def describe(client: Client) -> str:
    if isinstance(client, redis.RedisCluster):
        return f"Redis cluster at {', '.join(sorted(client.nodes_manager.nodes_cache))}"
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        sentinels = (one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels)
        return f"Redis service {pool.service_name!r} of Sentinel at {', '.join(map(_address, sentinels))}"
    where = pool.connection_kwargs
    return f"Redis at {where['path'] if 'path' in where else _address(where)}"


def _address(where: Mapping[str, Any]) -> str:
    return f"{where['host']}:{where.get('port', 6379)}"


def translate(error: Exception, server: str) -> StoreUnavailable:
    translated = _kind(error)(f"{server}: {_sentence(error)}")
    translated.full = isinstance(error, redis.exceptions.OutOfMemoryError)
    return translated


def _kind(error: Exception) -> type[StoreUnavailable]:
    if isinstance(error, redis.TimeoutError):
        return StoreTimeout
    refused = isinstance(error, redis.BusyLoadingError | redis.AuthenticationError | MaxConnectionsError)
    return StoreBrokenOff if isinstance(error, redis.ConnectionError) and not refused else StoreUnavailable


def _sentence(error: Exception) -> str:
    """Return an error's reason. redis-py's own text may hold descriptions of its objects, of many lines."""
    if isinstance(error, MasterNotFoundError):
        return "no Sentinel can be reached that knows the primary of this service"
    if isinstance(error, redis.ReadOnlyError):
        return "it is a read only replica, which takes no writes"
    text = " ".join(re.sub(r"<[^<>]*(?:<[^<>]*>[^<>]*)*>", "", str(error)).split())
    return (text if len(text) <= _SENTENCE else f"{text[:_SENTENCE]}…") or type(error).__name__
