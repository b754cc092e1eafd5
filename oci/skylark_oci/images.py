"""The two forms in which a component travels: the CNCF Wasm artifact, and the platform image `wasi/wasm`.

Either is a manifest with the blobs that it names. Nothing here depends on the clock or the machine.
"""

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from skylark_oci import documents
from skylark_oci.documents import (
    ARCHITECTURE,
    IMAGE_CONFIG,
    IMAGE_LAYER,
    MANIFEST,
    WASM_CONFIG,
    WASM_LAYER,
    ComponentInterface,
    Descriptor,
    Execution,
    ImageConfig,
    Manifest,
    RootFilesystem,
    WasmConfig,
    describe,
)
from skylark_oci.metadata import rfc3339
from skylark_oci.wasm import Kind, Wasm

IMAGE_OS = "wasi"
ARTIFACT_OS = {Kind.COMPONENT: "wasip2", Kind.MODULE: "wasip1"}
"""The `os` of an artifact's configuration, by what its layer is."""

ARTIFACT_SUFFIX = "-artifact"
"""What the artifact's tag has after that of the image, where both are in one repository or layout."""

CRUN_VARIANT = {"module.wasm.image/variant": "compat"}
"""By this annotation crun's Wasm handler knows an image (crun, `docs/wasm-wasi-example.md`)."""

USER = "65532:65532"
"""The user and group of an image, the numbers of distroless images' `nonroot`.

They are numbers, because a kubelet with `runAsNonRoot` refuses an image that names no user or one by name."""

_COMMAND = "wasi:cli/run@"
_EPOCH = datetime.fromtimestamp(0, UTC)
_GZIP_LEVEL = 6


class Form(StrEnum):
    """How a component is packaged: as a platform image, or as a Wasm artifact."""

    IMAGE = "image"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class Packed:
    """A manifest and the blobs that it names, by digest."""

    manifest: Manifest
    blobs: Mapping[str, bytes]

    @property
    def content(self) -> bytes:
        """The manifest's bytes."""
        return self.manifest.encode()

    @property
    def descriptor(self) -> Descriptor:
        """What names the manifest."""
        return describe(self.content, MANIFEST, artifact_type=self.manifest.artifact_type)


def artifact(
    content: bytes,
    wasm: Wasm,
    file_name: str,
    target: str | None,
    annotations: Mapping[str, str],
    created: datetime | None,
) -> Packed:
    """A component or module as a Wasm artifact (CNCF TAG Runtime, "Wasm OCI Artifact layout").

    Args:
        file_name: What tools call the file that they write.
        target: The world that the component was built for, if known.
        created: The specification has no artifact without it: 1970 stands for an unknown time.
    """
    layer = describe(content, WASM_LAYER, annotations={"org.opencontainers.image.title": file_name})
    component = ComponentInterface(exports=list(wasm.exports), imports=list(wasm.imports), target=target)
    config = WasmConfig(
        created=rfc3339(created or _EPOCH),
        architecture=ARCHITECTURE,
        os=ARTIFACT_OS[wasm.kind],
        layer_digests=[layer.digest],
        component=component if wasm.kind is Kind.COMPONENT else None,
    ).encode()
    return _pack(config, WASM_CONFIG, layer, content, annotations)


def image(
    content: bytes, wasm: Wasm, file_name: str, annotations: Mapping[str, str], created: datetime | None
) -> Packed:
    """Make a platform image of a component or module: a root filesystem with one file, which is the entrypoint."""
    archive = _root_filesystem(content, file_name, created)
    compressed = _gzip(archive)
    config = ImageConfig(
        created=rfc3339(created) if created else None,
        architecture=ARCHITECTURE,
        os=IMAGE_OS,
        config=Execution(entrypoint=[f"/{file_name}"], user=USER, stop_signal=_stop_signal(wasm)),
        rootfs=RootFilesystem(type="layers", diff_ids=[documents.digest_of(archive)]),
    ).encode()
    layer = describe(compressed, IMAGE_LAYER)
    return _pack(config, IMAGE_CONFIG, layer, compressed, {**annotations, **CRUN_VARIANT})


def _stop_signal(wasm: Wasm) -> str | None:
    """Return the signal that ends the image's process; None means SIGTERM."""
    # A core module or command is process 1 of its namespace, and WASI has no signals. Linux drops a signal that process
    # 1 has no handler for, so SIGTERM would only hold up the end until the grace period is over. Components of
    # wasi:http are served by the runtime, and runwasi's shim does handle SIGTERM.
    runs_itself = wasm.kind is Kind.MODULE or any(export.startswith(_COMMAND) for export in wasm.exports)
    return "SIGKILL" if runs_itself else None


def attached(subject: Packed, content: bytes, media_type: str, file_name: str) -> Packed:
    """A document that says something of a manifest, as an artifact that refers to it (image specification 1.1)."""
    layer = describe(content, media_type, annotations={"org.opencontainers.image.title": file_name})
    empty = describe(documents.EMPTY_CONTENT, documents.EMPTY)
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=media_type,
        config=empty,
        layers=[layer],
        subject=subject.descriptor,
    )
    return Packed(manifest, {empty.digest: documents.EMPTY_CONTENT, layer.digest: content})


def form_of(manifest: Manifest) -> Form | None:
    """Return the form of a manifest, by its configuration or its only layer; None where it is neither."""
    if manifest.subject is not None:
        return None
    if manifest.config.media_type == WASM_CONFIG or _is_wasm(manifest.layers):
        return Form.ARTIFACT
    return Form.IMAGE if manifest.config.media_type in (IMAGE_CONFIG, documents.DOCKER_CONFIG) else None


def _is_wasm(layers: list[Descriptor]) -> bool:
    """True for one layer of Wasm: other tools push it with configurations of their own (wasm-to-oci, oras, wkg)."""
    return len(layers) == 1 and (layers[0].media_type == WASM_LAYER or layers[0].media_type.endswith("+wasm"))


def _pack(config: bytes, config_type: str, layer: Descriptor, content: bytes, annotations: Mapping[str, str]) -> Packed:
    described = describe(config, config_type)
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=described,
        layers=[layer],
        annotations=dict(annotations) or None,
    )
    return Packed(manifest, {described.digest: config, layer.digest: content})


def _root_filesystem(content: bytes, file_name: str, created: datetime | None) -> bytes:
    entry = tarfile.TarInfo(file_name)
    entry.size = len(content)
    entry.mode = 0o755  # crun before 1.7 runs only what is executable
    entry.mtime = int((created or _EPOCH).timestamp())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _gzip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()
