"""`skylark demo`."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skylark_proxy.cli.options import Json, PolicyName, messages, policy, print_json, results
from skylark_proxy.config import Config
from skylark_proxy.workflow import StepRun
from skylark_testbed.demo import DemoResult, run_demo
from skylark_testbed.testbed import TestNode

_LEGEND = (
    "T(W) workflow, T(f) function, of it T(dr) state retrieval, T(dm) state migration, T(ex) execution, in ms. "
    "hops: nodes asked before one had the bundle; SLO: whether the migration keeps the objective.\n"
    "The links have the latency and bandwidth that the elections count with; they are emulated on this machine."
)


def demo_command(
    image: Annotated[
        Path | None, typer.Option(help="A picture (JPEG, PNG, TIFF and others); default: a rocket at dusk.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the annotated picture goes.")] = None,
    max_latency_ms: Annotated[
        float, typer.Option(help="Objective: the longest migration of a bundle.", min=0.0)
    ] = 100.0,
    policy_name: PolicyName = None,
    kill: Annotated[str | None, typer.Option(help="Kill this node's proxy (SIGKILL) in the middle of the run.")] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the nodes running until Ctrl-C, to look at them.")] = False,
    as_json: Json = False,
) -> None:
    """Runs the fire alarm: three functions over four nodes on this machine, with real state between them.

    Builds the functions (a minute the first time, then they come from the cache), starts one Cloud and three Sat
    nodes, sends a photograph through the chain, and shows where everything ran and where each bundle was put.
    """
    console = messages()
    chosen = policy(policy_name)
    config = Config.load(max_latency_ms=max_latency_ms)
    with console.status("starting") as status:

        def progress(text: str) -> None:
            status.update(escape(text))
            console.print(f"• {text}", style="dim", soft_wrap=True)

        def wait(nodes: Mapping[str, TestNode]) -> None:
            status.stop()
            _wait(console, nodes)

        result = run_demo(image, output, config, progress, kill, chosen, wait if stay else None)
    if as_json:
        print_json(_json(result))
        return
    _print(results(), result, config.max_latency_ms)


def _print(console: Console, result: DemoResult, max_latency_ms: float) -> None:
    run = result.run
    table = Table(title=f"chain {run.chain_id}", title_justify="left", padding=(0, 1, 0, 0), box=SIMPLE_HEAD)
    for column in ("function", "ran at", "bundle", "put at", "hops", "T(dr)", "T(dm)", "T(ex)", "T(f)", "SLO"):
        table.add_column(column, justify="right" if column in ("bundle", "hops") or column[:2] == "T(" else "left")
    for step in run.steps:
        table.add_row(*_row(step))
    console.print(table)
    for step in run.steps:
        placed = step.report["placements"][-1]
        console.print(
            f"{step.step.function}'s bundle is at {_where(placed)}: {_why(placed, max_latency_ms)}", soft_wrap=True
        )
    console.print(f"\n[bold]T(W) {run.duration_ms:.0f} ms[/bold]\n[dim]{_LEGEND}[/dim]\n", markup=True, soft_wrap=True)
    for event in run.events:
        console.print(f"[yellow]instead:[/yellow] {escape(event)}", markup=True, soft_wrap=True)
    data = result.event["data"]
    found = f"{len(data['spots'])} hot spots, best score {data['score']:.2f}" if data["spots"] else "no hot spot"
    colour, word = ("red", "FIRE ALARM") if data["alarm"] else ("green", "no alarm")
    console.print(f"[bold {colour}]{word}[/bold {colour}]: {found} ({escape(result.event['type'])})", markup=True)
    console.print(f"annotated picture: {result.annotated}", soft_wrap=True)


def _row(step: StepRun) -> list[str]:
    report = step.report
    placed = report["placements"][-1]
    timings = [f"{report['timings_ms'][name]:.1f}" for name in ("dr", "dm", "ex", "f")]
    hops = str(max(fetch["hops"] for fetch in report["fetches"])) if report["fetches"] else "-"
    met = {True: "met", False: "broken", None: "-"}[placed["objective_met"]]
    return [step.step.function, step.node, f"{placed['size_bytes'] / 1000:.1f} kB", _where(placed), hops, *timings, met]


def _where(placed: Mapping[str, Any]) -> str:
    return str(placed["key"].split(":")[1])


def _why(placed: Mapping[str, Any], max_latency_ms: float) -> str:
    """The reason of a placement, in a sentence."""
    election, where = placed["election"], _where(placed)
    times = {candidate["node"]: candidate["migration_time_ms"] for candidate in election["candidates"]}
    away = "".join(f"{attempt['node']} was elected but is away; " for attempt in placed["failed"])
    destination, limit = election["destination"], f"{max_latency_ms:.0f} ms"
    if destination == election["source"]:
        return f"{away}it is the destination itself"
    if where == election["source"]:
        return f"{away}no node nearer to {destination} is within {limit}"
    if election["policy"] != "skylark":
        return f"{away}policy {election['policy']}, {times[where]:.0f} ms"
    if where == destination:
        return f"{away}the destination, {times[where]:.0f} ms, is within {limit}"
    further = f"{destination} itself would take {times[destination]:.0f} ms"
    return f"{away}nearest to {destination} within {limit}: {times[where]:.0f} ms; {further}"


def _wait(console: Console, nodes: Mapping[str, TestNode]) -> None:
    for name, node in nodes.items():
        state = f"process {node.running.process.pid}" if node.alive else "ended"
        console.print(f"{name}: {node.url} ({node.tier}, {state})", soft_wrap=True)
    console.print(
        "the nodes run until Ctrl-C; try `skylark invoke`, `skylark bundle` and `curl` with --url", soft_wrap=True
    )
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    console.print("ending")


def _json(result: DemoResult) -> dict[str, Any]:
    return {
        "chain_id": result.run.chain_id,
        "duration_ms": round(result.run.duration_ms, 3),
        "steps": [
            {"function": step.step.function, "planned": step.step.node, "ran_at": step.node, "report": step.report}
            for step in result.run.steps
        ],
        "events": result.run.events,
        "event": result.event,
        "annotated": str(result.annotated),
    }
