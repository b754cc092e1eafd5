"""One function on every runtime that is there, by the same load: start, throughput, latency and memory."""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skylark_proxy.aot import Ahead, WasmEdge
from skylark_proxy.bench.component import bench_source
from skylark_proxy.bench.load import Load, run
from skylark_proxy.bench.servers import Server, bare, free_address, program, proxy
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.core_module import with_native_code
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.target import Target

Progress = Callable[[str], None]

_PATH = "/functions/noop"
_WARM_UP_S = 0.5


class CannotRun(SkylarkError):
    """A runtime is not there, or does not run on this machine."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Medians over all rounds of a load over some connections."""

    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What was measured of a function on one runtime.

    Attributes:
        name: The target and the runtime.
        size_bytes: The file that it runs; None where there is none.
        start_ms: From the start of its process to its first answer; None for the node's proxy, which runs anyway.
        memory_bytes: What its processes hold resident after the loads, shared libraries included.
        loads: By number of connections.
    """

    name: str
    size_bytes: int | None
    start_ms: float | None
    memory_bytes: int
    loads: tuple[LoadResult, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    file: Path | None
    path: str
    serve: Callable[[], AbstractContextManager[Server]]


def bench_targets(
    config: Config,
    rounds: int,
    seconds: float,
    connections: Sequence[int],
    wasmedge: Path | None,
    progress: Progress,
) -> list[TargetResult]:
    """Measures the targets one after the other; the load shares the machine's cores with the server.

    Args:
        wasmedge: WasmEdge's program; None: that of `WASMEDGE` or PATH. Without one its figures are left out, as are
            those of wasmtime's command line.
    """
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name:
        candidates = _candidates(Path(name), config, wasmedge, progress)
        return [_measured(one, rounds, seconds, connections, progress) for one in candidates]


def _measured(
    candidate: _Candidate, rounds: int, seconds: float, connections: Sequence[int], progress: Progress
) -> TargetResult:
    progress(f"starting {candidate.name}")
    with candidate.serve() as server:
        loads = []
        for count in connections:
            measured = []
            for number in range(rounds):
                progress(f"{candidate.name}: {count} connections, round {number + 1} of {rounds}")
                run(server.url, candidate.path, count, _WARM_UP_S)
                measured.append(run(server.url, candidate.path, count, seconds))
            loads.append(_load_result(count, measured))
        size = candidate.file.stat().st_size if candidate.file else None
        return TargetResult(candidate.name, size, server.start_ms, server.resident_bytes(), tuple(loads))


def _load_result(connections: int, loads: list[Load]) -> LoadResult:
    per_s = statistics.median(load.requests_per_s for load in loads)
    p50, p99 = (statistics.median(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
    return LoadResult(connections, per_s, p50, p99)


def _candidates(folder: Path, config: Config, wasmedge: Path | None, progress: Progress) -> Iterator[_Candidate]:
    """What can be measured here; each is built when it is its turn."""
    yield _Candidate("bare Starlette", None, "/", partial(bare, folder))
    for reuse in (False, True):
        source = bench_source(folder / ("reused" if reuse else "fresh"), reuse=reuse)
        component = _built(source, Target.HOSTED, config, progress)
        name = f"hosted, {'reused' if reuse else 'fresh'} sandboxes"
        yield _Candidate(name, component, _PATH, partial(proxy, source.parent / "node", component, config))
    source = bench_source(folder / "others", reuse=True)
    try:
        yield from _of_wasmtime(folder, source, config, progress)
    except CannotRun as error:
        progress(f"without wasmtime's figures: {error}")
    with contextlib.suppress(InvalidArgument):
        compiler = WasmEdge.find(wasmedge)
        module = _built(source, Target.WASMEDGE, config, progress)
        yield _command("wasmedge, interpreter", module, folder, [str(compiler.program)], module)
        ahead = Ahead(compiler)
        native = module.with_name("native.wasm")
        native.write_bytes(with_native_code(module.read_bytes(), module.name, ahead, config.cache_dir, progress))
        yield _command("wasmedge, AOT", native, folder, [str(compiler.program), "--run-mode", "aot"], native)


def _of_wasmtime(folder: Path, source: Path, config: Config, progress: Progress) -> Iterator[_Candidate]:
    wasmtime = find_wasmtime()
    http, command = (_built(source, target, config, progress) for target in (Target.HTTP, Target.COMMAND))
    compiled = {one: _precompiled(wasmtime, one, progress) for one in (http, command)}
    serve = [wasmtime, "serve", "-Scli", "--allow-precompiled", "--env", "SKYLARK_NODE=bench", "--addr"]
    yield _Candidate("http, wasmtime serve", http, _PATH, partial(_addressed, folder, serve, compiled[http]))
    allowed = [wasmtime, "run", "-Sinherit-network", "--allow-precompiled"]
    yield _command("command, wasmtime run", command, folder, allowed, compiled[command])


def _command(name: str, file: Path, folder: Path, runtime: list[str], program_file: Path) -> _Candidate:
    return _Candidate(name, file, _PATH, partial(_listening, folder, runtime, program_file))


def _built(source: Path, target: Target, config: Config, progress: Progress) -> Path:
    progress(f"building the function for {target} (5 to 20 s the first time)")
    output = source.with_suffix(target.file_suffix)
    return build(source, output, config.cache_dir / "components", target=target).component


def find_wasmtime() -> str:
    """Find wasmtime's command line: on PATH, or beside the Python that runs this.

    Raises:
        CannotRun: There is none, or it does not run here.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which("wasmtime", path=os.pathsep.join(folders))
    if found is None:
        raise CannotRun("there is no program `wasmtime`")
    _run([found, "--version"])
    return found


def _precompiled(wasmtime: str, component: Path, progress: Progress) -> Path:
    progress(f"compiling {component.name} with wasmtime")
    compiled = component.with_suffix(".cwasm")
    _run([wasmtime, "compile", str(component), "-o", str(compiled)])
    return compiled


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise CannotRun(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CannotRun(f"{command[0]} {command[1]} failed: {said[-1] if said else f'status {done.returncode}'}")


def _listening(folder: Path, runtime: Sequence[str], file: Path) -> AbstractContextManager[Server]:
    """A program that listens where its environment says."""
    address = free_address()
    host, _, port = address.rpartition(":")
    variables = {"PORT": port, "SKYLARK_HOST": host, "SKYLARK_NODE": "bench"}
    environment = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    return program(folder, [*runtime, *environment, str(file)], address, _PATH)


def _addressed(folder: Path, command: Sequence[str], file: Path) -> AbstractContextManager[Server]:
    """A program that is given its address."""
    address = free_address()
    return program(folder, [*command, address, str(file)], address, _PATH)
