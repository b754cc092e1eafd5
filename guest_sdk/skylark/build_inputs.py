"""What a build reads, noted by the interpreter that is to be frozen: files, folders, modules that were looked for."""

import gc
import json
import os
import posixpath
import sys
from collections.abc import Callable, Iterable, Sequence
from types import MethodType
from typing import Any, Final

from skylark import late_files
from skylark.absent_extensions import AbsentExtensions
from skylark.distributions import used
from skylark.functions import NEEDS, REGISTRY
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules
from skylark.packages import Packages
from skylark.stand_ins import StandIns

_NOWHERE: Final = "/nowhere"
_HOOKS: Final = 8
"""More than an interpreter has audit hooks: the list of them is looked for among all lists."""
_QUESTIONS: Final = ("stat", "lstat", "access")
"""Functions of `os` that ask about a file, of which Python's audit events say nothing."""


class Recorder:
    """Hears what is read between `start` and `finish`. Paths are those of the guest, in the folders that it is given.

    Args:
        folders: Where the function's modules are.
        own: Those of them that hold the user's own modules; the others hold packages.
    """

    def __init__(self, folders: Sequence[str], own: Sequence[str]) -> None:
        self._folders = tuple(folders)
        self._own = tuple(own)
        self._heard = False
        self._files: dict[str, None] = {}
        self._written: set[str] = set()
        self._listed: dict[tuple[str, bool], None] = {}
        self._looked_up: dict[tuple[str, str], None] = {}
        self._plain: dict[str, Callable[..., Any]] = {}
        packages = [folder for folder in folders if folder not in own]
        self._stand_ins = StandIns(packages)
        self._extensions = AbsentExtensions(packages)

    def start(self) -> None:
        """Begin to listen. Compiled files beside the sources are not read: they may be older."""
        sys.dont_write_bytecode = True  # the source's folder is mounted: a build leaves nothing in it
        sys.pycache_prefix = _NOWHERE
        self._heard = True
        sys.addaudithook(self._hear)
        sys.meta_path.insert(0, self)
        self._stand_ins.use()
        self._extensions.start()
        for name in _QUESTIONS:
            self._plain[name] = getattr(os, name)
            setattr(os, name, self._asked(self._plain[name]))

    def finish(self, file: str, late: LateModules, files: LateFiles) -> None:
        """Import what functions import late, pack the packages, stop listening, and write what was heard as JSON."""
        from skylark.late_imports import LateImports

        registered, needed, stand_ins = dict(REGISTRY), dict(NEEDS), list(self._stand_ins.taken)
        missing = LateImports(self._folders, self._own).take()
        for table, kept in ((REGISTRY, registered), (NEEDS, needed)):  # what is only imported early adds no function
            table.clear()
            table.update(kept)  # type: ignore[arg-type]
        packages = self._pack(late, files)
        self._stop()
        modules = {name: path for name, path in _module_files() if self._inside(path)} | packages.modules
        read = [path for path in (*self._files, *modules.values()) if path not in self._written]
        heard = {
            "files": sorted(set(read)),
            "listed": sorted(self._listed),
            "looked_up": sorted(self._looked_up),
            "modules": sorted(modules.items()),
            "missing": sorted({*missing, *stand_ins}),
            "left_out": packages.left_out,
        }
        with open(file, "w", encoding="utf-8") as opened:  # noqa: PTH123
            json.dump(heard, opened)

    def _pack(self, late: LateModules, files: LateFiles) -> Packages:
        self._heard = False  # else whatever is installed or removed would make the build count as old
        distributions = used(self._folders)
        self._heard = True
        packages = Packages(self._folders, self._own, late, files)
        packages.keep(distributions)
        return packages

    def _stop(self) -> None:
        self._heard = False
        self._extensions.stop()
        sys.meta_path.remove(self)
        sys.pycache_prefix = None
        for name, plain in self._plain.items():
            setattr(os, name, plain)
            for supporting in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd):
                supporting -= {one for one in supporting if getattr(one, "__wrapped__", None) is plain}
        _remove_hook(self)

    def find_spec(self, name: str, path: Iterable[str] | None = None, target: object = None) -> None:
        """Note that a module is looked for, and leave it to the finders that come after."""
        for folder in sys.path if path is None else list(path):
            if isinstance(folder, str) and (inside := self._inside(folder)):
                self._looked_up[inside, name.rpartition(".")[2]] = None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._heard or event not in ("open", "os.listdir", "os.scandir", "sqlite3.connect"):
            return
        path = self._inside(arguments[0])
        if path is None:
            return
        if event in ("os.listdir", "os.scandir"):
            self._note_listing(path)
        elif event == "open" and _only_written(*arguments[1:3]) and path not in self._files:
            self._written.add(path)
        else:
            self._files[path] = None

    def _note_listing(self, path: str) -> None:
        """Note a folder whose names were read. What the import system lists, `find_spec` has heard more exactly."""
        frame = sys._getframe(2)
        if frame.f_code.co_filename == late_files.__file__ and frame.f_back:  # a stand-in for the function of `os`
            frame = frame.f_back
        code = frame.f_code
        if code.co_name != "_fill_cache":
            self._listed[path, code.co_filename.startswith("/python/importlib/metadata/")] = None

    def _asked(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def asking(path: Any, *arguments: Any, **options: Any) -> Any:
            if self._heard and (inside := self._inside(path)):
                self._files[inside] = None
            return plain(path, *arguments, **options)

        return late_files.stand_in(plain, asking)

    def _inside(self, path: Any) -> str | None:
        """The path in one of the folders; None for any other, and for the number of an open file."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        text = posixpath.normpath(posixpath.join("/", os.fsdecode(path)))
        return text if any(text == one or text.startswith(f"{one}/") for one in self._folders) else None


def _only_written(mode: str | None, flags: int) -> bool:
    if mode is not None:
        return mode[:1] in ("w", "x")
    return bool(flags & (os.O_CREAT | os.O_TRUNC)) and bool(flags & os.O_WRONLY)


def _module_files() -> Iterable[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            yield name, path


def _remove_hook(recorder: Recorder) -> None:
    """Take the audit hook out of the interpreter, which has no call for it: each `id()` of a function would pay."""
    for held in gc.get_objects():
        if type(held) is list and len(held) <= _HOOKS and any(_is_hook(one, recorder) for one in held):
            held[:] = [one for one in held if not _is_hook(one, recorder)]


def _is_hook(one: object, recorder: Recorder) -> bool:
    return type(one) is MethodType and one.__self__ is recorder
