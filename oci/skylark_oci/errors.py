"""Every error of packaging: one base, one class for each thing that can go wrong.

An error says whether a retry can help (`retryable`), and carries what it names as attributes.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar


class PackageError(Exception):
    """Base of all errors of packaging."""

    code: ClassVar[str] = "package"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InvalidReference(PackageError):
    """A text is no reference to an image in a registry."""

    code = "invalid-reference"

    def __init__(self, text: str, expected: str) -> None:
        super().__init__(f"reference: {text!r} is not valid; expected {expected}")
        self.text = text
        self.expected = expected


class InvalidWasm(PackageError):
    """A file is no WebAssembly component or module, or is damaged. `offset` is the byte at fault."""

    code = "invalid-wasm"

    def __init__(self, name: str, reason: str, offset: int = 0) -> None:
        super().__init__(f"{name}: {reason} (at byte {offset})")
        self.name = name
        self.reason = reason
        self.offset = offset


class InvalidPackage(PackageError):
    """An OCI layout, manifest or configuration is not what it has to be."""

    code = "invalid-package"

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(f"{where}: expected {expected}")
        self.where = where
        self.expected = expected


@contextlib.contextmanager
def writable(output: Path, expected: str) -> Iterator[None]:
    """Have the system's error be one about the output: what it names itself may be a temporary file beside it.

    Raises:
        InvalidPackage: What is done in this context failed with an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InvalidPackage(str(output), f"{expected} ({error.strerror or error})") from error


class DigestMismatch(PackageError):
    """A content is not the one that its digest names; nothing of it was kept."""

    code = "digest-mismatch"

    def __init__(self, where: str, expected: str, actual: str) -> None:
        super().__init__(f"{where}: expected the content of {expected}, got that of {actual}")
        self.where = where
        self.expected = expected
        self.actual = actual


class InvalidCredentials(PackageError):
    """A file or a helper with credentials cannot be read."""

    code = "invalid-credentials"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"credentials: {source}: {reason}")
        self.source = source
        self.reason = reason


class RegistryError(PackageError):
    """A registry did not do what was asked. `status` is that of its answer, None where there was none."""

    code = "registry"

    def __init__(self, what: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
        self.status = status


class NotInRegistry(RegistryError):
    """The registry has no such repository, tag, manifest or blob."""

    code = "not-found"


class AccessDenied(RegistryError):
    """The registry wants other credentials, or does not allow this to whoever has them."""

    code = "denied"


class RegistryUnavailable(RegistryError):
    """The registry cannot be reached, or could not serve the request however often it was tried.

    `retry_after_s` is how long it asked to be left alone; None: it did not say.
    """

    code = "unavailable"
    retryable = True

    def __init__(self, what: str, reason: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(what, reason, status)
        self.retry_after_s = retry_after_s


class Truncated(RegistryUnavailable):
    """A content ended early, however often it was asked for; nothing of it was kept."""

    code = "truncated"

    def __init__(self, what: str, got_bytes: int, expected_bytes: int) -> None:
        super().__init__(what, f"ended after {got_bytes} of {expected_bytes} bytes")
        self.got_bytes = got_bytes
        self.expected_bytes = expected_bytes
