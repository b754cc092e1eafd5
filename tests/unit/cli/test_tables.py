"""A table is whole wherever it is printed: nothing of it is cut off, and nothing in it is a terminal's code."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skylark_proxy.bench.election import ElectionResult
from skylark_proxy.bench.invoke import InvokeResult
from skylark_proxy.bench.package import PackageResult
from skylark_proxy.bench.state import StateResult
from skylark_proxy.bench.targets import LoadResult, TargetResult
from skylark_proxy.cli import bench, demo, experiment, inspect, testbed_check
from skylark_proxy.cli.app import main
from skylark_proxy.cli.options import results
from skylark_proxy.client import ProxyClient
from skylark_testbed.check import Check
from skylark_testbed.control import Control
from skylark_testbed.experiments import report
from skylark_testbed.fusion import FusionResult
from skylark_testbed.simulation.run import SimulationResult

FOUR_NODES = Path(__file__).parents[3] / "examples" / "topologies" / "four-nodes.json"
CHAIN = "72d3fda4c0b9f1e2a3b4c5d6e7f80912"
KEY = f"{CHAIN}:a-node-with-a-rather-long-name.of-a-cluster.example:preprocessing-of-pictures"
URL = "http://[2001:db8:85a3:1111:2222:8a2e:370:7334]:30042"
DIGEST = "sha256:" + "0123456789abcdef" * 4
BUNDLE = {
    "key": KEY, "version": 3, "size_bytes": 1_234_567, "fields": ["picture", "a-field-with-a-long-name"],
    "origin": "a-node-with-a-rather-long-name.of-a-cluster.example", "created_ms": 1_700_000_000_000,
}  # fmt: skip
STATUS = {
    "nodes": [{"name": "n" * 60, "tier": "cloud", "url": URL, "alive": False, "waiting": None}],
    "links": [{"between": ["n" * 60, "m" * 60], "latency_ms": 12.5, "bandwidth_mbps": 40, "slowed": True,
               "carried_bytes": {"n" * 60: 1_200_000}}],
    "cut": [["n" * 60, "o" * 60]], "epoch": 4, "folder": "/f" * 60,
}  # fmt: skip
FIGURE = SimpleNamespace(
    comparison=SimpleNamespace(what="the time for state " * 4 + "[ms]", unit="ms", published=12.0),
    measured=3.25, cases=9, ratio=None,
)  # fmt: skip
PLACED = {
    "key": KEY, "size_bytes": 64_000, "objective_met": True, "failed": [],
    "election": {"destination": "x" * 50, "source": "x" * 50, "candidates": [], "policy": "skylark"},
}  # fmt: skip
STEP = SimpleNamespace(
    step=SimpleNamespace(function="detection_of_hot_spots_in_pictures"), node="y" * 50,
    report={"placements": [PLACED], "fetches": [], "timings_ms": {"dr": 1.5, "dm": 2.5, "ex": 3.5, "f": 7.5}},
)  # fmt: skip
DEMO = SimpleNamespace(
    run=SimpleNamespace(chain_id=CHAIN, steps=[STEP], duration_ms=123.0, events=[]),
    event={"type": "t" * 60, "data": {"spots": [], "alarm": False}}, annotated=Path("/a" * 60),
)  # fmt: skip
LOADS = (LoadResult(1, 123_456.0, 1.25, 9.75), LoadResult(16, 223_456.0, 2.25, 8.75))
METRICS = dict.fromkeys(
    ("workflow_ms", "workflow_p90_ms", "state_ms", "migrated_mb", "local_share", "violation_share"), 12_340.0
)

Patch = pytest.MonkeyPatch


def returning(value: Any) -> Callable[..., Any]:
    return lambda *_args, **_named: value


def of_client(patch: Patch) -> None:
    patch.setattr(ProxyClient, "list_bundles", returning([BUNDLE]))


def of_status(patch: Patch) -> None:
    patch.setattr(Control, "status", returning(STATUS))


def of_check(patch: Patch) -> None:
    patch.setattr(testbed_check, "check_links", returning([Check("n" * 90, "round trip", "ms", 10.0, 10.0)]))
    patch.setattr(testbed_check, "direct_throughput_mbps", returning(1234.0))


def of_report(patch: Patch) -> None:
    found = [SimpleNamespace(figures=[FIGURE], checks=[], losses=[])]
    patch.setattr(report, "write_report", returning(Path("/r" * 60)))
    patch.setattr(report, "read_results", returning(found))
    patch.setattr(report, "verdict", returning("v" * 90))


def of_simulation(patch: Patch) -> None:
    found = [SimulationResult("v" * 90, 1000, 200, 300, METRICS, 1.0, 2.0)]
    patch.setattr(experiment, "simulate", returning(found))


def of_contents(patch: Patch) -> None:
    patch.setattr(inspect, "remote_contents", returning({"reference": f"r.example/a@{DIGEST}", "layers": [DIGEST]}))


def of_bench(name: str, *found: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(bench, name, returning(list(found)))


def of_demo(patch: Patch) -> None:
    patch.setattr(demo, "run_demo", returning(DEMO))


def nothing(_patch: Patch) -> None:
    """Leave the command as it is."""


ELECT = ["elect", "--topology", str(FOUR_NODES), "--from", "sat1", "--to", "cloud1", "--size", "1000"]
PRINTING: dict[str, tuple[list[str], Callable[[Patch], None], list[str]]] = {
    "bundle": (["bundle", "list", CHAIN], of_client, [KEY, "1234567", "picture, a-field-with-a-long-name"]),
    "elect": (ELECT, nothing, ["migration time", "skylark election for 1000 bytes, sat1 → cloud1"]),
    "testbed": (["testbed", "status"], of_status, [URL, "n" * 60, f"{'n' * 60} – {'m' * 60}", "/f" * 60]),
    "testbed_check": (["testbed", "check"], of_check, ["n" * 90, "10.00 ms", "+0.0 %"]),
    "experiment": (["experiment", "report", "."], of_report, ["the time for state " * 4 + "[ms]", "v" * 90, "3.25 ms"]),
    "experiment simulate": (["experiment", "simulate", "election"], of_simulation, ["v" * 90, "12,340.0"]),
    "experiment list": (["experiment", "list"], nothing, ["How does the time of an election grow with the number"]),
    "inspect": (["inspect", "oci://r.example/a:1"], of_contents, [DIGEST, f"r.example/a@{DIGEST}"]),
    "demo": (["demo"], of_demo, [CHAIN, "detection_of_hot_spots_in_pictures", "y" * 50, "64.0 kB", "/a" * 60]),
    "bench": (["bench", "state"], of_bench("bench_state", StateResult("s" * 90, 52_428_800, 1.5, 3.0)), ["52,428,800"]),
    "bench invoke": (
        ["bench", "invoke"],
        of_bench("bench_invoke", InvokeResult(URL * 2, 123_456.0, 1.25, 2.25, 0.875)),
        [URL * 2, "123,456", "0.875"],
    ),
    "bench targets": (
        ["bench", "targets"],
        of_bench("bench_targets", TargetResult("t" * 60, 12_300_000, 321.0, 65_000_000, LOADS)),
        ["t" * 60, "123,456", "223,456", "p99 ms (16)"],
    ),
    "bench election": (
        ["bench", "election"],
        of_bench("bench_election", ElectionResult(100_000, 200_000, 3, 12_345.5, 23_456.5, 0.1234, 34_567.0)),
        ["100,000", "12,345.50", "23,456.50", "0.1234", "34,567"],
    ),
    "bench fusion": (
        ["bench", "fusion"],
        of_bench(
            "bench_fusion",
            FusionResult("near" * 20, 1_000_000, 5, False, 10, 1_234.0, 2_345.0),
            FusionResult("near" * 20, 1_000_000, 5, True, 2, 234.0, 345.0),
        ),
        ["near" * 20, "3,579.0", "84 %"],
    ),
    "bench package": (
        ["bench", "package", "registry.example/team"],
        of_bench("bench_package", PackageResult("p" * 90, 123_456_789, 1.5, 2.5)),
        ["p" * 90, "123,456,789", "2.500"],
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def narrow(monkeypatch: Patch) -> None:
    """Stand on a terminal of 40 columns, without settings of this machine."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "SKYLARK_PROXY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")


