"""Native code in a module is told from its header, and packages say what it is for."""

import json

import pytest

from skylark_oci.aot import NativeCode, annotations, may_be_interpreted, read_native_code
from skylark_oci.errors import InvalidWasm
from skylark_oci.metadata import Metadata
from skylark_oci.packages import package
from skylark_oci.record import BuildRecord, Compilation, with_record
from skylark_oci.wasm import custom_section, read_wasm
from wasm_files import MODULE, wasm_file

PLAIN = wasm_file(MODULE)
RECORD = BuildRecord(
    "skylark:state/command@0.1.0", {"wasmedge": "0.17.1"}, [], [], "wasmedge", Compilation("2", "generic")
)


def with_header(*header: int) -> bytes:
    """A module with a section as WasmEdge's compiler appends one: this header, and code that nobody reads here."""
    return PLAIN + custom_section("wasmedge", bytes(header) + b"code")


def native_code(content: bytes) -> NativeCode | None:
    return read_native_code(read_wasm(content), "module")


@pytest.mark.parametrize(
    ("header", "expected", "read_by"),
    [
        ((1, 1, 1), (1, "linux", "amd64"), "WasmEdge 0.10 to 0.14"),
        ((2, 1, 2), (2, "linux", "arm64"), "WasmEdge 0.15 to 0.17"),
        ((2, 2, 2), (2, "darwin", "arm64"), "WasmEdge 0.15 to 0.17"),
        ((0x83, 0x03, 3, 3), (387, "windows", "riscv64"), "a WasmEdge whose AOT format is 387"),
        ((3, 1, 1), (3, "linux", "amd64"), "WasmEdge after 0.17"),
        ((4, 9, 9), (4, "unknown-9", "unknown-9"), "a WasmEdge whose AOT format is 4"),
    ],
)
def test_what_native_code_is_for(header: tuple[int, ...], expected: tuple[int, str, str], read_by: str) -> None:
    """Format, system and processor are read from the header, whatever numbers are in it."""
    code = native_code(with_header(*header))
    assert code is not None
    assert (code.format, code.os, code.architecture, code.read_by) == (*expected, read_by)
    assert code.size_bytes == len(header) + len(b"code")


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (1, "runwasi's shim (0.6.0) uses it, and crun with libwasmedge 0.13.5 to 0.14"),
        (2, "crun with libwasmedge 0.15 or 0.16 uses it; crun with 0.17 interprets"),
        (3, "neither crun nor runwasi's shim uses it"),
        (3, "For crun with libwasmedge 0.15 or 0.16 compile it with a wasmedge of 0.15 to 0.17"),
        (9, "neither crun nor runwasi's shim uses it"),
    ],
)
def test_it_says_which_clusters_use_it(format: int, expected: str) -> None:
    """Whoever packages, pulls or inspects native code learns where it would be passed over."""
    code = native_code(with_header(format, 1, 1))
    assert code is not None
    assert expected in code.in_clusters
    assert f"In a cluster {code.in_clusters}" in str(code)
    assert code.described()["in_clusters"] == code.in_clusters


@pytest.mark.parametrize(
    ("said", "handler", "warned"),
    [
        ("2", "wasmedge", "crun with 0.17 interprets"),
        ("2", "crun", "crun with 0.17 interprets"),
        ("1", "wasmedge", None),
        ("1", "crun-wasm", "crun with libwasmedge 0.13.5 to 0.14"),
        ("3", "wasmedge", "they interpret the module"),
        ("new", "wasmedge", None),
        ("\u00b2", "wasmedge", None),
        ("", "crun", None),
    ],
)
def test_packages_that_a_cluster_may_interpret(said: str, handler: str, warned: str | None) -> None:
    """Only format 1 without crun is used for certain; annotations of others and packages without code say nothing."""
    found = may_be_interpreted({"io.skylark.wasmedge.aot.format": said}, handler)
    assert found is None if warned is None else warned in (found or "")
    assert may_be_interpreted({}, handler) is None


def test_a_module_without() -> None:
    """A plain module has none."""
    assert native_code(PLAIN) is None


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01\x01", b"\x80\x80\x80\x80\x80\x01\x01\x01"])
def test_a_header_that_is_none(content: bytes) -> None:
    """A section of that name that is too short, or begins with no number, is an error that names the file."""
    with pytest.raises(InvalidWasm, match=r"^module: "):
        native_code(PLAIN + custom_section("wasmedge", content))


def test_what_a_package_says_of_it() -> None:
    """The manifests of both forms say target, system, processor, format and how it was compiled, and so does the bill
    of materials; a plain module's manifests say the target only."""
    packed = package(with_record(with_header(2, 1, 1), RECORD, "app"), "app", Metadata())
    prefix = "io.skylark.wasmedge.aot."
    for form in packed.forms.values():
        said = form.manifest.annotations or {}
        assert said["io.skylark.target"] == "wasmedge"
        assert {name.removeprefix(prefix): value for name, value in said.items() if name.startswith(prefix)} == {
            "format": "2",
            "os": "linux",
            "architecture": "amd64",
            "optimization": "2",
            "cpu": "generic",
        }
    bills = [
        json.loads(content) for one in packed.sboms.values() for content in one.blobs.values() if b"bom" in content
    ]
    assert len(bills) == len(packed.sboms)
    for bill in bills:
        properties = {one["name"]: one["value"] for one in bill["metadata"]["component"]["properties"]}
        assert properties["skylark:target"] == "wasmedge"
        assert properties["skylark:native-code"].startswith("linux/amd64, WasmEdge's AOT format 2, ")
        assert {"wasmedge"} == {tool["name"] for tool in bill["metadata"]["tools"]["components"]}
    assert annotations(None, RECORD) == {"io.skylark.target": "wasmedge"}
    assert annotations(None, None) == {}


def test_it_is_packaged_as_a_core_module() -> None:
    """The artifact's configuration has `wasip1` and no component, as CNCF's layout has it of a module."""
    packed = package(with_record(with_header(2, 1, 1), RECORD, "app"), "app", Metadata())
    (config,) = [
        json.loads(packed.forms[form].blobs[packed.forms[form].manifest.config.digest])
        for form in packed.forms
        if form == "artifact"
    ]
    assert config["os"] == "wasip1" and "component" not in config
