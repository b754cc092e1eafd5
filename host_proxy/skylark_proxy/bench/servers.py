"""The servers that benchmarks load, each a process of its own on a free port of loopback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy.child import launch
from skylark_proxy.client import ProxyClient, ProxyError
from skylark_proxy.config import Config
from skylark_proxy.continuum import run_continuum, with_free_ports
from skylark_proxy.errors import SkylarkError
from skylark_proxy.model import Node, Tier
from skylark_proxy.topology import Topology

_START_S = 60.0
_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Where it listens.
        session: The session of its processes.
        start_ms: From its start to its first answer; None where a launcher is before it.
    """

    url: str
    session: int
    start_ms: float | None = None

    def resident_bytes(self) -> int:
        """What its processes hold resident, shared libraries included (proc(5), statm)."""
        pages = 0
        for process, _ in self._processes():
            with contextlib.suppress(OSError, IndexError):
                pages += int((process / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def processor_s(self) -> float:
        """The processor time that its processes have used, those that have ended left out (proc(5), stat)."""
        ticks = sum(int(stat[11]) + int(stat[12]) for _, stat in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[tuple[Path, list[str]]]:
        """Its processes, and of each what `stat` says after its name."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                stat = (process / "stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == self.session:
                    yield process, stat


def free_address() -> str:
    """An address of loopback, with a port that is free now."""
    return with_free_ports(Topology.build([Node("bench", "127.0.0.1", Tier.CLOUD)], [], 1)).nodes["bench"].address


@contextlib.contextmanager
def proxy(folder: Path, component: Path, config: Config) -> Iterator[Server]:
    """The proxy of a node that hosts a component."""
    topology = with_free_ports(Topology.build([Node("bench", "127.0.0.1", Tier.CLOUD)], [], epoch=1))
    settings = {
        "SKYLARK_CACHE_DIR": str(config.cache_dir),
        "SKYLARK_LOG_LEVEL": "warning",
        "SKYLARK_REDIS_FSYNC": "everysec",
    }
    with run_continuum(topology, component, folder, settings) as nodes:
        yield Server(nodes["bench"].url, nodes["bench"].process.pid)


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """The bare handler, with uvicorn, uvloop and httptools as the proxy has them."""
    address = free_address()
    host, _, port = address.rpartition(":")
    with (folder / "bare.log").open("wb") as log:
        process = launch([sys.executable, "-m", "skylark_proxy.bench.bare", host, port], log, signal.SIGTERM)
    try:
        _wait(process, address, "/", time.perf_counter() + _START_S, folder / "bare.log")
        yield Server(f"http://{address}", process.pid)
    finally:
        process.terminate()
        process.wait()


def start_ms(folder: Path, component: Path, config: Config, path: str) -> float:
    """Start a node of its own with a component, Redis included; return how long it took until it answered."""
    folder.mkdir()
    host, _, port = (address := free_address()).rpartition(":")
    where = ["--host", host, "--port", port, "--node", "bench", "--data-dir", str(folder / "data")]
    command = [sys.executable, "-m", "skylark_proxy", "serve", str(component), *where]
    with program(folder, command, address, path, {"SKYLARK_CACHE_DIR": str(config.cache_dir)}) as server:
        assert server.start_ms is not None
        return server.start_ms


@contextlib.contextmanager
def program(
    folder: Path, command: Sequence[str], address: str, path: str, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A program that serves at an address. It is started directly: a launcher before it would be measured with it."""
    log = folder / "server.log"
    with log.open("wb") as file:
        begun = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=os.environ | (settings or {}),
            )
        except OSError as error:
            raise SkylarkError(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        _wait(process, address, path, begun + _START_S, log)
        yield Server(f"http://{address}", process.pid, 1000 * (time.perf_counter() - begun))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, path: str, end_s: float, log: Path) -> None:
    """Waits until a server answers a POST.

    Raises:
        SkylarkError: It ends, or does not answer in time.
    """
    while True:
        try:
            ProxyClient(f"http://{address}").request("POST", path)
            return
        except ProxyError as error:
            if process.poll() is not None or time.perf_counter() > end_s:
                said = log.read_text(errors="replace")[-500:]
                raise SkylarkError(f"the server did not start: {error}: {said}") from error
            time.sleep(_POLL_S)
