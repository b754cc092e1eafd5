"""A flattened program's end reaches whoever started it, also through container runtimes that drop exit codes."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

import crun
from conformance import artifacts
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasi_http import TEST_HOST, variables

SOURCE = Path(__file__).parent / "functions" / "everything.py"

TRAPPED = 134
"""What the tests' host makes of a trap; crun makes 1 of it, runwasi's shim 137."""


def ended(way: str, folder: str, tmp_path: Path) -> "subprocess.CompletedProcess[bytes]":
    """Runs the program that ends in a way, with a folder under this name."""
    command = [*TEST_HOST, "--dir", f"{folder}::{tmp_path}", str(artifacts.flat()), "ends", way]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("way", "elsewhere"),
    [("return", 0), ("zero", 0), ("three", 1), ("error", 1), ("at once", 1)],
)
def test_a_failure_in_a_container_is_a_trap(way: str, elsewhere: int, tmp_path: Path) -> None:
    """crun ends with 0 whatever a module exits with; a trap is the one failure that it passes on."""
    in_container = ended(way, "/", tmp_path)
    assert in_container.returncode == (TRAPPED if elsewhere else 0)
    assert in_container.stdout == b"before the end\n"  # all that the program wrote is out
    assert ended(way, "/data", tmp_path).returncode == elsewhere


def test_a_server_that_cannot_start_shows_it_in_a_container(tmp_path: Path) -> None:
    """A wrong setting and a port that is taken end the pod's program as failures do, with the reason in the log."""
    module = tmp_path / "everything.wasmedge.wasm"
    build(SOURCE, module, Config.load({}).cache_dir / "components", target=Target.WASMEDGE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in ("abc", str(taken.getsockname()[1])):
            environment = variables({"PORT": port, "SKYLARK_HOST": "127.0.0.1"})
            command = [*TEST_HOST, "--dir", f"/::{tmp_path}", *environment, str(module)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert ran.returncode == TRAPPED
            assert ran.stderr.startswith("skylark: PORT=")


@pytest.mark.skipif(crun.VARIABLE not in os.environ, reason="CRUN names no crun with WasmEdge")
def test_a_server_that_cannot_start_shows_it_in_crun(tmp_path: Path) -> None:
    """The container's exit code is not 0, and its log has the reason."""
    module = tmp_path / "everything.wasmedge.wasm"
    build(SOURCE, module, Config.load({}).cache_dir / "components", target=Target.WASMEDGE)
    with crun.container(module, {"PORT": "abc"}, tmp_path / "bundle") as command:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert "skylark: PORT=" in ran.stderr
