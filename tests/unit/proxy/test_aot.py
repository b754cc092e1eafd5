"""A module is compiled once for each content and compiler, and a compiler that fails leaves nothing but its reason.

The compiler here is a program of a few lines that does as `wasmedge compile` does; `tests/component` has the real one.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from skylark_oci.aot import read_native_code
from skylark_oci.wasm import read_wasm
from skylark_proxy.aot import Ahead, CompileError, Optimization, WasmEdge, compiled
from skylark_proxy.errors import InvalidArgument
from wasm_files import MODULE, wasm_file

PLAIN = wasm_file(MODULE)
PROGRAM = """#!{python}
import os, signal, sys, time
if sys.argv[1] == "--version":
    print("/somewhere/wasmedge version {version}\\n (plugin \\"wasi_logging\\") version 0.1.0.0")
    sys.exit({status})
open(os.environ["RUNS"], "a").write(" ".join(sys.argv[1:-2]) + "\\n")
source, output = sys.argv[-2:]
print("[2026-01-01 00:00:00.000] [info] optimize start", file=sys.stderr, flush=True)
{body}
"""
APPEND = """
section = b"\\x08wasmedge" + bytes((2, 1, 1)) + b"code"
with open(output, "wb") as file:
    file.write(open(source, "rb").read() + bytes((0, len(section))) + section)
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each run of the compiler: its arguments."""
    path = tmp_path / "runs"
    path.touch()
    monkeypatch.setenv("RUNS", str(path))
    return path


def program(folder: Path, body: str = APPEND, version: str = "0.17.1", status: int = 0) -> Path:
    """A `wasmedge` in a folder."""
    path = folder / "wasmedge"
    path.write_text(PROGRAM.format(python=sys.executable, body=body, version=version, status=status))
    path.chmod(0o755)
    return path


def compile_with(path: Path, cache: Path, level: Optimization = Optimization.USUAL, native: bool = False) -> bytes:
    return compiled(PLAIN, "app", Ahead(WasmEdge.find(path, {}), level, native), cache).content


class TestFind:
    def test_where_it_is_looked_for(self, tmp_path: Path) -> None:
        """An option wins over the variable, which wins over PATH; the version is what it says."""
        folders = []
        for name in ("option", "variable", "path"):
            folders.append(tmp_path / name)
            folders[-1].mkdir()
            program(folders[-1], version=f"1.0-{name}")
        named, variable, path = folders
        environment = {"PATH": f"{path}", "WASMEDGE": str(variable / "wasmedge")}
        assert WasmEdge.find(named / "wasmedge", environment) == WasmEdge(named / "wasmedge", "1.0-option")
        assert WasmEdge.find(None, environment).version == "1.0-variable"
        assert WasmEdge.find(None, {"PATH": f"{path}"}).version == "1.0-path"

    def test_none_that_is_one(self, tmp_path: Path) -> None:
        """One that is missing, no program, no WasmEdge or broken: the error names it and says how to get one."""
        (tmp_path / "text").write_text("text")
        (tmp_path / "no").write_text("text")
        (tmp_path / "no").chmod(0o755)
        (tmp_path / "broken").mkdir()
        broken = program(tmp_path / "broken", status=1)
        for path in (tmp_path / "missing", tmp_path / "text", tmp_path / "no", Path("/bin/true"), broken):
            with pytest.raises(InvalidArgument, match=r"wasmedge\.org/docs/start/install") as caught:
                WasmEdge.find(path, {"PATH": os.environ["PATH"]})
            assert str(path) in caught.value.message
        with pytest.raises(InvalidArgument, match=r"'wasmedge' is not valid.*not there"):
            WasmEdge.find(None, {"PATH": str(tmp_path / "nowhere")})


class TestCompiled:
    def test_native_code_is_added(self, tmp_path: Path, runs: Path) -> None:
        """The module is as it was, with native code after it; the options are those that were asked for."""
        made = compile_with(program(tmp_path), tmp_path / "cache", Optimization.SIZE)
        assert made.startswith(PLAIN) and read_native_code(read_wasm(made), "app") is not None
        assert runs.read_text() == "compile --optimize s --generic-binary\n"
        compile_with(tmp_path / "wasmedge", tmp_path / "cache", native=True)
        assert runs.read_text().splitlines()[1] == "compile --optimize 2"

    def test_each_is_compiled_once(self, tmp_path: Path, runs: Path) -> None:
        """The same module comes from the cache; another level, tuning, version or build of the compiler does not."""
        path, cache = program(tmp_path), tmp_path / "cache"
        first = compile_with(path, cache)
        assert compile_with(path, cache) == first and len(runs.read_text().splitlines()) == 1
        assert compiled(PLAIN, "app", Ahead(WasmEdge.find(path, {})), cache).cached
        compile_with(path, cache, Optimization.NONE)
        compile_with(path, cache, native=True)
        compile_with(program(tmp_path, version="0.17.2"), cache)
        compile_with(program(tmp_path, APPEND + "# another build", version="0.17.2"), cache)
        assert len(runs.read_text().splitlines()) == 5

    def test_what_it_is_doing(self, tmp_path: Path, runs: Path) -> None:
        """The report has the compiler's last step and the seconds, while it runs."""
        path = program(tmp_path, f"while not os.path.exists({str(tmp_path / 'seen')!r}): time.sleep(0.01)\n{APPEND}")
        said: list[str] = []

        def report(text: str) -> None:
            said.append(text)
            if text.startswith("optimize start, "):
                (tmp_path / "seen").touch()

        compiled(PLAIN, "app", Ahead(WasmEdge.find(path, {})), tmp_path / "cache", report)
        assert said[0] == "starting, 0 s" or said[0].startswith("optimize start, ")
        assert re.fullmatch(r"optimize start, [0-9]+ s", said[-1])

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV and said: optimize start"),
            ("print('[x] [error] no such level'); sys.exit(1)", "ended with status 1 and said: .*no such level"),
            ("pass", "wrote no module: .*No such file"),
            ("open(output, 'wb').write(open(source, 'rb').read()[:-1])", "wrote no module: .*truncated"),
            ("open(output, 'wb').write(open(source, 'rb').read())", "wrote another module"),
        ],
    )
    def test_a_compiler_that_fails(self, tmp_path: Path, runs: Path, body: str, said: str) -> None:
        """The error says how it ended and what it said; nothing of it is kept."""
        with pytest.raises(CompileError, match=f"^app: wasmedge compile {said}"):
            compile_with(program(tmp_path, body), tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_an_interruption_ends_it(self, tmp_path: Path, runs: Path) -> None:
        """The compiler's process ends and nothing is left where it worked."""
        path = program(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()) + ' ')\ntime.sleep(600)")

        def interrupt(_text: str) -> None:
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith(" "):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compiled(PLAIN, "app", Ahead(WasmEdge.find(path, {})), tmp_path / "cache", interrupt)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
        assert list((tmp_path / "cache").iterdir()) == []
