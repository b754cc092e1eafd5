"""Files that a component keeps are read at their paths after the real ones are gone, in every way of the library."""

# ruff: noqa: PTH123, PTH202, PTH208, SIM115  # these are the ways

import builtins
import contextlib
import glob
import importlib.resources
import io
import os
import pkgutil
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylark.late_files import LateFiles


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> LateFiles:
    """Kept files whose stand-ins end with the test."""
    for module, names in (
        (builtins, ("open",)),
        (io, ("open", "open_code")),
        (sys.modules["_io"], ("open_code",)),
        (os, ("stat", "lstat", "access", "listdir", "scandir")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    for name in ("supports_dir_fd", "supports_follow_symlinks", "supports_fd"):
        monkeypatch.setattr(os, name, set(getattr(os, name)))
    kept = LateFiles()
    kept.use()
    if sys.version_info[:2] == (3, 13):  # its glob has taken `os.scandir` by name; the guest's, of 3.14, has not
        monkeypatch.setattr(glob._StringGlobber, "scandir", staticmethod(os.scandir))  # type: ignore[attr-defined]
    return kept


@pytest.fixture
def package(tmp_path: Path, files: LateFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with data, loaded and kept, whose folder is gone."""
    folder = tmp_path.resolve() / "kept_package"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "data" / "a.txt").write_bytes("é\r\n".encode())
    (folder / "data" / "deep" / "b.bin").write_bytes(bytes(range(256)))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("kept_package")
    for path in (folder / "data" / "a.txt", folder / "data" / "deep" / "b.bin"):
        files.keep(str(path))
    files.name(str(folder / "__init__.py"))
    shutil.rmtree(folder)
    files.show()
    yield folder
    del sys.modules["kept_package"]


def test_open_reads_a_kept_file(package: Path) -> None:
    """Text is decoded and its lines end as asked for; bytes can be sought in."""
    path = str(package / "data" / "a.txt")
    with open(path, encoding="utf-8") as text:
        assert (text.read(), text.name) == ("é\n", path)
    with open(path, encoding="utf-8", newline="") as text:
        assert text.read() == "é\r\n"
    with open(path, "rb", 0) as content:
        content.seek(2)
        assert content.read() == b"\r\n"


@pytest.mark.parametrize("mode", ["w", "a", "r+", "wb", "x"])
def test_a_kept_file_is_read_only(package: Path, mode: str) -> None:
    """The error is that of a file system that takes no writes."""
    with pytest.raises(OSError, match="Read-only file system"):
        open(package / "data" / "a.txt", mode)


def test_paths_are_those_of_files(package: Path) -> None:
    """`pathlib` and `os.path` find them, with their sizes, from any spelling of the path."""
    data = package / "data"
    assert (data / "a.txt").read_text("utf-8") == "é\n"
    assert (data / "deep" / ".." / "a.txt").read_bytes() == "é\r\n".encode()
    assert (data / "a.txt").resolve().parent == data
    assert (data / "a.txt").is_file() and not (data / "a.txt").is_dir() and data.is_dir()
    assert (data / "a.txt").stat().st_size == os.path.getsize(os.fsencode(data / "a.txt")) == 4
    assert not (data / "none.txt").exists() and os.access(data, mode=os.R_OK) and not os.access(data, os.W_OK)


def test_folders_can_be_listed(package: Path) -> None:
    """All ways to look into a folder show what was kept in it."""
    data = package / "data"
    assert os.listdir(data) == sorted(os.listdir(data)) == ["a.txt", "deep"]
    assert os.listdir(os.fsencode(data)) == [b"a.txt", b"deep"]
    assert sorted(path.name for path in data.iterdir()) == ["a.txt", "deep"]
    assert [path.name for path in package.glob("**/*.bin")] == ["b.bin"]
    assert [(Path(place).name, folders, names) for place, folders, names in os.walk(data)] == [
        ("data", ["deep"], ["a.txt"]),
        ("deep", [], ["b.bin"]),
    ]
    with pytest.raises(NotADirectoryError):
        os.listdir(data / "a.txt")


def test_resources_of_a_package_are_found(package: Path) -> None:
    """`importlib.resources` and `pkgutil` read them by the name of the package."""
    resource = importlib.resources.files("kept_package").joinpath("data", "a.txt")
    assert resource.read_bytes() == pkgutil.get_data("kept_package", "data/a.txt") == "é\r\n".encode()
    with importlib.resources.as_file(resource) as path:
        assert path.read_bytes() == "é\r\n".encode()


def test_a_missing_file_says_what_to_do(package: Path) -> None:
    """Reading what was not kept leads to the top of the function's file; writing has the plain error."""
    with pytest.raises(FileNotFoundError, match="read it at the top of the function's file"):
        open(package / "data" / "none.txt")
    with pytest.raises(FileNotFoundError) as error:
        open(package / "none" / "new.txt", "w")
    assert "read it" not in str(error.value)


def test_real_files_are_as_before(package: Path, tmp_path: Path) -> None:
    """What is not kept is read, written and listed by the functions that were there."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("one")
    assert (other / "a.txt").read_text() == "one"
    assert os.listdir(other) == ["a.txt"]
    fd = os.open(other / "a.txt", os.O_RDONLY)
    with open(fd) as file:
        assert file.read() == "one"


def test_nothing_stands_in_during_the_build(tmp_path: Path, files: LateFiles) -> None:
    """Until the build ends, folders show all that is in them."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files.keep(str(tmp_path / "a"))
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_the_null_device_takes_all_and_gives_nothing(files: LateFiles) -> None:
    """It is there without a device: `redirect_stdout` to it is a habit."""
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        print("nobody sees this")
    with open(os.devnull, "rb") as empty:
        assert empty.read() == b""
