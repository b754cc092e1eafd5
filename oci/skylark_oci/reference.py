"""References to images in registries: `[oci://]host[:port]/path[:tag][@sha256:…]`.

Grammar: OCI distribution specification 1.1, "Pulling manifests" (names and tags), and the image specification's
"Digests". Unlike Docker, no registry is assumed where none is named.
"""

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address

from skylark_oci.errors import InvalidReference

SCHEME = "oci://"
DEFAULT_TAG = "latest"

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{1,5}))?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry.

    Attributes:
        host: The registry, with its port if it has one.
        repository: The path in it.
        tag: The tag; None where only a digest was given.
        digest: `sha256:` and 64 hexadecimal digits; None where it is not pinned. It wins over the tag.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Reads a reference; the tag is `latest` where it has neither tag nor digest.

        Raises:
            InvalidReference: It is none; the error names the part that is wrong.
        """
        rest, at, digest = text.removeprefix(SCHEME).partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise InvalidReference(text, "a digest sha256: and 64 digits of 0-9 a-f after the @")
        host, _, path = rest.partition("/")
        path, colon, tag = path.partition(":")
        _check_host(text, host, path)
        if not _PATH.fullmatch(path) or len(host) + 1 + len(path) > _NAME_LIMIT:
            raise InvalidReference(text, f"a path of a-z 0-9 and single . _ - / after {host}/, {_NAME_LIMIT} at most")
        if colon and not is_tag(tag):
            raise InvalidReference(text, "a tag of 1 to 128 of A-Z a-z 0-9 . _ - after the :")
        return cls(host, path, tag or (None if digest else DEFAULT_TAG), digest or None)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.repository.rpartition("/")[2]

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this machine, by its name alone."""
        name = self.host.rpartition(":")[0] if re.search(r":[0-9]+$", self.host) else self.host
        if name == "localhost":
            return True
        try:
            return ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False

    def tagged(self, tag: str) -> "Reference":
        """Another tag of the same repository."""
        return replace(self, tag=tag, digest=None)

    def pinned(self, digest: str) -> "Reference":
        """The same reference, which means one content for ever."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def _check_host(text: str, host: str, path: str) -> None:
    """A first part without a dot or a port names a path in Docker's registry to other tools; here it is a mistake."""
    match = _HOST.fullmatch(host)
    if not path or not match or not (host == "localhost" or "." in host or ":" in host):
        raise InvalidReference(text, "host/path, the host with a dot or a port, such as registry.example/team/app:1.0")
    if match["port"] and not 0 < int(match["port"]) < 1 << 16:
        raise InvalidReference(text, f"a port of 1 to 65535, not {match['port']}")
