"""Repair the append-only file of the embedded server before it starts, and throw nothing away for good.

What a crash has left unfinished at the end of the file is cut off. What is damaged within it is skipped, and all else
stays, which the server's own checker would throw away: it cuts at the first damage. Redis 7.0 itself cuts off the last
command only. The MULTI of a transaction that was not finished stays, and all that is written after it belongs to that
transaction: the next start forgets it, though it was acknowledged.

What was taken away is kept in a folder beside the data, for the last few repairs.
"""

import contextlib
import errno
import logging
import mmap
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy.aof_scan import Scan, scan
from skylark_proxy.disk_room import free_and_total, reserve_bytes
from skylark_proxy.errors import StoreUnavailable
from skylark_proxy.redis_binary import Server

FOLDER = "damaged"
"""Where what was taken away is kept, in the data folder."""

_KEPT = 3
_COPY_BYTES = 16 * 1024 * 1024
_SPARE_BYTES = 1024 * 1024
_PREAMBLE_END = re.compile(rb"\[offset (\d+)\] Checksum OK")

_LOG = logging.getLogger(__name__)

Report = Callable[[str], None]


class DamagedData(StoreUnavailable):
    """The data of the embedded server are damaged, and are not repaired without their owner."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did. `kept`: the file that has what was taken away; None if the disk has no room for it."""

    path: Path
    found: Scan
    kept: Path | None


def repair(server: Server, data_dir: Path, report: Report = lambda _: None) -> Repaired | None:
    """Repair the file that the server was appending to. Nothing is written where nothing is wrong.

    Args:
        report: Called now and then with what is done at the moment. An exception of it ends the work, which begins anew
            at the next start.

    Returns:
        What was repaired; None: nothing was wrong.

    Raises:
        DamagedData: Nothing in the file can be read, or the disk has no room for the repaired file.
        OSError: A file cannot be read or written.
    """
    path = last_file(data_dir)
    if path is None or path.stat().st_size == 0:
        return None
    start = _commands_begin(server, path)
    if start is None:  # the snapshot at the beginning is damaged: the server says so
        return None
    found = _scan(path, start, report)
    if found.is_whole:
        return None
    if found.commands == 0 and start == 0 and not _begins_with_a_command(path):
        text = f"{path} is damaged, and nothing in it can be read. {_advice(data_dir)}"
        raise DamagedData(text)
    kept = _without_damage(path, found, data_dir, report) if found.cuts else _without_end(path, found.end, data_dir)
    done = Repaired(path, found, kept)
    _LOG.warning("%s", _sentence(done))
    return done


def last_file(data_dir: Path) -> Path | None:
    """Return the file that the server was appending to; None if there is none. From Redis 7 on, a manifest names it."""
    *_, last = [None, *_files(data_dir)]
    return last


def refused_file(server: Server, data_dir: Path) -> Path | None:
    """Return the file that is the reason why a server does not load its data; None if all look right."""
    for path in _files(data_dir):
        try:
            if path.stat().st_size and not _is_readable(server, path):
                return path
        except OSError:
            return path
    return None


def refusal(path: Path | None, data_dir: Path, reason: str) -> DamagedData:
    """Return the error for a server that does not load its data: which file is damaged, and what can be done."""
    what = f"{path} is damaged" if path is not None else f"The data in {data_dir} could not be loaded"
    return DamagedData(f"{reason}\n{what}. {_advice(data_dir)}")


def _advice(data_dir: Path) -> str:
    return (
        f"Nothing was changed. Restore {data_dir} (SKYLARK_DATA_DIR) from a backup, or move it away to start without "
        "its bundles."
    )


def _sentence(done: Repaired) -> str:
    found, kept = done.found, done.kept
    lost = f"{found.lost_bytes} bytes with {found.lost_commands} commands"
    if found.cuts:
        places = "one place" if len(found.cuts) == 1 else f"{len(found.cuts)} places"
        return (
            f"{done.path} was damaged: {lost} in {places} are lost, and {found.commands} commands are kept. "
            f"The file as it was is {kept}"
        )
    where = f"they are kept in {kept}" if kept is not None else "the disk had no room to keep them"
    return f"{done.path} was not finished: {lost} were cut off from its end; {where}"


