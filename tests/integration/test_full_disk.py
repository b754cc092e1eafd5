"""A disk that is full: reads and deletes go on, writes are refused in time, and what was acknowledged is there."""

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from continuum import LiveNode, check_error, run_proxy
from mounts import small_tmpfs
from servers import wait_for
from skylark import wire
from skylark_proxy import redis_server
from skylark_proxy.disk_room import BALLAST
from skylark_proxy.errors import NotFound, StoreUnavailable
from skylark_proxy.model import Metadata, Sealed, StateKey
from skylark_proxy.redis_binary import Server, find_servers
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import Store

DISK_BYTES = 40_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small file system of its own."""
    with small_tmpfs(tmp_path, DISK_BYTES) as place:
        yield place


@pytest.fixture(params=find_servers(), ids=str)
def server(request: pytest.FixtureRequest, disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    """Each server of this machine, with its data on that disk."""
    chosen: Server = request.param
    monkeypatch.setattr(redis_server, "find_servers", lambda: [chosen])
    with EmbeddedRedis(disk / "data") as running:
        yield running


@pytest.fixture
def store(server: EmbeddedRedis) -> Iterator[Store]:
    """The store on that server, as a proxy has it."""
    wire = RedisWire(connect(server.url))
    yield Store(wire, "sat-1", room=server.room.reserved)
    wire.close()


def put(store: Store, task: str, data: bytes) -> None:
    store.commit(StateKey("chain", task), Sealed({"f": data}, Metadata("sat-1", 1, 0, uuid.uuid4().hex)))


def read(store: Store, task: str) -> bytes:
    return bytes(store.get(StateKey("chain", task, "sat-1")).fields["f"])


def fill(disk: Path) -> None:
    """Take all room of a disk with another file."""
    with (disk / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def takes(store: Store, task: str, data: bytes) -> bool:
    with contextlib.suppress(StoreUnavailable):
        put(store, task, data)
        return True
    return False


def is_there(store: Store, task: str, data: bytes) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return read(store, task) == data
    return False


def test_another_program_fills_the_disk(disk: Path, server: EmbeddedRedis, store: Store) -> None:
    """Writes are refused, to be tried again later; reads and deletes go on with the same server; then all is well."""
    for number in range(20):
        put(store, f"t{number}", b"%d" % number * 50_000)
    pid = server.pid
    fill(disk)
    for number in range(5):
        with pytest.raises(StoreUnavailable, match=r"the disk of .* is full") as caught:
            put(store, f"t{number}", b"new")
        assert (caught.value.full, caught.value.retryable, caught.value.code) == (True, True, "unavailable")
        assert read(store, f"t{number}") == b"%d" % number * 50_000
    for number in range(10):
        assert store.delete(StateKey("chain", f"t{number}")).existed
        with pytest.raises(NotFound):
            read(store, f"t{number}")
    assert not (disk / "data" / BALLAST).exists()
    with pytest.raises(StoreUnavailable, match="is full"):
        server.room.check()
    make_room(disk)
    put(store, "t0", b"new")
    server.room.check()
    assert (disk / "data" / BALLAST).exists()
    assert server.pid == pid
    assert read(store, "t0") == b"new"


def test_bundles_fill_the_disk(disk: Path, server: EmbeddedRedis, store: Store) -> None:
    """Writers that go on at once until the disk is full do not end the server, and lose nothing acknowledged."""
    stored: set[str] = set()

    def write(name: int) -> None:
        with contextlib.suppress(StoreUnavailable):
            for number in range(100):
                put(store, f"t{name}-{number}", bytes([name]) * 1_000_000)
                stored.add(f"t{name}-{number}")

    pid = server.pid
    writers = [threading.Thread(target=write, args=[name]) for name in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert server.pid == pid
    assert len(stored) > 20
    os.kill(pid or 0, signal.SIGKILL)
    wait_for(lambda: server.pid != pid and is_there(store, "t0-0", bytes([0]) * 1_000_000), "the server is back")
    assert {info.key.task_id for info in store.list("chain")} >= stored
    for task in stored:
        assert store.delete(StateKey("chain", task)).existed
    wait_for(lambda: takes(store, "new", b"1" * 1_000_000), "deleted bundles make room")


def test_a_server_that_ended_on_a_full_disk(disk: Path, server: EmbeddedRedis, store: Store) -> None:
    """A server that met the full disk itself, or was killed then, comes back and serves reads and deletes."""
    put(store, "kept", b"1" * 100_000)
    put(store, "deleted", b"1" * 100_000)
    fill(disk)
    blind = RedisWire(connect(server.url))
    pid = server.pid
    with contextlib.closing(blind), pytest.raises(StoreUnavailable):
        put(Store(blind, "sat-1"), "unfinished", b"2" * 20_000_000)
    wait_for(lambda: server.pid != pid and is_there(store, "kept", b"1" * 100_000), "the server is back")
    pid = server.pid
    os.kill(pid or 0, signal.SIGKILL)
    wait_for(lambda: server.pid != pid and is_there(store, "kept", b"1" * 100_000), "the server is back again")
    assert store.delete(StateKey("chain", "deleted")).existed
    with pytest.raises(StoreUnavailable, match="is full"):
        put(store, "new", b"3")
    make_room(disk)
    put(store, "new", b"3")
    for task in ("unfinished", "deleted"):
        with pytest.raises(NotFound):
            read(store, task)
    server.stop()
    with EmbeddedRedis(disk / "data") as again, contextlib.closing(RedisWire(connect(again.url))) as wire:
        assert read(Store(wire, "sat-1"), "new") == b"3"
        assert read(Store(wire, "sat-1"), "kept") == b"1" * 100_000


def test_a_node_whose_disk_is_full(disk: Path) -> None:
    """A node with a full disk says so, and asks writers to come back later; reads and deletes do not notice."""
    with run_proxy(data_dir=str(disk / "data")) as node:
        for task in ("read", "deleted"):
            assert write(node, task, b"1").status_code == 200
        fill(disk)
        refused = write(node, "read", b"2")
        error = check_error(refused, 503, "unavailable", "is full")
        assert (error["retryable"], error["full"]) == (True, True)
        assert int(refused.headers["retry-after"]) > 0
        check_error(write(node, "new", b"2"), 503, "unavailable", "is full")
        assert content(node, "read") == b"1"
        assert node.http.delete("/bundles/chain:alone:deleted").status_code == 204
        assert node.http.get("/bundles/chain:alone:deleted").status_code == 404
        readiness = node.http.get("/health/readiness")
        assert (readiness.status_code, "is full" in readiness.json()["reason"]) == (503, True)
        assert node.http.get("/health/liveness").status_code == 200
        node.kill()
        node.start()
        wait_for(lambda: serves(node), "the node serves")
        assert content(node, "read") == b"1"
        make_room(disk)
        assert write(node, "new", b"2").status_code == 200
        assert node.http.get("/health/readiness").status_code == 200


def write(node: LiveNode, task: str, data: bytes) -> httpx.Response:
    return node.http.put(f"/bundles/chain:alone:{task}", content=b"".join(wire.encode({"f": data})))


def content(node: LiveNode, task: str) -> bytes:
    return bytes(node.client.get_bundle(f"chain:alone:{task}")[0]["f"])


def serves(node: LiveNode) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return node.http.get("/health/liveness").status_code == 200
    return False
