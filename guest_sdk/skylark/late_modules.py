"""Keep compiled code in a component, for imports that happen while a function runs.

No file exists in a sandbox, but the standard library imports much of itself on demand: `datetime.strptime` imports
`_strptime`, each codec is a module. Packages do so too. At the build the code of every module that is not loaded is
compiled and packed into the frozen interpreter. The standard library takes 3 MB of the component, and no time before it
is used.
"""

import importlib.machinery
import marshal
import os
import sys
import zlib
from collections.abc import Callable, Container, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from skylark import import_system

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

    Attributes:
        loaded: Called with the name of each module that was loaded.
    """

    def __init__(self) -> None:
        self.loaded: Callable[[str], None] = lambda _name: None
        self._packed: dict[str, tuple[str, bytes]] = {}
        self._namespaces: dict[str, list[str]] = {}

    def keep(self, folder: str, prefix: str = "", left_out: Container[str] = ()) -> dict[str, str]:
        """Pack every module under a folder that is not loaded yet.

        Args:
            prefix: What the names of the modules begin with.
            left_out: Names of folders that are not looked into.

        Returns:
            The name and the file of each module that was packed.
        """
        modules = list(_modules(folder, prefix, left_out))
        return {name: path for name, path in modules if self.keep_module(name, path)}

    def keep_module(self, name: str, path: str) -> bool:
        """Pack a module. Return False if it is loaded, or does not compile."""
        if name in sys.modules or name in self._packed:
            return False
        try:
            with open(path, "rb") as file:  # noqa: PTH123  # pathlib need not be loaded in the sandbox
                code = compile(file.read(), path, "exec", dont_inherit=True)
        except (OSError, RecursionError, SyntaxError, ValueError):
            return False
        self._packed[name] = path, zlib.compress(marshal.dumps(code), 1)
        self.keep_parents(name, path)
        return True

    def keep_parents(self, name: str, path: str) -> None:
        """Note the folders without `__init__` that a module or a data file is in: they are packages too."""
        parent, folder = name.rpartition(".")[0], path.removesuffix("/__init__.py").rpartition("/")[0]
        while parent and parent not in sys.modules and parent not in self._packed:
            self._namespaces[parent] = [folder]
            parent, folder = parent.rpartition(".")[0], folder.rpartition("/")[0]

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in self._namespaces:
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            # `importlib.resources` takes no other list of folders for that of a namespace.
            namespace: Any = sys.modules["_frozen_importlib_external"]
            folders = namespace._NamespacePath(fullname, self._namespaces[fullname], lambda *_: None)
            spec.submodule_search_locations = folders
            return spec
        if fullname not in self._packed:
            return None
        path, _ = self._packed[fullname]
        is_package = path.endswith("/__init__.py")
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=path, is_package=is_package)
        spec.has_location = True  # gives the module its `__file__`, which some read
        if is_package:
            spec.submodule_search_locations = [path.removesuffix("/__init__.py")]
        return spec

    @import_system.hidden
    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102
        self.loaded(module.__name__)

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module, as `runpy` asks for it."""
        code: CodeType = marshal.loads(zlib.decompress(self._packed[fullname][1]))  # noqa: S302  # packed above
        return code

    def is_package(self, fullname: str) -> bool:
        """True for a package, as `pkgutil` and `runpy` ask for it."""
        return self._packed[fullname][0].endswith("/__init__.py")

    def get_data(self, path: str) -> bytes:
        """Return the content of a file, as `pkgutil.get_data` asks for it."""
        with open(path, "rb") as file:  # noqa: PTH123
            content: bytes = file.read()
        return content

    def get_resource_reader(self, fullname: str) -> Any:
        """Return the reader of `importlib.resources` for a package."""
        from importlib.resources.readers import FileReader

        return FileReader(SimpleNamespace(path=self._packed[fullname][0]))  # type: ignore[arg-type]


def explain_absence() -> None:
    """Let the error of an import say why the module is not there. A look with `find_spec` still finds None."""
    plain = import_system.step()

    @import_system.hidden
    def find_and_load(name: str, import_: Any) -> ModuleType:
        try:
            return plain(name, import_)
        except ModuleNotFoundError as error:
            if error.name == name and error.msg == f"No module named {name!r}":
                error.msg += f": {_reason(name)}"
            raise

    import_system.use(find_and_load)


def _reason(name: str) -> str:
    if name.partition(".")[0] in sys.stdlib_module_names:
        return "the sandbox's Python does not have it"
    return "no file is read while a function runs; import it at the top of the function's file"


def _modules(folder: str, prefix: str = "", left_out: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the name and file of each module under a folder, without those that are left out."""
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208
        path, name = f"{folder}/{entry}", prefix + entry.removesuffix(".py")
        if name in LEFT_OUT or entry == "__pycache__" or entry in left_out:
            continue
        if os.path.islink(path) and os.path.isdir(path):  # noqa: PTH112, PTH114  # it may lead back to its folder
            continue
        if entry.endswith(".py"):
            if entry not in ("__init__.py", "__main__.py"):
                yield name, path
        elif os.path.isfile(f"{path}/__init__.py"):  # noqa: PTH113
            yield name, f"{path}/__init__.py"
            yield from _modules(path, f"{name}.", left_out)
        elif prefix and entry.isidentifier() and os.path.isdir(path):  # noqa: PTH112
            yield from _modules(path, f"{name}.", left_out)
