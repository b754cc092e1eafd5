"""A function built, packaged and compiled ahead of time for WasmEdge: each way leads to the same module, and says it.

What needs a real WasmEdge runs where the variable WASMEDGE names its program.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wasmtime import Engine, Module

from component.conftest import FUNCTIONS
from integration.test_cli import Here, done, here, refused
from integration.test_package_commands import read
from registries import LiveRegistry, run_registry
from skylark_oci.aot import read_native_code
from skylark_oci.record import BuildRecord, read_record
from skylark_oci.wasm import Kind, read_wasm
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasm_files import OTHER_WORLD, wasm_file

__all__ = ["here"]

SOURCE = FUNCTIONS / "stateful.py"
COMMAND_OF_OTHERS = """
(component
    (core module $code (func (export "run") (result i32) i32.const 0))
    (core instance $ran (instantiate $code))
    (func $run (result (result)) (canon lift (core func $ran "run")))
    (instance $exported (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $exported)))
"""
"""A component of the world, but none of componentize-py's."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `skylark build` makes for both targets. It takes 20 s, the first time."""
    folder, cache = tmp_path_factory.mktemp("wasmedge"), Config.load({}).cache_dir / "components"
    for target in (Target.COMMAND, Target.WASMEDGE):
        build(SOURCE, folder / f"stateful{target.file_suffix}", cache, target=target)
    return folder


@pytest.fixture
def command(folder: Path) -> Path:
    return folder / "stateful.command.wasm"


@pytest.fixture
def module(folder: Path) -> Path:
    return folder / "stateful.wasmedge.wasm"


@pytest.fixture
def wasmedge() -> str:
    path = os.environ.get("WASMEDGE")
    return path or pytest.skip("WASMEDGE names no program of WasmEdge")


@pytest.fixture(scope="module")
def registry() -> Iterator[LiveRegistry]:
    with run_registry() as running:
        yield running


def record_of(path: Path) -> BuildRecord:
    record = read_record(read_wasm(path.read_bytes()), path.name)
    assert record is not None
    return record


def digests(packed: Any) -> list[str]:
    return [form["digest"] for form in packed["forms"].values()]


class TestBuild:
    def test_one_core_module(self, module: Path) -> None:
        """It imports WASI preview 1 only, and starts as a command does."""
        content = module.read_bytes()
        assert read_wasm(content).kind is Kind.MODULE
        compiled = Module(Engine(), content)
        assert {one.module for one in compiled.imports} == {"wasi_snapshot_preview1"}
        assert {"_start", "memory"} <= {one.name for one in compiled.exports}

    def test_its_record(self, command: Path, module: Path) -> None:
        """It says the world, the target and the tools of both steps; the component's says no flattener."""
        component, flat = record_of(command), record_of(module)
        assert component.world == flat.world == "skylark:state/command@0.1.0"
        assert (component.target, flat.target) == ("command", "wasmedge")
        assert set(flat.tools) - set(component.tools) == {"skylark-flatten"}
        assert (component.modules, component.distributions) == (flat.modules, flat.distributions)

    def test_the_second_time(self, here: Here, tmp_path: Path, module: Path) -> None:
        """Both steps come from the cache and give the same bytes; the file has the name of its target."""
        (tmp_path / "stateful.py").write_bytes(SOURCE.read_bytes())
        said = read(here("build", tmp_path / "stateful.py", "--target", "wasmedge", "--json"))
        assert said["cached"] and said["component"] == str(tmp_path / "stateful.wasmedge.wasm")
        assert (tmp_path / "stateful.wasmedge.wasm").read_bytes() == module.read_bytes()
        assert list(tmp_path.glob("*.wasm")) == [tmp_path / "stateful.wasmedge.wasm"]

    @pytest.mark.parametrize("command_name", ["run", "serve"])
    def test_a_node_does_not_host_it(self, here: Here, module: Path, tmp_path: Path, command_name: str) -> None:
        """It says what it is and how to build one that a node hosts."""
        settings = ["--port", "0"] if command_name == "run" else ["--port", "0", "--data-dir", tmp_path]
        refused(here(command_name, module, *settings), "the target wasmedge", "skylark build SOURCE --target hosted")


class TestPackage:
    def test_whatever_it_is_made_of(self, here: Here, command: Path, module: Path, tmp_path: Path) -> None:
        """A source, a component and a module give the same package, of a core module."""
        packed = [
            read(here("package", one, "--target", "wasmedge", "-o", tmp_path / "out", "--json"))
            for one in (SOURCE, command, module)
        ]
        assert digests(packed[0]) == digests(packed[1]) == digests(packed[2])
        assert (packed[0]["kind"], packed[0]["native_code"]) == ("module", None)
        image, artifact, *_ = read(here("inspect", tmp_path / "out", "--json"))["manifests"]
        assert image["annotations"]["io.skylark.target"] == artifact["annotations"]["io.skylark.target"] == "wasmedge"
        assert (image["config"]["os"], image["config"]["config"]["Entrypoint"]) == ("wasi", ["/stateful.wasmedge.wasm"])
        assert artifact["config"]["os"] == "wasip1" and "component" not in artifact["config"]

    def test_what_cannot_be_packaged(self, here: Here, tmp_path: Path, command: Path) -> None:
        """A component of another world or another toolchain, and options that contradict each other: one sentence."""
        (tmp_path / "http.wasm").write_bytes(wasm_file(OTHER_WORLD))
        (tmp_path / "others.wasm").write_bytes(wasm_file(COMMAND_OF_OTHERS))
        refused(here("package", tmp_path / "http.wasm", "--target", "wasmedge"), "http.wasm", "exports wasi:cli/run")
        refused(here("package", tmp_path / "others.wasm", "--target", "wasmedge"), "others.wasm", "one core module: ")
        refused(here("package", command, "--target", "http"), "exports wasi:http/incoming-handler", "--target http")
        refused(here("package", command, "--target", "http", "--aot"), "--aot", "the target wasmedge")
        refused(here("package", command, "--optimize", "0"), "--aot", "--optimize")
        refused(here("package", command, "--aot", "--wasmedge", tmp_path / "none"), "none", "wasmedge.org")
        refused(here("package", command, "--aot", "--optimize", "4"), "--optimize", status=2)
        assert not list(tmp_path.glob("*.oci"))


