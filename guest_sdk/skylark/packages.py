"""Keep packages whole in a component: the modules that they have not imported yet, and their data files.

Many packages import their own modules by computed names and read their data while a function runs. So a build packs
the folder of each package that it has loaded. From distributions come also their metadata, and what they require.
"""

# ruff: noqa: PTH112, PTH113, PTH114, PTH116, PTH208  # pathlib need not be loaded in the sandbox

import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence

from skylark.distributions import Distribution
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules

FILE_LIMIT_BYTES = 8 << 20
"""Larger data files are left out."""

TOTAL_LIMIT_BYTES = 32 << 20
"""Data files that do not fit into this together are left out."""

_FOLDERS_LEFT_OUT = ("__pycache__", "tests", "test", "node_modules")
_LEFT_OUT = (".pyc", ".pyi", ".pyx", ".pxd", ".so", ".pyd", ".dll", ".dylib", ".a", ".c", ".h", ".cpp", "py.typed")
"""Ends of the names of files that only compilers, type checkers and other machines need."""


class Packages:
    """Packs the packages that are loaded.

    Args:
        folders: The folders of modules.
        own: Those of them with the user's own modules.
        late: Takes the modules.
        files: Takes the other files.

    Attributes:
        modules: The name and the file of each module that was packed.
        left_out: The data files that are too large.
    """

    def __init__(self, folders: Sequence[str], own: Sequence[str], late: LateModules, files: LateFiles) -> None:
        self._late = late
        self._files = files
        self.modules: dict[str, str] = {}
        self.left_out: list[str] = []
        self._folders = tuple(folders)
        self._own = tuple(own)
        self._size = 0

    def keep(self, distributions: Sequence[Distribution]) -> None:
        """Pack what is in the folders of the packages that are loaded, and of some distributions."""
        packages = {folder: name for name, folder in self._loaded()}
        for one in distributions:
            packages |= {folder: name for name, folder in one.packages().items() if name not in _FOLDERS_LEFT_OUT}
            for name, path in one.modules().items():
                self._keep_module(name, path)
        inner = {folder for folder in packages if any(folder.startswith(f"{other}/") for other in packages)}
        for folder in sorted(packages.keys() - inner):
            self._keep_package(packages[folder], folder)
        for one in distributions:
            for entry in sorted(os.listdir(one.metadata)):
                if os.path.isfile(f"{one.metadata}/{entry}"):
                    self._keep_data(f"{one.metadata}/{entry}")

    def _keep_module(self, name: str, path: str) -> None:
        if self._late.keep_module(name, path):
            self.modules[name] = path
        self._files.name(path)

    def _keep_package(self, name: str, folder: str) -> None:
        if os.path.isfile(f"{folder}/__init__.py"):
            self._keep_module(name, f"{folder}/__init__.py")
        self.modules |= self._late.keep(folder, f"{name}.", _FOLDERS_LEFT_OUT)
        for path in _files(folder):
            if path.endswith(".py"):
                pkgutil.get_importer(path.rpartition("/")[0])  # stays in a cache, for `pkgutil.iter_modules`
                self._files.name(path)
            elif not path.endswith(_LEFT_OUT):
                parent = f"{name}{path[len(folder) :]}".rpartition("/")[0].replace("/", ".")
                self._late.keep_parents(f"{parent}.", path)
                self._keep_data(path)

    def _loaded(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the folder of each package."""
        for name, module in list(sys.modules.items()):
            regular = getattr(module, "__file__", None) is not None
            for folder in getattr(module, "__path__", None) or ():
                if isinstance(folder, str) and self._is_kept(folder, regular):
                    yield name, folder

    def _is_kept(self, folder: str, regular: bool) -> bool:
        """True for a package. A folder without `__init__` in a site may hold the packages of many distributions."""
        folders = self._folders if regular else self._own
        return any(folder.startswith(f"{one}/") for one in folders)

    def _keep_data(self, path: str) -> None:
        size = os.stat(path).st_size
        if size > FILE_LIMIT_BYTES or self._size + size > TOTAL_LIMIT_BYTES:
            self.left_out.append(path)
        else:
            self._size += size
            self._files.keep(path)


def _files(folder: str) -> Iterator[str]:
    """Yield the files below a folder, without those of tests and hidden ones."""
    for entry in sorted(os.listdir(folder)):
        path = f"{folder}/{entry}"
        if entry.startswith(".") or entry in _FOLDERS_LEFT_OUT:
            continue
        if os.path.isdir(path) and not os.path.islink(path):  # a link may lead back to its folder
            yield from _files(path)
        elif os.path.isfile(path):
            yield path
