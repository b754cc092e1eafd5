"""The ways to run a program of the suite: CPython, the component, and the core module in several runtimes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance import artifacts
from wasi_http import TEST_HOST, native, precompiled, variables, wasmtime_program

ROOT = "/scratch"
"""The guest's name of the folder that a program may use."""
_TESTS = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run a program.

    Attributes:
        name: What tests and differences call it.
        command: The command line for arguments, variables, and a folder of this machine.
        root: What the program calls that folder; None where it sees this machine's name.
        slower: How many times as long as usual a program may take.
        is_whole_day: Whether a day's worth of requests is to be tried on it, and not a tenth.
    """

    name: str
    command: Callable[[Sequence[str], Mapping[str, str], Path], list[str]]
    root: str | None = ROOT
    slower: int = 1
    is_whole_day: bool = False


def _native(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[str]:
    given = [f"{name}={value}" for name, value in environment.items()]
    own = ["env", "-i", "LC_ALL=C.UTF-8", f"PYTHONPATH={_TESTS}"]
    return [*own, *given, sys.executable, "-B", "-m", "conformance.programs.dispatch", *arguments]


def _component(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[str]:
    options = [
        "--allow-precompiled",
        "-S",
        "inherit-network,allow-ip-name-lookup,tcp,udp",
        "--dir",
        f"{folder}::{ROOT}",
    ]
    wasmtime = wasmtime_program()
    component = str(precompiled(wasmtime, artifacts.component()))
    return [str(wasmtime), "run", *options, *variables(environment), component, *arguments]


def _flat(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[str]:
    return [*TEST_HOST, "--dir", f"{ROOT}::{folder}", *variables(environment), str(artifacts.flat()), *arguments]


def _wasmedge(program: Path, aot: bool) -> Callable[[Sequence[str], Mapping[str, str], Path], list[str]]:
    def command(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[str]:
        module = native(artifacts.flat()) if aot else artifacts.flat()
        mode = ["--run-mode", "aot"] if aot else []
        return [str(program), *mode, "--dir", f"{ROOT}:{folder}", *variables(environment), str(module), *arguments]

    return command


NATIVE = Runtime("cpython", _native, None)
COMPONENT = Runtime("component", _component)
FLAT = Runtime("flat", _flat, is_whole_day=True)


def available() -> list[Runtime]:
    """The runtimes to be compared with CPython. `WASMEDGE` names the program of a WasmEdge, for two more.

    `WASMEDGE_MODES` chooses among them: `interpreter`, `aot`; both where it is not set.
    """
    runtimes = [COMPONENT, FLAT]
    if program := os.environ.get("WASMEDGE"):
        modes = os.environ.get("WASMEDGE_MODES", "interpreter,aot").split(",")
        if "interpreter" in modes:
            runtimes.append(Runtime("wasmedge", _wasmedge(Path(program), False), slower=60))
        if "aot" in modes:
            runtimes.append(Runtime("wasmedge-aot", _wasmedge(Path(program), True), is_whole_day=True))
    return runtimes
