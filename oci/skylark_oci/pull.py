"""Pulls components from a registry."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from io import BufferedRandom
from pathlib import Path
from typing import IO

from skylark_oci.documents import ARCHITECTURE, DOCKER_INDEX, INDEX, Descriptor, Index, Manifest, decode, digest_of
from skylark_oci.errors import InvalidPackage, writable
from skylark_oci.images import Form, form_of
from skylark_oci.progress import Progress, silent
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings
from skylark_oci.unpack import CONTENT_LIMIT_BYTES, layers_of, unpack
from skylark_oci.wasm import read_wasm

_DEPTH = 4
_ENTRIES = 64
_ATTESTATION = "vnd.docker.reference.type"
"""The annotation by which BuildKit marks what is no image (BuildKit, `docs/attestations/attestation-storage.md`)."""


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


def resolve(registry: Registry, reference: Reference) -> Resolved:
    """Asks the registry what a reference means. Of an index, the first manifest of a component is taken.

    Raises:
        NotInRegistry: There is nothing of that name.
        InvalidPackage: It is no component, in neither form.
        RegistryError: The registry did not say.
    """
    content, media_type = registry.manifest(reference.target)
    pinned = reference.pinned(digest_of(content))
    refused: InvalidPackage | None = None
    for digest, manifest in _manifests(registry, content, media_type, str(pinned), {digest_of(content)}):
        form = form_of(manifest)
        if form is None:
            continue
        if form is Form.IMAGE and digest != pinned.digest:
            try:
                layers_of(manifest, registry.blob(manifest.config), str(pinned))
            except InvalidPackage as error:
                refused = refused or error
                continue
        return Resolved(pinned, manifest, digest, form)
    raise refused or InvalidPackage(str(pinned), "a Wasm artifact, or an image of the platform wasi/wasm")


def _manifests(
    registry: Registry, content: bytes, media_type: str, where: str, seen: set[str], depth: int = 0
) -> Iterator[tuple[str, Manifest]]:
    """Read the manifests that a document leads to: itself, or those of an index and of the indexes in it."""
    if media_type not in (INDEX, DOCKER_INDEX):
        yield digest_of(content), decode(content, Manifest, where)
        return
    if depth >= _DEPTH:
        raise InvalidPackage(where, f"at most {_DEPTH} indexes in each other")
    for entry in decode(content, Index, where).manifests:
        if entry.digest in seen or not _may_be_wasm(entry):
            continue
        seen.add(entry.digest)
        if len(seen) > _ENTRIES:
            raise InvalidPackage(where, f"at most {_ENTRIES} manifests to look at")
        inner, inner_type = registry.manifest(entry.digest)
        yield from _manifests(registry, inner, inner_type, f"{where}: {entry.digest}", seen, depth + 1)


def _may_be_wasm(entry: Descriptor) -> bool:
    """True if an entry of an index may be a component. Attestations of builds stand beside the images."""
    if _ATTESTATION in (entry.annotations or {}):
        return False
    return entry.platform is None or entry.platform.architecture in (None, "", ARCHITECTURE)


def pull(reference: Reference, output: Path, settings: RegistrySettings, progress: Progress = silent) -> Resolved:
    """Pulls a component in either form to a file, which is there only when it is whole and verified.

    Raises:
        InvalidPackage: What the reference means is no component, or the file cannot be written.
        DigestMismatch: A content is not what its digest names.
        RegistryError: The registry did not give it.
    """
    with Registry(reference, "pull", settings) as registry:
        resolved = resolve(registry, reference)
        fetch_component(registry, resolved, output, progress)
    return resolved


def fetch_component(registry: Registry, resolved: Resolved, output: Path, progress: Progress = silent) -> None:
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


def _download(registry: Registry, descriptor: Descriptor, file: BufferedRandom, progress: Progress) -> None:
    if descriptor.size > CONTENT_LIMIT_BYTES:
        raise InvalidPackage(descriptor.digest, f"a layer of at most {CONTENT_LIMIT_BYTES} bytes")
    registry.download(descriptor, file, lambda done: progress(descriptor, done))


def _download_image(
    registry: Registry, manifest: Manifest, file: BufferedRandom, where: str, progress: Progress
) -> None:
    """Copy the entrypoint's file. A layer is downloaded when it is looked in: the uppermost ones often suffice."""
    path, layers = layers_of(manifest, registry.blob(manifest.config), where)
    with contextlib.ExitStack() as stack:

        @cache
        def opened(layer: Descriptor) -> IO[bytes]:
            compressed = stack.enter_context(tempfile.TemporaryFile())
            _download(registry, layer, compressed, progress)
            return compressed

        unpack([partial(opened, layer) for layer in layers], path, file, where)


@contextlib.contextmanager
def _new_file(output: Path) -> Iterator[BufferedRandom]:
    """A file that gets its name when all went well, and is gone otherwise."""
    with writable(output, "a file that can be written"):
        if output.exists() and not output.is_file():
            raise InvalidPackage(str(output), "a file or nothing; it is a folder or a device")
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
