"""Pulls components from a registry."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from skylark_oci.documents import DOCKER_INDEX, INDEX, Descriptor, Index, Manifest, decode, digest_of
from skylark_oci.errors import InvalidPackage, writable
from skylark_oci.images import Form, form_of
from skylark_oci.progress import Progress, silent
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings
from skylark_oci.unpack import CONTENT_LIMIT_BYTES, layers_of, unpack
from skylark_oci.wasm import read_wasm


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
