"""Packages a component: both forms of it and their bills of materials, in one OCI layout."""

import re
from dataclasses import dataclass
from datetime import datetime

import msgspec

from skylark_oci.aot import NativeCode, annotations, read_native_code
from skylark_oci.documents import INDEX, REF_NAME, WASM_CONFIG, Descriptor, Index, Platform
from skylark_oci.images import ARTIFACT_OS, ARTIFACT_SUFFIX, IMAGE_OS, Form, Packed, artifact, attached, image
from skylark_oci.layout import Layout
from skylark_oci.metadata import InvalidMetadata, Metadata, rfc3339
from skylark_oci.record import read_record
from skylark_oci.reference import DEFAULT_TAG, is_tag
from skylark_oci.wasm import Wasm, read_wasm

SBOM_FILE = "sbom.cdx.json"
_NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Package:
    """A packaged component.

    Attributes:
        wasm: What the file is.
        native_code: What WasmEdge's compiler has put into it; None: nothing.
        tag: The image's tag; the artifact's has `-artifact` after it.
        forms: The image and the artifact.
        sboms: What refers to each of them.
    """

    wasm: Wasm
    native_code: NativeCode | None
    tag: str
    forms: dict[Form, Packed]
    sboms: dict[Form, Packed]

    @property
    def tags(self) -> dict[Form, str]:
        """The tag of each form."""
        return {Form.IMAGE: self.tag, Form.ARTIFACT: self.tag + ARTIFACT_SUFFIX}

    def layout(self) -> Layout:
        """The OCI layout that holds all of it.

        The two forms are two manifests with a tag each, in no index by platforms: runwasi's shims read the manifest
        that an image's name means and take no index (`containerd-shim-wasm/src/containerd/client.rs`), and containerd
        finds no platform of its node in an index of Wasm images.
        """
        packed = (*self.forms.values(), *self.sboms.values())
        blobs = {digest: content for one in packed for digest, content in one.blobs.items()}
        blobs |= {one.descriptor.digest: one.content for one in packed}
        image, artifact = (self.forms[form].descriptor for form in (Form.IMAGE, Form.ARTIFACT))
        tagged = [
            _entry(image, self.tags[Form.IMAGE], IMAGE_OS, None),
            _entry(artifact, self.tags[Form.ARTIFACT], ARTIFACT_OS[self.wasm.kind], WASM_CONFIG),
        ]
        entries = [*tagged, *(one.descriptor for one in self.sboms.values())]
        return Layout(Index(schema_version=2, media_type=INDEX, manifests=entries), blobs)


def package(
    content: bytes,
    name: str,
    metadata: Metadata,
    tag: str | None = None,
    created: datetime | None = None,
    where: str | None = None,
) -> Package:
    """Packages a component or core module. The same arguments give the same bytes.

    Args:
        name: What to call it, such as the name of its file without `.wasm`.
        metadata: What people say of it; the title is `name` if absent.
        tag: Its tag; the metadata's version if absent, else `latest`.
        created: When it was made; unknown if absent.
        where: What errors call the file; `name` if absent.

    Raises:
        InvalidWasm: It is neither.
        InvalidMetadata: The tag is none.
    """
    from skylark_oci.sbom import MEDIA_TYPE, sbom  # here: it takes 90 ms, which no other command has to wait for

    wasm = read_wasm(content, where or name)
    record = read_record(wasm, where or name)
    metadata = metadata.over(Metadata(title=name))
    tag = _tag(tag, metadata.version)
    native_code = read_native_code(wasm, where or name)
    said = {**metadata.annotations(rfc3339(created) if created else None), **annotations(native_code, record)}
    file_name = f"{_safe(name)}.wasm"
    target = record.world if record else None
    forms = {
        Form.IMAGE: image(content, wasm, file_name, said, created),
        Form.ARTIFACT: artifact(content, wasm, file_name, target, said, created),
    }
    document = sbom(content, wasm, metadata, record, created, native_code)
    sboms = {form: attached(packed, document, MEDIA_TYPE, SBOM_FILE) for form, packed in forms.items()}
    return Package(wasm, native_code, tag, forms, sboms)


def _entry(descriptor: Descriptor, tag: str, os: str, artifact_type: str | None) -> Descriptor:
    return msgspec.structs.replace(
        descriptor,
        annotations={REF_NAME: tag},
        platform=Platform(architecture="wasm", os=os),
        artifact_type=artifact_type,
    )


def _tag(tag: str | None, version: str | None) -> str:
    if tag is None and version is not None:
        tag = version.replace("+", "_")  # no tag may have a +, which separates a version's build metadata
        if not is_tag(tag + ARTIFACT_SUFFIX):
            raise InvalidMetadata("version", version, "one that can be a tag, or a tag beside it")
    tag = DEFAULT_TAG if tag is None else tag
    if not is_tag(tag + ARTIFACT_SUFFIX):
        raise InvalidMetadata("tag", tag, "1 to 119 of A-Z a-z 0-9 . _ -, the first no . or -")
    return tag


def _safe(name: str) -> str:
    """A file name for any tool: other characters than A-Z a-z 0-9 . _ - become a -."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".-")[:_NAME_LIMIT] or "component"
