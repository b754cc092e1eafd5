"""Compiles a core module ahead of time with the user's own WasmEdge, once for each content, compiler and processor."""

import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from signal import Signals

from skylark_oci.aot import read_native_code
from skylark_oci.errors import InvalidWasm
from skylark_oci.wasm import read_wasm
from skylark_proxy.child import launch
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.flat import Report, silent
from skylark_proxy.private_folders import check_private, make_private
from skylark_proxy.runtime.engine import digest

VARIABLE = "WASMEDGE"
"""The environment variable that names the program."""

_POLL_S = 0.2
_VERSION_LIMIT_S = 20.0
_VERSION = re.compile(r" version (\S+)$", re.MULTILINE)
_LOG_LINE = re.compile(r"\[(?P<level>info|warning|error)\] +(?P<text>.+)$", re.MULTILINE)
_HOW_TO_GET_IT = (
    "see https://wasmedge.org/docs/start/install; put it on PATH, or name it with --wasmedge or the variable WASMEDGE"
)


class CompileError(SkylarkError):
    """A module could not be compiled ahead of time; the message says what the compiler said."""

    code = "compile-failed"


class Optimization(StrEnum):
    """How much the compiler does (`wasmedge compile --optimize`)."""

    NONE = "0"
    SOME = "1"
    USUAL = "2"
    MORE = "3"
    SIZE = "s"
    LEAST_SIZE = "z"


@dataclass(frozen=True, slots=True)
class WasmEdge:
    """The user's `wasmedge`, and the version that it says it has."""

    program: Path
    version: str

    @classmethod
    def find(cls, named: Path | None = None, environment: Mapping[str, str] = os.environ) -> "WasmEdge":
        """The program that is named, else that of the variable `WASMEDGE`, else the one on PATH.

        Raises:
            InvalidArgument: There is none, or it is not WasmEdge's; the error says how to get one.
        """
        wanted = str(named or environment.get(VARIABLE) or "wasmedge")
        found = shutil.which(wanted, path=environment.get("PATH"))
        if found is None:
            raise InvalidArgument("wasmedge", wanted, f"WasmEdge's program, which is not there; {_HOW_TO_GET_IT}")
        try:
            said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=_VERSION_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            raise InvalidArgument("wasmedge", found, f"WasmEdge's program ({error}); {_HOW_TO_GET_IT}") from error
        version = _VERSION.search(said.stdout)
        if said.returncode != 0 or version is None:
            raise InvalidArgument("wasmedge", found, f"a program that says its version; {_HOW_TO_GET_IT}")
        return cls(Path(found), version[1])


@dataclass(frozen=True, slots=True)
class Ahead:
    """How a module is compiled ahead of time.

    Attributes:
        native: Whether the code is tuned for this machine's processor. Either way the compiler uses all of its
            instructions (WasmEdge, `lib/llvm/compiler.cpp`: `getHostCPUFeatures`).
    """

    compiler: WasmEdge
    optimization: Optimization = Optimization.USUAL
    native: bool = False


@dataclass(frozen=True, slots=True)
class Compiled:
    """A module with native code in it. `cached` says whether it had been compiled before."""

    content: bytes
    cached: bool


def compiled(module: bytes, name: str, ahead: Ahead, cache_dir: Path, report: Report = silent) -> Compiled:
    """A module compiled ahead of time, from the cache or by the compiler, which takes minutes.

    Args:
        module: A core module, without a build record: what is compiled is found by its content.
        name: What errors call it.
        ahead: By what it is compiled, and how.
        cache_dir: Where modules with native code are kept; it is made for this user alone.
        report: Is told several times a second what the compiler is doing, and for how many seconds.

    Raises:
        CompileError: The compiler failed, or what it wrote is not the module with native code.
    """
    cached = cache_dir / f"{digest(_key(module, ahead).encode())}.aot.wasm"
    if cache_dir.exists():
        check_private(cache_dir, "SKYLARK_CACHE_DIR")
    known = cached.exists()
    if not known:
        make_private(cache_dir)
        with tempfile.TemporaryDirectory(prefix=".aot-", dir=cache_dir) as folder:
            source, made = Path(folder) / "module.wasm", Path(folder) / "compiled.wasm"
            source.write_bytes(module)
            _run([*_command(ahead), str(source), str(made)], Path(folder) / "log", name, report)
            _check(made, module, name)
            os.replace(made, cached)  # noqa: PTH105
    return Compiled(cached.read_bytes(), known)


def _command(ahead: Ahead) -> list[str]:
    generic = [] if ahead.native else ["--generic-binary"]
    return [str(ahead.compiler.program), "compile", "--optimize", str(ahead.optimization), *generic]


def _key(module: bytes, ahead: Ahead) -> str:
    """Names all that decides what is made. Two builds of WasmEdge's developers have the same version."""
    compiler = f"{ahead.compiler.version} {digest(ahead.compiler.program.read_bytes())}"
    return "\n".join([digest(module), compiler, ahead.optimization, f"native: {ahead.native}", _processor()])


def _run(command: list[str], log: Path, name: str, report: Report) -> None:
    """Runs the compiler to its end. An interruption ends it too, as does the death of this process."""
    started = time.monotonic()
    with log.open("wb") as file:
        process = launch(command, file, Signals.SIGKILL)
    try:
        while process.poll() is None:
            report(f"{_doing(log)}, {time.monotonic() - started:.0f} s")
            _wait(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode != 0:
        raise CompileError(f"{name}: wasmedge compile {_ended(process.returncode)} {_last_words(log)}")


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


def _doing(log: Path) -> str:
    """The compiler's last step, such as `optimize start`, by its log."""
    lines = [line["text"] for line in _LOG_LINE.finditer(log.read_text(errors="replace")) if line["level"] == "info"]
    return lines[-1] if lines else "starting"


def _last_words(log: Path) -> str:
    text = log.read_text(errors="replace")
    lines = [line["text"].strip() for line in _LOG_LINE.finditer(text)] or text.strip().splitlines() or ["nothing"]
    return f"and said: {'; '.join(lines[-3:])}"


def _ended(status: int) -> str:
    return f"was ended by {Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _check(file: Path, module: bytes, name: str) -> None:
    """The compiler leaves the module as it was and appends to it (WasmEdge, `lib/llvm/codegen.cpp`)."""
    try:
        content = file.read_bytes()
        code = read_native_code(read_wasm(content, name), name)
    except (OSError, InvalidWasm) as error:
        raise CompileError(f"{name}: wasmedge compile wrote no module: {error}") from error
    if code is None or not content.startswith(module):
        raise CompileError(f"{name}: wasmedge compile wrote another module than the one that it got")


def _processor() -> str:
    """This machine's kind of processor, with its instruction sets where the system lists them (proc(5), cpuinfo)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = sorted({line.partition(":")[2].strip() for line in lines if line.startswith(("flags", "Features"))})
    return "\n".join([platform.system(), platform.machine(), *features])