def _files(data_dir: Path) -> Iterator[Path]:
    """Yield the files of the data in the order in which they are loaded."""
    folder = data_dir / "appendonlydir"
    if not folder.is_dir():
        single = data_dir / "appendonly.aof"
        if single.is_file():
            yield single
        return
    try:
        manifest = (folder / "appendonly.aof.manifest").read_text()
    except OSError:
        return
    for kind in "bi":
        for name in re.findall(rf"^file (\S+) seq \d+ type {kind}", manifest, re.MULTILINE):
            if (folder / name).is_file():
                yield folder / name


def _is_readable(server: Server, path: Path) -> bool:
    if path.suffix == ".rdb":
        return _check(server, "rdb", path).returncode == 0
    start = _commands_begin(server, path)
    return start is not None and _scan(path, start, lambda _: None).is_whole


def _check(server: Server, kind: str, path: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run one of the server's checkers, which is the same binary under another name. It changes nothing."""
    command = [f"{server.engine.lower()}-check-{kind}", str(path)]
    return subprocess.run(command, executable=server.path, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _commands_begin(server: Server, path: Path) -> int | None:
    """Return where the commands begin: after the snapshot, if the file has one; None if the snapshot is damaged."""
    with path.open("rb") as file:
        if not file.read(6).startswith((b"REDIS", b"VALKEY")):
            return 0
    end = _PREAMBLE_END.search(_check(server, "aof", path).stdout)
    return int(end[1]) if end is not None else None


def _begins_with_a_command(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) in (b"*", b"#")


def _scan(path: Path, start: int, report: Report) -> Scan:
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return scan(data, start, lambda at: report(f"checking {path.name}: {100 * at // size} %"))


def _without_damage(path: Path, found: Scan, data_dir: Path, report: Report) -> Path:
    """Write the file anew without what is damaged, and keep the old one under another name."""
    room, _ = free_and_total(path.parent)
    needed = found.size - found.lost_bytes + _SPARE_BYTES
    if room < needed:
        text = (
            f"{path} is damaged. Its repair needs {needed} bytes on its disk, beside the file itself, which is kept; "
            f"{room} are free. Nothing was changed. Make room, and start again."
        )
        raise DamagedData(text)
    new = path.with_name(f"{path.name}.repaired")
    try:
        with path.open("rb") as source, new.open("wb") as target:
            at = 0
            for cut in found.cuts:
                _copy(source.fileno(), target.fileno(), at, cut.start, report)
                _write(target.fileno(), cut.instead)
                at = cut.end
            _copy(source.fileno(), target.fileno(), at, found.end, report)
            os.fsync(target.fileno())
        shutil.copymode(path, new)
        kept = _place(data_dir, f"{path.name}.whole")
        _keep_as(path, kept)
        new.replace(path)
        _sync(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _prune(kept)
    return kept


def _without_end(path: Path, end: int, data_dir: Path) -> Path | None:
    """Cut the end off, and keep it in a file. It was never acknowledged, so it may go where there is no room for it."""
    kept: Path | None = _place(data_dir, f"{path.name}.end")
    assert kept is not None
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            free, total = free_and_total(kept.parent)
            if free - (size - end) < reserve_bytes(total):
                raise OSError(errno.ENOSPC, "the disk is nearly full")
            with kept.open("wb") as target:
                _copy(file.fileno(), target.fileno(), end, size, lambda _: None)
                os.fsync(target.fileno())
            _prune(kept)
        except OSError:
            kept.unlink(missing_ok=True)
            kept = None
        file.truncate(end)
        os.fsync(file.fileno())
    return kept


def _place(data_dir: Path, name: str) -> Path:
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return folder / f"{stamp}-{time.time_ns() % 1_000_000_000:09}.{name}"


def _keep_as(path: Path, kept: Path) -> None:
    """Give a file a second name, so that it is never missing under its own; some file systems have no such names."""
    try:
        os.link(path, kept)
    except OSError:
        path.replace(kept)
    _sync(kept.parent)


def _prune(newest: Path) -> None:
    """Remove all but the last few files of a kind."""
    of_kind = sorted(newest.parent.glob(f"*{newest.suffix}"))
    for path in of_kind[:-_KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()


def _copy(source: int, target: int, start: int, end: int, report: Report) -> None:
    while start < end:
        part = os.pread(source, min(_COPY_BYTES, end - start), start)
        if not part:
            raise OSError("a file became shorter while it was copied")
        _write(target, part)
        start += len(part)
        report(f"writing the repaired file: {start} bytes")


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
