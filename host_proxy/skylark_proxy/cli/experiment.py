"""`skylark experiment`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from skylark_proxy.cli.options import Json, messages, print_json, results
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_testbed.experiments import catalogue, report
from skylark_testbed.experiments.checks import describe
from skylark_testbed.experiments.definition import Definition, load
from skylark_testbed.experiments.run import Task, run_experiment
from skylark_testbed.simulation.run import SimulationResult, simulate

app = typer.Typer(
    help="Runs the published experiments and others, and reports what came of them.", no_args_is_help=True
)

Out = Annotated[Path, typer.Option(help="Where results and the report go.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Lists the experiments that come with Skylark."""
    tasks = [Task(load(path), path) for path in catalogue.known().values()]
    if as_json:
        print_json([_listed(task) for task in tasks])
        return
    table = Table("experiment", "runs", "question", box=None)
    for task in tasks:
        table.add_row(task.definition.name, str(task.runs()), task.definition.question)
    results().print(table)


@app.command("run")
def run_command(
    names: Annotated[list[str] | None, typer.Argument(help="Names, or YAML files.", metavar="NAME")] = None,
    run_all: Annotated[bool, typer.Option("--all", help="All that come with Skylark.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cases and repeats: minutes instead of hours.")] = False,
    out: Out = Path("experiments-out"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run ended.")] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of each experiment's own.")] = None,
    repeat: Annotated[int | None, typer.Option(help="Instead of each experiment's own.", min=1, max=1000)] = None,
    as_json: Json = False,
) -> None:
    """Runs experiments, each variant in turn, and writes rows, tables, plots and a report.

    Rows are on disk as they come: `--resume` goes on after an interruption.
    """
    if run_all == bool(names):
        raise InvalidArgument("experiment", names and " ".join(names), "names, or --all")
    files = list(catalogue.known().values()) if run_all else [catalogue.find(name) for name in names or ()]
    tasks = [Task(_with(load(file, quick), seed, repeat), file, quick) for file in files]
    config = Config.load()
    with _bar(sum(task.runs() for task in tasks)) as (progress, bar):
        for task in tasks:

            def say(text: str, name: str = task.definition.name) -> None:
                progress.update(bar, description=escape(f"{name}: {text}"))

            folder = out / task.definition.name
            run_experiment(task, folder, resume, config, say, lambda _row: progress.advance(bar))
    _report(out, as_json)


@app.command("report")
def report_command(folder: Annotated[Path, typer.Argument(help="What --out was.")], as_json: Json = False) -> None:
    """Makes the report of results anew."""
    _report(folder, as_json)


@app.command("simulate")
def simulate_command(
    file: Annotated[str, typer.Argument(help="An experiment of chains: its name, or a YAML file.")],
    nodes: Annotated[
        int | None, typer.Option(help="A random graph of so many nodes, instead of the links.", min=10)
    ] = None,
    bundles: Annotated[int, typer.Option(help="How many bundles are stored in all.", min=1)] = 10_000,
    rate: Annotated[
        float | None, typer.Option(help="How many chains begin in a second; default: a calm load.", min=1e-6)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the experiment's own.")] = None,
    as_json: Json = False,
) -> None:
    """Runs chains without sockets, by the proxy's own decisions: 10,000 nodes and a million bundles in minutes."""
    path = catalogue.find(file)
    definition = _with(load(path), seed, None)
    with messages().status("starting") as status:
        found = simulate(definition, path.parent, nodes, bundles, rate, lambda text: status.update(escape(text)))
    if as_json:
        print_json([asdict(result) | {"metrics": result.metrics} for result in found])
        return
    _print_simulation(found)


def _print_simulation(found: Sequence[SimulationResult]) -> None:
    table = Table(
        "variant", "chains", "T(W) s", "9 in 10", "state s", "D(W) MB", "Av(l) %", "broken %", "wall s", box=None
    )
    for result in found:
        figures = [f"{result.metrics[name] / 1000:,.2f}" for name in ("workflow_ms", "workflow_p90_ms", "state_ms")]
        rest = [f"{result.metrics[name]:,.1f}" for name in ("migrated_mb", "local_share", "violation_share")]
        table.add_row(result.variant, f"{result.chains:,}", *figures, *rest, f"{result.wall_s:.1f}")
    console = results()
    console.print(table)
    console.print(
        f"{found[0].nodes:,} nodes, {found[0].bundles:,} bundles a variant; medians; state: T(dr) + T(dm) on idle links"
    )


def _with(definition: Definition, seed: int | None, repeat: int | None) -> Definition:
    changed = {name: value for name, value in (("seed", seed), ("repeats", repeat)) if value is not None}
    return msgspec.structs.replace(definition, **changed)


def _listed(task: Task) -> dict[str, Any]:
    one = task.definition
    return {"name": one.name, "title": one.title, "question": one.question, "runs": task.runs(), "file": str(task.file)}


def _report(folder: Path, as_json: bool) -> None:
    path = report.write_report(folder)
    found = report.read_results(folder)
    if as_json:
        print_json({"report": str(path), "experiments": report.results_json(found)})
        return
    console = results()
    table = Table("figure", "published", "measured", "cases", "")
    for figure in (figure for one in found for figure in one.figures):
        comparison, unit = figure.comparison, figure.comparison.unit
        published = "–" if comparison.published is None else f"{comparison.published:g} {unit}"
        measured = "–" if figure.measured is None else f"{figure.measured:,.2f} {unit}"
        table.add_row(comparison.what, published, measured, str(figure.cases), report.verdict(figure))
    console.print(table)
    for check in (check for one in found for check in one.checks if not check.holds):
        console.print(
            f"[red]does not hold:[/red] {escape(check.what)}: {escape(check.detail)}", markup=True, soft_wrap=True
        )
    for loss in (loss for one in found for loss in one.losses):
        text = f"{loss.variant} is {loss.percent:.0f} % slower than stateless: {describe(loss.case)}"
        console.print(f"[yellow]loses:[/yellow] {escape(text)}", markup=True, soft_wrap=True)
    console.print(f"report: {path}", soft_wrap=True)


@contextmanager
def _bar(total: int) -> Iterator[tuple[Progress, Any]]:
    columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=messages(), transient=True) as progress:
        yield progress, progress.add_task("starting", total=total)
