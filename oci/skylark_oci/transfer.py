"""Pushes packages to a registry, and pulls components from one."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from skylark_oci.documents import DOCKER_INDEX, INDEX, MANIFEST, Descriptor, Index, Manifest, decode, digest_of
from skylark_oci.errors import InvalidPackage, InvalidReference
from skylark_oci.images import ARTIFACT_SUFFIX, Form, form_of
from skylark_oci.layout import Layout
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry, RegistrySettings
from skylark_oci.unpack import CONTENT_LIMIT_BYTES, layers_of, unpack
from skylark_oci.wasm import read_wasm

Progress = Callable[[Descriptor, int], None]
"""Is told how many bytes of a content are done. A content that need not be moved is never told of."""


def _silent(_descriptor: Descriptor, _done_bytes: int) -> None:
    """The progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        references: The pinned reference of each form.
        sboms: The digests of what refers to them.
        sent_bytes: The blobs that were sent.
        skipped_bytes: The blobs that the registry had.
    """

    references: dict[Form, Reference]
    sboms: tuple[str, ...]
    sent_bytes: int
    skipped_bytes: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means now.

    Attributes:
        reference: The reference, pinned to the digest of what it names: a manifest, or an index.
        manifest: The manifest of a component.
        digest: That manifest's own digest.
        form: How the component is packaged.
    """

    reference: Reference
    manifest: Manifest
    digest: str
    form: Form


def push(
    layout: Layout,
    where: str,
    reference: Reference,
    settings: RegistrySettings,
    forms: tuple[Form, ...] = tuple(Form),
    progress: Progress = _silent,
) -> Pushed:
    """Pushes a layout's component: its blobs, then the manifests, then what refers to them.

    Where both forms are pushed, the artifact's tag is that of the image with `-artifact` after it.

    Args:
        where: What errors call the layout.
        reference: With a tag; the repository is made by the registry.

    Raises:
        InvalidPackage: The layout lacks a form, or has several of it and none with that tag.
        InvalidReference: The reference is pinned by a digest.
        RegistryError: The registry did not take it all.
    """
    if reference.digest or not reference.tag:
        raise InvalidReference(str(reference), "a tag to push to, without a digest")
    manifests = layout.manifests(where)
    references, sboms, moved = {}, [], _Moved()
    with Registry(reference, "pull,push", settings) as registry:
        for form in forms:
            suffix = ARTIFACT_SUFFIX if form is Form.ARTIFACT and len(forms) > 1 else ""
            tagged = reference.tagged(reference.tag + suffix)
            entry, manifest = _of_form(layout, where, manifests, form, reference.tag)
            _push_blobs(registry, layout, where, manifest, progress, moved)
            registry.put_manifest(tagged.target, layout.read(entry, where), MANIFEST)
            references[form] = tagged.pinned(entry.digest)
            for referrer, attachment in manifests:
                if attachment.subject is not None and attachment.subject.digest == entry.digest:
                    _push_blobs(registry, layout, where, attachment, progress, moved)
                    if not registry.put_manifest(referrer.digest, layout.read(referrer, where), MANIFEST):
                        registry.add_referrer(entry.digest, referrer)
                    sboms.append(referrer.digest)
    return Pushed(references, tuple(sboms), sum(moved.sent.values()), sum(moved.skipped.values()))


def resolve(registry: Registry, reference: Reference) -> Resolved:
    """Asks the registry what a reference means. Of an index, the first manifest of a component is taken.

    Raises:
        NotInRegistry: There is nothing of that name.
        InvalidPackage: It is no component, in neither form.
        RegistryError: The registry did not say.
    """
    content, media_type = registry.manifest(reference.target)
    pinned = reference.pinned(digest_of(content))
    if media_type in (INDEX, DOCKER_INDEX):
        candidates = [
            entry.digest
            for entry in decode(content, Index, str(pinned)).manifests
            if entry.platform is None or entry.platform.architecture == "wasm"
        ]
    else:
        candidates = [digest_of(content)]
    for digest in candidates:
        if digest != digest_of(content):
            content, _ = registry.manifest(digest)
        manifest = decode(content, Manifest, f"{reference.host}/{reference.repository}@{digest}")
        form = form_of(manifest)
        if form is not None:
            return Resolved(pinned, manifest, digest, form)
    raise InvalidPackage(str(pinned), "a Wasm artifact, or an image of the platform wasi/wasm")


