"""Connections to one Redis that are kept between round trips."""

import contextlib
import select
from collections import deque

from skylark_proxy.redis_protocol import Connection, Pool


class KeptConnections:
    """A pool of redis-py, whose connections stay here once they were used. Safe for threads.

    redis-py counts and reports each time that one is taken and given back, which costs more than a small command.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: deque[tuple[Connection, select.poll]] = deque()

    def get_connection(self) -> Connection:
        """Return a connection that Redis has not closed; the one that was used last, if there is one."""
        try:
            connection, lookout = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        if not lookout.poll(0):
            return connection
        connection.disconnect()  # Redis has closed it: nothing else is to be read between round trips
        self._pool.release(connection)
        return self._pool.get_connection()

    def release(self, connection: Connection) -> None:
        """Give a connection back, which may be closed."""
        if connection._sock is None:
            self._pool.release(connection)
            return
        lookout = select.poll()
        lookout.register(connection._sock, select.POLLIN)
        self._kept.append((connection, lookout))

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections that nobody uses at the moment, or all."""
        with contextlib.suppress(IndexError):
            while True:
                self._pool.release(self._kept.pop()[0])
        self._pool.disconnect(inuse_connections)
