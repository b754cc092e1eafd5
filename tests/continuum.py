"""Real nodes for the tests: each a proxy process with its own Redis on loopback, ready when it is handed out."""

import contextlib
import http.client
import itertools
import os
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis

from servers import is_running, wait_for
from skylark import wire
from skylark_proxy.client import ProxyClient, ProxyError
from skylark_proxy.continuum import RunningNode, start_node, with_free_ports
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import Store
from skylark_proxy.tls import TlsFiles
from skylark_proxy.topology import Topology, load_topology

TOPOLOGIES = Path(__file__).parents[1] / "examples" / "topologies"
_READY_S = 180.0  # with empty caches it compiles its components first
_STOP_S = 20.0


@dataclass(repr=False)
class LiveNode:
    """The proxy of a node that a test can kill, end and start again on the same data and address.

    `client` is the product's own; `http` sends whatever a test wants to send, and never raises for a status.
    """

    node: Node
    topology: Path
    functions: Path | None
    folder: Path
    settings: Mapping[str, str]
    client: ProxyClient
    http: httpx.Client
    running: RunningNode | None = None

    @property
    def url(self) -> str:
        """Where the proxy serves."""
        return self.client.url

    @property
    def data(self) -> Path:
        """The folder of its Redis."""
        return self.folder / self.node.name

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self.running is not None
        return self.running.process.pid

    def start(self) -> None:
        """Starts the process; it may not be ready yet."""
        self.running = start_node(self.node, self.topology, self.functions, self.folder, self.settings)

    def wait_until_ready(self) -> None:
        """Returns once the node serves."""
        running = self.running
        assert running is not None
        wait_for(lambda: not running.alive or self._is_ready(), f"node {self.node.name} is ready", _READY_S)
        assert running.alive, running.log.read_text(errors="replace")

    def restart(self) -> None:
        """Starts the process anew, after it was killed or ended."""
        self.start()
        self.wait_until_ready()

    def kill(self) -> None:
        """Ends the process as a crash would."""
        assert self.running is not None
        self.running.kill()

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Has the process end by itself; returns its exit status."""
        assert self.running is not None
        os.kill(self.pid, signal_number)
        return self.running.process.wait(_STOP_S)

    def log(self) -> str:
        """What it has logged, over all its starts."""
        return (self.folder / f"{self.node.name}.log").read_text(errors="replace")

    def redis(self) -> redis.Redis:
        """A plain client for looking behind the scenes; to be closed."""
        return redis.Redis.from_url(EmbeddedRedis(self.data).url, protocol=2, retry=None)

    def redis_pid(self) -> int:
        """The process of its Redis."""
        with self.redis() as client:
            return int(client.info("server")["process_id"])

    def held(self, chain: str) -> list[str]:
        """The keys of a chain's bundles that this node itself holds."""
        return sorted(bundle["key"] for bundle in self.client.list_bundles(chain))

    def held_of(self, key: str) -> dict[str, bytes] | None:
        """The fields that this node itself has of the bundle of the owner that the key names; None: it has none."""
        chain, owner, task = key.split(":")
        path = f"/bundles/{chain}:{self.node.name}:{task}"
        answer = self.http.get(path, params={"scope": "local"}, headers={"Skylark-Owner": owner})
        assert answer.status_code in (200, 404), answer.text
        return (
            {name: bytes(value) for name, value in wire.decode(answer.content).items()} if answer.is_success else None
        )

    def behind(self) -> list[str]:
        """What this node has yet to tell other nodes of its bundles, by its ledgers: `KEY to NODE`."""
        redis_wire = RedisWire(connect(EmbeddedRedis(self.data).url))
        try:
            found = Store(redis_wire, self.node.name).behind()
            return [f"{key} to {holder.node}" for key, holders in found for holder in holders]
        finally:
            redis_wire.close()

    def _is_ready(self) -> bool:
        try:
            return self.client.request("GET", "/health/readiness").status == 200
        except ProxyError:
            return False


Nodes = dict[str, LiveNode]


