"""Layouts are written whole, read back as they were, and damage in one is found."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from skylark_oci.errors import DigestMismatch, InvalidPackage
from skylark_oci.layout import Layout, is_layout, open_layout, write_layout
from skylark_oci.metadata import Metadata
from skylark_oci.packages import package
from wasm_files import COMPONENT, wasm_file


@pytest.fixture(scope="module")
def layout() -> Layout:
    return package(wasm_file(COMPONENT), "app", Metadata(version="1.0")).layout()


@pytest.fixture(params=["out", "out.tar"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "deep" / str(request.param)


def test_a_layout_is_read_as_it_was_written(layout: Layout, output: Path) -> None:
    """A folder and an archive have the same index, and all blobs by their digests."""
    write_layout(layout, output)
    assert is_layout(output)
    with open_layout(output) as opened:
        assert opened.index == layout.index
        assert dict(opened.blobs) == dict(layout.blobs)
        assert [opened.tag_of(entry.digest) for entry, _ in opened.manifests("x")] == [
            "1.0",
            "1.0-artifact",
            None,
            None,
        ]


def test_files_of_a_layout(layout: Layout, tmp_path: Path) -> None:
    """The names are those of the image specification, "Image Layout"."""
    write_layout(layout, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    for digest, content in layout.blobs.items():
        assert (tmp_path / "out" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes() == content


def test_an_archive_is_the_same_again(layout: Layout, tmp_path: Path) -> None:
    """Neither the clock nor who writes it is in an archive."""
    for name in ("one.tar", "two.tar"):
        write_layout(layout, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_a_layout_is_replaced(layout: Layout, output: Path) -> None:
    """What an earlier package had and this one has not is gone."""
    other = package(wasm_file("(component)"), "app", Metadata(version="2.0")).layout()
    write_layout(other, output)
    write_layout(layout, output)
    with open_layout(output) as opened:
        assert set(opened.blobs) == set(layout.blobs)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def _folder_with_files(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "precious.txt").write_text("keep me")


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("keep me")


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("out", _folder_with_files, "it has other files"),
        ("out", _file, "it is a file"),
        ("out.tar", _folder_with_files, "it is a folder"),
    ],
)
def test_nothing_else_is_replaced(
    layout: Layout, tmp_path: Path, name: str, make: Callable[[Path], None], expected: str
) -> None:
    """A folder or file that is no layout is left as it is, and named."""
    output = tmp_path / "deep" / name
    make(output)
    before = sorted(path.name for path in output.parent.rglob("*"))
    with pytest.raises(InvalidPackage, match=expected):
        write_layout(layout, output)
    assert sorted(path.name for path in output.parent.rglob("*")) == before


def test_a_changed_blob_is_found(layout: Layout, tmp_path: Path) -> None:
    """A layer that is not what its digest names is not read."""
    write_layout(layout, tmp_path / "out")
    digest = layout.index.manifests[0].digest
    (tmp_path / "out" / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(b"{}")
    with open_layout(tmp_path / "out") as opened, pytest.raises(DigestMismatch, match=digest):
        opened.manifests("out")


def test_a_missing_blob_is_named(layout: Layout, tmp_path: Path) -> None:
    """The error has its digest."""
    write_layout(layout, tmp_path / "out")
    digest = layout.index.manifests[1].digest
    (tmp_path / "out" / "blobs" / "sha256" / digest.removeprefix("sha256:")).unlink()
    with open_layout(tmp_path / "out") as opened, pytest.raises(InvalidPackage, match=f"{digest}, which is missing"):
        opened.manifests("out")


def test_a_truncated_archive_is_named(layout: Layout, tmp_path: Path) -> None:
    """An archive that was cut in a copy is refused, wherever it was cut."""
    write_layout(layout, tmp_path / "out.tar")
    content = (tmp_path / "out.tar").read_bytes()
    for length in (100, len(content) // 2):
        (tmp_path / "cut.tar").write_bytes(content[:length])
        with pytest.raises((InvalidPackage, DigestMismatch)), open_layout(tmp_path / "cut.tar") as opened:
            opened.manifests("cut.tar")


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_what_makes_a_layout_is_named(layout: Layout, tmp_path: Path, missing: str) -> None:
    """A folder without the marker or the index is no layout."""
    write_layout(layout, tmp_path / "out")
    (tmp_path / "out" / missing).unlink()
    with pytest.raises(InvalidPackage, match=f"an OCI layout with {missing}"), open_layout(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ("not json", "index.json"),
        ("{}", "schemaVersion"),
        (
            '{"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "sha256:../../etc/passwd", "size": 1}]}',
            "digest",
        ),
        (
            '{"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "sha256:' + "0" * 64 + '", "size": -1}]}',
            "size",
        ),
    ],
)
def test_an_index_that_is_none_is_named(layout: Layout, tmp_path: Path, index: str, named: str) -> None:
    """The error says which member is wrong; no digest is a path to somewhere else."""
    write_layout(layout, tmp_path / "out")
    (tmp_path / "out" / "index.json").write_text(index)
    with pytest.raises(InvalidPackage, match=named), open_layout(tmp_path / "out"):
        pass


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    """Neither a text file nor nothing at all is an archive."""
    (tmp_path / "app.py").write_text("import skylark")
    for name in ("app.py", "missing"):
        with pytest.raises(InvalidPackage, match=f"{name}: expected an OCI layout"), open_layout(tmp_path / name):
            pass
    assert not is_layout(tmp_path / "app.py")
