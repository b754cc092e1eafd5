"""Builds a component from a function's source file with componentize-py, or a module of it, once for each content."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import msgspec

import skylark
from skylark_proxy.build_cache import BuildCache, Folders, Heard, Record
from skylark_proxy.build_failure import cause
from skylark_proxy.build_record import NO_TOOLS, append_record
from skylark_proxy.flat import Report, flattened, silent
from skylark_proxy.outputs import prepare_file, writing
from skylark_proxy.private_folders import make_private
from skylark_proxy.runtime.engine import digest
from skylark_proxy.source import ENTRY, BuildError, Source, resolve
from skylark_proxy.target import Target

_POLL_S = 0.05
_ENTRY_SOURCE = """from skylark.build_inputs import Recorder
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules

late, files = LateModules(), LateFiles()
files.use()
recorder = Recorder({folders}, {own})
recorder.start()

import {module}
{entry}

recorder.finish("/0/{heard}", late, files)

from skylark.seal import seal

seal(late, files)
"""
_HEARD = "heard.json"
_FIRST = 2
"""The guest's number of the first folder with modules: before them are the build's own folder and the SDK's."""
_IGNORED = shutil.ignore_patterns("__pycache__", "wit")


@dataclass(frozen=True, slots=True)
class NotIncluded:
    """A module that a file names at a line, and that cannot be imported in the sandbox."""

    name: str
    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class Built:
    """A component, or the module that was made of one.

    Attributes:
        component: The file.
        size_bytes: Its size.
        cached: Whether all of it had been built before.
        not_included: What the source names, and can do without until it comes to it.
        left_out: Data files of packages that are too large.
    """

    component: Path
    size_bytes: int
    cached: bool
    not_included: tuple[NotIncluded, ...] = ()
    left_out: tuple[Path, ...] = ()

    @property
    def warning(self) -> str | None:
        """Return one line about what is not included; None if all of it is."""
        names = ", ".join(f"{one.name!r} ({one.file}:{one.line})" for one in self.not_included)
        files = ", ".join(map(str, self.left_out))
        told = (("not importable in the sandbox", names), ("too large for a component", files))
        return "; ".join(f"{what}: {which}" for what, which in told if which) or None


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
        InvalidArgument: The source does not exist or is no Python file, or the output cannot be written.
        BuildError: It was cancelled, has a syntax error or no function, imports what cannot be in one, or raises; or
            the component cannot be made a module.
    """
    resolved = resolve(source, extra_paths)
    prepare_file("--output", output)
    cancelled = cancelled or threading.Event()
    folders = Folders(resolved.search_path, _FIRST, output.resolve())
    cache, known, tools = BuildCache(cache_dir, _fingerprint(resolved, target)), True, NO_TOOLS
    record = cache.find(folders)
    if record is None:
        report("compiling Python")
        record, known = _build_component(resolved, target, cache, folders, cancelled), False
    made = cache.component(record)
    if target is Target.WASMEDGE:
        flat = flattened(made.read_bytes(), str(source), cache_dir, cancelled, report)
        made, known, tools = flat.module, known and flat.cached, flat.tools
    modules = (folders.file(place) for place in record.modules)
    with writing("--output", output):
        shutil.copyfile(made, output)
        append_record(output, replace(resolved, modules=tuple(modules)), target, tools)
    missing = (NotIncluded(one.name, folders.file(one.place), one.line) for one in record.missing)
    left_out = tuple(folders.file(place) for place in record.left_out)
    return Built(output, output.stat().st_size, known, tuple(missing), left_out)


def _build_component(
    source: Source, target: Target, cache: BuildCache, folders: Folders, cancelled: threading.Event
) -> Record:
    make_private(cache.folder)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=cache.folder) as name:
        folder, started_ns = Path(name), time.time_ns()
        built = folder / "component.wasm"
        _componentize(source, target, folder, built, cancelled)
        heard = msgspec.json.decode((folder / _HEARD).read_bytes(), type=Heard)
        return cache.add(built, heard, Folders(folders.folders, folders.first, folders.output), started_ns)


def wit_directory() -> Path:
    """The WIT package that the SDK brings, or that of the source checkout that it is installed from."""
    package = Path(skylark.__file__).parent
    return next(path for path in (package / "wit", package.parents[1] / "wit") if path.is_dir())


def _fingerprint(source: Source, target: Target = Target.HOSTED) -> str:
    """Names all that goes into a component and is known before it is built."""
    package = Path(skylark.__file__).parent
    files = (source.main, *sorted(package.rglob("*.py")), *sorted(wit_directory().rglob("*.wit")))
    contents = [f"{file.name} {digest(file.read_bytes())}" for file in files]
    made_by = f"componentize-py {version('componentize-py')} {target.component.world}"
    return digest("\n".join([made_by, _entry(source, target), *contents]).encode())


def _entry(source: Source, target: Target) -> str:
    """The main module of a component."""
    mounts = {folder: f"/{_FIRST + number}" for number, folder in enumerate(source.search_path)}
    folders, own = tuple(mounts.values()), tuple(mounts[folder] for folder in source.own)
    entry = target.component.entry
    return _ENTRY_SOURCE.format(folders=folders, own=own, module=source.main.stem, entry=entry, heard=_HEARD)


def _componentize(source: Source, target: Target, folder: Path, output: Path, cancelled: threading.Event) -> None:
    shutil.copytree(Path(skylark.__file__).parent, folder / "sdk" / "skylark", ignore=_IGNORED)
    (folder / f"{ENTRY}.py").write_text(_entry(source, target))
    tool = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
    mounted = (folder, folder / "sdk", *source.search_path)
    paths = [argument for path in mounted for argument in ("-p", str(path))]
    world = ["-d", str(wit_directory()), "-w", target.component.world, "--world-module", target.component.bindings]
    command = [*tool, "-q", *world, "componentize", ENTRY, *paths, "-o", str(output)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    # The tool adds the packages of an environment that it looks for itself, which no build would know of.
    (folder / "environment" / "lib" / "site-packages").mkdir(parents=True)
    environment["VIRTUAL_ENV"] = str(folder / "environment")
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
        if cancelled.is_set():
            raise BuildError(f"{source.main}: cancelled")
        raise BuildError(cause(log.read_text(errors="replace"), mounted, source))
