"""What was built before, found again by what that build read.

Before a build nobody can tell what it will read. So a key of what is known before leads to records of builds, each with
the files, folders and modules that it asked for and what it found; a record holds as long as all of them are the same.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

import msgspec

from skylark_proxy.runtime.engine import digest

_KEPT = 16
"""Records that one key leads to: a source that is built by turns with other files beside it."""

_SUFFIXES = (".py", ".pyc", ".so")
_METADATA = (".dist-info", ".egg-info", ".egg")


class Kind(StrEnum):
    """What was asked."""

    FILE = "file"
    """What is in a file, or whether there is one."""
    LISTING = "listing"
    """The names in a folder."""
    DISTRIBUTIONS = "distributions"
    """The installed distributions in a folder."""
    MODULE = "module"
    """Which files a folder has for a module's name."""


class Input(msgspec.Struct, frozen=True, array_like=True):
    """A question that a build asked, and the answer. `folder` counts the folders that a source's modules are in."""

    kind: Kind
    folder: int
    path: str
    answer: str


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A file in one of the folders."""

    folder: int
    path: str


class Missing(msgspec.Struct, frozen=True, array_like=True):
    """A module that the source names and the sandbox does not have."""

    name: str
    place: Place
    line: int


class Record(msgspec.Struct, frozen=True):
    """A build: what it read, what went into it and what did not, and the digest that names its component."""

    component: str
    inputs: list[Input]
    modules: list[Place]
    missing: list[Missing]
    left_out: list[Place]


class Heard(msgspec.Struct, frozen=True):
    """What the guest writes of a build, with its own paths; see `skylark.build_inputs`."""

    files: list[str]
    listed: list[tuple[str, bool]]
    looked_up: list[tuple[str, str]]
    modules: list[tuple[str, str]]
    missing: list[tuple[str, str, int]]
    left_out: list[str]


@dataclass(slots=True)
class Folders:
    """The folders of a source's modules, and what they answer now.

    Attributes:
        folders: The folders.
        first: The number that the guest mounts the first of them by.
        output: The file that is built; a build does not count as new because of it.
    """

    folders: Sequence[Path]
    first: int
    output: Path
    _names: dict[Path, list[str]] = field(default_factory=dict)

    def place(self, guest_path: str) -> Place:
        """Where a path of the guest is."""
        _, number, *rest = PurePosixPath(guest_path).parts
        return Place(int(number) - self.first, "/".join(rest))

    def file(self, place: Place) -> Path:
        """The file on this machine."""
        return self.folders[place.folder] / place.path

    def inputs(self, heard: Heard) -> Iterator[Input]:
        """What a build asked, with the answers of now."""
        asked = [(Kind.FILE, path) for path in heard.files]
        asked += [(Kind.DISTRIBUTIONS if metadata else Kind.LISTING, path) for path, metadata in heard.listed]
        asked += [(Kind.MODULE, f"{folder}/{name}") for folder, name in heard.looked_up]
        for kind, guest_path in asked:
            place = self.place(guest_path)
            if self.file(place) != self.output:
                yield Input(kind, place.folder, place.path, self.answer(kind, place))

    def answer(self, kind: Kind, place: Place) -> str:
        """What a question finds: a digest, or in a word what there is."""
        path = self.file(place)
        if kind is Kind.FILE:
            return "folder" if path.is_dir() else digest(path.read_bytes()) if path.is_file() else "none"
        names = self._listed(path.parent if kind is Kind.MODULE else path)
        if kind is Kind.LISTING:
            names = [name for name in names if path / name != self.output and name != "__pycache__"]
        elif kind is Kind.DISTRIBUTIONS:
            names = [name for name in names if name.endswith(_METADATA)]
        else:
            names = [name for name in names if name == path.name or _is_module(name, path.name)]
            names += [name for name in ("__init__.py",) if (path / name).is_file()]
        return digest("\n".join(names).encode())

    def hold(self, inputs: Sequence[Input]) -> bool:
        """Whether all questions would find the same again."""
        try:
            return all(self.answer(one.kind, Place(one.folder, one.path)) == one.answer for one in inputs)
        except (OSError, IndexError):
            return False

    def changed_since(self, inputs: Sequence[Input], time_ns: int) -> bool:
        """Whether a file that was read may have been written since: nobody knows then which content was read."""
        files = (self.file(Place(one.folder, one.path)) for one in inputs if one.kind is Kind.FILE)
        return any(file.is_file() and file.stat().st_mtime_ns >= time_ns for file in files)

    def _listed(self, folder: Path) -> list[str]:
        if folder not in self._names:
            self._names[folder] = sorted(os.listdir(folder)) if folder.is_dir() else ["/"]  # noqa: PTH208
        return self._names[folder]


def _is_module(name: str, module: str) -> bool:
    return name.startswith(f"{module}.") and name.endswith(_SUFFIXES)


@dataclass(frozen=True, slots=True)
class BuildCache:
    """The builds of one key.

    Attributes:
        folder: Where components and records are kept.
        key: All that goes into a component and is known before it is built.
    """

    folder: Path
    key: str

    def find(self, folders: Folders) -> Record | None:
        """The newest build that would be made of the same content; None: there is none."""
        for record in self._records():
            if self.component(record).is_file() and folders.hold(record.inputs):
                return record
        return None

    def component(self, record: Record) -> Path:
        """The file of a build."""
        return self.folder / f"{record.component}.wasm"

    def add(self, component: Path, heard: Heard, folders: Folders, started_ns: int) -> Record:
        """Take a component in, and remember what it was made of, unless that may have changed meanwhile.

        Args:
            component: The file, which is moved.
            started_ns: When its build began, in nanoseconds of `time.time_ns`.
        """
        inputs = list(dict.fromkeys(folders.inputs(heard)))
        modules = [folders.place(path) for _, path in heard.modules]
        missing = [Missing(name, folders.place(path), line) for name, path, line in heard.missing]
        left_out = [folders.place(path) for path in heard.left_out]
        record = Record(digest(component.read_bytes()), inputs, modules, missing, left_out)
        os.replace(component, self.component(record))  # noqa: PTH105
        if not folders.changed_since(inputs, started_ns):
            self._write([record, *(one for one in self._records() if one.inputs != inputs)][:_KEPT])
        return record

    def _records(self) -> list[Record]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=list[Record])
        except (
            OSError,
            msgspec.MsgspecError,
            UnicodeDecodeError,
            RecursionError,
        ):  # of another version, or not whole: built anew
            return []

    def _write(self, records: Sequence[Record]) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".records-", delete=False) as file:
            file.write(msgspec.json.encode(records))
        os.replace(file.name, self._file)  # noqa: PTH105

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.key}.builds.json"
