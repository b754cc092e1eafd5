"""A function's source file and what it imports, as far as mistakes in it can be found before anything slow begins.

The interpreter in the component has the last word: here is only refused what it is certain to refuse.
"""

import ast
import importlib.machinery
import keyword
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy import guest_library as guest
from skylark_proxy.errors import InvalidArgument, SkylarkError

ENTRY = "skylark_entry"
"""The module that a build makes; no source may have its name."""

_TOOLS = frozenset(
    {
        ENTRY,
        "skylark",
        "wit_world",
        "wit_http",
        "wit_command",
        "poll_loop",
        "componentize_py_types",
        "componentize_py_runtime",
        "componentize_py_async_support",
    }
)
"""Modules that the build brings."""

_FIRST_FOUND = frozenset({"poll_loop", "componentize_py_types", "componentize_py_async_support"})
"""Those of them that a file of the user's would hide, from the others too."""

_ONLY_NATIVE = frozenset({"numpy"})
"""Packages without which many others are nothing, and which are nothing without their native extensions."""


class BuildError(SkylarkError):
    """The component could not be built; the message says which line of which file is at fault, where that is known."""

    code = "build-failed"


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, the modules that go into its component, and the folders that they are looked for in.

    Attributes:
        main: The file.
        modules: Those of the user and of packages, not of the standard library and the SDK. Before the build: those
            that a reading of the files finds.
        search_path: The folders, in the order of the search.
        own: Those of them with the user's own modules; the others hold packages.
    """

    main: Path
    modules: tuple[Path, ...]
    search_path: tuple[Path, ...]
    own: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Import:
    """A module that a statement names. `certain`: the interpreter is certain to get to it, and to end if it fails."""

    name: str
    folders: Sequence[Path]
    relative: bool
    line: int
    certain: bool


def resolve(source: Path, extra_paths: tuple[Path, ...] = ()) -> Source:
    """Follows the imports of a source file.

    Args:
        source: A Python file.
        extra_paths: Folders with further modules. Installed pure-Python packages are found too.

    Raises:
        InvalidArgument: The source does not exist, is no Python file, or has the name of another module.
        BuildError: A file is certain to fail: it imports what is not there, a native extension or what the guest's
            Python lacks; or it has the name of a module that the sandbox would take in its place.
    """
    if source.suffix != ".py" or not source.is_file():
        raise InvalidArgument("source", str(source), "an existing Python file (*.py)")
    if not source.stem.isidentifier() or keyword.iskeyword(source.stem) or source.stem in guest.LIBRARY | _TOOLS:
        raise InvalidArgument("source", str(source), "a file named like a module of its own: letters, digits and _")
    named = tuple(dict.fromkeys((source.resolve().parent, *(path.resolve() for path in extra_paths))))
    sites = tuple(site for site in _sites() if site not in named)
    own = (named[0], *(path for path in named[1:] if not _is_site(path)))
    for folder in named:
        _refuse_hidden_tools(folder)
    reading = _Reading((*named, *sites), named, own)
    reading.follow(source.resolve())
    modules = tuple(reading.modules)
    mounted = (site for site in sites if not _has_worlds(site) or any(site in module.parents for module in modules))
    return Source(source.resolve(), modules, (*named, *mounted), own)


def _sites() -> tuple[Path, ...]:
    """The folders of installed packages."""
    return tuple(dict.fromkeys(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")))


def _is_site(folder: Path) -> bool:
    """Whether an installer wrote a folder (`pip install --target`)."""
    return next(folder.glob("*.dist-info"), None) is not None


def _has_worlds(folder: Path) -> bool:
    """Whether the tool would find WIT worlds of packages there, and add them to the component's."""
    return next(folder.glob("*/componentize-py.toml"), None) is not None


def _refuse_hidden_tools(folder: Path) -> None:
    for name in sorted(_FIRST_FOUND):
        if (file := _module_in(folder, name)) is not None:
            raise BuildError(f"{file}: the build brings a module {name!r} of its own; give this file another name")


def _module_in(folder: Path, name: str) -> Path | None:
    """The file that a folder has for a module; None for a folder without `__init__`, which hides nothing."""
    files = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((file for file in files if file.is_file()), None)


