"""Pushes packages to a registry."""

from dataclasses import dataclass

from skylark_oci.documents import Descriptor, Manifest
from skylark_oci.errors import InvalidPackage, InvalidReference
from skylark_oci.images import ARTIFACT_SUFFIX, Form, form_of
from skylark_oci.layout import Layout
from skylark_oci.progress import Progress, silent
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings


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


def push(
    layout: Layout,
    where: str,
    reference: Reference,
    settings: RegistrySettings,
    forms: tuple[Form, ...] = tuple(Form),
    progress: Progress = silent,
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
    references, sboms = {}, []
    with Registry(reference, "pull,push", settings) as registry:
        sending = _Push(registry, layout, where, progress)
        for form in forms:
            suffix = ARTIFACT_SUFFIX if form is Form.ARTIFACT and len(forms) > 1 else ""
            tagged = reference.tagged(reference.tag + suffix)
            entry, manifest = sending.find(form, reference.tag)
            sending.push(entry, manifest, tagged.target)
            references[form] = tagged.pinned(entry.digest)
            sboms += sending.push_referrers(entry)
    return Pushed(references, tuple(sboms), sum(sending.sent.values()), sum(sending.skipped.values()))


class _Push:
    """A push of one layout. `sent` and `skipped` have the sizes of its blobs by digest; of each, only one has it."""

    def __init__(self, registry: Registry, layout: Layout, where: str, progress: Progress) -> None:
        self._registry = registry
        self._layout = layout
        self._where = where
        self._progress = progress
        self._manifests = layout.manifests(where)
        self.sent: dict[str, int] = {}
        self.skipped: dict[str, int] = {}

    def find(self, form: Form, tag: str) -> tuple[Descriptor, Manifest]:
        """The manifest of a form; of several, the one that the layout has under that tag."""
        found = [(entry, manifest) for entry, manifest in self._manifests if form_of(manifest) is form]
        if len(found) > 1:
            named = (tag, tag + ARTIFACT_SUFFIX)
            found = [one for one in found if self._layout.tag_of(one[0].digest) in named]
        if len(found) != 1:
            tags = filter(None, (self._layout.tag_of(entry.digest) for entry, _ in self._manifests))
            has = ", ".join(sorted(tags)) or "none"
            raise InvalidPackage(self._where, f"one component in the form {form}; it has the tags {has}")
        return found[0]

    def push(self, entry: Descriptor, manifest: Manifest, target: str) -> bool:
        """Pushes the blobs of a manifest, then itself; whether the registry took note of its subject."""
        for descriptor in (manifest.config, *manifest.layers):
            self._push_blob(descriptor)
        return self._registry.put_manifest(target, self._layout.read(entry, self._where), entry.media_type)

    def push_referrers(self, subject: Descriptor) -> list[str]:
        """Pushes what refers to a manifest; their digests."""
        pushed = []
        for entry, manifest in self._manifests:
            if manifest.subject is not None and manifest.subject.digest == subject.digest:
                if not self.push(entry, manifest, entry.digest):
                    self._registry.add_referrer(subject.digest, entry)
                pushed.append(entry.digest)
        return pushed

    def _push_blob(self, descriptor: Descriptor) -> None:
        digest = descriptor.digest
        if digest in self.sent or digest in self.skipped:
            return
        if self._registry.has_blob(descriptor):
            self.skipped[digest] = descriptor.size
            return
        content = self._layout.read(descriptor, self._where)
        self._registry.upload(descriptor, content, lambda done: self._progress(descriptor, done))
        self.sent[digest] = descriptor.size
