"""Room on the disk of the embedded server, so that a full disk ends neither the server nor reads and deletes.

With `appendfsync always`, Redis ends when a write to its file fails. So a bundle is refused before Redis sees it if it
would leave less than a reserve. Deletes and notes may use the reserve. A file of some megabytes, the ballast, keeps
room for them where other programs fill the disk: it is given up when there is nearly none, and made again later.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from skylark_proxy.errors import StoreUnavailable

BALLAST = "ballast"
"""The file in the data folder that is given up for room."""

_RESERVE_BYTES = 32 * 1024 * 1024
_RESERVE_SHARE = 0.05
_BALLAST_BYTES = 4 * 1024 * 1024
_OVERHEAD_BYTES = 4 * 1024  # what a transaction has beside the bytes of its bundle, generously
_LITTLE_BYTES = 64 * 1024  # what deletes and notes need, many at once

_LOG = logging.getLogger(__name__)


class DiskRoom:
    """The room on one disk. Safe for threads; a check costs one system call.

    Args:
        data_dir: The data folder. It has to exist when the first check is made.
        on_full: Called after each refusal, to make room if that is possible.
    """

    def __init__(self, data_dir: Path, on_full: Callable[[], None] = lambda: None) -> None:
        self._data_dir = data_dir
        self._on_full = on_full
        self._ballast = data_dir / BALLAST
        self._lock = threading.Lock()
        self._under_way_bytes = 0
        self._has_ballast: bool | None = None
        self._was_full = False

    @contextlib.contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        """Hold room for the write of a bundle while it is under way; 0: a delete or a note, which may use the reserve.

        Raises:
            StoreUnavailable: There is no room for it; nothing was done. `full` is set.
        """
        wanted = size_bytes + _OVERHEAD_BYTES if size_bytes else _LITTLE_BYTES
        try:
            with self._lock:
                self._check(size_bytes, wanted)
                self._under_way_bytes += wanted
        except StoreUnavailable:
            self._on_full()
            raise
        try:
            yield
        finally:
            with self._lock:
                self._under_way_bytes -= wanted

    def check(self, size_bytes: int = 1) -> None:
        """Check that the bundle of this size would be taken now.

        Raises:
            StoreUnavailable: It would not. `full` is set.
        """
        with self.reserved(size_bytes):
            pass

    def relieve(self) -> None:
        """Give up the ballast if there is nearly no room left, or make it again where there is."""
        with self._lock:
            self._measure()

    def _check(self, size_bytes: int, wanted: int) -> None:
        free, total = self._measure()
        reserve = reserve_bytes(total) if size_bytes else 0
        left = free - self._under_way_bytes - wanted
        is_full = left < reserve
        if size_bytes and is_full != self._was_full:
            self._was_full = is_full
            level, text = (logging.WARNING, "is full") if is_full else (logging.INFO, "has room again")
            _LOG.log(level, "the disk of %s %s: %d bytes are free", self._data_dir, text, free)
        if is_full:
            what = f"a bundle of {size_bytes} bytes" if size_bytes else "a delete or a note"
            error = StoreUnavailable(
                f"the disk of {self._data_dir} is full: {what} must leave {reserve} bytes free, and {free} are free "
                f"({self._under_way_bytes} of them for other writes)"
            )
            error.full = True
            raise error

    def _measure(self) -> tuple[int, int]:
        """Return the free bytes and the size of the disk, once the ballast is as it should be."""
        free, total = free_and_total(self._data_dir)
        size = min(_BALLAST_BYTES, reserve_bytes(total) // 2)
        if self._has_ballast is None:
            self._has_ballast = self._ballast.exists()
        if self._has_ballast and free - self._under_way_bytes < size // 2:
            self._ballast.unlink(missing_ok=True)
            self._has_ballast = False
            free, total = free_and_total(self._data_dir)
        elif not self._has_ballast and free - self._under_way_bytes >= reserve_bytes(total) + 2 * size:
            self._has_ballast = self._make(size)
            free, total = free_and_total(self._data_dir)
        return free, total

    def _make(self, size: int) -> bool:
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            _LOG.warning("%s could not be made: %s", self._ballast, error)
            self._ballast.unlink(missing_ok=True)
        return True  # else it would be tried for each write


def reserve_bytes(total: int) -> int:
    """Return how much of a disk of this size bundles leave free."""
    return min(_RESERVE_BYTES, int(total * _RESERVE_SHARE))


def free_and_total(folder: Path) -> tuple[int, int]:
    """Return the free bytes and the size of a folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        while size > 0:
            size -= os.write(descriptor, bytes(min(size, 1024 * 1024)))