def printed(arguments: list[str], monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "argv", ["skylark", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, arguments


@pytest.mark.parametrize("name", PRINTING)
def test_a_table_in_a_pipe_is_whole(name: str, monkeypatch: Patch, capfd: pytest.CaptureFixture[str]) -> None:
    """Every key, address and figure can be used by the next command, however narrow the terminal is."""
    arguments, patch, cells = PRINTING[name]
    patch(monkeypatch)
    printed(arguments, monkeypatch)
    output, errors = capfd.readouterr()
    text = errors if arguments is ELECT else output
    for cell in cells:
        assert cell in text
    assert "…" not in text
    assert "\x1b" not in output + errors


def test_every_command_with_a_table_is_tried() -> None:
    """Another command that prints a table has to stand among those above."""
    folder = Path(str(main.__code__.co_filename)).parent
    with_table = {path.stem for path in folder.glob("*.py") if "import Table" in path.read_text()}
    assert with_table <= set(PRINTING)


@contextmanager
def terminal(monkeypatch: Patch) -> Iterator[Callable[[], str]]:
    """Have stdout be a terminal; gives what reads what was written to it."""
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            yield lambda: os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("settings", "plain"),
    [({"TERM": "dumb"}, True), ({"NO_COLOR": "1", "TERM": "xterm"}, True), ({"TERM": "xterm"}, False)],
)
def test_a_terminal_gets_codes_only_where_it_wants_them(
    settings: dict[str, str], plain: bool, monkeypatch: Patch
) -> None:
    """A dumb one and NO_COLOR get none; in no case is a line broken or cut off."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with terminal(monkeypatch) as read:
        results().print(f"[bold]{KEY}[/bold]", markup=True)
        text = read()
    assert KEY in text
    assert ("\x1b" not in text) is plain


@pytest.mark.parametrize("text", ["[red]", "[/]", "[/red]", "[link=x]", ":warning:", "a\\[b]"])
def test_a_cell_is_printed_as_it_is(text: str, monkeypatch: Patch, capfd: pytest.CaptureFixture[str]) -> None:
    """What people named is no markup: nothing of it is lost, and nothing of it fails."""
    monkeypatch.setattr(ProxyClient, "list_bundles", returning([BUNDLE | {"key": text, "fields": [text * 2]}]))
    printed(["bundle", "list", CHAIN], monkeypatch)
    output = capfd.readouterr().out
    assert f"{text} " in output
    assert text * 2 in output


@pytest.mark.parametrize("command", [["bundle", "list"], ["manifests"]])
def test_help_on_a_narrow_terminal_is_whole(command: list[str]) -> None:
    """Names of variables, defaults and forms of values can be read."""
    environment = {name: value for name, value in os.environ.items() if name != "TERMINAL_WIDTH"}
    skylark = [sys.executable, "-m", "skylark_proxy", *command, "--help"]
    text = subprocess.run(skylark, env=environment, capture_output=True, text=True, check=True).stdout
    assert "…" not in text
    if "bundle" in command:
        assert "SKYLARK_PROXY_URL" in text
        assert "http://127.0.0.1:30002" in text
