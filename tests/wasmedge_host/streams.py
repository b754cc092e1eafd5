"""The functions of preview 1 that have to know sockets, and the standard streams as WasmEdge has them."""

import fcntl
import os
import socket
import stat
from collections.abc import Callable

from wasmedge_host.abi import Errno, WasiError
from wasmedge_host.descriptors import Descriptors
from wasmedge_host.memory import GuestMemory

STANDARD = (0, 1, 2)
_FLAGS = {1: os.O_APPEND, 2: os.O_DSYNC, 4: os.O_NONBLOCK, 8: os.O_RSYNC, 16: os.O_SYNC}
"""By `__wasi_fdflags_t`: `fdFdstatSetFlags`, inode-linux.cpp:250-276."""
_MAY_SET_FLAGS = 1 << 3
_MAY_READ = 1 << 1
_MAY_WRITE = 1 << 6
_INPUT_RIGHTS = 1 << 7 | 1 << 21 | 1 << 1 | 1 << 27
_OUTPUT_RIGHTS = 1 << 7 | 1 << 0 | 1 << 21 | 1 << 4 | 1 << 6 | 1 << 27
"""`kStdInDefaultRights` and `kStdOutDefaultRights`, environ.cpp:64-71."""
_KINDS = {stat.S_IFBLK: 1, stat.S_IFCHR: 2, stat.S_IFDIR: 3, stat.S_IFREG: 4, stat.S_IFSOCK: 6, stat.S_IFLNK: 7}
"""`fromFileType`, linux.h:321-339: a pipe is unknown, 0, and every socket a stream."""


class Streams:
    """The functions. An `OSError` or a `WasiError` that leaves one is its result."""

    def __init__(self, memory: GuestMemory, descriptors: Descriptors, forget: Callable[[int], None]) -> None:
        self._memory = memory
        self._descriptors = descriptors
        self._forget = forget
        self._standard = set(STANDARD)

    def fd_close(self, fd: int) -> None:
        """environ.h:260-269. The standard streams of the process stay open: `FdHolder::reset`, inode-linux.cpp:131."""
        if fd in self._standard:
            self._standard.remove(fd)
        else:
            self._close(self._descriptors.remove(fd))

    def fd_read(self, fd: int, vectors: int, count: int, size: int) -> None:
        """vinode.h:284-291, `readv`."""
        opened = self._opened(fd, _MAY_READ)
        self._memory.write("<I", size, os.readv(opened, self._memory.vectors(vectors, count)), alignment=4)

    def fd_write(self, fd: int, vectors: int, count: int, size: int) -> None:
        """vinode.h:369-376, `writev`: on a socket whose peer is gone it raises SIGPIPE."""
        opened = self._opened(fd, _MAY_WRITE)
        self._memory.write("<I", size, os.writev(opened, self._memory.vectors(vectors, count)), alignment=4)

    def fd_fdstat_get(self, fd: int, result: int) -> None:
        """inode-linux.cpp:220-248."""
        opened, rights = self._opened(fd), self._rights(fd)
        flags = fcntl.fcntl(opened, fcntl.F_GETFL)
        given = 1 * bool(flags & os.O_APPEND) | 2 * bool(flags & os.O_DSYNC) | 4 * bool(flags & os.O_NONBLOCK)
        given |= 0b11000 * (flags & os.O_SYNC == os.O_SYNC)
        self._memory.write("<BxH4xQQ", result, _kind(opened), given, rights, rights if fd > 2 else 0, alignment=8)

    def fd_fdstat_set_flags(self, fd: int, flags: int) -> None:
        """vinode.h:159-178, inode-linux.cpp:250-276. A standard stream has no right to it."""
        opened = self._opened(fd, _MAY_SET_FLAGS)
        if flags & 0b11010:
            raise WasiError(Errno.NOTCAPABLE)
        fcntl.fcntl(opened, fcntl.F_SETFL, sum(host for bit, host in _FLAGS.items() if flags & bit))
        if fd in self._descriptors:
            self._descriptors.opened(fd).setblocking(not flags & 4)

    def fd_filestat_get(self, fd: int, result: int) -> None:
        """inode-linux.cpp:278-294, zeros for the standard streams. A socket has no right to it, vinode.cpp:303-310."""
        opened = self._opened(fd)
        if fd not in STANDARD:
            raise WasiError(Errno.NOTCAPABLE)
        self._memory.write("<16xB47x", result, _kind(opened), alignment=8)

    def fd_renumber(self, fd: int, to: int) -> None:
        """environ.h:519-533, among sockets."""
        replaced = self._descriptors.renumber(fd, to)
        if replaced is not None:
            self._close(replaced)

    def _close(self, removed: socket.socket) -> None:
        self._forget(removed.fileno())
        removed.close()

    def _opened(self, fd: int, needed: int = 0) -> int:
        """The descriptor of this machine.

        Raises:
            WasiError: BADF, there is none; NOTCAPABLE, it has not the right.
        """
        if fd in STANDARD:
            if fd not in self._standard:
                raise WasiError(Errno.BADF)
            opened = fd
        else:
            opened = self._descriptors.opened(fd).fileno()
        if self._rights(fd) & needed != needed:
            raise WasiError(Errno.NOTCAPABLE)
        return opened

    def _rights(self, fd: int) -> int:
        if fd in STANDARD:
            return _OUTPUT_RIGHTS if fd else _INPUT_RIGHTS
        return self._descriptors.get(fd).rights


def _kind(opened: int) -> int:
    return _KINDS.get(stat.S_IFMT(os.fstat(opened).st_mode), 0)
