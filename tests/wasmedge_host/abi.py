"""The numbers and layouts of WasmEdge's ABI.

Lines are of WasmEdge's main branch of August 2026: `api.hpp` is thirdparty/wasi/api.hpp, `linux.h`, `inode-linux.cpp`,
`vinode.cpp` and `wasifunc.cpp` are in lib/host/wasi/, the other headers in include/host/wasi/.
"""

import errno
import socket
import struct
from enum import IntEnum, IntFlag


class Errno(IntEnum):
    """`__wasi_errno_t`, api.hpp:119-559: those that this host gives by name; the others are in `HOST_ERRNO`."""

    SUCCESS = 0
    ADDRNOTAVAIL = 4
    BADF = 8
    EXIST = 20
    INVAL = 28
    NOSYS = 52
    NOTSUP = 58
    PERM = 63
    NOTCAPABLE = 76
    AIADDRFAMILY = 77
    AIAGAIN = 78
    AIBADFLAG = 79
    AIFAIL = 80
    AIFAMILY = 81
    AIMEMORY = 82
    AINODATA = 83
    AINONAME = 84
    AISERVICE = 85
    AISOCKTYPE = 86
    AISYSTEM = 87


_ERRNO_NAMES = """
    SUCCESS 2BIG ACCES ADDRINUSE ADDRNOTAVAIL AFNOSUPPORT AGAIN ALREADY BADF BADMSG BUSY CANCELED CHILD CONNABORTED
    CONNREFUSED CONNRESET DEADLK DESTADDRREQ DOM DQUOT EXIST FAULT FBIG HOSTUNREACH IDRM ILSEQ INPROGRESS INTR INVAL
    IO ISCONN ISDIR LOOP MFILE MLINK MSGSIZE MULTIHOP NAMETOOLONG NETDOWN NETRESET NETUNREACH NFILE NOBUFS NODEV
    NOENT NOEXEC NOLCK NOLINK NOMEM NOMSG NOPROTOOPT NOSPC NOSYS NOTCONN NOTDIR NOTEMPTY NOTRECOVERABLE NOTSOCK
    NOTSUP NOTTY NXIO OVERFLOW OWNERDEAD PERM PIPE PROTO PROTONOSUPPORT PROTOTYPE RANGE ROFS SPIPE SRCH STALE
    TIMEDOUT TXTBSY XDEV
"""
HOST_ERRNO = {getattr(errno, f"E{name}"): number for number, name in enumerate(_ERRNO_NAMES.split()) if number} | {0: 0}
"""Linux's error numbers as WASI's: `fromErrNo`, linux.h:66-219. Other numbers have no defined result there."""

LOOKUP_ERRNO = {
    socket.EAI_ADDRFAMILY: Errno.AIADDRFAMILY,
    socket.EAI_AGAIN: Errno.AIAGAIN,
    socket.EAI_BADFLAGS: Errno.AIBADFLAG,
    socket.EAI_FAIL: Errno.AIFAIL,
    socket.EAI_FAMILY: Errno.AIFAMILY,
    socket.EAI_MEMORY: Errno.AIMEMORY,
    socket.EAI_NODATA: Errno.AINODATA,
    socket.EAI_NONAME: Errno.AINONAME,
    socket.EAI_SERVICE: Errno.AISERVICE,
    socket.EAI_SOCKTYPE: Errno.AISOCKTYPE,
    socket.EAI_SYSTEM: Errno.AISYSTEM,
}
"""`fromEAIErrNo`, linux.h:221-248."""


class WasiError(Exception):
    """A function of the host ends with this `__wasi_errno_t`."""

    def __init__(self, number: int) -> None:
        super().__init__(f"errno {number}")
        self.number = number


UNSPEC, INET4, INET6 = 0, 1, 2
"""`__wasi_address_family_t`, api.hpp:1689-1698. 3 is AF_UNIX, which `AllowAFUNIX`, wasifunc.cpp:363-373, refuses."""
FAMILIES: dict[int, int] = {UNSPEC: socket.AF_UNSPEC, INET4: socket.AF_INET, INET6: socket.AF_INET6}
WASI_FAMILIES = {host: wasi for wasi, host in FAMILIES.items()}

ANY, DGRAM, STREAM = 0, 1, 2
"""`__wasi_sock_type_t`, api.hpp:1809-1816."""
TYPES = {DGRAM: socket.SOCK_DGRAM, STREAM: socket.SOCK_STREAM}
WASI_TYPES = {int(host): wasi for wasi, host in TYPES.items()} | {0: ANY}

SOL_SOCKET = 0
"""`__wasi_sock_opt_level_t`, api.hpp:1717-1719: the only level; `cast`, wasifunc.cpp:303-312, refuses others."""
SO_TYPE, SO_ERROR = 1, 2
OPTIONS = (
    socket.SO_REUSEADDR,
    socket.SO_TYPE,
    socket.SO_ERROR,
    socket.SO_DONTROUTE,
    socket.SO_BROADCAST,
    socket.SO_SNDBUF,
    socket.SO_RCVBUF,
    socket.SO_KEEPALIVE,
    socket.SO_OOBINLINE,
    socket.SO_LINGER,
    socket.SO_RCVLOWAT,
    socket.SO_RCVTIMEO,
    socket.SO_SNDTIMEO,
    socket.SO_ACCEPTCONN,
    socket.SO_BINDTODEVICE,
)
"""`__wasi_sock_opt_so_t`, api.hpp:1724-1754, by position. No option of TCP is among them."""

RECV_PEEK, RECV_WAITALL = 1, 2
"""`__wasi_riflags_t`, api.hpp:1931-1942."""
RECV_DATA_TRUNCATED = 1
"""`__wasi_roflags_t`, api.hpp:1957."""


class LookupFlags(IntFlag):
    """`__wasi_aiflags_t`, api.hpp:1763-1800."""

    PASSIVE = 1
    CANONNAME = 2
    NUMERICHOST = 4
    NUMERICSERV = 8
    V4MAPPED = 16
    ALL = 32
    ADDRCONFIG = 64


PROTOCOLS = (socket.IPPROTO_IP, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
"""`__wasi_protocol_t`, api.hpp:1823-1830, by position."""

MAX_VECTORS = 1024
"""`kIOVMax`, environ.h:35."""
ADDRESS_BYTES = 128
"""`WasiAddrStorage`, environ.h:41-55: the family, two bytes, and then the address in network order."""

FIRST_SOCKET = 1 << 16
"""Descriptors are random in 0..2^31-1, `generateRandomFdToNode`, environ.h:1226-1236. Lower ones are wasmtime's."""


def wasi_errno(error: OSError) -> int:
    """The `__wasi_errno_t` of an error of this machine.

    Raises:
        LookupError: WasmEdge's result is undefined.
    """
    number = error.errno or 0
    if number not in HOST_ERRNO:
        raise LookupError(f"{errno.errorcode.get(number, number)}: fromErrNo has no case for it")
    return HOST_ERRNO[number]


def host_address(family: int, address: bytes, port: int) -> bytes:
    """The `sockaddr` of an address: `sockAddressAssignHelper`, inode-linux.cpp:961-995. Flow and scope are 0.

    Args:
        family: `INET4` or `INET6`.
        address: 4 or 16 bytes, or more, of which the rest is not looked at.
        port: The port.
    """
    if family == INET4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, address[:4])
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, address[:16], 0)


def stored_address(host: str, port: int, family: int) -> tuple[bytes, int]:
    """What is written to the 128 bytes, from its beginning, and the port."""
    return struct.pack("<H", family) + socket.inet_pton(FAMILIES[family], host.partition("%")[0]), port
