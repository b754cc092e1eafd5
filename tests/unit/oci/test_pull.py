"""A reference to an index leads to the component in it."""

from typing import Any, cast

from skylark_oci.documents import INDEX, MANIFEST, WASM_CONFIG, Descriptor, Index, Manifest, describe, digest_of
from skylark_oci.pull import resolve
from skylark_oci.reference import Reference


class Documents:
    """Stands for a registry that has these documents, by digest or tag."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, str]] = {}

    def put(self, document: Manifest | Index, media_type: str, **more: Any) -> Descriptor:
        content = document.encode()
        self.held[digest_of(content)] = self.held["1"] = (content, media_type)
        return describe(content, media_type, **more)

    def manifest(self, target: str) -> tuple[bytes, str]:
        return self.held[target]


def test_inner_indexes_are_followed_and_attestations_passed_over() -> None:
    """The first entry is an attestation without a platform; the component is in an index in the index."""
    registry = Documents()
    layers = [describe(b"x", "application/wasm")]
    manifest = Manifest(schema_version=2, config=describe(b"{}", WASM_CONFIG), layers=layers)
    entry = registry.put(manifest, MANIFEST)
    inner = registry.put(Index(schema_version=2, manifests=[entry]), INDEX)
    said = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation = describe(b"absent", MANIFEST, annotations=said)
    registry.put(Index(schema_version=2, manifests=[attestation, inner]), INDEX)
    resolved = resolve(cast(Any, registry), Reference("r.example", "app", "1"))
    assert (resolved.digest, resolved.manifest) == (entry.digest, manifest)
