"""The table of docs/packages.md: one row for each package that was run."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from packages.listed import Package, packages

PAGE = Path(__file__).parents[2] / "docs" / "packages.md"
WORKS = "works"
Note = Callable[[Package, str], None]
"""Takes the verdict of a package."""
_BEGIN, _END = "<!-- written by the suite: begin -->\n", "<!-- written by the suite: end -->"
_HEAD = "| rank | package | version | the call | verdict |\n|---|---|---|---|---|\n"
_ROW = re.compile(r"\| \d+ \| (?P<name>\S+) \| (?P<version>\S+) \| (?P<call>.*?) \| (?P<verdict>.*) \|")


def written() -> dict[str, str]:
    """Return the page's verdicts of the packages whose version and call are still those of the list."""
    rows = {row["name"]: row for row in _ROW.finditer(PAGE.read_text())}
    return {
        package.name: rows[package.name]["verdict"]
        for package in packages()
        if package.name in rows and rows[package.name].group("version", "call") == (package.version, package.call)
    }


def write(found: Mapping[str, str]) -> None:
    """Put new verdicts into the page. What was not run keeps its row, or has none."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + _BEGIN + table({**written(), **found}) + _END + rest.partition(_END)[2])


def table(verdicts: Mapping[str, str]) -> str:
    """Return a line that counts, and the table."""
    run = [package for package in packages() if package.name in verdicts]
    working = sum(verdicts[package.name] == WORKS for package in run)
    count = f"{len(run)} of the {len(packages())} have been run, {working} of these work.\n\n"
    return count + _HEAD + "".join(_row(package, verdicts[package.name]) for package in run) + "\n"


def _row(package: Package, verdict: str) -> str:
    cells = [str(package.rank), package.name, package.version, package.call, verdict.replace("|", "\\|")]
    return f"| {' | '.join(cells)} |\n"
