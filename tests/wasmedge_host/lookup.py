"""`sock_getaddrinfo`: wasifunc.cpp:2435-2613, inode-linux.cpp:818-895.

The guest gives a chain of `__wasi_addrinfo_t` (api.hpp:1886-1925, 28 bytes), each with a `__wasi_sockaddr_t`
(api.hpp:1866-1881, 12 bytes) and room for its data and a canonical name; the host fills them in.
"""

import socket
import struct
from collections.abc import Sequence

from wasmedge_host import abi
from wasmedge_host.abi import Errno, LookupFlags, WasiError
from wasmedge_host.memory import GuestMemory

_Result = tuple[int, int, int, str, tuple[object, ...]]


class Lookup:
    """The function. A `WasiError` that leaves it is its result."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory

    def sock_getaddrinfo(
        self,
        node: int,
        node_size: int,
        service: int,
        service_size: int,
        hints: int,
        chain: int,
        room: int,
        count: int,
    ) -> None:
        """Looks a name up; blocks meanwhile."""
        names = self._memory.bytes_at(node, node_size), self._memory.bytes_at(service, service_size)
        flags, family, kind, protocol = self._memory.read("<HBBI", hints, 4)
        if not any(names):
            raise WasiError(Errno.AINONAME)
        if room < 1:
            raise WasiError(Errno.AIMEMORY)
        _check_hints(flags, family, kind, protocol, bool(names[0]))
        results = _look_up(*names, flags, family, kind, protocol)[:room]
        self._memory.write("<I", count, len(results), alignment=4)
        entry = self._memory.read("<I", chain, 4)
        for result in results:
            entry = self._fill(entry, flags, result)

    def _fill(self, entry: int, flags: int, result: _Result) -> int:
        """Writes one result, and gives the next entry of the chain."""
        family, kind, protocol, canonical, address = result
        data = _socket_data(family, address)
        self._memory.write("<HBB", entry, flags, abi.WASI_FAMILIES[family], abi.WASI_TYPES[kind])
        self._memory.write("<I", entry + 4, abi.PROTOCOLS.index(protocol))
        self._memory.write("<I", entry + 8, len(data) + 2)
        target, name = self._memory.read("<II", entry + 12)
        self._memory.write("<I", entry + 20, len(canonical))
        if canonical:
            self._memory.put(name, canonical.encode() + b"\0")
        self._memory.write("<B", target, abi.WASI_FAMILIES[family])
        self._memory.write("<I", target + 4, len(data))
        self._memory.put(self._memory.read("<I", target + 8), data)
        following: int = self._memory.read("<I", entry + 24)
        return following


def _check_hints(flags: int, family: int, kind: int, protocol: int, has_node: bool) -> None:
    """wasifunc.cpp:2478-2527."""
    if flags & ~sum(LookupFlags) or (flags & LookupFlags.CANONNAME and not has_node):
        raise WasiError(Errno.AIBADFLAG)
    if family not in abi.FAMILIES:
        raise WasiError(Errno.AIFAMILY)
    if protocol >= len(abi.PROTOCOLS) or kind not in (abi.ANY, *abi.TYPES):
        raise WasiError(Errno.NOSYS)


def _look_up(node: bytes, service: bytes, flags: int, family: int, kind: int, protocol: int) -> Sequence[_Result]:
    host_flags = sum(getattr(socket, f"AI_{flag.name}") for flag in LookupFlags if flags & flag)
    host_kind = abi.TYPES.get(kind, 0)
    try:
        return socket.getaddrinfo(
            node or None, service or None, abi.FAMILIES[family], host_kind, abi.PROTOCOLS[protocol], host_flags
        )
    except socket.gaierror as error:
        raise WasiError(abi.LOOKUP_ERRNO[error.errno or 0]) from error


def _socket_data(family: int, address: tuple[object, ...]) -> bytes:
    """A `sockaddr` from its port on: 14 bytes for IPv4, 26 for IPv6, inode-linux.cpp:873-887."""
    if family == socket.AF_INET:
        return struct.pack("!H4s8x", address[1], socket.inet_pton(socket.AF_INET, str(address[0])))
    host, port, flow, scope = address
    packed = socket.inet_pton(socket.AF_INET6, str(host).partition("%")[0])
    return struct.pack("!HI16s", port, flow, packed) + struct.pack("=I", scope)
