"""The sandbox's end of the exchange directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mounts import small_tmpfs
from skylark import exchange
from skylark.errors import Unavailable
from skylark.wire import Buffer, joined

SIZES = st.sampled_from([0, 1, 100, 65_535, 65_536, 65_537, 200_000])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("exchange"))


@given(sizes=st.lists(SIZES, max_size=6))
def test_what_was_written_is_read(folder: str, sizes: list[int]) -> None:
    """Parts of any size, below and above the one up to which they are joined, make one file in their order."""
    parts: list[Buffer] = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    exchange.write("f", parts, folder)
    assert bytes(exchange.read("f", folder)) == b"".join(parts)


def test_small_parts_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand small parts cost a few writes, a large part is one write and is not copied."""
    large = bytes(100_000)
    parts: list[Buffer] = [b"x" * 100] * 1000
    chunks = list(joined([*parts, large, b"end"]))
    assert b"".join(chunks) == b"x" * 100_000 + large + b"end"
    assert len(chunks) == 4
    assert any(chunk is large for chunk in chunks)


def test_parts_may_be_made_while_they_are_written(tmp_path: Path) -> None:
    """`write` takes an iterator, and looks at it once."""

    def parts() -> Iterator[Buffer]:
        yield from (b"a", bytearray(b"b" * 70_000), memoryview(b"c"))

    exchange.write("f", parts(), str(tmp_path))
    assert (tmp_path / "f").read_bytes() == b"a" + b"b" * 70_000 + b"c"


def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    """No parts, and parts of no bytes, leave an empty file."""
    for parts in ([], [b"", b""]):
        exchange.write("f", parts, str(tmp_path))
        assert len(exchange.read("f", str(tmp_path))) == 0


def test_a_file_is_replaced(tmp_path: Path) -> None:
    """Nothing of a longer file under the same name shows through."""
    exchange.write("f", [bytes(100)], str(tmp_path))
    exchange.write("f", [b"1"], str(tmp_path))
    assert bytes(exchange.read("f", str(tmp_path))) == b"1"


def test_what_was_read_cannot_be_changed(tmp_path: Path) -> None:
    """A function is given a read-only view."""
    exchange.write("f", [b"abc"], str(tmp_path))
    assert exchange.read("f", str(tmp_path)).readonly


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """There is no empty answer for what is not there."""
    with pytest.raises(FileNotFoundError):
        exchange.read("f", str(tmp_path))


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """On a full file system the error says how much was written of what, and where."""
    with small_tmpfs(tmp_path, 200_000) as folder:
        with pytest.raises(Unavailable, match=rf"the exchange directory {folder} took \d+ bytes of 'f' and no more"):
            exchange.write("f", [bytes(100_000)] * 4, str(folder))
        exchange.write("f", [b"less"], str(folder))
        assert bytes(exchange.read("f", str(folder))) == b"less"
