"""The demo: a photograph goes through the fire detection chain, over four nodes on this machine."""

import importlib.util
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from skylark.plan import Step
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.outputs import prepare_file, writing
from skylark_proxy.workflow import Workflow, WorkflowRun
from skylark_testbed.builds import Progress
from skylark_testbed.description import load
from skylark_testbed.example_files import examples_directory
from skylark_testbed.scratch import scratch_folder
from skylark_testbed.testbed import Testbed, TestNode, open_testbed

PLAN = (Step("preprocess", "sat1"), Step("detect", "sat2"), Step("alarm", "cloud1"))
"""A satellite takes a picture, another one looks at it, the cloud raises the alarm; sat3 has contact to the ground."""

_KILL_AFTER_S = 0.02


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
    stay: Callable[[Mapping[str, TestNode]], None] | None = None,
) -> DemoResult:
    """Builds the functions, starts the nodes, runs the chain and draws what was found.

    Args:
        picture: A picture in any format that Pillow reads; None: the sample.
        annotated: Where to write the annotated picture; None: a file in the folder `demo-out`.
        kill: A node whose proxy is killed (SIGKILL) while the chain's second function runs.
        policy: The policy of all elections; None: the default.
        stay: Is called before the nodes end, with the nodes.

    Raises:
        InvalidArgument: The picture cannot be read, or the annotated one not written; or there is no node `kill`.
        BuildError, NodeFailed, WorkflowFailed, ProxyError: A part of the demo failed.
    """
    client = _picture_module()
    if annotated is not None:
        _check_output(client, annotated)
    picture = picture or _sample(client)
    body = _encoded(client, picture)
    description = load(examples_directory() / "testbeds" / "four-nodes.yaml")
    if kill is not None:
        description.topology.first.node(kill)
    description = replace(description, objectives=config.objectives)
    with scratch_folder("skylark-demo-") as folder, open_testbed(description, folder, progress, config) as testbed:
        run = _run(testbed, body, progress, kill, policy)
        if stay is not None:
            stay(testbed.nodes)
    event = msgspec.json.decode(run.steps[-1].answer.body)
    target = annotated or Path("demo-out") / f"{picture.stem}-annotated.png"
    with writing("--output", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _annotate(client, picture, event, target)
    return DemoResult(run, event, target)


def _run(testbed: Testbed, body: bytes, progress: Progress, kill: str | None, policy: str | None) -> WorkflowRun:
    killer: threading.Timer | None = None

    def on_step(step: Step, node: str) -> None:
        nonlocal killer
        progress(f"{step.function} runs at {node}")
        if kill is not None and killer is None and step == PLAN[1]:
            doomed = testbed.nodes[kill]
            progress(f"killing the proxy of {kill} (process {doomed.running.process.pid}) while {step.function} runs")
            killer = threading.Timer(_KILL_AFTER_S, doomed.kill)
            killer.start()

    workflow = Workflow({name: node.url for name, node in testbed.nodes.items()}, PLAN, on_step)
    try:
        return workflow.run(body, "image/png", policy)
    finally:
        if killer is not None:
            killer.join()


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


def _check_output(client: ModuleType, output: Path) -> None:
    prepare_file("--output", output)
    try:
        client.check_ending(output)
    except ValueError as error:
        raise InvalidArgument("--output", str(output), f"a picture, such as out.png ({error})") from error


def _annotate(client: ModuleType, picture: Path, event: Mapping[str, Any], target: Path) -> None:
    try:
        client.annotate(picture, event, target)
    except ValueError as error:
        raise InvalidArgument("--image", str(picture), f"a picture to draw on ({error})") from error


def _encoded(client: ModuleType, picture: Path) -> bytes:
    try:
        encoded: bytes = client.encode_png(picture)
    except (OSError, ValueError) as error:
        raise InvalidArgument("--image", str(picture), f"a picture ({error})") from error
    return encoded
