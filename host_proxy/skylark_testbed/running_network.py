"""The network of a testbed as the testbed sees it: its process, and what it is asked over HTTP."""

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from skylark_proxy.child import launch
from skylark_proxy.client import ProxyClient, ProxyError
from skylark_proxy.nodeinfo.messages import SimSettingsJson
from skylark_proxy.topology import Topology
from skylark_testbed.description import Description
from skylark_testbed.errors import TestbedError
from skylark_testbed.network_json import FILE, NetworkJson
from skylark_testbed.starter import Starter

_READY_S = 60.0
_POLL_S = 0.02
_BACKLOG = 512
_LOG_TAIL_LINES = 8
_TURN_S = 60.0


class RunningNetwork:
    """The process that carries what the nodes send to each other, and tells them the topology.

    Every method raises `TestbedError` where the process has ended, or refuses what is asked.

    Args:
        description: With the nodes' real addresses, with ports.
        folder: For the process's files and log.
        starter: Starts the process, and ends it.
    """

    def __init__(self, description: Description, folder: Path, starter: Starter) -> None:
        self._log = folder / "network.log"
        _write(description, folder)
        with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
            self.url = "http://{}:{}".format(*listener.getsockname())
            command = [sys.executable, "-m", "skylark_testbed.network_process", str(folder), str(listener.fileno())]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
            with self._log.open("ab") as log:
                self.process = starter.child(
                    lambda: launch(command, log, signal.SIGTERM, pass_fds=[listener.fileno()], environment=environment)
                )
        self._client = ProxyClient(self.url, timeout_s=10.0)

    def node_info_url(self, name: str) -> str:
        """The node-info service as a node sees it."""
        return f"{self.url}/nodes/{name}"

    def wait_until_ready(self) -> None:
        """Returns once it serves."""
        end_s = time.monotonic() + _READY_S
        while True:
            try:
                self._client.request("GET", "/health")
            except ProxyError:
                if self.process.poll() is not None or time.monotonic() > end_s:
                    raise TestbedError(f"the network did not start; its log ends with:\n{self._log_tail()}") from None
                time.sleep(_POLL_S)
            else:
                return

    def epoch(self) -> int:
        """The epoch of the topology that nodes are told."""
        epoch: int = self._ask("GET", "/health")["epoch"]
        return epoch

    def topology(self) -> Topology:
        """The links as they are now, faults included, with the nodes' real addresses."""
        try:
            answer = self._client.request("GET", "/network/topology")
        except ProxyError as error:
            raise self._explained(error) from error
        return Topology.parse(answer.body, int(answer.headers["etag"].strip('"')))

    def links(self) -> dict[str, Any]:
        """`links` that are up, with what they have carried, and `cut` ones."""
        links: dict[str, Any] = self._ask("GET", "/network/links")
        return links

    def carried_bytes(self, source: str, target: str) -> int:
        """What a node has sent to another one."""
        carried: int = self._ask("GET", "/network/carried", {"source": source, "target": target})["carried_bytes"]
        return carried

    def cut(self, one: str, other: str) -> None:
        """Cuts a link."""
        self._tell("/network/cut", {"between": [one, other]})

    def heal(self, one: str, other: str) -> None:
        """Makes a link what the topology says."""
        self._tell("/network/heal", {"between": [one, other]})

    def slow(self, one: str, other: str, latency_ms: float | None, bandwidth_mbps: float | None) -> None:
        """Changes a link."""
        body = {"between": [one, other], "latency_ms": latency_ms, "bandwidth_mbps": bandwidth_mbps}
        self._tell("/network/slow", body)

    def advance(self) -> None:
        """Takes the next turn, or draws anew."""
        self._ask("POST", "/refresh")

    def _ask(self, method: str, path: str, query: dict[str, object] | None = None) -> Any:
        try:
            return self._client.request(method, path, query).json()
        except ProxyError as error:
            raise self._explained(error) from error

    def _tell(self, path: str, body: object) -> None:
        try:
            self._client.request("POST", path, body=msgspec.json.encode(body))
        except ProxyError as error:
            raise self._explained(error) from error

    def _explained(self, error: ProxyError) -> TestbedError:
        if error.status is None and self.process.poll() is not None:
            return TestbedError(f"the network has ended; its log ends with:\n{self._log_tail()}")
        return TestbedError(error.message)

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def _write(description: Description, folder: Path) -> None:
    """Writes what the process reads."""
    plan = description.topology
    topologies = plan.topologies
    file = folder / "topology.json"
    if plan.provider == "rotating":
        turns = b",".join(topology.to_json() for topology in topologies)
        file.write_bytes(b'{"interval_s": %g, "topologies": [%b]}' % (plan.interval_s or _TURN_S, turns))
    else:
        file.write_bytes(topologies[0].to_json())
    settings = NetworkJson(
        provider=plan.provider,
        topology=file.name,
        interval_s=plan.interval_s,
        drawing=SimSettingsJson.of(plan.drawing),
        max_latency_ms=description.objectives.max_latency_ms,
        min_bandwidth_mbps=description.objectives.min_bandwidth_mbps,
        jitter=description.jitter,
        seed=description.seed,
    )
    (folder / FILE).write_bytes(msgspec.json.encode(settings))
