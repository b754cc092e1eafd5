"""The report of a folder of results: one HTML file with its plots in it, plots as PNG, tables as CSV and JSON."""

import base64
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.outputs import FOLDER, writing
from skylark_testbed.experiments import rows as rows_module
from skylark_testbed.experiments.checks import Check, Loss, checks, describe, losses
from skylark_testbed.experiments.definition import Case, Comparison
from skylark_testbed.experiments.extras import needed
from skylark_testbed.experiments.plots import draw, spread_text
from skylark_testbed.experiments.rows import Header, Row
from skylark_testbed.experiments.summary import Figure, Group, compare, find, summarise

REPORT = "report.html"
_TEMPLATE = "report.html.jinja"
_SHOWN = (
    "workflow_ms",
    "retrieval_ms",
    "migration_ms",
    "state_ms",
    "theory_ms",
    "excess_ms",
    "execution_ms",
    "proxy_ms",
    "client_ms",
    "migrated_mb",
    "distance",
    "local_share",
    "violation_share",
    "throughput_per_s",
    "slowest_ms",
    "operations",
    "build_ms",
    "first_ms",
    "further_ms",
    "latency_ms",
    "election_ms",
    "finished_share",
    "retries",
    "fallbacks",
)
"""The columns of the report's tables, in order, where they were measured; the CSV files have all."""

COLUMNS = {
    "workflow_ms": "T(W) ms",
    "retrieval_ms": "T(dr) ms",
    "migration_ms": "T(dm) ms",
    "state_ms": "T(dr)+T(dm) ms",
    "theory_ms": "by formula ms",
    "excess_ms": "over formula ms",
    "execution_ms": "T(ex) ms",
    "proxy_ms": "proxy ms",
    "client_ms": "client ms",
    "migrated_mb": "D(W) MB",
    "distance": "hops to state",
    "local_share": "Av(l) %",
    "violation_share": "objective broken %",
    "throughput_per_s": "chains/s",
    "slowest_ms": "slowest ms",
    "finished_share": "ended %",
}


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one experiment."""

    header: Header
    rows: Sequence[Row]
    groups: Sequence[Group]
    figures: Sequence[Figure]
    checks: Sequence[Check]
    losses: Sequence[Loss]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.header.definition.name

    @property
    def variants(self) -> list[str]:
        """The variants, by name."""
        return sorted({group.variant for group in self.groups})

    @property
    def cases(self) -> list[Case]:
        """The cases, in order."""
        found: list[Case] = []
        for group in self.groups:
            if group.case not in found:
                found.append(group.case)
        return found

    def group(self, case: Case, variant: str) -> Group | None:
        """The group of a variant of a case."""
        return find(self.groups, case, variant)

    @property
    def metrics(self) -> list[str]:
        """The metrics of the report's table."""
        measured = {metric for group in self.groups for metric in group.spreads}
        return [metric for metric in _SHOWN if metric in measured]


def read_results(folder: Path) -> list[Results]:
    """The results of all experiments below a folder.

    Raises:
        InvalidArgument: There are none.
    """
    found = [_results(path.parent) for path in sorted(folder.glob(f"*/{rows_module.ROWS}"))]
    if not found:
        raise InvalidArgument("results", str(folder), "a folder that `skylark experiment run --out` has written")
    return found


def write_report(folder: Path) -> Path:
    """Writes everything that is made of the rows below a folder; returns the HTML file.

    Raises:
        InvalidArgument: There are no results, or matplotlib is not installed.
    """
    results = read_results(folder)
    with writing("results", folder, FOLDER):
        return _write(folder, results)


def _write(folder: Path, results: Sequence[Results]) -> Path:
    pictures: dict[str, str] = {}
    for one in results:
        _write_tables(folder / one.name, one)
        for plot in one.header.definition.plots:
            png = draw(plot, one.groups)
            if png is not None:
                target = folder / "plots" / f"{plot.name}.png"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(png)
                pictures[plot.name] = base64.b64encode(png).decode()
    jinja2 = needed("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(describe=describe, spread=spread_text, columns=COLUMNS, verdict=verdict)
    text = environment.get_template(_TEMPLATE).render(
        results=results, pictures=pictures, made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    )
    (folder / REPORT).write_text(text)
    return folder / REPORT


def results_json(results: Sequence[Results]) -> list[dict[str, Any]]:
    """What `--json` prints: figures, checks, and where skylark loses."""
    return [
        {
            "experiment": one.name,
            "quick": one.header.quick,
            "runs": len(one.rows),
            "figures": [_figure_json(figure) for figure in one.figures],
            "checks": [asdict(check) for check in one.checks],
            "losses": [asdict(loss) for loss in one.losses],
        }
        for one in results
    ]


def verdict(figure: Figure) -> str:
    """A comparison's outcome in words."""
    comparison, measured = figure.comparison, figure.measured
    if measured is None:
        return "not measured"
    sign = 1 if comparison.better == "higher" else -1
    if comparison.published is None:
        loses = comparison.against is not None and sign * measured < 0
        return f"{comparison.of} loses" if loses else ""
    if sign * (measured - comparison.published) >= 0:
        return "as published, or better"
    if comparison.against is not None and sign * measured < 0:
        return f"{comparison.of} loses"
    return "less than published"


def _results(folder: Path) -> Results:
    header, read = rows_module.read(folder)
    groups = summarise(read)
    figures = [compare(comparison, groups) for comparison in header.definition.comparisons]
    return Results(header, read, groups, figures, checks(groups, read), losses(groups))


def _figure_json(figure: Figure) -> dict[str, Any]:
    comparison: Comparison = figure.comparison
    return {
        "what": comparison.what,
        "measured": figure.measured,
        "low": figure.low,
        "high": figure.high,
        "cases": figure.cases,
        "published": comparison.published,
        "unit": comparison.unit,
        "verdict": verdict(figure),
    }


def _write_tables(folder: Path, results: Results) -> None:
    raw = [_flat(row) for row in results.rows]
    summary = list(_summary_rows(results.groups))
    _write_csv(folder / "rows.csv", raw)
    _write_csv(folder / "summary.csv", summary)
    (folder / "rows.json").write_bytes(_json(results.rows))
    (folder / "summary.json").write_bytes(_json({"machine": results.header.machine, "summary": summary}))


def _json(content: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _flat(row: Row) -> dict[str, object]:
    own = {"variant": row.variant, "repeat": row.repeat, "started_s": row.started_s}
    return {**row.case, **own, **row.metrics, **row.notes}


def _summary_rows(groups: Sequence[Group]) -> Iterator[dict[str, object]]:
    """One for each metric of each group: n, median, quartiles, extremes."""
    for group in groups:
        for metric, spread in group.spreads.items():
            yield {**group.case, "variant": group.variant, "metric": metric, **asdict(spread)}


def _write_csv(path: Path, table: Sequence[Mapping[str, object]]) -> None:
    columns = list(dict.fromkeys(name for row in table for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(table)
