"""The demo: a photograph goes through the fire detection chain, over four nodes on this machine."""

import contextlib
import importlib.util
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from skylark.plan import Step
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.continuum import RunningNode, run_continuum, with_free_ports
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import Engine
from skylark_proxy.topology import load_topology
from skylark_proxy.workflow import Workflow, WorkflowRun

Progress = Callable[[str], None]

FUNCTIONS = ("preprocess", "detect", "alarm")
PLAN = (Step("preprocess", "sat1"), Step("detect", "sat2"), Step("alarm", "cloud1"))
"""A satellite takes a picture, another one looks at it, the cloud raises the alarm; sat3 has contact to the ground."""

_BUILDS_AT_ONCE = 2
_KILL_AFTER_S = 0.02
_JOIN_S = 0.1
_LAST_WRITE_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo gave: the run, the CloudEvent that the chain ended with, and the annotated picture."""

    run: WorkflowRun
    event: Mapping[str, Any]
    annotated: Path


def run_demo(
    picture: Path | None,
    annotated: Path | None,
    config: Config,
    progress: Progress,
    kill: str | None = None,
    policy: str | None = None,
    stay: Callable[[Mapping[str, RunningNode]], None] | None = None,
) -> DemoResult:
    """Builds the functions, starts the nodes, runs the chain and draws what was found.

    Args:
        picture: A picture in any format that Pillow reads; None: the sample.
        annotated: Where to write the annotated picture; None: a file in the folder `demo-out`.
        kill: A node whose proxy is killed (SIGKILL) while the chain's second function runs.
        policy: The policy of all elections; None: the default.
        stay: Is called before the nodes end, with the nodes.

    Raises:
        InvalidArgument: The picture cannot be read, or there is no node `kill`.
        BuildError, NodeFailed, WorkflowFailed, ProxyError: A part of the demo failed.
    """
    client = _picture_module()
    picture = picture or _sample(client)
    body = _encoded(client, picture)
    topology = with_free_ports(load_topology(examples_directory() / "topologies" / "four-nodes.json", epoch=1))
    if kill is not None:
        topology.node(kill)
    with scratch_folder("skylark-demo-") as folder:
        _build_all(folder / "functions", config, progress)
        _compile_all(folder / "functions", config, progress)
        progress(f"starting {len(topology.nodes)} nodes, each with a proxy and a Redis")
        settings = {"SKYLARK_CACHE_DIR": str(config.cache_dir), "SKYLARK_MAX_LATENCY_MS": str(config.max_latency_ms)}
        with run_continuum(topology, folder / "functions", folder, settings) as nodes:
            run = _run(nodes, body, progress, kill, policy)
            if stay is not None:
                stay(nodes)
    event = msgspec.json.decode(run.steps[-1].answer.body)
    target = annotated or Path("demo-out") / f"{picture.stem}-annotated.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    client.annotate(picture, event, target)
    return DemoResult(run, event, target)


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder that is gone in the end, also where a second Ctrl-C comes while it is removed.

    A process that an interrupt ended while it was being started may write its last file meanwhile.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_s = time.monotonic() + _LAST_WRITE_S
        while folder.exists() and time.monotonic() < end_s:
            shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, before)


def examples_directory() -> Path:
    """The examples that the wheel brings, or those of the source checkout that it is installed from."""
    package = Path(__file__).parent
    return next(path for path in (package / "examples", package.parents[1] / "examples") if path.is_dir())


def _run(
    nodes: Mapping[str, RunningNode], body: bytes, progress: Progress, kill: str | None, policy: str | None
) -> WorkflowRun:
    killer: threading.Timer | None = None

    def on_step(step: Step, node: str) -> None:
        nonlocal killer
        progress(f"{step.function} runs at {node}")
        if kill is not None and killer is None and step == PLAN[1]:
            progress(f"killing the proxy of {kill} (process {nodes[kill].process.pid}) while {step.function} runs")
            killer = threading.Timer(_KILL_AFTER_S, nodes[kill].kill)
            killer.start()

    workflow = Workflow({name: node.url for name, node in nodes.items()}, PLAN, on_step)
    try:
        return workflow.run(body, "image/png", policy)
    finally:
        if killer is not None:
            killer.join()


def _build_all(folder: Path, config: Config, progress: Progress) -> None:
    """Builds the functions, as many at once as there are processors for. An interrupt ends the builds."""
    progress(f"building {len(FUNCTIONS)} components (5 to 20 s each the first time)")
    cancelled = threading.Event()

    def build_one(name: str) -> None:
        source = examples_directory() / "fire_detection" / f"{name}.py"
        built = build(source, folder / f"{name}.wasm", config.cache_dir / "components", cancelled=cancelled)
        how = "from the cache" if built.cached else "built"
        progress(f"{name}.wasm: {built.size_bytes / 1e6:.0f} MB, {how}")

    pool = ThreadPoolExecutor(_BUILDS_AT_ONCE)
    try:
        for future in [pool.submit(build_one, name) for name in FUNCTIONS]:
            future.result()
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the builds end before their folder goes
        cancelled.set()
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, before)


def _compile_all(folder: Path, config: Config, progress: Progress) -> None:
    """Fills the cache of compiled components, so that the nodes start at once. It is done in a thread that an interrupt
    leaves behind, since wasmtime's compiler cannot be interrupted."""
    failures: list[BaseException] = []

    def compile_all() -> None:
        engine = Engine(config.cache_dir / "compiled")
        try:
            for name in FUNCTIONS:
                progress(f"compiling {name}.wasm to machine code (5 s the first time)")
                engine.load(folder / f"{name}.wasm")
        except BaseException as error:
            failures.append(error)
        finally:
            engine.close()

    thread = threading.Thread(target=compile_all, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_JOIN_S)
    if failures:
        raise failures[0]


def _picture_module() -> ModuleType:
    """The example's own client side; it needs Pillow.

    Raises:
        InvalidArgument: Pillow is not installed.
    """
    spec = importlib.util.spec_from_file_location(
        "fire_detection_picture", examples_directory() / "fire_detection/picture.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise InvalidArgument("demo", error.name, "installed packages: pip install 'skylark[demo]'") from error
    return module


def _sample(client: ModuleType) -> Path:
    try:
        sample: Path = client.sample_photograph()
    except FileNotFoundError as error:
        raise InvalidArgument("--image", None, f"a picture, or the sample ({error})") from error
    return sample


def _encoded(client: ModuleType, picture: Path) -> bytes:
    try:
        encoded: bytes = client.encode_png(picture)
    except (OSError, ValueError) as error:
        raise InvalidArgument("--image", str(picture), f"a picture ({error})") from error
    return encoded
