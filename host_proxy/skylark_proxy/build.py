"""Builds a component from a function's source file with componentize-py, once for each content."""

import ast
import importlib.machinery
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import skylark
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.runtime.engine import digest

WORLD = "hosted"
NOT_IN_THE_GUEST = frozenset(
    {"bz2", "lzma", "ssl", "ctypes", "mmap", "_ctypes", "multiprocessing", "tkinter", "curses"}
)
"""Modules of the standard library that componentize-py's Python does not have."""

_ENTRY = "skylark_entry"
_POLL_S = 0.05
_IGNORED = shutil.ignore_patterns("__pycache__", "wit")


class BuildError(SkylarkError):
    """The component could not be built; the message says which line of which file is at fault, where that is known."""

    code = "build-failed"


@dataclass(frozen=True, slots=True)
class Built:
    """A component file. `cached` says whether it had been built before."""

    component: Path
    size_bytes: int
    cached: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, the modules that it imports (but for the standard library and the SDK), where they were found."""

    main: Path
    modules: tuple[Path, ...]
    search_path: tuple[Path, ...]


def build(
    source: Path,
    output: Path,
    cache_dir: Path,
    extra_paths: tuple[Path, ...] = (),
    cancelled: threading.Event | None = None,
) -> Built:
    """Builds the component of a source file, or copies it from the cache.

    Args:
        source: A Python file with at least one `@skylark.function`.
        output: The component to write.
        cache_dir: Where components are kept, by the content of all that goes into them.
        extra_paths: Folders with further modules that the source imports.
        cancelled: Ends the build when it is set.

    Raises:
        InvalidArgument: The source does not exist or is no Python file.
        BuildError: It was cancelled, has a syntax error or no function, imports what cannot be in one, or raises.
    """
    resolved = resolve(source, extra_paths)
    cached = cache_dir / f"{_fingerprint(resolved)}.wasm"
    known = cached.exists()
    if not known:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=cache_dir) as folder:
            built = Path(folder) / "component.wasm"
            _componentize(resolved, Path(folder), built, cancelled or threading.Event())
            os.replace(built, cached)  # noqa: PTH105
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(cached, output)
    return Built(output, output.stat().st_size, known)


def resolve(source: Path, extra_paths: tuple[Path, ...] = ()) -> Source:
    """Follows the imports of a source file, before anything slow begins.

    Raises:
        InvalidArgument: The source does not exist or is no Python file.
        BuildError: A file has a syntax error, or imports a native extension or what the guest's Python lacks.
    """
    if source.suffix != ".py" or not source.is_file():
        raise InvalidArgument("source", str(source), "an existing Python file (*.py)")
    if not source.stem.isidentifier() or source.stem in sys.stdlib_module_names | {"skylark", _ENTRY}:
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


def wit_directory() -> Path:
    """The WIT package that the SDK brings, or that of the source checkout that it is installed from."""
    package = Path(skylark.__file__).parent
    return next(path for path in (package / "wit", package.parents[1] / "wit") if path.is_dir())


def _imported(path: Path, search_path: tuple[Path, ...], strict: bool) -> Iterator[Path]:
    """The files that a file imports. What it can do without, and all that an installed package imports, may be missing.

    Raises:
        BuildError: `strict`, and an import cannot be in a component.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise BuildError(f"{path}:{getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}") from error
    optional = {id(node) for attempt in ast.walk(tree) if isinstance(attempt, ast.Try) for node in ast.walk(attempt)}
    for node in ast.walk(tree):
        for name in _names(node):
            try:
                found = _locate(name, search_path, f"{path}:{getattr(node, 'lineno', 1)}")
            except BuildError:
                if strict and id(node) not in optional:
                    raise
                continue
            if found is not None:
                yield found


def _names(node: ast.AST) -> list[str]:
    """The absolute modules that an import statement names; a submodule's packages included."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _locate(name: str, search_path: tuple[Path, ...], where: str) -> Path | None:
    """The file of a module; None for the SDK, the standard library, and names that are no modules."""
    top = name.partition(".")[0]
    if top in NOT_IN_THE_GUEST:
        raise BuildError(f"{where}: the sandbox's Python has no module {top!r}")
    if top == "skylark" or top in sys.stdlib_module_names:
        return None
    folders = [str(path) for path in search_path]
    spec: importlib.machinery.ModuleSpec | None = None
    for depth, part in enumerate(name.split("."), 1):
        qualified = ".".join(name.split(".")[:depth])
        spec = importlib.machinery.PathFinder.find_spec(qualified, folders)
        if spec is None and depth == 1:
            raise BuildError(f"{where}: no module {part!r}; name its folder with --path")
        if spec is None or spec.submodule_search_locations is None:
            break
        folders = list(spec.submodule_search_locations)
    if spec is None or spec.origin is None:
        return None
    native = _native(Path(spec.origin), depth)
    if native is not None:
        raise BuildError(f"{where}: {name!r} needs the native extension {native.name}; a sandbox runs only Python")
    return Path(spec.origin)


def _native(origin: Path, depth: int) -> Path | None:
    """A native extension that a module is, or that lies in its package."""
    if origin.suffix != ".py":
        return origin
    package = origin.parents[depth - 1] if origin.name == "__init__.py" else origin.parents[max(0, depth - 2)]
    is_package = depth > 1 or origin.name == "__init__.py"
    return next((path for path in package.rglob("*.so")), None) if is_package else None


def _fingerprint(source: Source) -> str:
    """Names all that goes into a component."""
    package = Path(skylark.__file__).parent
    files = (*source.modules, *sorted(package.rglob("*.py")), *sorted(wit_directory().rglob("*.wit")))
    contents = [f"{file.name} {digest(file.read_bytes())}" for file in files]
    return digest("\n".join([f"componentize-py {version('componentize-py')} {WORLD}", *contents]).encode())


def _componentize(source: Source, folder: Path, output: Path, cancelled: threading.Event) -> None:
    shutil.copytree(Path(skylark.__file__).parent, folder / "sdk" / "skylark", ignore=_IGNORED)
    entry = f"import {source.main.stem}\nfrom skylark.hosted import Handler, seal\n\n__all__ = ['Handler']\n\nseal()\n"
    (folder / f"{_ENTRY}.py").write_text(entry)
    tool = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
    mounted = (folder, folder / "sdk", *source.search_path)
    paths = [argument for path in mounted for argument in ("-p", str(path))]
    command = [*tool, "-q", "-d", str(wit_directory()), "-w", WORLD, "componentize", _ENTRY, *paths, "-o", str(output)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        while process.poll() is None and not cancelled.wait(_POLL_S):
            pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0 or not output.is_file():
        reason = "cancelled" if cancelled.is_set() else _cause(log.read_text(errors="replace"), mounted)
        raise BuildError(f"{source.main}: {reason}")


def _cause(text: str, mounted: Sequence[Path]) -> str:
    """The Python traceback in what componentize-py printed, with the paths of this machine; else the last lines."""
    cause = (
        text.partition("AssertionError: ")[2].partition("\nCaused by:")[0].partition("\nStack backtrace:")[0].strip()
    )
    for number, path in enumerate(mounted):
        cause = cause.replace(f'File "/{number}/', f'File "{path}/')
    return cause or "\n".join(text.strip().splitlines()[-12:]) or "componentize-py failed without a word"