class _Reading:
    """Reads the files of a program one after the other.

    Args:
        folders: Where modules are looked for.
        named: Those of them that the user named, which come before the standard library outside of the sandbox.
        own: Those of them with the user's own modules.
    """

    def __init__(self, folders: tuple[Path, ...], named: tuple[Path, ...], own: tuple[Path, ...]) -> None:
        self.modules: dict[Path, None] = {}
        self._folders = folders
        self._named = named
        self._own = own
        self._certain: set[Path] = set()
        self._changes_imports = False
        self._first: BuildError | None = None

    def follow(self, main: Path) -> None:
        """Reads a file and all that it imports.

        Raises:
            BuildError: See `resolve`.
        """
        queue: list[tuple[Path, str | None]] = [(main, "")]
        while queue:
            path, where = queue.pop()
            if path in self.modules and (where is None or path in self._certain):
                continue
            self.modules[path] = None
            if where is not None:
                self._certain.add(path)
            queue += self._imported(path, where)
        if self._first is not None and not self._changes_imports:
            raise self._first

    def _imported(self, path: Path, where: str | None) -> list[tuple[Path, str | None]]:
        """The files that a file imports, each with the user's line that is certain to load it, if there is one."""
        tree = _parsed(path)
        if tree is None:
            return []
        own = self._is_own(path)
        self._changes_imports = self._changes_imports or (own and _changes_imports(tree))
        found: list[tuple[Path, str | None]] = []
        for one in _imports(tree, path, self._folders):
            line = f"{path}:{one.line}" if own or not where else where
            if own and not one.relative:
                self._refuse_hidden(one.name.partition(".")[0], path)
            certain = one.certain and where is not None
            try:
                found += ((file, line if certain else None) for file in _locate(one, line, own))
            except BuildError as error:
                if certain and self._first is None:
                    self._first = error
        return found

    def _is_own(self, path: Path) -> bool:
        inside = [folder for folder in self._folders if folder in path.parents]
        return bool(inside) and max(inside, key=lambda folder: len(folder.parts)) in self._own

    def _refuse_hidden(self, name: str, importer: Path) -> None:
        """Refuses a module of the user's that the sandbox would not find: it looks for others of its name before."""
        if name not in guest.LIBRARY and (name not in _TOOLS or name == "skylark"):
            return
        for folder in self._named:
            if (file := _module_in(folder, name)) is not None:
                whose = "the standard library" if name in guest.LIBRARY else "the build"
                reason = f"in the sandbox, 'import {name}' finds the module of {whose}; give this file another name"
                raise BuildError(f"{file}: {reason} (imported by {importer.name})")


def _parsed(path: Path) -> ast.Module | None:
    """The syntax of a file; None where only the guest's Python can tell whether it is right.

    Raises:
        BuildError: The Python here is the guest's, and it is wrong.
    """
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        if ".".join(map(str, sys.version_info[:2])) != guest.PYTHON:
            return None
        raise BuildError(f"{path}:{getattr(error, 'lineno', None) or 1}: {getattr(error, 'msg', error)}") from error


def _changes_imports(tree: ast.AST) -> bool:
    """Whether a file may change where modules are found."""
    names = ("path", "modules", "meta_path", "path_hooks", "addsitedir")
    return any(
        isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", None) in ("sys", "site")
        for node in ast.walk(tree)
    )


def _imports(tree: ast.Module, path: Path, folders: Sequence[Path]) -> Iterator[_Import]:
    """The modules that the statements of a file may mean. Only a plain statement of the file itself is certain."""
    certain = {id(node) for node in _certain(tree.body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            looked_in = [path.parents[node.level - 1]] if isinstance(node, ast.ImportFrom) and relative else folders
            for name in _names(node):
                yield _Import(name, looked_in, relative, node.lineno, id(node) in certain)


def _certain(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are made in any case; what follows an unconditional end is not looked at."""
    for node in body:
        if isinstance(node, ast.Raise | ast.Return):
            return
        yield node


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that an import statement may mean as modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    prefix = f"{node.module}." if node.module else ""
    return [f"{prefix}{alias.name}" for alias in node.names]


def _locate(one: _Import, where: str, own: bool) -> Iterator[Path]:
    """The files of a module and of the packages that it is in; none for the SDK and the standard library.

    The last part of a name may be no module: a function of one, or a `*`.

    Raises:
        BuildError: It needs a native extension; or it is imported by the user's `own` module, and is not there.
    """
    parts = one.name.split(".")
    top = parts[0]
    if not one.relative and top in guest.UNUSABLE:
        raise BuildError(lacking(where, top))
    if not one.relative and (top == "skylark" or top in guest.LIBRARY):
        return
    looked_in = [str(folder) for folder in one.folders]
    for depth, part in enumerate(parts):
        spec = importlib.machinery.PathFinder.find_spec(part, looked_in)
        if spec is None and depth == 0 and not one.relative and own:
            raise BuildError(lacking(where, top) if top in sys.stdlib_module_names else absent(where, top))
        if spec is None:
            return
        if spec.origin is not None:
            native = _native(Path(spec.origin), top if depth == 0 and not one.relative else "")
            if native is not None:
                raise BuildError(needs_native(where, top if not one.relative else native.parent.name, native))
            if spec.origin.endswith(".py"):
                yield Path(spec.origin)
        if spec.submodule_search_locations is None:
            return
        looked_in = list(spec.submodule_search_locations)


def absent(where: str, module: str) -> str:
    """The sentence about a module that is nowhere."""
    return f"{where}: no module {module!r}; name its folder with --path"


def lacking(where: str, module: str) -> str:
    """The sentence about a module of the standard library that the guest's does not have."""
    return f"{where}: the sandbox's Python has no module {module!r} (it is CPython {guest.PYTHON})"


def needs_native(where: str, module: str, extension: Path) -> str:
    """The sentence about a native extension."""
    return f"{where}: {module!r} needs the native extension {extension.name}; a sandbox runs only Python"


def _native(origin: Path, package: str) -> Path | None:
    """The native extension that a module is, or that its package cannot do without. One for WASI is none of them."""
    if origin.suffix not in (".py", ".pyc"):
        return None if is_wasm(origin) else origin
    return next(origin.parent.rglob("*.so"), None) if package in _ONLY_NATIVE else None


def is_wasm(file: Path) -> bool:
    """Whether a library is WebAssembly, which componentize-py links."""
    with file.open("rb") as opened:
        return opened.read(4) == b"\0asm"
