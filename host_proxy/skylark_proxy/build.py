"""Builds a component from a function's source file with componentize-py, or a module of it, once for each content."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import skylark
from skylark_proxy.build_record import NO_TOOLS, append_record
from skylark_proxy.flat import Report, flattened, silent
from skylark_proxy.runtime.engine import digest
from skylark_proxy.source import ENTRY, BuildError, Source, resolve
from skylark_proxy.target import Target

_POLL_S = 0.05
_ENTRY_SOURCE = """import sys

sys.dont_write_bytecode = True  # the source's folder is mounted: a build leaves nothing in it

import {module}
{entry}
from skylark.seal import seal

seal()
"""
_IGNORED = shutil.ignore_patterns("__pycache__", "wit")


@dataclass(frozen=True, slots=True)
class Built:
    """A component, or the module that was made of one. `cached` says whether all of it had been built before."""

    component: Path
    size_bytes: int
    cached: bool


def build(
    source: Path,
    output: Path,
    cache_dir: Path,
    extra_paths: tuple[Path, ...] = (),
    cancelled: threading.Event | None = None,
    target: Target = Target.HOSTED,
    report: Report = silent,
) -> Built:
    """Builds what a target runs of a source file, or copies it from the cache.

    Args:
        source: A Python file with at least one `@skylark.function`.
        output: The component to write, or for `wasmedge` the module.
        cache_dir: Where components are kept, by the content of all that goes into them.
        extra_paths: Folders with further modules that the source imports.
        cancelled: Ends the build when it is set.
        target: Who is to run it.
        report: Is told each step as it begins.

    Raises:
        InvalidArgument: The source does not exist or is no Python file.
        BuildError: It was cancelled, has a syntax error or no function, imports what cannot be in one, or raises; or
            the component cannot be made a module.
    """
    resolved = resolve(source, extra_paths)
    cancelled = cancelled or threading.Event()
    cached, known, tools = cache_dir / f"{_fingerprint(resolved, target)}.wasm", True, NO_TOOLS
    if not cached.exists():
        report("compiling Python")
        _build_component(resolved, target, cached, cancelled)
        known = False
    if target is Target.WASMEDGE:
        flat = flattened(cached.read_bytes(), str(source), cache_dir, cancelled, report)
        cached, known, tools = flat.module, known and flat.cached, flat.tools
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(cached, output)
    append_record(output, resolved, target, tools)
    return Built(output, output.stat().st_size, known)


def _build_component(source: Source, target: Target, output: Path, cancelled: threading.Event) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=output.parent) as folder:
        built = Path(folder) / "component.wasm"
        _componentize(source, target, Path(folder), built, cancelled)
        os.replace(built, output)  # noqa: PTH105


def wit_directory() -> Path:
    """The WIT package that the SDK brings, or that of the source checkout that it is installed from."""
    package = Path(skylark.__file__).parent
    return next(path for path in (package / "wit", package.parents[1] / "wit") if path.is_dir())


def _fingerprint(source: Source, target: Target = Target.HOSTED) -> str:
    """Names all that goes into a component."""
    package = Path(skylark.__file__).parent
    files = (*source.modules, *sorted(package.rglob("*.py")), *sorted(wit_directory().rglob("*.wit")))
    contents = [f"{file.name} {digest(file.read_bytes())}" for file in files]
    made_by = f"componentize-py {version('componentize-py')} {target.component.world}"
    return digest("\n".join([made_by, *contents]).encode())


def _componentize(source: Source, target: Target, folder: Path, output: Path, cancelled: threading.Event) -> None:
    shutil.copytree(Path(skylark.__file__).parent, folder / "sdk" / "skylark", ignore=_IGNORED)
    (folder / f"{ENTRY}.py").write_text(_ENTRY_SOURCE.format(module=source.main.stem, entry=target.component.entry))
    tool = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
    mounted = (folder, folder / "sdk", *source.search_path)
    paths = [argument for path in mounted for argument in ("-p", str(path))]
    world = ["-d", str(wit_directory()), "-w", target.component.world, "--world-module", target.component.bindings]
    command = [*tool, "-q", *world, "componentize", ENTRY, *paths, "-o", str(output)]
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
