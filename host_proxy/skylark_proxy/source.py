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

from skylark.stand_ins import STAND_INS
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
    """A module that a file names. `certain`: the interpreter is certain to get to it, and to end if it fails."""

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
    # A named folder that an installer wrote is an environment of its own: what else happens to be installed where
    # Skylark is would only change what packages find there. Worlds of packages would change the component's own.
    chosen = own != named
    mounted = tuple(site for site in sites if reading.needs(site) or not (chosen or _has_worlds(site)))
    unseen = [site for site in sites if site not in mounted]
    modules = tuple(module for module in reading.modules if not any(site in module.parents for site in unseen))
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


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a module is certain to be loaded: a line of the user's, and the module that it names."""

    where: str
    module: str


class _Reading:
    """Reads the files of a program one after the other.

    Args:
        folders: Where modules are looked for.
        named: Those of them that the user named, which come before the standard library outside of the sandbox.
        own: Those of them with the user's own modules.
    """

    def __init__(self, folders: tuple[Path, ...], named: tuple[Path, ...], own: tuple[Path, ...]) -> None:
        self.modules: dict[Path, None] = {}
        self._needed: set[Path] = set()
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
        queue: list[tuple[Path, _Reason | None]] = [(main, _Reason(str(main), main.stem))]
        while queue:
            path, reason = queue.pop()
            if path in self.modules and (reason is None or path in self._certain):
                continue
            self.modules[path] = None
            if reason is not None:
                self._certain.add(path)
            if reason is not None or self._is_own(path):
                queue += self._imported(path, reason)
        if self._first is not None and not self._changes_imports:
            raise self._first

    def needs(self, folder: Path) -> bool:
        """True if the user's own files import from a folder, or a module that is certain to be loaded does."""
        return any(folder in path.parents for path in self._needed)

    def _imported(self, path: Path, reason: _Reason | None) -> list[tuple[Path, _Reason | None]]:
        """The files that a file imports, each with the reason why it is certain to be loaded, if there is one."""
        tree = _parsed(path)
        if tree is None:
            return []
        own = self._is_own(path)
        self._changes_imports = self._changes_imports or (own and _changes_imports(tree))
        found: list[tuple[Path, _Reason | None]] = []
        for one in _imports(tree, path, self._folders):
            top = one.name.partition(".")[0]
            if own and not one.relative:
                self._refuse_hidden(top, path)
            line = f"{path}:{one.line}"
            root = reason
            if root is None or self._folder(path) == self._folders[0]:
                root = _Reason(line, path.stem if one.relative else top)
            certain = one.certain and reason is not None
            try:
                files = list(_locate(one, root, line if own else None))
                found += [(file, root if certain else None) for file in files]
                self._needed.update(files if own or certain else ())
            except BuildError as error:
                if certain and self._first is None:
                    self._first = error
        return found

    def _is_own(self, path: Path) -> bool:
        return self._folder(path) in self._own

    def _folder(self, path: Path) -> Path | None:
        """The folder that a file is found in: site-packages can lie in the source's own folder."""
        inside = [folder for folder in self._folders if folder in path.parents]
        return max(inside, key=lambda folder: len(folder.parts), default=None)

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
    if path.suffix != ".py":
        return None
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
        if isinstance(node, ast.Call) and (called := _called(node)):
            yield _Import(called, folders, False, node.lineno, certain=False)
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


def _called(call: ast.Call) -> str | None:
    """The module that `import_module` or `__import__` is called for, where that is written out."""
    function = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
    name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    imports = function in ("import_module", "__import__")
    return name if imports and isinstance(name, str) and not name.startswith(".") else None


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that an import statement may mean as modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    prefix = f"{node.module}." if node.module else ""
    return [f"{prefix}{alias.name}" for alias in node.names]


def _locate(one: _Import, reason: _Reason, line: str | None) -> Iterator[Path]:
    """The files of a module and of the packages that it is in; none for the SDK and the standard library.

    The last part of a name may be no module: a function of one, or a `*`.

    Args:
        reason: Why it is loaded.
        line: Where the user's own module imports it; None: a package does.

    Raises:
        BuildError: It needs a native extension; or a module of the user's own imports it, and it is not there.
    """
    parts = one.name.split(".")
    top = "" if one.relative else parts[0]
    if top in guest.UNUSABLE and (line is not None or top not in STAND_INS):
        raise BuildError(lacking(line or reason.where, top))
    if top == "skylark" or top in guest.LIBRARY:
        return
    looked_in = [str(folder) for folder in one.folders]
    for depth, part in enumerate(parts):
        spec = importlib.machinery.PathFinder.find_spec(part, looked_in)
        if spec is None:
            if depth == 0 and top and line is not None:
                raise BuildError((lacking if top in sys.stdlib_module_names else absent)(line, top))
            return
        if spec.origin is not None:
            yield _python(Path(spec.origin), part, top if depth == 0 else "", reason)
        if spec.submodule_search_locations is None:
            return
        looked_in = list(spec.submodule_search_locations)


def _python(origin: Path, name: str, package: str, reason: _Reason) -> Path:
    """The Python file of a module: of two, the guest takes the one that is no native extension.

    Raises:
        BuildError: There is only the extension, or the package is nothing without one.
    """
    if origin.suffix not in (".py", ".pyc") and not is_wasm(origin):
        plain = origin.with_name("__init__.py" if origin.name.startswith("__init__.") else f"{name}.py")
        if not plain.is_file():
            raise BuildError(needs_native(reason.where, reason.module, origin))
        return plain
    native = next(origin.parent.rglob("*.so"), None) if package in _ONLY_NATIVE else None
    if native is not None:
        raise BuildError(needs_native(reason.where, reason.module, native))
    return origin


def absent(where: str, module: str) -> str:
    """The sentence about a module that is nowhere."""
    return f"{where}: no module {module!r}; name its folder with --path"


def lacking(where: str, module: str) -> str:
    """The sentence about a module of the standard library that the guest's does not have."""
    return f"{where}: the sandbox's Python has no module {module!r} (it is CPython {guest.PYTHON})"


def needs_native(where: str, module: str, extension: Path) -> str:
    """The sentence about a native extension."""
    return f"{where}: {module!r} needs the native extension {extension.name}; a sandbox runs only Python"


def is_wasm(file: Path) -> bool:
    """Whether a library is WebAssembly, which componentize-py links."""
    with file.open("rb") as opened:
        return opened.read(4) == b"\0asm"
