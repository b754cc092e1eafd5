"""Connections to one Redis that are kept between round trips."""

import contextlib
from collections import deque

import redis

from skylark_proxy.redis_protocol import Connection, Pool


class KeptConnections:
    """A pool of redis-py, whose connections stay here once they were used. Safe for threads.

    redis-py counts and reports each time that one is taken and given back, which costs more than a small command.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: deque[Connection] = deque()

    def get_connection(self) -> Connection:
        """Return a connection that Redis has not closed; the one that was used last, if there is one."""
        try:
            connection = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError, OSError):
            if not connection.can_read():
                return connection
        connection.disconnect()
        self._pool.release(connection)
        return self._pool.get_connection()

    def release(self, connection: Connection) -> None:
        """Give a connection back, which may be closed."""
        if connection._sock is None:
            self._pool.release(connection)
        else:
            self._kept.append(connection)

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections that nobody uses at the moment, or all."""
        with contextlib.suppress(IndexError):
            while True:
                self._pool.release(self._kept.pop())
        self._pool.disconnect(inuse_connections)
