"""Keep packages whole in a component: the modules that they have not imported yet, and their data files.

Many packages import their own modules by computed names and read their data while a function runs. So a build packs
the folder of each package that it has loaded, and the metadata of its distribution.
"""

import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence

from skylark.late_files import LateFiles
from skylark.late_modules import LateModules

FILE_LIMIT_BYTES = 8 << 20
"""Larger data files are left out."""

TOTAL_LIMIT_BYTES = 32 << 20
"""Data files that do not fit into this together are left out."""

_FOLDERS_LEFT_OUT = ("__pycache__", "tests", "test", "node_modules")
_LEFT_OUT = (".pyc", ".pyi", ".pyx", ".pxd", ".so", ".pyd", ".dll", ".dylib", ".a", ".c", ".h", ".cpp", "py.typed")
"""Ends of the names of files that only compilers, type checkers and other machines need."""
_METADATA = ".dist-info"


class Packages:
    """Packs the packages that are loaded.

    Args:
        folders: The folders of modules.
        own: Those of them with the user's own modules.

    Attributes:
        modules: The name and the file of each module that was packed.
        left_out: The data files that are too large.
    """

    def __init__(self, folders: Sequence[str], own: Sequence[str]) -> None:
        self.modules: dict[str, str] = {}
        self.left_out: list[str] = []
        self._folders = tuple(folders)
        self._own = tuple(own)
        self._size = 0

    def keep(self, modules: LateModules, files: LateFiles) -> None:
        """Pack what is in the folders of the packages."""
        for name, folder in self._loaded():
            self.modules |= modules.keep(folder, f"{name}.", _FOLDERS_LEFT_OUT)
            for path in _files(folder):
                if path.endswith(".py"):
                    pkgutil.get_importer(path.rpartition("/")[0])  # stays in a cache, for `pkgutil.iter_modules`
                    files.name(path)
                elif not path.endswith(_LEFT_OUT):
                    self._keep_data(path, files)

    def keep_metadata(self, folders: Sequence[str], files: LateFiles) -> None:
        """Pack the files of metadata folders, without their subfolders with licences."""
        for folder in folders:
            for entry in sorted(os.listdir(folder)):
                if os.path.isfile(f"{folder}/{entry}"):
                    self._keep_data(f"{folder}/{entry}", files)

    def metadata(self) -> list[str]:
        """Return the metadata folder of each distribution that a loaded module came with."""
        loaded = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
        found = []
        for folder in self._folders:
            inside = {path[len(folder) + 1 :] for path in loaded if path.startswith(f"{folder}/")}
            for entry in sorted(os.listdir(folder)) if inside else ():
                if entry.endswith(_METADATA) and not inside.isdisjoint(_installed(f"{folder}/{entry}")):
                    found.append(f"{folder}/{entry}")
        return found

    def _loaded(self) -> list[tuple[str, str]]:
        """The name and the folder of each package that is in no other."""
        found = {}
        for name, module in list(sys.modules.items()):
            regular = getattr(module, "__file__", None) is not None
            for folder in getattr(module, "__path__", None) or ():
                if isinstance(folder, str) and self._is_kept(folder, regular):
                    found[folder] = name
        inner = {folder for folder in found if any(folder.startswith(f"{other}/") for other in found)}
        return sorted((name, folder) for folder, name in found.items() if folder not in inner)

    def _is_kept(self, folder: str, regular: bool) -> bool:
        """True for a package. A folder without `__init__` in a site may hold the packages of many distributions."""
        folders = self._folders if regular else self._own
        return any(folder.startswith(f"{one}/") for one in folders)

    def _keep_data(self, path: str, files: LateFiles) -> None:
        size = os.stat(path).st_size
        if size > FILE_LIMIT_BYTES or self._size + size > TOTAL_LIMIT_BYTES:
            self.left_out.append(path)
        else:
            self._size += size
            files.keep(path)


def _installed(folder: str) -> Iterator[str]:
    """The files that a distribution has installed, as its record says."""
    try:
        with open(f"{folder}/RECORD", encoding="utf-8") as file:
            for line in file:
                yield line.partition(",")[0].strip('"')
    except (OSError, ValueError):
        return


def _files(folder: str) -> Iterator[str]:
    """The files below a folder; not those of tests, and hidden ones."""
    for entry in sorted(os.listdir(folder)):
        path = f"{folder}/{entry}"
        if entry.startswith(".") or entry in _FOLDERS_LEFT_OUT:
            continue
        if os.path.isdir(path):
            yield from _files(path)
        elif os.path.isfile(path):
            yield path
