"""OCI image layouts: folders, or tar archives of one (image specification 1.1, "Image Layout")."""

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylark_oci.documents import DOCKER_INDEX, INDEX, REF_NAME, Descriptor, Index, Manifest, decode
from skylark_oci.errors import DigestMismatch, InvalidPackage, writable

_MARKER = "oci-layout"
_MARKER_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX = "index.json"
_READABLE = 0o644
_SEARCHABLE = 0o755


@dataclass(frozen=True, slots=True)
class Layout:
    """Manifests and blobs. `blobs` may read each from disk when it is asked for."""

    index: Index
    blobs: Mapping[str, bytes]

    def read(self, descriptor: Descriptor, where: str) -> bytes:
        """The content of a descriptor.

        Raises:
            InvalidPackage: It is not in the layout.
            DigestMismatch: It is not what its digest names.
        """
        try:
            content = self.blobs[descriptor.digest]
        except KeyError as error:
            raise InvalidPackage(where, f"the blob {descriptor.digest}, which is missing") from error
        actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if actual != descriptor.digest:
            raise DigestMismatch(where, descriptor.digest, actual)
        return content

    def manifests(self, where: str) -> list[tuple[Descriptor, Manifest]]:
        """Each manifest with the index's entry for it. Entries that are themselves an index are passed over.

        Raises:
            InvalidPackage: One is missing or is no manifest.
            DigestMismatch: One is not what its digest names.
        """
        return [
            (entry, decode(self.read(entry, where), Manifest, f"{where}: {entry.digest}"))
            for entry in self.index.manifests
            if entry.media_type not in (INDEX, DOCKER_INDEX)
        ]

    def tag_of(self, digest: str) -> str | None:
        """The tag of a manifest in the layout."""
        tags = ((entry.annotations or {}).get(REF_NAME) for entry in self.index.manifests if entry.digest == digest)
        return next(filter(None, tags), None)


def write_layout(layout: Layout, output: Path) -> None:
    """Writes a layout: an archive where the name ends in `.tar`, else a folder. Nothing half-written is ever there.

    An earlier layout of that name is replaced.

    Raises:
        InvalidPackage: Something else is there, or it cannot be written.
    """
    files = _files(layout)
    with writable(output, "a place that can be written"):
        _replace(output, files)


def _replace(output: Path, files: Mapping[str, bytes]) -> None:
    parent = output.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".layout-", dir=parent) as scratch:
        made = Path(scratch) / "made"
        if output.suffix == ".tar":
            _write_archive(files, made)
            if output.is_dir():
                raise InvalidPackage(str(output), "a file or nothing; it is a folder")
        else:
            _check_replaceable(output)
            _write_folder(files, made)
            if output.exists():
                os.replace(output, Path(scratch) / "old")  # noqa: PTH105
        os.replace(made, output)  # noqa: PTH105


@contextlib.contextmanager
def open_layout(path: Path) -> Iterator[Layout]:
    """Opens a layout, a folder or an archive, to read it.

    Raises:
        InvalidPackage: It is none.
    """
    with contextlib.ExitStack() as stack:
        blobs = _Folder(path) if path.is_dir() else _Archive(path, stack)
        try:
            blobs.file(_MARKER)
            index = blobs.file(_INDEX)
        except KeyError as error:
            raise InvalidPackage(str(path), f"an OCI layout with {error.args[0]}, which is missing") from error
        yield Layout(decode(index, Index, f"{path}: {_INDEX}"), blobs)


def is_layout(path: Path) -> bool:
    """Whether a path looks like a layout: a folder with its marker, or a tar archive."""
    return (path / _MARKER).is_file() or (path.is_file() and tarfile.is_tarfile(path))


class _Files(Mapping[str, bytes]):
    """The blobs of a layout on disk, by digest."""

    @abstractmethod
    def file(self, name: str) -> bytes:
        """A file of the layout; KeyError if it is missing."""

    def __getitem__(self, digest: str) -> bytes:
        return self.file(_blob_path(digest))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Folder(_Files):
    def __init__(self, path: Path) -> None:
        self._path = path

    def file(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(name) from error
        except OSError as error:
            raise InvalidPackage(str(self._path / name), f"a readable file ({error.strerror})") from error

    def __iter__(self) -> Iterator[str]:
        return (f"sha256:{path.name}" for path in sorted((self._path / "blobs" / "sha256").glob("*")))


class _Archive(_Files):
    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        try:
            self._archive = stack.enter_context(tarfile.open(path, "r:"))  # noqa: SIM115
            members = [member for member in self._archive if member.isfile()]
        except (OSError, tarfile.TarError, EOFError) as error:
            raise InvalidPackage(str(path), f"an OCI layout: a folder, or a tar archive ({error})") from error
        self._where = str(path)
        self._members = {member.name.removeprefix("./"): member for member in members}

    def file(self, name: str) -> bytes:
        member = self._members[name]
        try:
            opened = self._archive.extractfile(member)
            content = opened.read() if opened else b""
        except (OSError, tarfile.TarError, EOFError) as error:
            raise InvalidPackage(f"{self._where}: {name}", f"a readable member ({error})") from error
        if len(content) != member.size:
            raise InvalidPackage(f"{self._where}: {name}", f"{member.size} bytes; the archive is truncated")
        return content

    def __iter__(self) -> Iterator[str]:
        prefix = _blob_path("sha256:")
        return (f"sha256:{name.removeprefix(prefix)}" for name in self._members if name.startswith(prefix))


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _files(layout: Layout) -> dict[str, bytes]:
    blobs = {_blob_path(digest): content for digest, content in sorted(layout.blobs.items())}
    return {_MARKER: _MARKER_CONTENT, _INDEX: layout.index.encode()} | blobs


def _check_replaceable(output: Path) -> None:
    if output.is_dir():
        if any(output.iterdir()) and not is_layout(output):
            raise InvalidPackage(str(output), "an OCI layout, an empty folder or nothing; it has other files")
    elif output.exists():
        raise InvalidPackage(str(output), "a folder or nothing; it is a file (an archive's name ends in .tar)")


def _write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_archive(files: Mapping[str, bytes], path: Path) -> None:
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, _SEARCHABLE
            archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), _READABLE
            archive.addfile(entry, io.BytesIO(content))
