"""A build is found again as long as all that it read is the same."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skylark_proxy.build_cache import BuildCache, Folders, Heard, Place, Record

BEFORE_NS = 10**9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files, which the guest sees as /2, and one of packages, /3."""
    root = tmp_path / "root"
    for file in (
        "own/data.txt",
        "own/pkg/__init__.py",
        "own/space/deep.py",
        "site/lib.py",
        "site/lib-1.dist-info/RECORD",
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)
        os.utime(root / file, (1, 1))
    return root


def folders(root: Path) -> Folders:
    return Folders((root / "own", root / "site"), 2, root / "own" / "app.wasm")


def add(
    cache: BuildCache, root: Path, content: str = "component", time_ns: int = 2 * BEFORE_NS, **heard: Any
) -> Record:
    """Adds a build of now."""
    cache.folder.mkdir(parents=True, exist_ok=True)
    (cache.folder / "new").write_text(content)
    names = ("files", "listed", "looked_up", "modules", "missing", "left_out")
    empty: dict[str, Any] = {name: [] for name in names}
    return cache.add(cache.folder / "new", Heard(**(empty | heard)), folders(root), time_ns)


def write(file: str, content: str = "new") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(content)

    return change


def remove(file: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()

    return change


CHANGES: list[tuple[dict[str, Any], Callable[[Path], None], bool]] = [
    ({"files": ["/2/data.txt"]}, write("own/data.txt"), True),
    ({"files": ["/2/data.txt"]}, remove("own/data.txt"), True),
    ({"files": ["/2/data.txt"]}, write("own/other.txt"), False),
    ({"files": ["/2/absent.txt"]}, write("own/absent.txt"), True),
    ({"files": ["/2/pkg"]}, write("own/pkg/more.py"), False),
    ({"files": ["/2/pkg"]}, remove("own/pkg"), True),
    ({"listed": [("/2", False)]}, write("own/new.txt"), True),
    ({"listed": [("/2", False)]}, write("own/data.txt"), False),
    ({"listed": [("/2", False)]}, write("own/app.wasm"), False),
    ({"listed": [("/2", False)]}, write("own/__pycache__/app.pyc"), False),
    ({"listed": [("/2/absent", False)]}, write("own/absent/x"), True),
    ({"listed": [("/3", True)]}, write("site/new.py"), False),
    ({"listed": [("/3", True)]}, write("site/new-1.dist-info/RECORD"), True),
    ({"listed": [("/3", True)]}, remove("site/lib-1.dist-info"), True),
    ({"looked_up": [("/2", "extra")]}, write("own/extra.py"), True),
    ({"looked_up": [("/2", "extra")]}, write("own/extra/__init__.py"), True),
    ({"looked_up": [("/2", "extra")]}, write("own/extra/deep.py"), True),
    ({"looked_up": [("/2", "extra")]}, write("own/extra.txt"), False),
    ({"looked_up": [("/2", "extra")]}, write("own/extra_more.py"), False),
    ({"looked_up": [("/2", "lib"), ("/3", "lib")]}, write("own/lib.py"), True),
    ({"looked_up": [("/3", "lib")]}, remove("site/lib.py"), True),
    ({"looked_up": [("/2", "space")]}, write("own/space/__init__.py"), True),
    ({"looked_up": [("/2", "space")]}, write("own/space/more.py"), False),
    ({"looked_up": [("/2/pkg", "sub")]}, write("own/pkg/sub.py"), True),
]


@pytest.mark.parametrize(("heard", "change", "counts"), CHANGES)
def test_a_change_counts_if_the_build_asked_for_it(
    tmp_path: Path, root: Path, heard: dict[str, Any], change: Callable[[Path], None], counts: bool
) -> None:
    """Files that were read or looked for, folders that were listed, modules that were sought; and nothing else."""
    cache = BuildCache(tmp_path / "cache", "key")
    record = add(cache, root, **heard)
    assert cache.find(folders(root)) == record
    change(root)
    assert (cache.find(folders(root)) is None) is counts


def test_builds_of_one_key_are_kept_side_by_side(tmp_path: Path, root: Path) -> None:
    """What is changed back is found again."""
    cache = BuildCache(tmp_path / "cache", "key")
    for content in ("one", "two"):
        write("own/data.txt", content)(root)
        os.utime(root / "own/data.txt", (1, 1))
        add(cache, root, content, files=["/2/data.txt"])
    for content in ("one", "two"):
        write("own/data.txt", content)(root)
        record = cache.find(folders(root))
        assert record is not None and cache.component(record).read_text() == content
    assert BuildCache(tmp_path / "cache", "other").find(folders(root)) is None


def test_a_build_is_found_from_another_folder_with_the_same_files(tmp_path: Path, root: Path) -> None:
    """The cache goes by content: where the sources lie makes no difference."""
    cache = BuildCache(tmp_path / "cache", "key")
    record = add(cache, root, files=["/2/data.txt", "/3/lib.py"], looked_up=[("/2", "lib"), ("/3", "lib")])
    assert cache.find(folders(shutil.copytree(root, tmp_path / "copy"))) == record


def test_a_file_that_is_written_during_a_build_is_not_trusted(tmp_path: Path, root: Path) -> None:
    """Nobody knows which content the build read, so the next one is a new one."""
    cache = BuildCache(tmp_path / "cache", "key")
    record = add(cache, root, time_ns=BEFORE_NS, files=["/2/data.txt"])
    assert cache.component(record).is_file()
    assert cache.find(folders(root)) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"component": 1}]', b"\xff"])
def test_records_that_cannot_be_read_are_none(tmp_path: Path, root: Path, content: bytes) -> None:
    """A file of another version, or half of one, leads to a new build."""
    cache = BuildCache(tmp_path / "cache", "key")
    add(cache, root)
    (tmp_path / "cache" / "key.builds.json").write_bytes(content)
    assert cache.find(folders(root)) is None


def test_a_component_that_is_gone_is_built_again(tmp_path: Path, root: Path) -> None:
    """Whoever tidies the cache up may leave the records."""
    cache = BuildCache(tmp_path / "cache", "key")
    cache.component(add(cache, root)).unlink()
    assert cache.find(folders(root)) is None


def test_modules_and_what_is_missing_are_kept(tmp_path: Path, root: Path) -> None:
    """They are told again when the component comes from the cache, with the paths of then."""
    cache = BuildCache(tmp_path / "cache", "key")
    left_out = ["/3/lib/large.bin"]
    add(cache, root, modules=[("lib", "/3/lib.py")], missing=[("nope", "/2/app.py", 4)], left_out=left_out)
    record = cache.find(folders(root))
    assert record is not None
    assert record.modules == [Place(1, "lib.py")]
    assert [(one.name, folders(root).file(one.place), one.line) for one in record.missing] == [
        ("nope", root / "own" / "app.py", 4)
    ]
    assert record.left_out == [Place(1, "lib/large.bin")]
