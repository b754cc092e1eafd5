"""The rows of an experiment on disk: each is written as it comes, and an interrupted run goes on where it ended."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from skylark_proxy.bench.machine import describe
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.outputs import FOLDER, writing
from skylark_testbed.experiments.definition import Definition, Value

ROWS = "rows.jsonl"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        id: The run's.
        case: What was varied.
        started_s: When it began, in seconds since the epoch.
        metrics: Numbers; units are in the names.
        notes: Texts, such as where the bundles were put.
    """

    id: str
    case: dict[str, Value]
    variant: str
    repeat: int
    started_s: float
    metrics: dict[str, float]
    notes: dict[str, str] = {}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of the file: what was run, and on what."""

    definition: Definition
    quick: bool
    machine: dict[str, Any]


class Journal:
    """The file of one experiment's rows. A row is on disk once `append` returns; a torn last line counts for nothing.

    Attributes:
        rows: What is there.
    """

    def __init__(self, folder: Path, header: Header, resume: bool) -> None:
        """Begins the file, or goes on with it.

        Args:
            folder: The experiment's own; it is made.
            resume: Whether what is there is kept. If not, it is an error that something is there.

        Raises:
            InvalidArgument: There are rows of another definition, or there are rows and none were expected.
        """
        self._path = folder / ROWS
        with writing("--out", folder, FOLDER):
            folder.mkdir(parents=True, exist_ok=True)
        there = read(folder) if self._path.exists() else None
        if there is not None and not resume:
            raise InvalidArgument("--out", str(folder), "a folder without results, or --resume to go on with them")
        if there is not None and (there[0].definition, there[0].quick) != (header.definition, header.quick):
            expected = "results of the same experiment with the same --seed, --repeat and --quick"
            raise InvalidArgument("--resume", str(self._path), expected)
        self.rows: list[Row] = list(there[1]) if there is not None else []
        self._header = there[0] if there is not None else header
        with writing("--out", folder, FOLDER):
            self._rewrite()
            self._file = self._path.open("ab")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Row) -> None:
        """Adds a row."""
        with writing("--out", self._path.parent, FOLDER):
            self._file.write(msgspec.json.encode(row) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self.rows.append(row)

    def has(self, run_id: str) -> bool:
        """Whether a run is there."""
        return any(row.id == run_id for row in self.rows)

    def _rewrite(self) -> None:
        """Writes what is there anew, so that the file has whole lines only."""
        lines = [msgspec.json.encode(self._header), *map(msgspec.json.encode, self.rows), b""]
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(b"\n".join(lines))
        partial.replace(self._path)


def read(folder: Path) -> tuple[Header, Sequence[Row]]:
    """The header and the rows of an experiment's folder.

    Raises:
        InvalidArgument: There are none, or they are not such rows.
    """
    path = folder / ROWS
    try:
        first, *lines = path.read_bytes().split(b"\n")
        header = msgspec.json.decode(first, type=Header)
        return header, [msgspec.json.decode(line, type=Row) for line in lines[:-1]]
    except OSError as error:
        raise InvalidArgument("results", str(path), f"a file that can be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidArgument(str(path), str(error), "the rows of an experiment") from error


def header_of(definition: Definition, quick: bool) -> Header:
    """The header of a run on this machine."""
    return Header(definition=definition, quick=quick, machine=describe())
