"""A repository in a registry: its blobs, manifests and referrers, with retries.

Protocol: OCI distribution specification 1.1, sections "Pull", "Push" and "Content Discovery".
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from io import BufferedRandom, BytesIO
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from skylark_oci.documents import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    DOCUMENT_LIMIT_BYTES,
    INDEX,
    MANIFEST,
    Descriptor,
    Index,
    decode,
    digest_of,
)
from skylark_oci.errors import (
    DigestMismatch,
    InvalidPackage,
    NotInRegistry,
    RegistryError,
    RegistryUnavailable,
    Truncated,
)
from skylark_oci.reference import Reference
from skylark_oci.settings import RegistrySettings
from skylark_oci.transport import Access, Transport

T = TypeVar("T")
Advance = Callable[[int], None]
"""Is told how many bytes of a content are done; the number can fall where a part is sent anew."""

_MANIFEST_TYPES = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
_MANIFESTS = ", ".join(_MANIFEST_TYPES)
_CHUNK_BYTES = 1 << 18
_PROGRESS_BYTES = 1 << 16
"""Bytes by which a download has to advance for its failures to be counted anew."""


class Registry:
    """A repository. A context manager; not safe for threads."""

    def __init__(self, reference: Reference, access: Access, settings: RegistrySettings | None = None) -> None:
        settings = settings or RegistrySettings()
        self._transport = Transport(reference, access, settings.is_plain(reference), settings.credentials)
        self._retries = settings.retries
        self._name = f"{reference.host}/{reference.repository}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transport.close()

    def manifest(self, target: str) -> tuple[bytes, str]:
        """The bytes of the manifest or index of a tag or digest, and its media type.

        Raises:
            NotInRegistry: There is none.
            DigestMismatch: It is not what the digest names.
            RegistryError: The registry did not give it.
        """
        what = self._manifest(target)
        content, headers = self._document(f"manifests/{target}", what, _MANIFESTS)
        expected = target if ":" in target else headers.get("Docker-Content-Digest", "")
        if expected.startswith("sha256:") and digest_of(content) != expected:
            raise DigestMismatch(what, expected, digest_of(content))
        return content, _media_type(headers.get("Content-Type", ""), content)

    def put_manifest(self, target: str, content: bytes, media_type: str) -> bool:
        """Stores a manifest under a tag or its digest.

        Returns:
            Whether the registry took note of its subject, if it has one.
        """
        what = self._manifest(target)
        headers = {"Content-Type": media_type}
        response = self._attempt(
            lambda: self._request("PUT", f"manifests/{target}", what, headers=headers, body=content)
        )
        return "OCI-Subject" in response.headers

    def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, such as a configuration, as bytes.

        Raises:
            InvalidPackage: It is no small one.
            Truncated, DigestMismatch, RegistryError: As for `download`.
        """
        if descriptor.size > DOCUMENT_LIMIT_BYTES:
            raise InvalidPackage(self._blob(descriptor), f"a document of at most {DOCUMENT_LIMIT_BYTES} bytes")
        with TemporaryFile() as file:
            self.download(descriptor, file, lambda _done: None)
            file.seek(0)
            return file.read()

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the repository has a blob."""
        path = f"blobs/{descriptor.digest}"
        try:
            self._attempt(lambda: self._request("HEAD", path, self._blob(descriptor)))
        except NotInRegistry:
            return False
        return True

    def upload(self, descriptor: Descriptor, content: bytes, advance: Advance) -> None:
        """Sends a blob whole, as often as it takes; a blob that arrived though its answer was lost is not sent again.

        Raises:
            RegistryError: The registry did not take it.
        """
        tried = False

        def send() -> None:
            nonlocal tried
            if tried and self.has_blob(descriptor):
                return
            tried = True
            self._send(descriptor, content, advance)

        self._attempt(send)
        advance(len(content))

    def download(self, descriptor: Descriptor, file: BufferedRandom, advance: Advance) -> None:
        """Writes a blob to an empty file; what a broken connection leaves is kept, and the rest asked for.

        Raises:
            Truncated: It ends early, however often it is asked for.
            DigestMismatch: It is not what its digest names.
            RegistryError: The registry did not give it.
        """
        failures = 0
        while (start := file.tell()) < descriptor.size:
            try:
                self._receive(descriptor, file, advance)
                if file.tell() < descriptor.size:
                    raise Truncated(self._blob(descriptor), file.tell(), descriptor.size)
            except RegistryUnavailable as error:
                failures = 1 if file.tell() - start >= _PROGRESS_BYTES else failures + 1
                if failures >= self._retries.attempts:
                    raise
                time.sleep(self._retries.pause_s(failures, error.retry_after_s))
        file.seek(0)
        actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if actual != descriptor.digest:
            raise DigestMismatch(self._blob(descriptor), descriptor.digest, actual)

    def referrers(self, digest: str) -> list[Descriptor]:
        """What refers to a manifest, by the referrers API, else by the tag that stands in for it."""
        what = f"{self._name}: referrers of {digest}"
        try:
            content, _ = self._document(f"referrers/{digest}", what, INDEX)
        except NotInRegistry:
            return self._fallback(digest)
        return decode(content, Index, what).manifests

    def add_referrer(self, subject: str, referrer: Descriptor) -> None:
        """Notes a referrer under the tag for registries without the API ("Pushing Manifests with Subject")."""
        others = [entry for entry in self._fallback(subject) if entry.digest != referrer.digest]
        index = Index(schema_version=2, media_type=INDEX, manifests=[*others, referrer])
        self.put_manifest(_fallback_tag(subject), index.encode(), INDEX)

    def _fallback(self, digest: str) -> list[Descriptor]:
        try:
            content, _ = self.manifest(_fallback_tag(digest))
        except NotInRegistry:
            return []
        return decode(content, Index, f"{self._name}:{_fallback_tag(digest)}").manifests

    def _manifest(self, target: str) -> str:
        return f"{self._name}{'@' if ':' in target else ':'}{target}"

    def _document(self, path: str, what: str, accept: str) -> tuple[bytes, Mapping[str, str]]:
        def get() -> tuple[bytes, Mapping[str, str]]:
            response = self._request("GET", path, what, headers={"Accept": accept}, stream=True)
            return _limited(response, what), response.headers

        return self._attempt(get)

    def _blob(self, descriptor: Descriptor) -> str:
        return f"{self._name}@{descriptor.digest}"

    def _request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = self._transport.url(path)
        return self._transport.request(method, url, what, headers=headers, body=body, stream=stream)

    def _attempt(self, action: Callable[[], T]) -> T:
        for failures in range(1, self._retries.attempts):
            try:
                return action()
            except RegistryUnavailable as error:
                time.sleep(self._retries.pause_s(failures, error.retry_after_s))
        return action()

    def _send(self, descriptor: Descriptor, content: bytes, advance: Advance) -> None:
        """One upload: POST for a place, then PUT of the whole ("POST then PUT")."""
        what = self._blob(descriptor)
        url = self._transport.url("blobs/uploads/")
        opened = self._transport.request("POST", url, what, headers={"Content-Length": "0"})
        if "Location" not in opened.headers:
            raise RegistryError(what, "the registry names no place to upload to", opened.status)
        place = self._transport.located(opened, url)
        place += ("&" if "?" in place else "?") + urlencode({"digest": descriptor.digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
        self._transport.request("PUT", place, what, headers=headers, body=_Watched(content, advance))

    def _receive(self, descriptor: Descriptor, file: BufferedRandom, advance: Advance) -> None:
        """Appends what one request gives of a blob's rest."""
        what, start = self._blob(descriptor), file.tell()
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._request("GET", f"blobs/{descriptor.digest}", what, headers=headers, stream=True)
        if start and response.status != 206:
            file.seek(0)
            file.truncate()
        try:
            for chunk in response.stream(_CHUNK_BYTES):
                file.write(chunk)
                if file.tell() > descriptor.size:
                    raise InvalidPackage(what, f"{descriptor.size} bytes; the registry sends more")
                advance(file.tell())
        except urllib3.exceptions.HTTPError as error:
            raise Truncated(what, file.tell(), descriptor.size) from error
        finally:
            response.close()


