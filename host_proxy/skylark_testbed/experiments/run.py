"""Carries out experiments: warm-up, rounds, rows on disk as they come."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy.config import Config
from skylark_testbed.experiments.chains import open_chains
from skylark_testbed.experiments.definition import (
    ChainWorkload,
    Definition,
    FusionWorkload,
    RequestsWorkload,
)
from skylark_testbed.experiments.driver import Driver, Progress
from skylark_testbed.experiments.rows import Journal, Row, header_of
from skylark_testbed.experiments.schedule import Round, Run, rounds
from skylark_testbed.experiments.single import Elections, open_fusion_driver, open_requests

OnRow = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class Task:
    """An experiment that is to be run: its definition, and the file that it is from."""

    definition: Definition
    file: Path
    quick: bool = False

    def runs(self) -> int:
        """How many runs there are, without those that do not count."""
        workload = self.definition.workload
        return len(self.definition.cases()) * len(workload.variant_names()) * self.definition.repeats


def run_experiment(
    task: Task,
    folder: Path,
    resume: bool,
    config: Config,
    progress: Progress,
    on_row: OnRow = lambda _row: None,
) -> Sequence[Row]:
    """Runs what is not there yet.

    Args:
        folder: The experiment's own, with its rows.
        resume: Whether what is there is kept.
        on_row: Is told of each row, those that are there first.

    Raises:
        InvalidArgument: There are rows that are not to be kept, or of another definition.
        SkylarkError: A run failed; the rows before it are kept.
    """
    definition = task.definition
    with Journal(folder, header_of(definition, task.quick), resume) as journal:
        for row in journal.rows:
            on_row(row)
        order = rounds(definition.cases(), definition.workload.variant_names(), definition.repeats, definition.seed)
        for links, group in _by_links(order):
            missing = [run for one in group for run in one.runs if not journal.has(run.id)]
            if missing:
                with _open(task, links, config, progress) as driver:
                    _warm_up(definition, driver, group[0], progress)
                    for row in _measure(driver, group, journal, progress):
                        on_row(row)
        return journal.rows


def _measure(driver: Driver, group: Sequence[Round], journal: Journal, progress: Progress) -> Iterator[Row]:
    """Round after round, so that what changes with the rounds is the same for a run that goes on as for a whole one."""
    for number, one in enumerate(group):
        if number:
            driver.advance()
        for run in one.runs:
            if not journal.has(run.id):
                progress(run.id.replace("&", " "))
                started_s = time.time()
                outcome = driver.measure(run)
                row = _row(run, started_s, dict(outcome.metrics), dict(outcome.notes))
                journal.append(row)
                yield row


def _warm_up(definition: Definition, driver: Driver, first: Round, progress: Progress) -> None:
    for number in range(definition.warm_up):
        progress(f"warming up, {number + 1} of {definition.warm_up}")
        for variant in definition.workload.variant_names():
            driver.measure(Run(first.runs[0].case, variant, -1 - number))


def _row(run: Run, started_s: float, metrics: dict[str, float], notes: dict[str, str]) -> Row:
    rounded = {name: round(value, 4) for name, value in metrics.items()}
    return Row(
        id=run.id,
        case=dict(run.case),
        variant=run.variant,
        repeat=run.repeat,
        started_s=started_s,
        metrics=rounded,
        notes=notes,
    )


def _by_links(order: Iterator[Round]) -> Iterator[tuple[str | None, list[Round]]]:
    groups: dict[str | None, list[Round]] = {}
    for one in order:
        groups.setdefault(one.links, []).append(one)
    yield from groups.items()


def _open(task: Task, links: str | None, config: Config, progress: Progress) -> AbstractContextManager[Driver]:
    workload, seed = task.definition.workload, task.definition.seed
    if isinstance(workload, ChainWorkload):
        return open_chains(workload, task.file.parent, links, seed, config, progress)
    if isinstance(workload, FusionWorkload):
        return open_fusion_driver(workload, config, progress)
    if isinstance(workload, RequestsWorkload):
        return open_requests(workload, seed, config)
    return contextlib.nullcontext(Elections(seed))
