"""Running experiments, with one that needs no servers."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiment_files import example, row, write
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_testbed.experiments.definition import Case, load
from skylark_testbed.experiments.report import read_results, results_json, verdict, write_report
from skylark_testbed.experiments.rows import Journal, Row, header_of, read
from skylark_testbed.experiments.run import Task, run_experiment


class Stopped(Exception):
    """As if the user had interrupted."""


def run(file: Path, out: Path, resume: bool = False, stop_after: int | None = None) -> list[Row]:
    seen: list[Row] = []

    def on_row(row: Row) -> None:
        seen.append(row)
        if len(seen) == stop_after:
            raise Stopped

    run_experiment(Task(load(file), file), out / "small", resume, Config.load({}), lambda _text: None, on_row)
    return seen


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """What has run does not run again, and in the end each run is there once, in the order of a whole run."""
    file = write(tmp_path)
    with pytest.raises(Stopped):
        run(file, tmp_path / "parts", stop_after=4)
    before = list(read(tmp_path / "parts" / "small")[1])
    rows = run(file, tmp_path / "parts", resume=True)
    whole = run(file, tmp_path / "whole")
    assert (len(before), rows[:4]) == (4, before)
    assert [one.id for one in rows] == [one.id for one in whole]
    assert len({one.id for one in rows}) == 6


def test_the_report_opens(tmp_path: Path) -> None:
    """It is HTML whose tags close, with each plot in it; plots and tables are files of their own too."""
    run(write(tmp_path), tmp_path)
    page = Page()
    page.feed(write_report(tmp_path).read_text())
    assert page.open == []
    assert [image[:33] for image in page.images] == ["data:image/png;base64,iVBORw0KGgo"]
    assert (tmp_path / "plots" / "small-plot.png").read_bytes().startswith(b"\x89PNG")
    assert "What it is." in page.text
    assert (tmp_path / "small" / "rows.csv").read_text().count("\n") == 7
    assert "first_ms,3," in (tmp_path / "small" / "summary.csv").read_text()


def test_the_report_says_where_skylark_loses(tmp_path: Path) -> None:
    """Both in its own section, and in the verdict of the figure."""
    definition = example("parallel")
    with Journal(tmp_path / "parallel", header_of(definition, quick=True), resume=False) as journal:
        for variant, throughput, workflow in (("skylark", 1.0, 300.0), ("stateless", 2.0, 200.0)):
            case: Case = {"links": "shaped", "at_once": 5}
            journal.append(row(case, variant, throughput_per_s=throughput, workflow_ms=workflow))
    page = Page()
    page.feed(write_report(tmp_path).read_text())
    assert "links shaped, at once 5" in page.text and "+50 %" in page.text
    [results] = read_results(tmp_path)
    assert [verdict(figure) for figure in results.figures] == ["skylark loses", "skylark loses"]
    [told] = results_json([results])
    assert [loss["percent"] for loss in told["losses"]] == [pytest.approx(50.0)]


def test_the_report_has_the_formula_beside_the_measurement(tmp_path: Path) -> None:
    """One row for each case, one column for each variant, and nothing where a variant has not run."""
    definition = example("workflow")
    with Journal(tmp_path / "workflow", header_of(definition, quick=True), resume=False) as journal:
        for size, variant in ((1, "skylark"), (1, "stateless"), (5, "stateless")):
            case: Case = {"links": "shaped", "objectives": "corrected", "size_mb": size}
            one = row(case, variant, theory_ms=1000.0 * size, state_ms=1234.0 * size, workflow_ms=2000.0)
            journal.append(one)
    page = Page()
    page.feed(write_report(tmp_path).read_text())
    assert page.text.count("size mb 11,000 / 1,2341,000 / 1,234") == 1
    assert page.text.count("size mb 5–5,000 / 6,170") == 1


def test_a_folder_without_results(tmp_path: Path) -> None:
    """It gets an error that says what makes one."""
    with pytest.raises(InvalidArgument, match="skylark experiment run"):
        write_report(tmp_path)


class Page(HTMLParser):
    """Reads a page: its text, its images, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
