"""The host's end of the exchange directory: a private folder on tmpfs, one for each sandbox, the guest's only files.

The guest may do in it what it likes: make links, folders, thousands of files. The host therefore opens only plain
names, never follows a link, and removes the whole folder in the end.
"""

import contextlib
import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from skylark.exchange import INLINE_LIMIT_BYTES
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, StoreUnavailable, TooLarge
from skylark_proxy.runtime.descriptors import OPEN_FILES
from skylark_proxy.runtime.values import Case

_MAX_ENTRIES = 4096
_MAX_DESCRIPTORS = 256
_BLOCK_BYTES = 512
_MAX_PARTS = 512
_MAX_INLINE_BYTES = 1 << 18
"""Far more than the SDK sends without a file, and less than what is read of a text."""


def default_root() -> Path:
    """The machine's tmpfs, where there is one, else its folder for temporary files."""
    shm = Path("/dev/shm")  # noqa: S108
    return shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())


@contextlib.contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """Tell a full file system as an error of ours.

    Raises:
        StoreUnavailable: The file system of `folder` is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreUnavailable(
            f"the exchange directory has no room for {what}: the file system of {folder} is full"
        ) from error


class ExchangeDirectory:
    """One exchange directory; `path` is what the sandbox preopens.

    Raises:
        StoreUnavailable: The file system is full.
    """

    def __init__(self, root: Path, quota_bytes: int) -> None:
        with room_for("one more sandbox", root):
            self.path = Path(tempfile.mkdtemp(prefix="x-", dir=root)).resolve()
        self.quota_bytes = quota_bytes
        self._emptied_ns = self.path.stat().st_mtime_ns

    def send(self, name: str, parts: Sequence[Buffer]) -> Case:
        """Puts contents where the guest finds them; returns the WIT `payload`.

        Raises:
            TooLarge: They exceed the quota.
            InvalidArgument: The guest has made a folder or a link where the file belongs.
            StoreUnavailable: The file system is full.
        """
        size_bytes = sum(map(len, parts))
        if size_bytes <= INLINE_LIMIT_BYTES:
            return Case("inline", b"".join(parts).decode("latin-1"))
        if size_bytes > self.quota_bytes:
            raise TooLarge(f"exchange file {name!r}", size_bytes, self.quota_bytes)
        with room_for(f"{size_bytes} bytes of {name!r}", self.path.parent):
            fd = self._opened(name)
            try:
                _write_all(fd, parts)
            finally:
                os.close(fd)
        return Case("file", name)

    def _opened(self, name: str) -> int:
        try:
            return os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ELOOP):
                raise
            raise InvalidArgument(
                "exchange file", name, f"no folder or link of this name ({error.strerror})"
            ) from error

    def adopt(self, name: str, file: Path) -> Case:
        """Moves a file of the same file system in; returns the WIT `payload`."""
        os.replace(file, self.path / name)  # noqa: PTH105
        return Case("file", name)

    def receive(self, payload: Case) -> Buffer:
        """The contents of a WIT `payload` that the guest sent.

        Raises:
            InvalidArgument: It names no regular file of the folder, or has characters that are not bytes.
            TooLarge: The file exceeds the quota, or what is in the payload itself is larger than what belongs there.
        """
        if payload.name == "inline":
            text = str(payload.value)
            if len(text) > _MAX_INLINE_BYTES:
                raise TooLarge("payload.inline", len(text), _MAX_INLINE_BYTES)
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError as error:
                raise InvalidArgument("payload.inline", payload.value[:20], "characters below U+0100") from error
        return self._read(str(payload.value))

    def _read(self, name: str) -> Buffer:
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise InvalidArgument("payload.file", name, "the plain name of a file in the exchange directory")
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidArgument(
                "payload.file", name, f"a file in the exchange directory ({error.strerror})"
            ) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidArgument("payload.file", name, "a regular file")
            if status.st_size > self.quota_bytes:
                raise TooLarge(f"exchange file {name!r}", status.st_size, self.quota_bytes)
            data = bytearray(status.st_size)
            view, done = memoryview(data), 0
            while done < len(data) and (count := os.readv(fd, [view[done:]])):
                done += count
        finally:
            os.close(fd)
        return view[:done]

    def over_quota(self) -> bool:
        """Whether the folder holds more than its quota, or has more files, open or not, than anyone needs."""
        held = OPEN_FILES.held_in(self.path)
        size_bytes = held.deleted_bytes
        try:
            for entries, status in enumerate(self._statuses()):
                size_bytes += status.st_blocks * _BLOCK_BYTES
                if size_bytes > self.quota_bytes or entries > _MAX_ENTRIES:
                    return True
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return True  # folders in folders, deeper than a path can say
        return size_bytes > self.quota_bytes or held.descriptors > _MAX_DESCRIPTORS

    def _statuses(self) -> Iterator[os.stat_result]:
        folders = [self.path]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    try:
                        yield entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))

    def clear(self) -> None:
        """Removes what is in the folder, for the next invocation of a sandbox that is used again."""
        if self.was_written():
            _empty(self.path)
            self._emptied_ns = self.path.stat().st_mtime_ns

    def was_written(self) -> bool:
        """Whether anything was made or removed in the folder since it was empty."""
        return self.path.stat().st_mtime_ns != self._emptied_ns

    def close(self) -> None:
        """Removes the folder."""
        with contextlib.suppress(OSError):
            _empty(self.path)
            self.path.rmdir()


def _empty(root: Path) -> None:
    """Removes all in a folder, however deep: `shutil.rmtree` takes a call and a descriptor for each level.

    Folders move up to the root before they are emptied, under names that no guest has guessed, so no path gets long.
    """
    unguessed = uuid.uuid4().hex
    folders, found = [root], 0
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    found += 1
                    folders.append(root / f"{unguessed}-{found}")
                    os.rename(entry.path, folders[-1])  # noqa: PTH104
                else:
                    os.unlink(entry.path)  # noqa: PTH108
        if folder != root:
            folder.rmdir()


def _write_all(fd: int, parts: Sequence[Buffer]) -> None:
    rest = [memoryview(part) for part in parts if len(part)]
    while rest:
        written = os.writev(fd, rest[:_MAX_PARTS])
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if written:
            rest[0] = rest[0][written:]
