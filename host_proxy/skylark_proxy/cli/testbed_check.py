"""`skylark testbed check`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from skylark_proxy.bench.machine import describe
from skylark_proxy.cli.options import Json, messages, print_json, results
from skylark_testbed.check import Check, check_description, check_links, direct_throughput_mbps
from skylark_testbed.description import load

_FAILED = 1


def check_command(
    file: Annotated[
        Path | None, typer.Argument(help="A description, whose links are checked; without one, a range of links is.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measures round trips and throughput over emulated links, and whether they are what was asked for.

    A round trip has to be within 1 ms or 5 %, throughput within 5 %; else the status is 1. On a machine that is busy
    with other things links are slower than they should be: check before you measure.
    """
    description = None if file is None else load(file)
    with messages().status("starting") as status:
        checks = check_links(status.update) if description is None else check_description(description, status.update)
        status.update("throughput without a link")
        direct_mbps = direct_throughput_mbps()
    if as_json:
        rows = [asdict(check) | {"error": check.error, "good": check.good} for check in checks]
        print_json({"machine": describe(), "direct_mbps": direct_mbps, "checks": rows})
    else:
        _print(checks, direct_mbps)
    if not all(check.good for check in checks):
        raise typer.Exit(_FAILED)


def _print(checks: list[Check], direct_mbps: float) -> None:
    table = Table("path", "measured", "asked", "got", "error", "verdict", box=SIMPLE_HEAD)
    for check in checks:
        asked, got = (f"{value:,.2f} {check.unit}" for value in (check.asked, check.got))
        verdict = "good" if check.good else "[red]off"
        table.add_row(check.path, check.what, asked, got, f"{100 * check.error:+.1f} %", verdict)
    results().print(table)
    results().print(f"between the same sender and receiver without a link: {direct_mbps:,.0f} Mbps", soft_wrap=True)