class TestRegistry:
    def test_there_and_back(self, here: Here, module: Path, registry: LiveRegistry, tmp_path: Path) -> None:
        """Both forms give the module back, and whoever pulls it is told what it is for."""
        place = f"{registry.host}/wasmedge/stateful:1.0"
        for pushed in done(here("push", module, place)).splitlines():
            pulled = read(here("pull", pushed, "-o", tmp_path / "back.wasm", "--json"))
            assert (pulled["target"], pulled["native_code"]) == ("wasmedge", None)
            assert (tmp_path / "back.wasm").read_bytes() == module.read_bytes()
            assert "the target wasmedge" in here("pull", pushed, "-o", tmp_path / "back.wasm").stderr.decode()

    def test_images_are_checked(self, here: Here, module: Path, registry: LiveRegistry, tmp_path: Path) -> None:
        """A module under wasmtime and a component under wasmedge are refused before anything is written; each in its
        place is not."""
        (tmp_path / "http.wasm").write_bytes(wasm_file(OTHER_WORLD))
        places = {"wasmedge": f"{registry.host}/check/module:1", "wasmtime": f"{registry.host}/check/http:1"}
        done(here("push", module, places["wasmedge"], "--form", "artifact"))
        done(here("push", tmp_path / "http.wasm", places["wasmtime"], "--form", "artifact"))
        config = tmp_path / "skylark.yaml"
        for run, image in ((one, other) for one in places for other in places.values()):
            line = f'{{name: one, run: {run}, image: "{image}", tier: Sat}}'
            config.write_text(f"cluster: {{image: registry.example/skylark:1}}\nfunctions:\n  - {line}\n")
            ran = here("manifests", "-f", config, "-o", tmp_path / run, "--check-images")
            if image == places[run]:
                assert done(ran)
            else:
                refused(ran, "functions[0].image", image, f"run: {run}")
            done(here("manifests", "-f", config, "-o", tmp_path / "unchecked"))


class TestNativeCode:
    def test_it_runs_everywhere(self, here: Here, module: Path, tmp_path: Path, wasmedge: str) -> None:
        """Compiled in seconds, a module still is one for other runtimes and for WasmEdge's interpreter; the record
        says by what, the manifests for what."""
        packed = read(here("package", module, "--aot", "--optimize", "0", "-o", tmp_path / "aot.oci", "--json"))
        assert packed["native_code"]["os"] == "linux"
        image = read(here("inspect", tmp_path / "aot.oci", "--json"))["manifests"][1]
        path = tmp_path / "aot.oci" / "blobs" / image["layers"][0]["digest"].replace(":", "/")
        content = path.read_bytes()
        assert read_native_code(read_wasm(content), "aot") is not None
        assert image["annotations"]["io.skylark.wasmedge.aot.optimization"] == "0"
        assert "wasmedge" in record_of(path).tools
        assert read(here("inspect", path, "--json"))["native_code"]["os"] == "linux"
        assert [one.name for one in Module(Engine(), content).imports] == [
            one.name for one in Module(Engine(), module.read_bytes()).imports
        ]
        for options in ([], ["--run-mode", "aot"]):
            # PORT is none: it starts Python, which says what is wrong
            ran = subprocess.run(
                [wasmedge, *options, "--env", "PORT=none", path], capture_output=True, timeout=60, check=False
            )
            assert b"PORT" in ran.stderr, ran.stderr
            assert ran.returncode != 0

    def test_the_second_time(self, here: Here, command: Path, module: Path, tmp_path: Path, wasmedge: str) -> None:
        """A module that was compiled comes from the cache, whatever it is made of, also if it has native code."""
        arguments = ("--aot", "--optimize", "0", "--wasmedge", wasmedge, "-o", tmp_path / "out", "--json")
        packed = [read(here("package", one, *arguments)) for one in (command, module)]
        image = read(here("inspect", tmp_path / "out", "--json"))["manifests"][1]
        again = tmp_path / "stateful.wasmedge.wasm"
        again.write_bytes((tmp_path / "out/blobs" / image["layers"][0]["digest"].replace(":", "/")).read_bytes())
        packed.append(read(here("package", again, *arguments)))
        assert digests(packed[0]) == digests(packed[1]) == digests(packed[2])
