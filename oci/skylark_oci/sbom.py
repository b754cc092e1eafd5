"""The bill of materials of a component: CycloneDX 1.6 in JSON, from its build record."""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from skylark_oci.aot import NativeCode
from skylark_oci.documents import digest_of
from skylark_oci.metadata import Metadata, rfc3339
from skylark_oci.record import SECTION, BuildRecord, Distribution, Module
from skylark_oci.wasm import Wasm

MEDIA_TYPE = "application/vnd.cyclonedx+json"
"""The media type that CycloneDX registered with IANA, and the `artifactType` by which scanners look for one."""

_ROOT = "component"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/skylark")
_INTERPRETER = "cpython"
_SDK = "skylark"
_LICENSES = LicenseFactory()


def sbom(
    content: bytes,
    wasm: Wasm,
    metadata: Metadata,
    record: BuildRecord | None,
    created: datetime | None,
    native_code: NativeCode | None = None,
) -> bytes:
    """The bill of materials.

    Args:
        record: What went into the component. Without one the document says that its contents are not known.
        created: Left out of the document if absent.
        native_code: What WasmEdge's compiler has put into it.
    """
    root = _root(content, wasm, metadata, record)
    root.properties.update(_more_properties(record, native_code))
    parts = list(_parts(record)) if record else []
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, digest_of(content)),
        metadata=BomMetaData(component=root, tools=ToolRepository(components=_tools(record))),
        components=parts,
    )
    bom.register_dependency(root, parts)
    document: dict[str, Any] = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    return _finished(document, record is not None, created)


def _finished(document: dict[str, Any], recorded: bool, created: datetime | None) -> bytes:
    """Adds what the library has no model of. The interpreter's own C libraries are never listed one by one."""
    del document["metadata"]["timestamp"]
    if created:
        document["metadata"]["timestamp"] = rfc3339(created)
    document["compositions"] = [{"aggregate": "incomplete" if recorded else "unknown", "assemblies": [_ROOT]}]
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _root(content: bytes, wasm: Wasm, metadata: Metadata, record: BuildRecord | None) -> Component:
    known = record.world if record else f"unknown: the {wasm.kind} has no section {SECTION}"
    return Component(
        name=metadata.title or _ROOT,
        type=ComponentType.APPLICATION,
        bom_ref=_ROOT,
        version=metadata.version,
        description=metadata.description,
        licenses=_licenses(metadata.licenses),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest_of(content).partition(":")[2])],
        properties=[
            Property(name="skylark:kind", value=str(wasm.kind)),
            Property(name="skylark:world" if record else "skylark:contents", value=known),
        ],
    )


def _more_properties(record: BuildRecord | None, code: NativeCode | None) -> Iterator[Property]:
    if record and record.target:
        yield Property(name="skylark:target", value=record.target)
    if code:
        value = f"{code.os}/{code.architecture}, WasmEdge's AOT format {code.format}, {code.size_bytes} bytes"
        yield Property(name="skylark:native-code", value=value)


def _parts(record: BuildRecord) -> Iterator[Component]:
    if _INTERPRETER in record.tools:
        version = record.tools[_INTERPRETER]
        purl = PackageURL("generic", name=_INTERPRETER, version=version)
        yield Component(
            name=_INTERPRETER, type=ComponentType.PLATFORM, version=version, purl=purl, bom_ref=purl.to_string()
        )
    for distribution in record.distributions:
        yield _library(distribution)
    if _SDK in record.tools:
        yield _library(Distribution(_SDK, record.tools[_SDK], "Apache-2.0"))
    yield from map(_file, record.modules)


def _tools(record: BuildRecord | None) -> list[Component]:
    return [
        Component(name=name, type=ComponentType.APPLICATION, version=version, bom_ref=f"tool:{name}")
        for name, version in (record.tools if record else {}).items()
        if name != _INTERPRETER
    ]


def _library(distribution: Distribution) -> Component:
    purl = PackageURL("pypi", name=distribution.name, version=distribution.version)
    return Component(
        name=distribution.name,
        type=ComponentType.LIBRARY,
        version=distribution.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=_licenses(distribution.license),
    )


def _file(module: Module) -> Component:
    return Component(
        name=module.name,
        type=ComponentType.FILE,
        bom_ref=f"module:{module.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=module.sha256)],
    )


def _licenses(text: str | None) -> list[License]:
    return [_LICENSES.make_from_string(text)] if text else []
