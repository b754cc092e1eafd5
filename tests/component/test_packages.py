"""Real components of functions: their interface is read right, and they say what they were built from."""

import json
from pathlib import Path

import pytest
from wasmtime import Engine as WasmtimeEngine
from wasmtime.component import Component

from skylark_oci.metadata import Metadata
from skylark_oci.packages import package
from skylark_oci.record import Distribution, read_record
from skylark_oci.wasm import Kind, read_wasm
from skylark_proxy.build import build
from skylark_proxy.config import Config

USES_A_PACKAGE = """
import skylark
import sortedcontainers


@skylark.function
def sort(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    return skylark.Response(bytes(sortedcontainers.SortedList(bytes(ctx.request.body))))
"""


def test_the_interface_is_that_which_wasmtime_sees(components: dict[str, Path]) -> None:
    """All imports and exports of a component of 18 MB, with those of WASI, are those that a full compiler finds."""
    content, engine = components["stateful"].read_bytes(), WasmtimeEngine()
    wasm, seen = read_wasm(content), Component(engine, content).type
    assert wasm.kind is Kind.COMPONENT
    assert sorted(wasm.imports) == sorted(seen.imports(engine))
    assert sorted(wasm.exports) == sorted(seen.exports(engine))
    assert len(wasm.imports) > 20


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The component of a function that uses an installed distribution. Building takes 20 s, the first time."""
    folder = tmp_path_factory.mktemp("packaged")
    (folder / "app.py").write_text(USES_A_PACKAGE)
    return build(folder / "app.py", folder / "app.wasm", Config.load({}).cache_dir / "components").component


def test_a_component_says_what_it_was_built_from(built: Path) -> None:
    """Its own module, those of the distribution with version and licence, and the tools; no path of this machine."""
    content = built.read_bytes()
    record = read_record(read_wasm(content), "app")
    assert record is not None
    assert record.world == "skylark:state/hosted@0.1.0"
    (distribution,) = record.distributions
    assert isinstance(distribution, Distribution)
    assert (distribution.name, distribution.license) == ("sortedcontainers", "Apache 2.0")
    names = [module.name for module in record.modules]
    assert {"app", "sortedcontainers", "sortedcontainers.sortedlist"} <= set(names) and names == sorted(names)
    assert str(built.parent).encode() not in content[-20_000:]


def test_its_bill_of_materials(built: Path) -> None:
    """It has the distribution as a package of PyPI, each module with its digest, the SDK, and Python itself."""
    packed = package(built.read_bytes(), "app", Metadata())
    documents = [json.loads(content) for one in packed.sboms.values() for content in one.blobs.values()]
    bill = next(document for document in documents if "bomFormat" in document)
    parts = {part["bom-ref"]: part for part in bill["components"]}
    assert parts["pkg:generic/cpython@3.14"]["type"] == "platform"
    assert any(ref.startswith("pkg:pypi/sortedcontainers@") for ref in parts)
    assert any(ref.startswith("pkg:pypi/skylark@") for ref in parts)
    assert parts["module:app"]["hashes"][0]["alg"] == "SHA-256"


def test_a_build_from_the_cache_is_the_same_file(built: Path, tmp_path: Path) -> None:
    """Built again, the component with its record has not changed in a byte."""
    (tmp_path / "app.py").write_text(USES_A_PACKAGE)
    again = build(tmp_path / "app.py", tmp_path / "app.wasm", Config.load({}).cache_dir / "components")
    assert again.cached
    assert again.component.read_bytes() == built.read_bytes()
