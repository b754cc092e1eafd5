"""Find the installed distributions that a program uses: those of its modules, and what these require."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_METADATA = ".dist-info"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution.

    Attributes:
        folder: The folder that it is installed in.
        metadata: The folder with its metadata.
        files: Its files, from the folder.
    """

    folder: str
    metadata: str
    files: frozenset[str]

    @property
    def name(self) -> str:
        """Its name, as names are compared."""
        return _normalized(self.metadata.rpartition("/")[2].partition("-")[0])

    def requires(self) -> set[str]:
        """Return the names of what it requires in any case, not only for an extra."""
        lines = _lines(f"{self.metadata}/METADATA")
        needs = (line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Dist:"))
        return {_normalized(found[0]) for need in needs if "extra" not in need and (found := _NAME.match(need))}

    def modules(self) -> dict[str, str]:
        """Return the name and the file of each module that is in no package."""
        return {file[:-3]: f"{self.folder}/{file}" for file in self.files if file.endswith(".py") and "/" not in file}

    def packages(self) -> dict[str, str]:
        """Return the name and the folder of each package that is in no other."""
        found = {file.removesuffix("/__init__.py") for file in self.files if file.endswith("/__init__.py")}
        top = (one for one in found if not any(one.startswith(f"{other}/") for other in found))
        return {one.replace("/", "."): f"{self.folder}/{one}" for one in top}


def used(folders: Sequence[str]) -> list[Distribution]:
    """Return the distributions in some folders that loaded modules came with, and what they require."""
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    installed = {one.name: one for folder in reversed(folders) for one in _installed(folder)}
    found = {name: one for name, one in installed.items() if any(f"{one.folder}/{file}" in files for file in one.files)}
    queue = list(found.values())
    while queue:
        for name in queue.pop().requires() & installed.keys() - found.keys():
            found[name] = installed[name]
            queue.append(installed[name])
    return [found[name] for name in sorted(found)]


def _installed(folder: str) -> Iterator[Distribution]:
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208
        if entry.endswith(_METADATA):
            files = frozenset(line.partition(",")[0].strip('"') for line in _lines(f"{folder}/{entry}/RECORD"))
            yield Distribution(folder, f"{folder}/{entry}", files)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib need not be loaded in the sandbox
            return file.read().splitlines()
    except (OSError, ValueError):
        return []


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
