"""Directories: deep ones, long names, many entries, renames, links, walks and temporary files."""

# ruff: noqa: PTH102, PTH106, PTH109, PTH208, PTH211
import os
import shutil
import tempfile
from pathlib import Path

from conformance.programs.record import attempt, say

_DEPTH = 40
_ENTRIES = 2000


def main(arguments: list[str]) -> None:
    """Works in the folder of the first argument, which is empty."""
    root = Path(arguments[0])
    _made_and_removed(root)
    _deep(root)
    _many(root)
    _scanned(root)
    _renamed(root)
    _temporary(root)
    _working(root)


def _made_and_removed(root: Path) -> None:
    attempt("mkdir", os.mkdir, root / "one")
    attempt("mkdir again", os.mkdir, root / "one")
    attempt("mkdir in what is missing", os.mkdir, root / "no" / "two")
    attempt("makedirs", os.makedirs, root / "one" / "two" / "three")
    attempt("makedirs that exist", os.makedirs, root / "one" / "two", exist_ok=True)
    (root / "one" / "file").write_bytes(b"")
    attempt("rmdir of a full one", os.rmdir, root / "one")
    attempt("rmdir", os.rmdir, root / "one" / "two" / "three")
    attempt("rmdir of what is missing", os.rmdir, root / "one" / "two" / "three")
    attempt("list", lambda: sorted(os.listdir(root / "one")))
    attempt("list of an empty one", os.listdir, root / "one" / "two")
    attempt("list of what is missing", os.listdir, root / "missing")
    attempt("removedirs", shutil.rmtree, root / "one")
    say("gone", os.listdir(root))
    attempt("mkdir with a slash", lambda: os.mkdir(f"{root}/slash/"))
    attempt("mkdir with a dot", lambda: os.mkdir(f"{root}/slash/./dot"))
    attempt("up and down", lambda: sorted(os.listdir(f"{root}/slash/dot/../")))
    attempt("rmdir of dot", lambda: os.rmdir(f"{root}/slash/dot/."))
    shutil.rmtree(root / "slash")


def _deep(root: Path) -> None:
    deep = root / "deep"
    for number in range(_DEPTH):
        deep = deep / f"{number:02d}-{'long' * 10}"
    attempt("deep", deep.mkdir, parents=True)
    (deep / "file").write_text("bottom")
    say("read at the bottom", (deep / "file").read_text())
    say("walked", sum(1 for _ in os.walk(root / "deep")))
    say("found", len(list((root / "deep").rglob("file"))))
    attempt("a component too long", (root / ("x" * 256)).mkdir)
    attempt("remove", shutil.rmtree, root / "deep")


def _many(root: Path) -> None:
    folder = root / "many"
    folder.mkdir()
    names = [f"{'entry' * 10}-{number:05d}" for number in range(_ENTRIES)]
    for name in names:
        (folder / name).touch()
    say("all listed", sorted(os.listdir(folder)) == names)
    say("all listed again", len(os.listdir(folder)))
    with os.scandir(folder) as entries:
        first = next(entries)
        say("while one is open", first.name in names and len(os.listdir(folder)) == _ENTRIES)
    for name in names[::2]:
        (folder / name).unlink()
    say("half of them", sorted(os.listdir(folder)) == names[1::2])
    shutil.rmtree(folder)
    say("none", folder.exists())


def _scanned(root: Path) -> None:
    folder = root / "scanned"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_bytes(b"123")
    os.symlink("file", folder / "link")
    os.symlink("sub", folder / "sublink")
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_file(), entry.is_dir(), entry.is_symlink()) for entry in entries)
    say("entries", found)
    with os.scandir(folder) as entries:
        say("sizes", sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file()))
    say("walk", [[sorted(folders), sorted(files)] for _, folders, files in os.walk(folder)])
    say("glob", sorted(path.name for path in folder.glob("*")))
    (folder / "sublink" / "through").write_text("the link")
    say("through a link", (folder / "sub" / "through").read_text())


def _renamed(root: Path) -> None:
    (root / "from" / "below").mkdir(parents=True)
    (root / "from" / "file").write_text("kept")
    attempt("rename", os.rename, root / "from", root / "to")
    say("moved", [(root / "from").exists(), (root / "to" / "file").read_text()])
    (root / "empty").mkdir()
    attempt("rename over an empty one", os.rename, root / "to", root / "empty")
    (root / "full").mkdir()
    (root / "full" / "file").touch()
    attempt("rename over a full one", os.rename, root / "empty", root / "full")
    attempt("rename into itself", os.rename, root / "empty", root / "empty" / "below" / "inside")
    attempt("move to another", lambda: Path(shutil.move(root / "empty", root / "full")).name)
    attempt("copy", lambda: Path(shutil.copytree(root / "full", root / "copied")).name)
    say("copied", sorted(str(path.relative_to(root)) for path in (root / "copied").rglob("*")))


def _temporary(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"temporary")
            file.flush()
            say("temporary", [Path(file.name).read_bytes(), os.listdir(folder) == [Path(file.name).name]])
        say("removed", os.listdir(folder))
        with tempfile.TemporaryFile(dir=folder) as unnamed:
            unnamed.write(b"unnamed")
            unnamed.seek(0)
            say("unnamed", [unnamed.read(), os.listdir(folder)])
        opened, name = tempfile.mkstemp(dir=folder)
        os.close(opened)
        say("mkstemp", Path(name).stat().st_size)
        with tempfile.SpooledTemporaryFile(max_size=10, dir=folder) as spooled:
            spooled.write(b"x" * 100)
            spooled.seek(0)
            say("spooled", len(spooled.read()))
    say("all removed", Path(folder).exists())


def _working(root: Path) -> None:
    os.chdir(root)
    say("working folder", os.getcwd() == str(root))
    Path("relative").write_text("relative")
    say("relative", (root / "relative").read_text())
    attempt("chdir to what is missing", os.chdir, "missing")
    attempt("chdir to a file", os.chdir, "relative")
