"""Keep the standard library's compiled code in a component, for imports that happen while a function runs.

No file exists in a sandbox, but the standard library imports much of itself on demand: `datetime.strptime` imports
`_strptime`, each codec is a module. At the build the code of every module that is not loaded is compiled and packed
into the frozen interpreter. It takes 3 MB of the component, and no time before it is used.
"""

import importlib.machinery
import marshal
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

LEFT_OUT = frozenset(
    {
        # Windows, terminals, processes and native code, none of which the sandbox has.
        "_aix_support",
        "_android_support",
        "_apple_support",
        "_ios_support",
        "_osx_support",
        "curses",
        "ctypes",
        "idlelib",
        "multiprocessing",
        "pty",
        "readline",
        "tkinter",
        "tty",
        "turtle",
        "turtledemo",
        "webbrowser",
        # Needs a C module that the guest's Python was built without.
        "bz2",
        "lzma",
        "ssl",
        # Tools of the development of Python and its packages.
        "__hello__",
        "__phello__",
        "antigravity",
        "ensurepip",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "this",
        "venv",
        "zipapp",
        # Second versions in Python of what the guest has in C.
        "_pydatetime",
        "_pydecimal",
        "_pyio",
    }
)
"""Top-level modules of the standard library that a component does not keep."""


class LateModules(MetaPathFinder, Loader):
    """Find and load modules from packed code.

    Args:
        loaded: Called with the name of each module that was loaded.
    """

    def __init__(self, loaded: Callable[[str], None]) -> None:
        self._packed: dict[str, tuple[str, bool, bytes]] = {}
        self._loaded = loaded

    def keep(self, folder: str) -> None:
        """Pack every module under a folder that is not loaded yet. A module that does not compile is left out."""
        for name, path in _modules(folder):
            if name in sys.modules:
                continue
            try:
                with open(path, "rb") as file:  # noqa: PTH123  # pathlib need not be loaded in the sandbox
                    code = compile(file.read(), path, "exec", dont_inherit=True)
            except (OSError, SyntaxError, ValueError):
                continue
            self._packed[name] = path, path.endswith("/__init__.py"), zlib.compress(marshal.dumps(code), 1)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._packed:
            return None
        path, is_package, _ = self._packed[fullname]
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=path, is_package=is_package)
        spec.has_location = True  # gives the module its `__file__`, which some read
        if is_package:
            spec.submodule_search_locations = [path.removesuffix("/__init__.py")]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        _, _, packed = self._packed[module.__name__]
        exec(marshal.loads(zlib.decompress(packed)), module.__dict__)  # noqa: S102, S302  # our own code, packed above
        self._loaded(module.__name__)


def explain_absence() -> None:
    """Let the error of an import say why the module is not there. A look with `find_spec` still finds None."""
    bootstrap: Any = sys.modules["_frozen_importlib"]
    plain = bootstrap._find_and_load_unlocked

    def find_and_load_unlocked(name: str, import_: Any) -> ModuleType:
        try:
            module: ModuleType = plain(name, import_)
        except ModuleNotFoundError as error:
            if error.name == name and error.msg == f"No module named {name!r}":
                error.msg += f": {_reason(name)}"
            raise
        return module

    bootstrap._find_and_load_unlocked = find_and_load_unlocked


def _reason(name: str) -> str:
    if name.partition(".")[0] in sys.stdlib_module_names:
        return "the sandbox's Python does not have it"
    return "no file is read while a function runs; import it at the top of the function's file"


def _modules(folder: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and file of each module under a folder, without those that are left out."""
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208
        path, name = f"{folder}/{entry}", prefix + entry.removesuffix(".py")
        if name in LEFT_OUT or entry == "__pycache__":
            continue
        if entry.endswith(".py") and entry not in ("__init__.py", "__main__.py"):
            yield name, path
        elif os.path.isfile(f"{path}/__init__.py"):  # noqa: PTH113
            yield name, f"{path}/__init__.py"
            yield from _modules(path, f"{name}.")
