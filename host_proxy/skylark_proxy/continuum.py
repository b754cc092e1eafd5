"""A continuum on this machine: one proxy process a node, each with its own Redis, on its own loopback address."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from skylark_proxy.child import Child, launch
from skylark_proxy.client import ProxyClient, ProxyError
from skylark_proxy.errors import ConfigError, SkylarkError
from skylark_proxy.model import Node
from skylark_proxy.tls import TlsFiles
from skylark_proxy.topology import Topology

_READY_S = 90.0
_STOP_S = 15.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 8


class NodeFailed(SkylarkError):
    """A node did not come up; the message ends with the last lines of its log."""

    code = "node-failed"


@dataclass(frozen=True)
class RunningNode:
    """The proxy process of a node."""

    node: Node
    process: Child
    log: Path
    tls: TlsFiles = field(default_factory=TlsFiles)

    @property
    def url(self) -> str:
        """Where the proxy serves."""
        return f"{self.tls.scheme}://{self.node.address}"

    def client(self, timeout_s: float = 120.0) -> ProxyClient:
        """Return a client of the proxy, which believes the authority that the node does."""
        return ProxyClient(self.url, timeout_s, TlsFiles(ca=self.tls.ca))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Ends the process as a crash would: SIGKILL. Its Redis ends with it; what was acknowledged is on disk."""
        self.process.kill()
        self.process.wait()

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def with_free_ports(topology: Topology) -> Topology:
    """The topology with a port that is free now at each node's address.

    Raises:
        ConfigError: An address is not one of this machine.
    """
    nodes = {name: replace(node, address=_free_address(node)) for name, node in topology.nodes.items()}
    return Topology.build(nodes.values(), topology.links, topology.epoch)


@contextlib.contextmanager
def run_continuum(
    topology: Topology, functions: Path | None, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[dict[str, RunningNode]]:
    """Runs the proxies of all nodes of a topology until the context ends; whatever happens, none is left.

    Args:
        topology: Its addresses have ports; see `with_free_ports`.
        functions: The components of every node; None: no node has any.
        folder: Where the topology, the logs and the nodes' data go.
        settings: Further settings of every node, by the names of environment variables.

    Raises:
        NodeFailed: A node did not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "topology.json"
    file.write_bytes(topology.to_json())
    running: dict[str, RunningNode] = {}
    try:
        for node in topology.nodes.values():
            running[node.name] = start_node(node, file, functions, folder, settings)
        for one in running.values():
            wait_until_ready(one)
        yield running
    finally:
        stop_nodes(running)


def start_node(
    node: Node, topology: Path | None, functions: Path | None, folder: Path, settings: Mapping[str, str] | None = None
) -> RunningNode:
    """Starts the proxy of one node; it may not be ready yet. Without a topology, `settings` say who knows it."""
    host, _, port = node.address.rpartition(":")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
    environment |= {
        "SKYLARK_NODE": node.name,
        "SKYLARK_TOPOLOGY": str(topology or ""),
        "SKYLARK_HOST": host,
        "SKYLARK_PORT": port,
        "SKYLARK_DATA_DIR": str(folder / node.name),
        "SKYLARK_FUNCTIONS": str(functions or ""),
    }
    log = folder / f"{node.name}.log"
    command = [sys.executable, "-m", "skylark_proxy", "serve"]
    with log.open("ab") as file:
        process = launch(command, file, signal.SIGTERM, environment=environment | dict(settings or {}))
    return RunningNode(node, process, log, TlsFiles.of(settings or {}))


def wait_until_ready(running: RunningNode) -> None:
    """Return once the node serves. While its log goes on, it may take as long as it does: its Redis loads its data.

    Raises:
        NodeFailed: It ended, or is neither ready in time nor says why.
    """
    client = running.client(timeout_s=5.0)
    end_s, logged = time.monotonic() + _READY_S, 0
    while True:
        try:
            client.request("GET", "/health/readiness")
        except ProxyError:
            if running.log.exists() and (size := running.log.stat().st_size) > logged:
                end_s, logged = time.monotonic() + _READY_S, size
            if not running.alive or time.monotonic() > end_s:
                what = "ended" if not running.alive else f"is not ready after {_READY_S:.0f} s"
                raise NodeFailed(f"node {running.node.name} {what}; its log ends with:\n{running.log_tail()}") from None
            time.sleep(_POLL_S)
        else:
            return


def stop_nodes(running: Mapping[str, RunningNode]) -> None:
    """Ends the nodes, by force where they take too long, and removes what killed ones have left."""
    for one in running.values():
        one.process.terminate()
    end_s = time.monotonic() + _STOP_S
    for one in running.values():
        try:
            one.process.wait(max(0.0, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()


def _free_address(node: Node) -> str:
    host = node.address.rpartition(":")[0] or node.address
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            expected = f"an address of this machine ({error.strerror})"
            raise ConfigError(f"the address of node {node.name}", node.address, expected) from error
        return f"{host}:{probe.getsockname()[1]}"
