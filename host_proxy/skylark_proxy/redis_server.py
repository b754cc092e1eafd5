"""The embedded default: a real `redis-server` of the proxy's own, on a unix socket, with its data in a folder."""

import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import IO, Literal, Self
from urllib.parse import quote

import redis

from skylark_proxy import data_folder, redis_repair
from skylark_proxy.child import Child, launch
from skylark_proxy.disk_room import DiskRoom, free_and_total
from skylark_proxy.errors import ConfigError, StoreUnavailable
from skylark_proxy.private_folders import make_private
from skylark_proxy.redis_binary import Server, find_servers

_SOCKET_PATH_BYTES = 100
"""What a unix socket's path may have: `sun_path` holds 108 bytes on Linux and 104 on macOS, with a final NUL."""

_LOCK_WAIT_S = 5.0
_STOP_S = 10.0
_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 5.0
_HEALTHY_S = 30.0
_LOG_BYTES = 1024 * 1024
_LOG_TAIL_LINES = 8
_PROGRESS_S = 5.0
_COMPACT_S = 2.0
_REWRITE_BYTES = 256 * 1024 * 1024
_PATIENCE = {"protocol": 2, "socket_timeout": 2.0, "socket_connect_timeout": 2.0}

_log = logging.getLogger(__name__)


class _State(Enum):
    """What a server is doing, as far as its socket says."""

    SILENT = "does not answer"
    LOADING = "loads its data"
    READY = "answers"


class _Stopped(Exception):
    """The server is to be stopped while its data are repaired."""


class EmbeddedRedis:
    """A redis-server that lives as long as the proxy: started on entry, restarted when it dies, stopped on exit.

    The server is launched by the supervising thread, which lives until the server is stopped: see `child`.

    The folder's lock is inherited by redis-server. So a proxy that follows a killed one waits until the old
    server has written its last byte, and two proxies can never share a folder.
    """

    def __init__(
        self,
        data_dir: Path,
        fsync: Literal["always", "everysec"] = "always",
        *,
        start_timeout_s: float = 60.0,
        progress: Callable[[str], None] = _log.info,
    ) -> None:
        """Nothing is started yet.

        Args:
            data_dir: The folder of the append-only file, the log and the lock; it is made where it is missing.
            fsync: When acknowledged writes are on disk: at once, or within a second.
            start_timeout_s: How long the server may neither answer nor load its data. Loading and repairing may take
                as long as they do.
            progress: Told every few seconds what the start is waiting for.
        """
        self._data_dir = data_dir.resolve()
        self._fsync = fsync
        self._start_timeout_s = start_timeout_s
        self._progress = progress
        self._doing = ""
        self._failure: StoreUnavailable | None = None
        self.room = DiskRoom(self._data_dir, self._compact)
        self._compacted_s = 0.0
        self._socket = _socket_path(self._data_dir)
        self._lock_fd = -1
        self._server: Server | None = None
        self._command: list[str] = []
        self._process: Child | None = None
        self._end = "was not started"
        self._thread = threading.Thread(target=self._supervise, name="redis-server", daemon=True)
        self._change = threading.Lock()
        self._stopping = threading.Event()
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """What `store.connect` takes."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The process of the server, which changes when it is restarted; None before the start."""
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and returns once it has loaded its data and answers. To be called once.

        Raises:
            ConfigError: There is no server, none that may open the folder, or another proxy uses the folder.
            StoreUnavailable: The server did not come up; the message ends with the last lines of its log. Or its data
                are damaged (`DamagedData`); the message names the file and what to do.
        """
        servers = find_servers()
        try:
            make_private(self._data_dir)
            self._lock_fd = _lock(self._data_dir)
        except OSError as error:
            expected = "a folder that the proxy can write to"
            raise ConfigError("SKYLARK_DATA_DIR", str(self._data_dir), expected) from error
        try:
            self._server = server = data_folder.choose(servers, self._data_dir)
            _make_private(self._socket.parent, self._data_dir)
            self._command = _command(server.path, self._data_dir, self._socket, self._fsync)
            self._thread.start()
            self._wait_until_ready()
            self._note(server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server, by force where it takes longer than ten seconds, and removes its socket."""
        with self._change:
            self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            self._thread.join(_STOP_S)
            self._process.kill()
        if self._thread.ident is not None:
            self._thread.join()
        if self._lock_fd >= 0:
            with contextlib.suppress(OSError):
                self._socket.unlink(missing_ok=True)
                if self._socket.parent != self._data_dir:
                    self._socket.parent.rmdir()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _note(self, server: Server) -> None:
        try:
            data_folder.note(server, self._data_dir)
        except OSError as error:
            expected = f"a folder in which {data_folder.NOTE} can be written ({error.strerror})"
            raise ConfigError("SKYLARK_DATA_DIR", str(self._data_dir), expected) from error

    def _wait_until_ready(self) -> None:
        sign_s = told_s = time.monotonic()
        bytes_read = 0
        while (state := _state(self._socket)) is not _State.READY:
            now_s, before, bytes_read = time.monotonic(), bytes_read, _bytes_read(self.pid)
            if self._doing or state is _State.LOADING or bytes_read > before:
                sign_s = now_s
            late = now_s > sign_s + self._start_timeout_s
            if late or not self._thread.is_alive():
                raise self._not_ready(late=late)
            if now_s > told_s + _PROGRESS_S:
                told_s = now_s
                self._progress(f"Redis {state.value}" if not self._doing else f"Redis' data: {self._doing}")
            time.sleep(0.005)
        self._ready.set()

    def _not_ready(self, *, late: bool) -> StoreUnavailable:
        if self._failure is not None:
            return self._failure
        reason = f"was not ready after {self._start_timeout_s:g} s" if late else self._end
        text = f"redis-server {reason}; its log ends with:\n{self._log_tail()}"
        if not late and self._server is not None:
            damaged = redis_repair.refused_file(self._server, self._data_dir)
            if damaged is not None or "append only file" in text:
                return redis_repair.refusal(damaged, self._data_dir, text)
        return StoreUnavailable(text)

    def _supervise(self) -> None:
        """Runs the server again and again until it is stopped, or its first start fails."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            started_s = time.monotonic()
            self._end = self._run_once()
            if self._stopping.is_set() or not self._ready.is_set():
                return
            if time.monotonic() - started_s > _HEALTHY_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.error("redis-server %s; it is restarted. Its log ends with:\n%s", self._end, self._log_tail())
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)

    def _run_once(self) -> str:
        """Returns what became of the server."""
        try:
            self._prepare()
            with self._change:
                if self._stopping.is_set():
                    return "was stopped"
                with _open_log(self._data_dir) as log:
                    self._process = launch(self._command, log, signal.SIGTERM, pass_fds=[self._lock_fd])
            status = self._process.wait()
        except _Stopped:
            return "was stopped"
        except StoreUnavailable as error:
            self._failure = error
            return f"was not started: {error}"
        except OSError as error:
            return f"could not be started: {error}"
        return f"ended with signal {-status}" if status < 0 else f"ended with status {status}"

    def _prepare(self) -> None:
        """Make room and repair the data, before a start."""
        assert self._server is not None
        self._doing = "looking at them"
        try:
            self.room.relieve()
            redis_repair.repair(self._server, self._data_dir, self._note_repair)
        finally:
            self._doing = ""

    def _note_repair(self, doing: str) -> None:
        if self._stopping.is_set():
            raise _Stopped
        self._doing = doing

    def _compact(self) -> None:
        """Have the file written anew if that makes room: deleted bundles stay in it until then."""
        with self._change:
            now_s = time.monotonic()
            if now_s - self._compacted_s < _COMPACT_S:
                return
            self._compacted_s = now_s
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, **_PATIENCE) as client:
            in_memory = int(client.info("memory")["used_memory_dataset"])
            in_file = int(client.info("persistence")["aof_current_size"])
            free, _ = free_and_total(self._data_dir)
            if 2 * in_memory < in_file and in_memory < free // 2:
                text = "the disk is nearly full: Redis writes its file anew, which has %d bytes, of which %d are in use"
                _log.info(text, in_file, in_memory)
                client.bgrewriteaof()

    def _log_tail(self) -> str:
        try:
            lines = _log_path(self._data_dir).read_text(errors="replace").splitlines()
        except OSError as error:
            return f"(the log cannot be read: {error})"
        return "\n".join(lines[-_LOG_TAIL_LINES:])


def _command(binary: Path, data_dir: Path, socket_path: Path, fsync: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": fsync,
        "save": "",
        "maxmemory-policy": "noeviction",
        "lazyfree-lazy-expire": "yes",
        "lazyfree-lazy-server-del": "yes",  # RENAME over a bundle frees the old one in the background
        "lazyfree-lazy-user-del": "yes",
        "auto-aof-rewrite-min-size": str(_rewrite_bytes(data_dir)),
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]


def _socket_path(data_dir: Path) -> Path:
    """In the data folder, or where that is too long in a folder whose name is the same at every start."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"skylark-{os.getuid()}-{digest}" / "redis.sock"