@contextlib.contextmanager
def run_nodes(
    topology: Topology,
    names: Sequence[str] = (),
    *,
    functions: Path | None = None,
    settings: Mapping[str, str] | None = None,
    of_node: Mapping[str, Mapping[str, str]] | None = None,
    start: bool = True,
    ca: Path | None = None,
) -> Iterator[Nodes]:
    """Runs the proxies of a topology's nodes, with their data in a folder of their own.

    Args:
        topology: Its addresses have ports; see `skylark_proxy.continuum.with_free_ports`.
        names: The nodes to run; all if empty. A test plays the others.
        functions: The components of every node.
        settings: Settings of every node, by the names of environment variables.
        of_node: Further settings of single nodes.
        start: Whether they run when they are handed out.
        ca: Whom the tests' clients believe; with it they ask by TLS.
    """
    with tempfile.TemporaryDirectory(prefix="skylark-nodes-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        file = folder / "topology.json"
        file.write_bytes(topology.to_json())
        nodes: Nodes = {}
        for node in topology.nodes.values():
            if not names or node.name in names:
                own = dict(settings or {}) | dict((of_node or {}).get(node.name, {}))
                url = f"{'http' if ca is None else 'https'}://{node.address}"
                verify = ssl.create_default_context(cafile=ca) if ca is not None else True
                http = stack.enter_context(httpx.Client(base_url=url, timeout=60.0, verify=verify))
                client = ProxyClient(url, 60.0, TlsFiles(ca=ca))
                nodes[node.name] = LiveNode(node, file, functions, folder, own, client, http)
        stack.callback(_stop, nodes)
        if start:
            for live in nodes.values():
                live.start()
            for live in nodes.values():
                live.wait_until_ready()
        yield nodes


@contextlib.contextmanager
def run_proxy(functions: Path | None = None, *, node: str = "alone", **settings: str) -> Iterator[LiveNode]:
    """Runs the proxy of one node, which is its own cloud; `settings` without their `SKYLARK_`."""
    topology = with_free_ports(Topology.build([Node(node, "127.0.0.1", Tier.CLOUD)], [], epoch=1))
    named = {f"SKYLARK_{name.upper()}": value for name, value in settings.items()}
    with run_nodes(topology, functions=functions, settings=named) as nodes:
        yield nodes[node]


def four_nodes() -> Topology:
    """The topology of the examples, sat1 – sat2 – sat3 – cloud1, on ports that are free now."""
    return with_free_ports(load_topology(TOPOLOGIES / "four-nodes.json", epoch=1))


def line(*names: str, latency_ms: float = 1.0, bandwidth_mbps: float = 1000.0) -> Topology:
    """A topology of nodes in a line, fast enough for every objective; the last one is the cloud."""
    tiers = [*[Tier.SAT] * (len(names) - 1), Tier.CLOUD]
    nodes = [Node(name, "127.0.0.1", tier) for name, tier in zip(names, tiers, strict=True)]
    links = [Link(a, b, latency_ms, bandwidth_mbps) for a, b in itertools.pairwise(names)]
    return with_free_ports(Topology.build(nodes, links, epoch=1))


def check_error(answer: httpx.Response, status: int, code: str, *named: str) -> dict[str, Any]:
    """Checks that an answer is an error in the one form that errors have, and that its message names all of `named`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert (error["code"], type(error["message"]), type(error["retryable"])) == (code, str, bool)
    for name in named:
        assert name in error["message"]
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0
    return error


def send_raw(url: str, data: bytes) -> bytes:
    """Sends bytes, closes the sending half, and returns all that comes until the server closes the connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the whole body of the next answer on a connection: one `recv` may give less than that."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def processes_of(marker: str) -> list[int]:
    """The running processes that have a text in their command line or environment, as all of a test's nodes have the
    name of its folder."""
    return [pid for pid in _marked(marker) if is_running(pid)]


def _marked(marker: str) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                yield int(process.name)


def _stop(nodes: Nodes) -> None:
    """Ends what still runs; a node that does not end by itself is killed, and the test fails."""
    processes = [node.running.process for node in nodes.values() if node.running is not None]
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.wait(_STOP_S)
    except subprocess.TimeoutExpired as error:
        for process in processes:
            process.kill()
            process.wait()
        raise AssertionError("a node did not end") from error
