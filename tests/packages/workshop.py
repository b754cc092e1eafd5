"""Installs a package, and runs its function in plain CPython and in a sandbox."""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from component.nodes import Node
from packages.listed import Package, packages
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.errors import SkylarkError
from skylark_proxy.runtime import Engine, Functions, Manifest

_FUNCTION = """

import json

import skylark


@skylark.function
def answer(bundle, ctx):
    return skylark.Response(json.dumps(call(), sort_keys=True).encode())
"""
_NATIVE = "import json, function; print(json.dumps(function.call(), sort_keys=True))"


class DoesNotWork(Exception):
    """A package's function could not be built, failed in the sandbox, or answered something else than CPython."""


def installed(package: Package) -> Path:
    """Return a folder with the package and what it needs, installed once for each set of versions."""
    constraints = "".join(f"{one.name}=={one.version}\n" for one in packages())
    key = hashlib.sha256(f"{sys.version} {package.requirements} {constraints}".encode()).hexdigest()
    folder = Config.load({}).cache_dir / "pypi-packages" / f"{package}-{key[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".install-", dir=folder.parent) as unfinished:
            target = Path(unfinished) / "packages"
            listed = Path(unfinished) / "constraints.txt"
            listed.write_text(constraints)
            options = ["--quiet", "--no-compile", "--only-binary", ":all:", "--constraint", str(listed)]
            command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
            subprocess.run([*command, *package.requirements], check=True)
            target.rename(folder)
    return folder


def write_source(package: Package, folder: Path) -> Path:
    """Write the source file that `skylark build` takes."""
    source = folder / "function.py"
    source.write_text(package.function.read_text() + _FUNCTION)
    return source


def natively(source: Path, folder: Path) -> str:
    """Return what the package's function returns in plain CPython, as JSON."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source.parent), str(folder)])}
    command = [sys.executable, "-B", "-c", _NATIVE]
    run = subprocess.run(command, env=environment, cwd=source.parent, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.strip()


def in_a_sandbox(source: Path, folder: Path) -> str:
    """Return what the package's function returns in a sandbox, as JSON.

    Raises:
        DoesNotWork: It cannot be built, or fails.
    """
    output = source.with_suffix(".wasm")
    try:
        build(source, output, Config.load({}).cache_dir / "components", (folder,))
        # A hundred compiled components of 40 MB would stay in the cache of the proxy.
        with (
            contextlib.closing(Engine(source.parent / "compiled")) as engine,
            contextlib.closing(Functions(engine)) as functions,
        ):
            functions.load(output, Manifest(ready=0))
            return Node(functions).answer("answer").decode()
    except SkylarkError as error:
        raise DoesNotWork(str(error)) from error
