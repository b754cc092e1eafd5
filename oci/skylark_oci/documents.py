"""The JSON documents of the OCI image specification 1.1 that packaging reads and writes, and how they are encoded.

Encoded twice, a document has the same bytes: members in the order of the classes, maps sorted by key.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from skylark_oci.errors import InvalidPackage

T = TypeVar("T")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
WASM_CONFIG = "application/vnd.wasm.config.v0+json"
WASM_LAYER = "application/wasm"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation of an entry of a layout's index that is its tag (image specification, "Image Layout")."""

EMPTY_CONTENT = b"{}"
"""What the media type `EMPTY` stands for (image specification, "Guidance for an empty descriptor")."""

ARCHITECTURE = "wasm"

DOCUMENT_LIMIT_BYTES = 4 << 20
"""The largest manifest, index or configuration; registries take no larger ones (distribution specification, "Push")."""


class Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Base of all: members are in camelCase, and absent ones are left out."""

    def encode(self) -> bytes:
        """The document's bytes."""
        return msgspec.json.encode(self, order="deterministic")


Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
"""The one algorithm that every registry has to know (image specification, "Digests")."""

Size = Annotated[int, msgspec.Meta(ge=0)]


class Platform(Document, frozen=True, kw_only=True):
    """What a manifest of an index is for."""

    architecture: str | None = None
    os: str | None = None


class Descriptor(Document, frozen=True, kw_only=True):
    """Names a content by its digest (`sha256:` and hexadecimal), and says its size in bytes and what it is."""

    media_type: str
    digest: Digest
    size: Size
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: Platform | None = None


class Manifest(Document, frozen=True, kw_only=True):
    """An image or artifact: its configuration and its layers. `subject` is the manifest that it says something of."""

    schema_version: int
    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(Document, frozen=True, kw_only=True):
    """Several manifests."""

    schema_version: int
    media_type: str = ""
    manifests: list[Descriptor]


class Execution(Document, frozen=True, kw_only=True, rename="pascal"):
    """How an image is run. Members are null in many images."""

    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None


class RootFilesystem(Document, frozen=True, kw_only=True, rename=None):
    """The digests of the layers before compression."""

    type: str | None = None
    diff_ids: list[str] | None = None


class ImageConfig(Document, frozen=True, kw_only=True):
    """The configuration of a platform image."""

    created: str | None = None
    architecture: str | None = None
    os: str | None = None
    config: Execution | None = None
    rootfs: RootFilesystem | None = None


class ComponentInterface(Document, frozen=True, kw_only=True):
    """What a component exports and imports, and the world that it was built for where that is known."""

    exports: list[str]
    imports: list[str]
    target: str | None = None


class WasmConfig(Document, frozen=True, kw_only=True):
    """The configuration of a Wasm artifact (CNCF TAG Runtime, "Wasm OCI Artifact layout", `Config.mediaType`)."""

    created: str
    architecture: str
    os: str
    layer_digests: list[str]
    component: ComponentInterface | None = None


def digest_of(content: bytes) -> str:
    """The digest that names a content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def describe(
    content: bytes,
    media_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    artifact_type: str | None = None,
    platform: Platform | None = None,
) -> Descriptor:
    """The descriptor of a content."""
    return Descriptor(
        media_type=media_type,
        digest=digest_of(content),
        size=len(content),
        annotations=dict(annotations) if annotations else None,
        artifact_type=artifact_type,
        platform=platform,
    )


def decode(content: bytes, kind: type[T], where: str) -> T:
    """Reads a document.

    Raises:
        InvalidPackage: It is none of that kind; the error says `where` it was found and which member is wrong.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPackage(where, f"the OCI document {kind.__name__} ({error})") from error


def as_json(content: bytes, where: str) -> Any:
    """Reads any JSON document, to show it.

    Raises:
        InvalidPackage: It is not JSON.
    """
    return decode(content, dict, where)
