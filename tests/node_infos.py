"""The node-info service for the tests: a real process on a free port of loopback, ready when it is handed out."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from servers import free_port, wait_for
from skylark_proxy.child import Child, launch

_STOP_S = 20.0


@dataclass(repr=False)
class LiveNodeInfo:
    """A node-info service that a test can kill, end and start again on the same port."""

    port: int
    options: list[str]
    environment: Mapping[str, str]
    log_file: Path
    http: httpx.Client
    process: Child | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return str(self.http.base_url).rstrip("/")

    def start(self) -> None:
        """Starts the process and waits until it serves."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
        command = [sys.executable, "-m", "skylark_proxy", "node-info", "--port", str(self.port), *self.options]
        with self.log_file.open("ab") as log:
            process = launch(command, log, signal.SIGTERM, environment=environment | dict(self.environment))
        self.process = process
        wait_for(lambda: process.poll() is not None or self._serves(), "node-info serves")
        assert process.poll() is None, self.log()

    def kill(self) -> None:
        """Ends the process as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(_STOP_S)

    def end(self) -> int:
        """Has the process end by itself; returns its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(_STOP_S)

    def log(self) -> str:
        """What it has logged, over all its starts."""
        return self.log_file.read_text(errors="replace")

    def get(self, path: str, **query: object) -> Any:
        """The JSON of an answer with status 200."""
        answer = self.http.get(path, params={name: str(value) for name, value in query.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object = None) -> Any:
        """Sends JSON; the JSON of an answer with status 200."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def epoch(self) -> int:
        """The epoch now."""
        epoch: int = self.get("/current-topology")["epoch"]
        return epoch

    def _serves(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def run_node_info(
    *options: object, environment: Mapping[str, str] | None = None, ca: Path | None = None
) -> Iterator[LiveNodeInfo]:
    """Runs `skylark node-info` with these options; with a CA the tests' client asks it by TLS."""
    with tempfile.TemporaryDirectory(prefix="skylark-node-info-") as folder, contextlib.ExitStack() as stack:
        port = free_port()
        verify = ssl.create_default_context(cafile=ca) if ca is not None else True
        url = f"{'http' if ca is None else 'https'}://127.0.0.1:{port}"
        http = stack.enter_context(httpx.Client(base_url=url, timeout=30.0, verify=verify))
        live = LiveNodeInfo(port, list(map(str, options)), environment or {}, Path(folder) / "log", http)
        stack.callback(_stop, live)
        live.start()
        yield live


def _stop(live: LiveNodeInfo) -> None:
    process = live.process
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError("node-info did not end") from None
