"""Experiments as a user runs them: through the command, over a small testbed of real nodes."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

TESTBED = """
nodes:
  - {name: sat1, tier: Sat}
  - {name: sat2, tier: Sat}
  - {name: cloud1, tier: Cloud}
topology:
  links:
    - {between: [sat1, sat2], latency_ms: 5, bandwidth_mbps: 80}
    - {between: [sat2, cloud1], latency_ms: 40, bandwidth_mbps: 20}
"""

EXPERIMENT = """
name: tiny
title: Tiny
question: Does it work?
method: Two functions in space, one on the ground.
repeats: 2
warm_up: 1
seed: 7
workload:
  kind: workflow
  testbeds: {line: testbed.yaml}
  chain: stage1@sat1,stage2@sat2,arrive@cloud1
  input_at: sat1
  destination: cloud1
  sizes_mb: [0.5]
  max_latency_ms: [100]
  objectives: [corrected]
  variants:
    - {name: skylark, policy: skylark, planned: true, last_policy: stateless}
    - {name: stateless, policy: stateless}
plots:
  - {name: tiny-latency, kind: bars, title: Tiny, x: size_mb, y: workflow_ms, caption: The time of a chain.}
comparisons:
  - {what: T(W), metric: workflow_ms, of: skylark, against: stateless, published: -66}
"""


def skylark(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`skylark experiment` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
    command = [sys.executable, "-m", "skylark_proxy", "experiment", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a tiny experiment."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "testbed.yaml").write_text(TESTBED)
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> Any:
    """What the command prints of the tiny experiment, once it has run."""
    done = skylark("run", "tiny.yaml", "--out", "out", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(folder: Path) -> list[Mapping[str, str]]:
    """The rows of the tiny experiment."""
    with (folder / "out" / "tiny" / "rows.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_run_has_a_row(folder: Path, told: Any) -> None:
    """Each variant ran as often as asked for, with its figures."""
    found = rows(folder)
    assert sorted((row["variant"], row["repeat"]) for row in found) == [
        (variant, repeat) for variant in ("skylark", "stateless") for repeat in "01"
    ]
    for row in found:
        assert float(row["workflow_ms"]) >= float(row["function_ms"]) >= float(row["state_ms"]) > 0


def test_state_goes_where_the_policy_says(folder: Path, told: Any) -> None:
    """Skylark's goes to the next function's node, and is found there; stateless' goes to the cloud and comes back."""
    figures = {
        row["variant"]: (row["holders"], float(row["local_share"]), float(row["migrated_mb"])) for row in rows(folder)
    }
    assert figures == {"skylark": ("sat2 cloud1", 100.0, 1.0), "stateless": ("cloud1 cloud1", 50.0, 1.5)}


def test_links_are_really_slow(folder: Path, told: Any) -> None:
    """No transfer is quicker than the formula for what it moved allows, but for the times of timers."""
    for row in rows(folder):
        assert float(row["state_ms"]) > 0.97 * float(row["expected_ms"])


def test_simulation_and_testbed_agree(told: Any) -> None:
    """Both put bundles at the same nodes in every run, and times are within the tolerance that the report states."""
    [experiment] = told["experiments"]
    checks = {check["what"]: check for check in experiment["checks"]}
    assert checks["testbed and simulation put bundles at the same nodes"]["holds"]
    assert [check["holds"] for what, check in checks.items() if what.startswith("time for state")] == [True]


def test_skylark_is_ahead_as_the_formula_says(told: Any) -> None:
    """The figure is there, beside the published one, and so is the check that it holds."""
    [experiment] = told["experiments"]
    [figure] = experiment["figures"]
    assert figure["published"] == -66 and figure["measured"] < 0
    [order] = [check for check in experiment["checks"] if check["what"].startswith("skylark beats stateless")]
    assert order["holds"]


def test_the_report_is_there(folder: Path, told: Any) -> None:
    """One file with the plot in it; a plot and tables beside it; and it can be made anew."""
    report = folder / "out" / "report.html"
    assert told["report"] == "out/report.html"
    assert "data:image/png;base64," in report.read_text()
    assert (folder / "out" / "plots" / "tiny-latency.png").is_file()
    report.unlink()
    assert skylark("report", "out", cwd=folder).returncode == 0
    assert report.is_file()


def test_a_run_that_is_complete_runs_nothing_more(folder: Path, told: Any) -> None:
    """--resume finds all runs there and only reports; without it, results are not overwritten."""
    before = rows(folder)
    assert skylark("run", "tiny.yaml", "--out", "out", "--resume", cwd=folder).returncode == 0
    assert rows(folder) == before
    refused = skylark("run", "tiny.yaml", "--out", "out", cwd=folder)
    assert refused.returncode == 1 and "--resume" in refused.stderr


def test_it_can_be_simulated(folder: Path, told: Any) -> None:
    """A simulation of the same file gives the hops of the testbed, and its times within a quarter and 150 ms."""
    done = skylark("simulate", "tiny.yaml", "--bundles", "20", "--rate", "0.01", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    simulated = {one["variant"]: one["metrics"] for one in json.loads(done.stdout)}
    for row in rows(folder):
        metrics = simulated[row["variant"]]
        assert metrics["local_share"] == float(row["local_share"])
        assert metrics["migrated_mb"] == float(row["migrated_mb"])
        assert abs(metrics["workflow_ms"] - float(row["workflow_ms"])) < 150 + 0.25 * metrics["workflow_ms"]


def test_a_wrong_file_is_one_sentence(folder: Path) -> None:
    """The error names the file, the line and the field, with status 1."""
    (folder / "wrong.yaml").write_text(EXPERIMENT.replace("repeats: 2", "repeats: -2"))
    done = skylark("run", "wrong.yaml", "--out", "elsewhere", cwd=folder)
    assert done.returncode == 1
    assert "wrong.yaml:6: repeats: -2" in " ".join(done.stderr.split())


def test_the_known_ones_are_listed(tmp_path: Path) -> None:
    """Every experiment that comes with Skylark is there, with its question."""
    listed = json.loads(skylark("list", "--json", cwd=tmp_path).stdout)
    names = {one["name"] for one in listed}
    assert {"workflow", "parallel", "fusion", "election", "requests", "faults"} <= names
    assert all(one["question"].endswith("?") and one["runs"] > 0 for one in listed)