def pull(reference: Reference, output: Path, settings: RegistrySettings, progress: Progress = _silent) -> Resolved:
    """Pulls a component in either form to a file, which is there only when it is whole and verified.

    Raises:
        InvalidPackage: What the reference means is no component.
        DigestMismatch: A content is not what its digest names.
        RegistryError: The registry did not give it.
    """
    with Registry(reference, "pull", settings) as registry:
        resolved = resolve(registry, reference)
        fetch_component(registry, resolved, output, progress)
    return resolved


def fetch_component(registry: Registry, resolved: Resolved, output: Path, progress: Progress = _silent) -> None:
    """Downloads the component of a resolved reference; see `pull`."""
    where = str(resolved.reference)
    with _new_file(output) as file:
        if resolved.form is Form.ARTIFACT:
            if len(resolved.manifest.layers) != 1:  # "more than a single layer: they should reject it"
                raise InvalidPackage(where, f"one layer in an artifact, not {len(resolved.manifest.layers)}")
            _download(registry, resolved.manifest.layers[0], file, progress)
        else:
            _download_image(registry, resolved.manifest, file, where, progress)
        file.seek(0)
        read_wasm(file.read(), where)


def _of_form(
    layout: Layout, where: str, manifests: list[tuple[Descriptor, Manifest]], form: Form, tag: str
) -> tuple[Descriptor, Manifest]:
    found = [(entry, manifest) for entry, manifest in manifests if form_of(manifest) is form]
    if len(found) > 1:
        named = (tag, tag + ARTIFACT_SUFFIX)
        found = [(entry, manifest) for entry, manifest in found if layout.tag_of(entry.digest) in named]
    if len(found) != 1:
        tags = sorted({str(layout.tag_of(entry.digest)) for entry, _ in manifests} - {"None"})
        raise InvalidPackage(where, f"one component in the form {form}; it has the tags {', '.join(tags) or 'none'}")
    return found[0]


class _Moved:
    """The sizes of the blobs by digest: sent, and not sent as the registry had them."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.skipped: dict[str, int] = {}


def _push_blobs(
    registry: Registry, layout: Layout, where: str, manifest: Manifest, progress: Progress, moved: _Moved
) -> None:
    for descriptor in (manifest.config, *manifest.layers):
        if descriptor.digest in moved.sent or descriptor.digest in moved.skipped:
            continue
        if registry.has_blob(descriptor):
            moved.skipped[descriptor.digest] = descriptor.size
            continue
        content = layout.read(descriptor, where)
        registry.upload(descriptor, content, lambda done, of=descriptor: progress(of, done))  # type: ignore[misc]
        moved.sent[descriptor.digest] = descriptor.size


def _download(registry: Registry, descriptor: Descriptor, file: BufferedRandom, progress: Progress) -> None:
    if descriptor.size > CONTENT_LIMIT_BYTES:
        raise InvalidPackage(descriptor.digest, f"a layer of at most {CONTENT_LIMIT_BYTES} bytes")
    registry.download(descriptor, file, lambda done: progress(descriptor, done))


def _download_image(
    registry: Registry, manifest: Manifest, file: BufferedRandom, where: str, progress: Progress
) -> None:
    """Looks for the entrypoint's file in the layers, the last one first: it hides those below."""
    path, layers = layers_of(manifest, registry.blob(manifest.config), where)
    for layer in layers:
        with tempfile.TemporaryFile() as compressed:
            _download(registry, layer, compressed, progress)
            compressed.seek(0)
            if unpack(compressed, path, file, where):
                return
    raise InvalidPackage(where, f"the entrypoint's file {path} in one of the layers")


@contextlib.contextmanager
def _new_file(output: Path) -> Iterator[BufferedRandom]:
    """A file that gets its name when all went well, and is gone otherwise."""
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=output.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
        os.chmod(name, 0o644)  # noqa: PTH101
        os.replace(name, output)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