def _make_private(folder: Path, data_dir: Path) -> None:
    """Makes the socket's own folder, if it has one, and makes sure that nobody else made it first."""
    if folder == data_dir:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        text = (
            f"Redis' socket needs the folder {folder}, and it is not one that belongs to the proxy's user alone. "
            "Remove it, or choose a SKYLARK_DATA_DIR with a shorter path."
        )
        raise ConfigError("SKYLARK_DATA_DIR", str(data_dir), "a shorter path", text)


def _lock(data_dir: Path) -> int:
    """Returns the descriptor of the locked file. The lock ends with the last process that has it."""
    lock_fd = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock_fd)
                raise ConfigError("SKYLARK_DATA_DIR", str(data_dir), "a folder that no other proxy uses") from None
            time.sleep(0.02)
        else:
            return lock_fd


def _rewrite_bytes(data_dir: Path) -> int:
    """Return the size from which on the file is written anew once it has doubled.

    Redis' default, 64 MB, would do so after a few large bundles. On a small disk there must be room for it.
    """
    return min(_REWRITE_BYTES, free_and_total(data_dir)[1] // 8)


def _state(socket_path: Path) -> _State:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(16)
        except OSError:
            return _State.SILENT
    if answer.startswith(b"-LOADING"):
        return _State.LOADING
    return _State.READY if answer.startswith((b"+PONG", b"-MISCONF")) else _State.SILENT  # -MISCONF: the disk is full


def _bytes_read(pid: int | None) -> int:
    """Return how much a process has read so far; 0 where the system does not tell.

    A server that loads large values does not answer for long.
    """
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _log_path(data_dir: Path) -> Path:
    return data_dir / "redis.log"


def _open_log(data_dir: Path) -> IO[bytes]:
    """Opens the log to append to it; one that has grown large is kept as `redis.log.1` first."""
    path = _log_path(data_dir)
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
