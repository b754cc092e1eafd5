"""What a chain has seen: versions that travel with its bundles, so that none of its functions is given older ones.

Over HTTP they are the header `Skylark-Seen`: `KEY=VERSION`, separated by commas, the one that was seen last at the end.
"""

from collections.abc import Mapping

MAX_SEEN = 16
"""How many versions travel with a bundle."""

MAX_VERSION = 2**53 - 1
"""The highest version: up to here the numbers of Lua and of JSON are exact."""


class Session:
    """The versions of bundles that a chain has read, written or deleted: the last 16.

    Args:
        predecessor: The key of the bundle that the invocation was given. It is written once, and so is not noted when
            it is read.
    """

    def __init__(self, predecessor: str | None = None) -> None:
        self._versions: dict[str, int] = {}
        self._predecessor = _task(predecessor) if predecessor is not None else None

    @property
    def versions(self) -> Mapping[str, int]:
        """The versions by key, the one that was seen last at the end."""
        return self._versions

    def note(self, key: str, version: int) -> None:
        """Note a version. One of a key that names no owner is passed over, as is 0: there is nothing to compare."""
        if not version or key.count(":") != 2:
            return
        self._versions[key] = max(version, self._versions.pop(key, 0))
        if len(self._versions) > MAX_SEEN:
            del self._versions[next(iter(self._versions))]

    def note_read(self, key: str, version: int) -> None:
        """Note the version of a bundle that was read, unless it is the predecessor's."""
        if _task(key) != self._predecessor:
            self.note(key, version)

    def version(self, key: str) -> int:
        """Return the highest version of a bundle that was noted; 0: none."""
        return self._versions.get(key, 0)


def seen_header(versions: Mapping[str, int]) -> str:
    """Return the text of the header."""
    return ",".join(f"{key}={version}" for key, version in versions.items())


def parse_seen(text: str) -> dict[str, int]:
    """Read the header of a proxy; an empty text has none.

    Raises:
        ValueError: It is none.
    """
    pairs = [part.partition("=") for part in text.split(",") if part]
    return {key.strip(): int(version) for key, _, version in pairs}


def _task(key: str) -> str:
    return key.rpartition(":")[2]