class _Watched(BytesIO):
    """A content that says how far it has been read."""

    def __init__(self, content: bytes, advance: Advance) -> None:
        super().__init__(content)
        self._advance = advance

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._advance(self.tell())
        return chunk


def _limited(response: urllib3.BaseHTTPResponse, what: str) -> bytes:
    content = bytearray()
    try:
        for chunk in response.stream(_CHUNK_BYTES):  # `read` with a limit does not notice that an answer breaks off
            content += chunk
            if len(content) > DOCUMENT_LIMIT_BYTES:
                raise InvalidPackage(what, f"a document of at most {DOCUMENT_LIMIT_BYTES} bytes")
    except urllib3.exceptions.HTTPError as error:
        raise RegistryUnavailable(what, f"the answer breaks off ({error})") from error
    finally:
        response.close()
    return bytes(content)


def _media_type(header: str, content: bytes) -> str:
    """Return what a manifest is: what the header says, else the document, where a server knows no such type."""
    said = header.partition(";")[0].strip().lower()
    if said in _MANIFEST_TYPES:
        return said
    try:
        document = msgspec.json.decode(content, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return said
    if document.get("mediaType") in _MANIFEST_TYPES:
        return str(document["mediaType"])
    return INDEX if "manifests" in document else MANIFEST if "layers" in document else said


def _fallback_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)
