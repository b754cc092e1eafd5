"""Real servers for the tests: each on loopback or a unix socket, ready when it is handed out, ended by its pid."""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from skylark_proxy.redis_binary import find_redis_server


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Returns once `condition` holds. A connection error of redis-py counts as "not yet"."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (redis.ConnectionError, redis.TimeoutError):
            pass
        time.sleep(0.01)
    raise AssertionError(f"after {timeout_s:g} s still not so: {what}")


def is_running(pid: int) -> bool:
    """Whether a process runs. One that has ended and waits for its parent to notice does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


# What Redis adds to a port for the bus of its cluster.
_CLUSTER_BUS_OFFSET = 10_000


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on, and whose cluster bus is free too."""
    for _ in range(100):
        # Both ports stay below 32768: from there on Linux gives ports to outgoing connections.
        port = random.randint(20000, 22700)
        with socket.socket() as listener, socket.socket() as bus:
            try:
                listener.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + _CLUSTER_BUS_OFFSET))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 20000 and 22700")


class RedisServer:
    """A redis-server that a test can kill and start again on the same data."""

    def __init__(self, folder: Path, port: int | None, options: Mapping[str, str], binary: Path, mode: Sequence[str]):
        self.folder = folder
        self.port = port
        self._socket = folder / "redis.sock"
        listen = {"port": "0", "unixsocket": str(self._socket)} if port is None else {"port": str(port)}
        settings = {"bind": "127.0.0.1", "dir": str(folder), "save": "", **listen, **options}
        self._config = folder / "redis.conf"
        self._config.write_text("\n".join(" ".join((name, value or '""')) for name, value in settings.items()))
        self._command = [str(binary), str(self._config), *mode]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `store.connect` takes."""
        return f"unix://{self._socket}" if self.port is None else f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client for looking behind the scenes; to be closed."""
        return redis.Redis.from_url(self.url, protocol=2, retry=None)

    def start(self) -> None:
        """Starts the server and waits until it answers and has loaded its data."""
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with self.client() as client:
            wait_for(lambda: self._process_ended() or bool(client.ping()), "redis-server answers")
        assert not self._process_ended(), (self.folder / "redis.log").read_text()

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Ends the server and waits for its end."""
        os.kill(self.pid, signal_number)
        assert self._process is not None
        self._process.wait(20)

    def restart(self, signal_number: int = signal.SIGTERM) -> None:
        """Ends the server and starts it again on the same data and address."""
        self.kill(signal_number)
        self.start()

    def close(self) -> None:
        """Ends the server if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def _process_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


@contextmanager
def run_redis(
    port: int | None = None,
    *,
    options: Mapping[str, str] | None = None,
    binary: Path | None = None,
    mode: Sequence[str] = (),
) -> Iterator[RedisServer]:
    """Runs a redis-server with its data in a folder of its own.

    Args:
        port: A port of 127.0.0.1; 0: a free one. None: a unix socket and no port.
        options: Lines of redis.conf. Without any, the server keeps nothing on disk.
        binary: Which redis-server. None: the one that the embedded default would take.
        mode: Further arguments, such as `--sentinel`.
    """
    with tempfile.TemporaryDirectory(prefix="skylark-") as folder:
        port = free_port() if port == 0 else port
        server = RedisServer(Path(folder), port, options or {}, binary or find_redis_server(), mode)
        try:
            server.start()
            yield server
        finally:
            server.close()
