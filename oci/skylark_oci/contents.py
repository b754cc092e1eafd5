"""What is in a component, a layout or an image of a registry, as documents to show."""

from typing import Any

import msgspec

from skylark_oci.aot import read_native_code
from skylark_oci.documents import DOCUMENT_LIMIT_BYTES, Descriptor, Manifest, as_json, digest_of
from skylark_oci.errors import InvalidPackage
from skylark_oci.images import form_of
from skylark_oci.layout import Layout
from skylark_oci.pull import resolve
from skylark_oci.record import read_record
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings
from skylark_oci.wasm import read_wasm


def wasm_contents(content: bytes, name: str) -> dict[str, Any]:
    """Of a component or core module: its kind, digest, interface, native code, and build record.

    Raises:
        InvalidWasm: It is neither, or damaged.
    """
    wasm = read_wasm(content, name)
    record = read_record(wasm, name)
    code = read_native_code(wasm, name)
    return {
        "kind": wasm.kind,
        "size_bytes": len(content),
        "digest": digest_of(content),
        "imports": list(wasm.imports),
        "exports": list(wasm.exports),
        "native_code": None if code is None else code.described(),
        "build": None if record is None else msgspec.to_builtins(record),
    }


def layout_contents(layout: Layout, where: str) -> dict[str, Any]:
    """Of a layout: its manifests, with their tags and configurations.

    Raises:
        InvalidPackage: Something is missing or is not what it has to be.
        DigestMismatch: A content is not what its digest names.
    """
    return {
        "manifests": [
            _manifest(entry, manifest, layout.read(manifest.config, where)) | {"tag": layout.tag_of(entry.digest)}
            for entry, manifest in layout.manifests(where)
        ]
    }


def remote_contents(reference: Reference, settings: RegistrySettings) -> dict[str, Any]:
    """Of an image in a registry: its manifest and configuration, and what refers to it. No layer is pulled.

    Raises:
        InvalidPackage: It is no component.
        RegistryError: The registry did not say.
    """
    with Registry(reference, "pull", settings) as registry:
        resolved = resolve(registry, reference)
        config = registry.blob(resolved.manifest.config)
        described = Descriptor(media_type=resolved.manifest.media_type, digest=resolved.digest, size=0)
        referrers = registry.referrers(resolved.digest)
    return {
        "reference": str(resolved.reference),
        **_manifest(described, resolved.manifest, config),
        "referrers": [
            {"digest": one.digest, "type": one.artifact_type, "annotations": one.annotations} for one in referrers
        ],
    }


def _manifest(entry: Descriptor, manifest: Manifest, config: bytes) -> dict[str, Any]:
    if len(config) > DOCUMENT_LIMIT_BYTES:
        raise InvalidPackage(entry.digest, f"a configuration of at most {DOCUMENT_LIMIT_BYTES} bytes")
    return {
        "digest": entry.digest,
        "form": form_of(manifest),
        "type": manifest.artifact_type,
        "subject": manifest.subject.digest if manifest.subject else None,
        "annotations": manifest.annotations,
        "config": as_json(config or b"{}", f"{entry.digest}: configuration"),
        "layers": [
            {"digest": layer.digest, "type": layer.media_type, "size_bytes": layer.size} for layer in manifest.layers
        ],
    }
