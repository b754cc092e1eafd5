"""Experiments for the tests: small files, and rows as if they had been run."""

from pathlib import Path
from textwrap import dedent

from skylark_testbed.experiments.definition import Case, Definition, load
from skylark_testbed.experiments.rows import Row
from skylark_testbed.experiments.schedule import Run

EXAMPLES = Path(__file__).parents[1] / "examples"

ELECTION = """
    name: small
    title: Small
    question: How long?
    method: As always.
    repeats: 3
    warm_up: 0
    workload:
      kind: election
      nodes: [3, 5]
    quick:
      repeats: 1
      nodes: [3]
    plots:
      - {name: small-plot, title: Small, x: nodes, y: first_ms, caption: What it is.}
    comparisons:
      - {what: an election, metric: first_ms, of: skylark, where: {nodes: 3}, published: 1, unit: ms}
"""


def write(folder: Path, text: str = ELECTION) -> Path:
    """Writes an experiment's file."""
    path = folder / "small.yaml"
    path.write_text(dedent(text).lstrip())
    return path


def example(name: str) -> Definition:
    """An experiment that comes with Skylark."""
    return load(EXAMPLES / "experiments" / f"{name}.yaml")


def row(case: Case, variant: str, repeat: int = 0, notes: dict[str, str] | None = None, **metrics: float) -> Row:
    """A row."""
    run = Run(case, variant, repeat)
    return Row(
        id=run.id, case=dict(case), variant=variant, repeat=repeat, started_s=0.0, metrics=metrics, notes=notes or {}
    )
