"""WasmEdge's socket functions, version 2, over the sockets of this machine.

Each function has the name and the parameters of the import; pointers and sizes are unsigned. The functions are in
wasifunc.cpp:2376-3497, what they do in inode-linux.cpp:897-1395.
"""

import ctypes
import os
import socket
import struct

from wasmedge_host import abi
from wasmedge_host.abi import Errno, WasiError
from wasmedge_host.descriptors import ACCEPTED_RIGHTS, OPENED_RIGHTS, Descriptors
from wasmedge_host.memory import GuestMemory

_LIBC = ctypes.CDLL(None, use_errno=True)
_NONBLOCK = 4
"""`__WASI_FDFLAGS_NONBLOCK`, api.hpp:1031."""
_SHUTDOWNS = {1: socket.SHUT_RD, 2: socket.SHUT_WR, 3: socket.SHUT_RDWR, 0: socket.SHUT_RD}
"""By `__wasi_sdflags_t`; none is SHUT_RD: `sockShutdown`, inode-linux.cpp:1214-1229."""


class Sockets:
    """The functions. An `OSError` or a `WasiError` that leaves one is its result."""

    def __init__(self, memory: GuestMemory, descriptors: Descriptors) -> None:
        self._memory = memory
        self._descriptors = descriptors

    def sock_open_v2(self, family: int, kind: int, result: int) -> None:
        """wasifunc.cpp:2776-2821, inode-linux.cpp:897-934. A new socket blocks."""
        if family == 3:
            raise WasiError(Errno.NOSYS)
        if family not in (abi.INET4, abi.INET6) or kind not in abi.TYPES:
            raise WasiError(Errno.INVAL)
        opened = socket.socket(abi.FAMILIES[family], abi.TYPES[kind])
        self._memory.write("<I", result, self._descriptors.add(opened, OPENED_RIGHTS), alignment=4)

    def sock_bind_v2(self, fd: int, address: int, port: int) -> None:
        """wasifunc.cpp:2823-2875."""
        self._with_address("bind", fd, self._address(address, port))

    def sock_connect_v2(self, fd: int, address: int, port: int) -> None:
        """wasifunc.cpp:2886-2939."""
        self._with_address("connect", fd, self._address(address, port))

    def sock_listen_v2(self, fd: int, backlog: int) -> None:
        """wasifunc.cpp:2877-2884."""
        self._descriptors.opened(fd).listen(backlog)

    def sock_accept_v2(self, fd: int, flags: int, result: int) -> None:
        """wasifunc.cpp:1931-1964, inode-linux.cpp:1018-1035."""
        if flags > 0x1F:
            raise WasiError(Errno.INVAL)
        accepted, _ = self._descriptors.opened(fd).accept()
        accepted.setblocking(not flags & _NONBLOCK)
        self._memory.write("<I", result, self._descriptors.add(accepted, ACCEPTED_RIGHTS), alignment=4)

    def sock_recv_v2(self, fd: int, vectors: int, count: int, flags: int, size: int, out_flags: int) -> None:
        """wasifunc.cpp:2941-3022, inode-linux.cpp:1058-1163."""
        self._receive(fd, vectors, count, flags, size, out_flags)

    def sock_recv_from_v2(
        self, fd: int, vectors: int, count: int, address: int, flags: int, port: int, size: int, out_flags: int
    ) -> None:
        """wasifunc.cpp:3024-3151. The port is left in network order: inode-linux.cpp:1119-1121, 1131-1133."""
        buffer, room = self._memory.read("<II", address, 4)
        if room not in (4, 16, abi.ADDRESS_BYTES):
            raise WasiError(Errno.INVAL)
        peer = self._receive(fd, vectors, count, flags, size, out_flags)
        family = abi.WASI_FAMILIES[self._descriptors.opened(fd).family]
        stored, number = abi.stored_address(peer[0], peer[1], family)
        self._memory.put(buffer, stored if room == abi.ADDRESS_BYTES else stored[2:][:room])
        self._memory.write("!H", port, number, alignment=2)

    def sock_send_v2(self, fd: int, vectors: int, count: int, flags: int, size: int) -> None:
        """wasifunc.cpp:3153-3224, inode-linux.cpp:1165-1212: no flags, no signal."""
        _check_send_flags(flags)
        buffers = self._memory.vectors(vectors, count)
        sent = self._descriptors.opened(fd).sendmsg(buffers, (), socket.MSG_NOSIGNAL)
        self._memory.write("<I", size, sent, alignment=4)

    def sock_send_to_v2(
        self, fd: int, vectors: int, count: int, address: int, port: int, flags: int, size: int
    ) -> None:
        """wasifunc.cpp:3226-3336."""
        target = self._address(address, port)
        _check_send_flags(flags)
        content = b"".join(self._memory.vectors(vectors, count))
        number = self._descriptors.opened(fd).fileno()
        sent = _LIBC.sendto(number, content, len(content), socket.MSG_NOSIGNAL, target, len(target))
        self._memory.write("<I", size, _checked(sent), alignment=4)

    def sock_shutdown(self, fd: int, how: int) -> None:
        """wasifunc.cpp:2376-2391."""
        if how not in _SHUTDOWNS:
            raise WasiError(Errno.INVAL)
        self._descriptors.opened(fd).shutdown(_SHUTDOWNS[how])

    def sock_getsockopt(self, fd: int, level: int, name: int, value: int, size: int) -> None:
        """wasifunc.cpp:3338-3388, inode-linux.cpp:1231-1264."""
        option = _option(level, name)
        opened = self._descriptors.opened(fd)
        content = opened.getsockopt(socket.SOL_SOCKET, option, self._memory.read("<I", size, 4))
        if name == abi.SO_ERROR:
            (number,) = struct.unpack("=i", content)
            content = struct.pack("<i", abi.wasi_errno(OSError(number, "")))
        elif name == abi.SO_TYPE:
            (kind,) = struct.unpack("=i", content)
            content = struct.pack("<i", abi.WASI_TYPES[kind])
        self._memory.put(value, content)
        self._memory.write("<I", size, len(content))

    def sock_setsockopt(self, fd: int, level: int, name: int, value: int, size: int) -> None:
        """wasifunc.cpp:2393-2433, inode-linux.cpp:1266-1279."""
        option = _option(level, name)
        self._descriptors.opened(fd).setsockopt(socket.SOL_SOCKET, option, self._memory.bytes_at(value, size))

    def sock_getlocaladdr_v2(self, fd: int, address: int, port: int) -> None:
        """wasifunc.cpp:3390-3444."""
        self._put_address(fd, address, port, "getsockname")

    def sock_getpeeraddr_v2(self, fd: int, address: int, port: int) -> None:
        """wasifunc.cpp:3446-3497."""
        self._put_address(fd, address, port, "getpeername")

    def _address(self, address: int, port: int) -> bytes:
        """The socket address of a `__wasi_address_t`: a pointer and a size of 4, 16 or 128 bytes, api.hpp:1705-1715."""
        buffer, size = self._memory.read("<II", address, 4)
        content = self._memory.bytes_at(buffer, size)
        if size in (4, 16):
            return abi.host_address(abi.INET4 if size == 4 else abi.INET6, content, port & 0xFFFF)
        if size != abi.ADDRESS_BYTES:
            raise WasiError(Errno.INVAL)
        (family,) = struct.unpack_from("<H", content)
        if family not in (abi.INET4, abi.INET6):
            raise LookupError(f"address family {family}: sockAddressAssignHelper has no case for it")
        return abi.host_address(family, content[2:], port & 0xFFFF)

    def _with_address(self, call: str, fd: int, address: bytes) -> None:
        """Calls the C function: Python's own would refuse an address of another family before the system does."""
        _checked(getattr(_LIBC, call)(self._descriptors.opened(fd).fileno(), address, len(address)))

    def _put_address(self, fd: int, address: int, port: int, call: str) -> None:
        buffer, size = self._memory.read("<II", address, 4)
        if size != abi.ADDRESS_BYTES:
            raise WasiError(Errno.INVAL)
        opened = self._descriptors.opened(fd)
        host, number = getattr(opened, call)()[:2]
        stored, number = abi.stored_address(host, number, abi.WASI_FAMILIES[opened.family])
        self._memory.put(buffer, stored)
        self._memory.write("<I", port, number, alignment=4)

    def _receive(
        self, fd: int, vectors: int, count: int, flags: int, size: int, out_flags: int
    ) -> tuple[str, int, int, int]:
        if flags & ~(abi.RECV_PEEK | abi.RECV_WAITALL):
            raise WasiError(Errno.INVAL)
        host_flags = (socket.MSG_PEEK if flags & abi.RECV_PEEK else 0) | (
            socket.MSG_WAITALL if flags & abi.RECV_WAITALL else 0
        )
        buffers = self._memory.vectors(vectors, count)
        received, _, got, peer = self._descriptors.opened(fd).recvmsg_into(buffers, 0, host_flags)
        truncated = abi.RECV_DATA_TRUNCATED if got & socket.MSG_TRUNC else 0
        self._memory.write("<I", size, received, alignment=4)
        self._memory.write("<H", out_flags, truncated, alignment=2)
        return peer  # type: ignore[no-any-return]


def _option(level: int, name: int) -> int:
    if level != abi.SOL_SOCKET or name >= len(abi.OPTIONS):
        raise WasiError(Errno.INVAL)
    return abi.OPTIONS[name]


def _check_send_flags(flags: int) -> None:
    """`cast<__wasi_siflags_t>`, wasifunc.cpp:260-266: it has no flags."""
    if flags:
        raise WasiError(Errno.INVAL)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
