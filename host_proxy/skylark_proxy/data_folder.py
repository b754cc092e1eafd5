"""Which server keeps a data folder: decided at its first start, and changed knowingly only.

A file in the folder says which server, and of which version, had it last. The same engine (Redis or Valkey) goes on
with it, of this version or a newer one, which is noted. Anything else is refused: an older server may start empty over
data that it does not know, and what Valkey has written no Redis can read again.

A folder without the file is from before, or its owner has removed the file to move it. Then the data say what has
written them. Valkey takes over what Redis up to 7.2 has written; the format of Redis 7.4 and later is another one.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from skylark_proxy.errors import NoServer
from skylark_proxy.redis_binary import Server, Version, parse_version, shown

NOTE = "server.json"
_FIRST_WITH_FOLDER: Version = (7, 0, 0)
"""Redis 7 was the first to keep its append-only file in several files, in `appendonlydir`."""

_FIRST_THAT_VALKEY_CANNOT_READ: Version = (7, 4, 0)
_HEAD_BYTES = 128
_WRITTEN_BY = re.compile(rb"(?:REDIS|VALKEY)\d+\xfa[\x01-\x3f](redis|valkey)-ver([\x01-\x3f])", re.DOTALL)
"""The beginning of an RDB file: magic, then the first auxiliary field, names and values with their length before."""

_LOG = logging.getLogger(__name__)


class _Note(msgspec.Struct):
    engine: str
    version: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Writer:
    """The server that has written the data of a folder. `noted`: the folder's file says so, not only the data."""

    engine: str
    version: Version
    origin: str = ""
    noted: bool = False

    def __str__(self) -> str:
        return f"{self.engine} {shown(self.version)}" if self.version > (0, 0, 0) else self.engine


def choose(servers: Sequence[Server], data_dir: Path) -> Server:
    """Return the server for a folder: the one that has it if possible, else the first that may go on with it.

    Raises:
        NoServer: None of them may; the error says what to do.
    """
    writer = read_writer(data_dir)
    if writer is None:
        return servers[0]
    fitting = [server for server in servers if _may_open(server, writer)]
    if not fitting:
        raise NoServer(_refusal(servers, writer, data_dir))
    chosen = min(fitting, key=lambda server: (server.engine != writer.engine, server.origin != writer.origin))
    if chosen.engine != writer.engine:
        _LOG.warning("%s was written by %s and moves to %s; there is no way back", data_dir, writer, chosen)
    elif writer.noted and chosen.version > writer.version:
        _LOG.info("%s was last kept by %s; %s takes it over", data_dir, writer, chosen)
    return chosen


def note(server: Server, data_dir: Path) -> None:
    """Write down which server has the folder."""
    content = msgspec.json.encode(_Note(server.engine, shown(server.version), str(server.origin)))
    path, new = data_dir / NOTE, data_dir / f"{NOTE}.new"
    if not path.is_file() or path.read_bytes() != content:
        new.write_bytes(content)
        new.replace(path)


def read_writer(data_dir: Path) -> Writer | None:
    """Return what has written the data of a folder; None if it has no data."""
    layered = data_dir / "appendonlydir"
    single = data_dir / "appendonly.aof"
    if not layered.is_dir() and not single.is_file():
        return None
    try:
        noted = msgspec.json.decode((data_dir / NOTE).read_bytes(), type=_Note)
        return Writer(noted.engine, parse_version(noted.version), noted.origin, noted=True)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        _LOG.warning("%s cannot be read, the data themselves are looked at: %s", data_dir / NOTE, error)
    files = sorted(layered.glob("*.base.rdb")) if layered.is_dir() else [single]
    found = [writer for path in files if (writer := _from_head(path)) is not None]
    if found:
        return max(found, key=lambda writer: writer.version)
    return Writer("Redis", _FIRST_WITH_FOLDER if layered.is_dir() else (0, 0, 0))


def _from_head(path: Path) -> Writer | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        match = _WRITTEN_BY.match(head)
        if match is None:
            return None
        version = head[match.end() : match.end() + match[2][0]].decode("ascii", "replace")
        return Writer(match[1].decode().capitalize(), parse_version(version))
    except (OSError, ValueError):
        return None


def _may_open(server: Server, writer: Writer) -> bool:
    if server.engine == writer.engine:
        return server.version >= writer.version
    return not writer.noted and server.engine == "Valkey" and _can_move(writer)


def _can_move(writer: Writer) -> bool:
    return writer.engine == "Redis" and writer.version < _FIRST_THAT_VALKEY_CANNOT_READ


def _refusal(servers: Sequence[Server], writer: Writer, data_dir: Path) -> str:
    found = ", ".join(map(str, servers))
    version = shown(writer.version) if writer.version > (0, 0, 0) else "6"
    text = (
        f"The bundles in {data_dir} were written by {writer}, and this machine has {found}. "
        f"Install {writer.engine} version {version} or newer, or choose another SKYLARK_DATA_DIR."
    )
    if writer.noted and _can_move(writer) and any(server.engine == "Valkey" for server in servers):
        text += f" To move them to Valkey, which no Redis can undo, copy the folder and remove {data_dir / NOTE}."
    return text
