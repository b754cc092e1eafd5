"""The bill of materials is valid CycloneDX, names what the build record names, and says what is not known."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from skylark_oci.errors import InvalidWasm
from skylark_oci.metadata import Metadata
from skylark_oci.record import SECTION, BuildRecord, Distribution, Module, encode_record, read_record
from skylark_oci.sbom import sbom
from skylark_oci.wasm import custom_section, read_wasm
from wasm_files import COMPONENT, wasm_file

CONTENT = wasm_file(COMPONENT)
RECORD = BuildRecord(
    world="skylark:state/hosted@0.1.0",
    tools={"componentize-py": "0.25.1", "cpython": "3.14", "skylark": "0.1.0"},
    modules=[Module("app", "ab" * 32), Module("attr", "cd" * 32)],
    distributions=[
        Distribution("attrs", "26.1.0", "MIT"),
        Distribution("odd", "1", "A licence of our own"),
        Distribution("two", "2", "Apache-2.0 OR MIT"),
        Distribution("silent", "0.1"),
    ],
)


def bill(record: BuildRecord | None, created: datetime | None = None) -> dict[str, Any]:
    """The document, which has to be valid by CycloneDX's own schema."""
    content = sbom(CONTENT, read_wasm(CONTENT), Metadata(title="app", licenses="Apache-2.0"), record, created)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None
    document: dict[str, Any] = json.loads(content)
    return document


def test_what_it_is_about() -> None:
    """The root is the component itself, by its digest, with its licence and its world."""
    root = bill(RECORD)["metadata"]["component"]
    assert (root["name"], root["type"]) == ("app", "application")
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(CONTENT).hexdigest()}]
    assert root["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert {"name": "skylark:world", "value": "skylark:state/hosted@0.1.0"} in root["properties"]


def test_what_is_in_it() -> None:
    """Modules with their digests, distributions with version and licence, the SDK and the interpreter: all of them."""
    document = bill(RECORD)
    parts = {part["name"]: part for part in document["components"]}
    assert set(parts) == {"app", "attr", "attrs", "odd", "two", "silent", "skylark", "cpython"}
    assert parts["app"]["type"] == "file"
    assert parts["app"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert (parts["attrs"]["version"], parts["attrs"]["purl"]) == ("26.1.0", "pkg:pypi/attrs@26.1.0")
    assert parts["attrs"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert parts["odd"]["licenses"] == [{"license": {"name": "A licence of our own"}}]
    assert parts["two"]["licenses"] == [{"expression": "Apache-2.0 OR MIT"}]
    assert "licenses" not in parts["silent"]
    assert (parts["cpython"]["type"], parts["cpython"]["version"]) == ("platform", "3.14")
    tools = {tool["name"]: tool["version"] for tool in document["metadata"]["tools"]["components"]}
    assert tools == {"componentize-py": "0.25.1", "skylark": "0.1.0"}
    (depends,) = [one["dependsOn"] for one in document["dependencies"] if one["ref"] == "component"]
    assert set(depends) == {part["bom-ref"] for part in parts.values()}


def test_what_is_not_known_is_said() -> None:
    """Without a build record nothing is listed and the composition is unknown; with one it is never called complete."""
    unknown = bill(None)
    assert "components" not in unknown
    assert unknown["compositions"] == [{"aggregate": "unknown", "assemblies": ["component"]}]
    (contents,) = [
        one["value"] for one in unknown["metadata"]["component"]["properties"] if one["name"] == "skylark:contents"
    ]
    assert contents == "unknown: the component has no section skylark:build-record"
    assert bill(RECORD)["compositions"] == [{"aggregate": "incomplete", "assemblies": ["component"]}]


def test_the_time_is_the_one_that_was_given() -> None:
    """Nothing of the clock gets in."""
    assert "timestamp" not in bill(RECORD)["metadata"]
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert bill(RECORD, moment)["metadata"]["timestamp"] == "2026-03-01T00:00:00Z"
    assert bill(RECORD) == bill(RECORD)


def test_a_record_is_read_as_it_was_written() -> None:
    """It goes into the file as a custom section and comes out of it."""
    assert read_record(read_wasm(CONTENT + encode_record(RECORD)), "app") == RECORD
    assert read_record(read_wasm(CONTENT), "app") is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"world": 1}', b"\xff"])
def test_a_damaged_record_is_named(content: bytes) -> None:
    """A section of that name that is no record is an error, not an empty bill."""
    with pytest.raises(InvalidWasm, match=r"^app\.wasm: its section 'skylark:build-record' is no build record"):
        read_record(read_wasm(CONTENT + custom_section(SECTION, content)), "app.wasm")
