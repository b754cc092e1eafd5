"""What people say of a package: the standard annotations of the OCI image specification."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from skylark_oci.errors import PackageError

_PREFIX = "org.opencontainers.image."
EPOCH = "SOURCE_DATE_EPOCH"
"""The environment variable with the time of a reproducible build, in seconds (reproducible-builds.org)."""


class InvalidMetadata(PackageError):
    """A word about a package is not valid; the error names it."""

    code = "invalid-metadata"

    def __init__(self, field: str, value: str, expected: str) -> None:
        super().__init__(f"{field}: {value!r} is not valid; expected {expected}")
        self.field = field
        self.value = value
        self.expected = expected


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[package]` of a component's manifest; every member may be missing.

    Attributes:
        title: A name for people.
        version: The version of what is packaged.
        source: Where its source is, a URL.
        description: A sentence.
        licenses: An SPDX licence expression.
    """

    title: str | None = None
    version: str | None = None
    source: str | None = None
    description: str | None = None
    licenses: str | None = None

    def over(self, other: "Metadata") -> "Metadata":
        """This metadata, with what it lacks from another one."""
        return msgspec.structs.replace(
            other, **{name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        )

    def annotations(self, created: str | None) -> dict[str, str]:
        """The annotations (image specification, "Pre-Defined Annotation Keys")."""
        named = msgspec.structs.asdict(self) | {"created": created}
        return {_PREFIX + name: value for name, value in sorted(named.items()) if value is not None}


def created_at(environment: Mapping[str, str] = os.environ) -> datetime | None:
    """The time of creation that `SOURCE_DATE_EPOCH` gives; None without it: two builds are to be equal.

    Raises:
        InvalidMetadata: It is not a number of seconds.
    """
    text = environment.get(EPOCH, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise InvalidMetadata(EPOCH, text, "a whole number of seconds since 1970")
    return datetime.fromtimestamp(int(text), UTC)


def rfc3339(moment: datetime) -> str:
    """A time as the image specification writes it (RFC 3339, section 5.6)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
