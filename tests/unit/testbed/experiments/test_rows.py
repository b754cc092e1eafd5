"""Rows on disk, and going on with them."""

from pathlib import Path

import pytest

from experiment_files import row, write
from skylark_proxy.errors import InvalidArgument
from skylark_testbed.experiments.definition import load
from skylark_testbed.experiments.rows import ROWS, Header, Journal, header_of, read


@pytest.fixture
def header(tmp_path: Path) -> Header:
    return header_of(load(write(tmp_path)), quick=False)


def test_rows_are_there_afterwards(tmp_path: Path, header: Header) -> None:
    """What was appended is read again, after an interruption too."""
    rows = [row({"nodes": 3}, "skylark", number, first_ms=1.5) for number in range(3)]
    with Journal(tmp_path / "out", header, resume=False) as journal:
        journal.append(rows[0])
        assert read(tmp_path / "out")[1] == rows[:1]
    with Journal(tmp_path / "out", header, resume=True) as journal:
        assert journal.has(rows[0].id) and not journal.has(rows[1].id)
        journal.append(rows[1])
    assert read(tmp_path / "out") == (header, rows[:2])


def test_a_torn_line_counts_for_nothing(tmp_path: Path, header: Header) -> None:
    """A crash in the middle of a line costs that row only, and what follows stands on a line of its own."""
    kept, torn, later = (row({"nodes": 3}, "skylark", number, first_ms=1.0) for number in range(3))
    with Journal(tmp_path, header, resume=False) as journal:
        journal.append(kept)
        journal.append(torn)
    path = tmp_path / ROWS
    path.write_bytes(path.read_bytes()[:-20])
    assert read(tmp_path)[1] == [kept]
    with Journal(tmp_path, header, resume=True) as journal:
        assert not journal.has(torn.id)
        journal.append(later)
    assert read(tmp_path)[1] == [kept, later]


def test_results_are_not_overwritten(tmp_path: Path, header: Header) -> None:
    """Without --resume, results that are there are an error."""
    with Journal(tmp_path, header, resume=False):
        pass
    with pytest.raises(InvalidArgument, match="--resume"):
        Journal(tmp_path, header, resume=False)


def test_results_of_another_experiment_are_not_gone_on_with(tmp_path: Path, header: Header) -> None:
    """Rows of another definition, or of a quick run, do not mix with these."""
    with Journal(tmp_path, header, resume=False):
        pass
    with pytest.raises(InvalidArgument, match="same experiment"):
        Journal(tmp_path, header_of(header.definition, quick=True), resume=True)
