"""A function's source file and what it imports, followed without running it, before anything slow begins."""

import ast
import importlib.machinery
import keyword
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy.errors import InvalidArgument, SkylarkError

NOT_IN_THE_GUEST = frozenset(
    {"bz2", "lzma", "ssl", "ctypes", "mmap", "_ctypes", "multiprocessing", "tkinter", "curses"}
)
"""Modules of the standard library that componentize-py's Python does not have."""

ENTRY = "skylark_entry"
"""The module that a build makes; no source may have its name."""

_TAKEN = sys.stdlib_module_names | {
    ENTRY,
    "skylark",
    "wit_world",
    "wit_http",
    "poll_loop",
    "componentize_py_types",
    "componentize_py_runtime",
    "componentize_py_async_support",
}


class BuildError(SkylarkError):
    """The component could not be built; the message says which line of which file is at fault, where that is known."""

    code = "build-failed"


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, the modules that it imports (but for the standard library and the SDK), where they were found."""

    main: Path
    modules: tuple[Path, ...]
    search_path: tuple[Path, ...]


def resolve(source: Path, extra_paths: tuple[Path, ...] = ()) -> Source:
    """Follows the imports of a source file.

    Args:
        source: A Python file.
        extra_paths: Folders with further modules. Installed pure-Python packages are found too.

    Raises:
        InvalidArgument: The source does not exist, is no Python file, or has the name of another module.
        BuildError: A file has a syntax error, or imports a native extension or what the guest's Python lacks.
    """
    if source.suffix != ".py" or not source.is_file():
        raise InvalidArgument("source", str(source), "an existing Python file (*.py)")
    if not source.stem.isidentifier() or keyword.iskeyword(source.stem) or source.stem in _TAKEN:
        raise InvalidArgument("source", str(source), "a file named like a module of its own: letters, digits and _")
    own = (source.resolve().parent, *(path.resolve() for path in extra_paths))
    site = Path(sysconfig.get_path("purelib"))
    modules: dict[Path, None] = {}
    queue = [source.resolve()]
    while queue:
        path = queue.pop()
        if path not in modules:
            modules[path] = None
            queue += _imported(path, (*own, site), strict=site not in path.parents)
    installed = any(site in module.parents for module in modules)
    return Source(source.resolve(), tuple(modules), (*own, site) if installed else own)


def _imported(path: Path, search_path: Sequence[Path], strict: bool) -> Iterator[Path]:
    """The files that a file imports. What it can do without, and all that an installed package imports, may be missing.

    Raises:
        BuildError: `strict`, and an import cannot be in a component.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise BuildError(f"{path}:{getattr(error, 'lineno', None) or 1}: {getattr(error, 'msg', error)}") from error
    optional = {id(node) for block in _optional_blocks(tree) for node in ast.walk(block)}
    for node in ast.walk(tree):
        beside = _beside(node, path)
        for name in _wanted(node):
            try:
                yield from _locate(name, beside or search_path, f"{path}:{getattr(node, 'lineno', 1)}", bool(beside))
            except BuildError:
                if strict and id(node) not in optional:
                    raise


def _optional_blocks(tree: ast.AST) -> Iterator[ast.AST]:
    """What a module can do without: imports that it tries, and those for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try | ast.TryStar):
            yield node
        elif isinstance(node, ast.If):
            test = node.test
            if "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None)):
                yield from node.body


def _wanted(node: ast.AST) -> list[str]:
    """The dotted names that an import statement may mean as modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    prefix = f"{node.module}." if node.module else ""
    return [f"{prefix}{alias.name}" for alias in node.names]


def _beside(node: ast.AST, path: Path) -> list[Path]:
    """The folder that a relative import looks in; none for another statement."""
    return [path.parents[node.level - 1]] if isinstance(node, ast.ImportFrom) and node.level else []


def _locate(name: str, folders: Sequence[Path], where: str, relative: bool) -> Iterator[Path]:
    """The files of a module and of the packages that it is in; none for the SDK and the standard library.

    The last part of a name may be no module: a function of one, or a `*`.
    """
    parts = name.split(".")
    if not relative and parts[0] in NOT_IN_THE_GUEST:
        raise BuildError(f"{where}: the sandbox's Python has no module {parts[0]!r}")
    if not relative and (parts[0] == "skylark" or parts[0] in sys.stdlib_module_names):
        return
    looked_in = [str(folder) for folder in folders]
    for depth, part in enumerate(parts):
        spec = importlib.machinery.PathFinder.find_spec(part, looked_in)
        if spec is None and depth == 0 and not relative:
            raise BuildError(f"{where}: no module {part!r}; name its folder with --path")
        if spec is None:
            return
        if spec.origin is not None:
            native = _native(Path(spec.origin))
            if native is not None:
                module = ".".join(parts[: depth + 1])
                reason = f"needs the native extension {native.name}; a sandbox runs only Python"
                raise BuildError(f"{where}: {module!r} {reason}")
            yield Path(spec.origin)
        if spec.submodule_search_locations is None:
            return
        looked_in = list(spec.submodule_search_locations)


def _native(origin: Path) -> Path | None:
    """A native extension that a module is, or that lies in the package whose `__init__` it is."""
    if origin.suffix != ".py":
        return origin
    return next(origin.parent.rglob("*.so"), None) if origin.name == "__init__.py" else None
