"""Connections to Redis that are kept, over a pool that says what becomes of them."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from skylark_proxy.redis_connections import KeptConnections


class FakeConnection:
    """A connection whose other end is in the test's hands."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self._sock: socket.socket | None = self.near

    def send_packed_command(self, command: object) -> None:
        raise AssertionError(command)

    def read_response(self) -> object:
        raise AssertionError

    def disconnect(self) -> None:
        self._sock = None

    def close(self) -> None:
        self.near.close()
        self.far.close()


class FakePool:
    """A pool without an end."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []
        self.given_back: list[FakeConnection] = []
        self.closed: list[bool] = []

    def get_connection(self) -> FakeConnection:
        self.made.append(FakeConnection())
        return self.made[-1]

    def release(self, connection: Any) -> None:
        self.given_back.append(connection)

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.closed.append(inuse_connections)


@pytest.fixture
def pool() -> Iterator[FakePool]:
    opened = FakePool()
    yield opened
    for connection in opened.made:
        connection.close()


@pytest.fixture
def kept(pool: FakePool) -> KeptConnections:
    return KeptConnections(pool)


def test_what_was_used_last_is_used_next(pool: FakePool, kept: KeptConnections) -> None:
    """No more connections are made than are used at once, and the pool hears of none of them."""
    one, two = kept.get_connection(), kept.get_connection()
    kept.release(one)
    kept.release(two)
    assert kept.get_connection() is two
    assert kept.get_connection() is one
    assert (len(pool.made), pool.given_back) == (2, [])


@pytest.mark.parametrize("what", ["closed", "half closed", "has data"])
def test_what_cannot_be_used_any_more(pool: FakePool, kept: KeptConnections, what: str) -> None:
    """A connection that Redis has closed, or on which something is left to read, is closed and replaced."""
    good, bad = kept.get_connection(), kept.get_connection()
    kept.release(good)
    kept.release(bad)
    far = pool.made[1].far
    if what == "closed":
        far.close()
    elif what == "half closed":
        far.shutdown(socket.SHUT_WR)
    else:
        far.sendall(b"+OK\r\n")
    assert kept.get_connection() not in (good, bad)
    assert pool.given_back == [bad]
    assert bad._sock is None
    assert kept.get_connection() is good


def test_what_was_closed_here(pool: FakePool, kept: KeptConnections) -> None:
    """A connection that broke goes back to the pool, which connects it anew or makes another one."""
    broken = kept.get_connection()
    broken.disconnect()
    kept.release(broken)
    assert pool.given_back == [broken]
    assert kept.get_connection() is not broken


@pytest.mark.parametrize("also_used", [True, False])
def test_all_are_closed(pool: FakePool, kept: KeptConnections, also_used: bool) -> None:
    """All that nobody uses go back to the pool before it closes them."""
    used, idle, other = (kept.get_connection() for _ in range(3))
    kept.release(idle)
    kept.release(other)
    kept.disconnect(also_used)
    assert {id(one) for one in pool.given_back} == {id(idle), id(other)}
    assert pool.closed == [also_used]
    with contextlib.suppress(IndexError):
        kept.release(used)
    assert kept.get_connection() is used
