"""The programs as one component and as one core module, built once for each content."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from skylark_proxy.build import wit_directory
from skylark_proxy.config import Config
from skylark_proxy.flat import flattened
from skylark_proxy.runtime.engine import digest

PROGRAMS = Path(__file__).parent / "programs"
_PACKAGE = "conformance.programs"
_NO_PROGRAMS = ("record", "dispatch", "component")
_AOT_TIMEOUT_S = 1800


def cache() -> Path:
    """Where the artifacts are kept."""
    folder = Config.load({}).cache_dir / "conformance"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def component() -> Path:
    """The component of the world `command` that has all programs in it; about 10 s the first time."""
    return _made("component", ".wasm", _content(PROGRAMS.glob("*.py"), f"{version('componentize-py')}"), _componentize)


def flat() -> Path:
    """The component as one core module."""
    source = component()
    return flattened(source.read_bytes(), source.name, cache(), threading.Event()).module


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


def _run(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_AOT_TIMEOUT_S)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {ended.stdout}{ended.stderr}")
