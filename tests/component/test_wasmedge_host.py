"""The test host gives what WasmEdge gives, by the numbers and layouts of WasmEdge's headers."""

import errno
import select
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import Config, Engine, Limits, Memory, MemoryType, Store, wat2wasm

from wasmedge_host import abi, run
from wasmedge_host.abi import Errno, WasiError
from wasmedge_host.clocks import Clocks
from wasmedge_host.descriptors import Descriptors
from wasmedge_host.lookup import Lookup
from wasmedge_host.memory import GuestMemory
from wasmedge_host.polling import Polling
from wasmedge_host.sockets import Sockets
from wasmedge_host.streams import Streams

ADDRESS, BUFFER, RESULT, PORT, VECTOR, DATA, EVENTS = 0, 64, 256, 264, 272, 512, 2048
INET4, INET6, DGRAM, STREAM = 1, 2, 1, 2


class Host:
    """The parts of the host over a memory of one page, without a module."""

    def __init__(self) -> None:
        store = Store(Engine(Config()))
        self.memory = GuestMemory(store)
        self.memory.attach(Memory(store, MemoryType(Limits(1, None))))
        self.descriptors = Descriptors()
        self.sockets = Sockets(self.memory, self.descriptors)
        self.polling = Polling(self.memory, self.descriptors)
        self.streams = Streams(self.memory, self.descriptors, self.polling.forget)
        self.lookup = Lookup(self.memory)
        self.clocks = Clocks(self.memory)

    def opened(self, kind: int = STREAM, family: int = INET4) -> int:
        """A new socket."""
        self.sockets.sock_open_v2(family, kind, RESULT)
        return int(self.memory.read("<I", RESULT))

    def address(self, content: bytes) -> int:
        """A `__wasi_address_t` for an address."""
        self.memory.put(BUFFER, content)
        self.memory.write("<II", ADDRESS, BUFFER, len(content))
        return ADDRESS

    def room(self) -> int:
        """A `__wasi_address_t` with 128 bytes to be filled in."""
        return self.address(bytes(128))

    def bound(self, kind: int = STREAM) -> tuple[int, int]:
        """A socket that is bound to 127.0.0.1, and its port."""
        fd = self.opened(kind)
        self.sockets.sock_bind_v2(fd, self.address(bytes([127, 0, 0, 1])), 0)
        self.sockets.sock_getlocaladdr_v2(fd, self.room(), PORT)
        return fd, self.memory.read("<I", PORT)

    def vector(self, size: int) -> int:
        """One `__wasi_iovec_t` over the data."""
        self.memory.write("<II", VECTOR, DATA, size)
        return VECTOR

    def poll(self, *subscriptions: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """Waits for kinds of events of descriptors: user data, error, kind and size of those that happened."""
        for index, (kind, fd) in enumerate(subscriptions):
            self.memory.write("<QB7xI28x", DATA + index * 48, 100 + index, kind, fd)
        self.polling.poll_oneoff(DATA, EVENTS, len(subscriptions), RESULT)
        count = self.memory.read("<I", RESULT)
        events = [self.memory.read("<QHB5xQ", EVENTS + index * 32) for index in range(count)]
        return [(data, error, kind, size) for data, error, kind, size in events]


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    for number in made.descriptors.numbers():
        made.streams.fd_close(number)
    made.polling.close()


_NUMBERS = {"E2BIG": 1, "EAGAIN": 6, "EBADF": 8, "ECONNREFUSED": 14, "ECONNRESET": 15, "EINPROGRESS": 26}
_NUMBERS |= {"EISCONN": 30, "ENETUNREACH": 40, "ENOTCONN": 53, "EPIPE": 64, "ETIMEDOUT": 73, "EXDEV": 75}


@pytest.mark.parametrize("name", _NUMBERS)
def test_errors_have_the_numbers_of_the_header(name: str) -> None:
    """An errno of Linux becomes the number that api.hpp:119-503 has for it."""
    assert abi.wasi_errno(OSError(getattr(errno, name), "")) == _NUMBERS[name]


def test_an_error_that_wasmedge_has_no_case_for_ends_the_program() -> None:
    """`fromErrNo` is undefined for some errors of sockets: no number is made up for them."""
    with pytest.raises(LookupError, match="ESHUTDOWN"):
        abi.wasi_errno(OSError(errno.ESHUTDOWN, ""))


def test_an_address_has_its_family_first(host: Host) -> None:
    """The 128 bytes hold the family, little endian, and then the address: `WasiAddrStorage`, environ.h:41-55."""
    fd = host.opened()
    host.sockets.sock_bind_v2(fd, host.address(bytes([127, 0, 0, 1])), 0)
    host.sockets.sock_getlocaladdr_v2(fd, host.room(), PORT)
    assert host.memory.bytes_at(BUFFER, 6) == bytes([INET4, 0, 127, 0, 0, 1])
    assert host.memory.read("<I", PORT) == host.descriptors.opened(fd).getsockname()[1]


def test_an_address_is_taken_in_three_sizes(host: Host) -> None:
    """4 bytes are IPv4, 16 are IPv6, 128 say it themselves; other sizes are invalid: wasifunc.cpp:2849-2866."""
    host.sockets.sock_bind_v2(host.opened(), host.address(bytes([127, 0, 0, 1])), 0)
    host.sockets.sock_bind_v2(host.opened(family=INET6), host.address(bytes(15) + b"\1"), 0)
    host.sockets.sock_bind_v2(host.opened(family=INET6), host.address(b"\2\0" + bytes(15) + b"\1" + bytes(110)), 0)
    with pytest.raises(WasiError) as refused:
        host.sockets.sock_bind_v2(host.opened(), host.address(bytes(5)), 0)
    assert refused.value.number == 28


def test_the_system_judges_an_address_of_another_family(host: Host) -> None:
    """An address of IPv6 reaches the system even for a socket of IPv4, which refuses it."""
    with pytest.raises(OSError, match="not supported by protocol"):
        host.sockets.sock_connect_v2(host.opened(), host.address(bytes(15) + b"\1"), 9)


def test_the_port_of_a_datagram_is_in_network_order(host: Host) -> None:
    """`sock_recv_from_v2` leaves the port as it is in the `sockaddr`: inode-linux.cpp:1119-1121."""
    receiver, port = host.bound(DGRAM)
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"datagram", ("127.0.0.1", port))
        sent_from = sender.getsockname()[1]
        host.sockets.sock_recv_from_v2(receiver, host.vector(4), 1, host.room(), 0, PORT, RESULT, RESULT + 4)
    assert struct.unpack("!H", host.memory.bytes_at(PORT, 2)) == (sent_from,)
    assert host.memory.bytes_at(BUFFER, 6) == bytes([INET4, 0, 127, 0, 0, 1])
    assert host.memory.bytes_at(DATA, 5) == b"data\0"
    assert host.memory.read("<IH", RESULT) == (4, 1), "cut off, and said so: __WASI_ROFLAGS_RECV_DATA_TRUNCATED"


def test_so_error_is_a_number_of_wasi(host: Host) -> None:
    """The error of a socket is translated, and is gone once it has been read: inode-linux.cpp:1243-1249."""
    nobody, port = host.bound()
    fd = host.opened(DGRAM)
    host.sockets.sock_connect_v2(fd, host.address(bytes([127, 0, 0, 1])), port)
    host.sockets.sock_send_v2(fd, host.vector(1), 1, 0, RESULT)
    refusal = select.poll()
    refusal.register(host.descriptors.opened(fd), 0)
    assert refusal.poll(5000), "nobody has that port for datagrams"
    for expected in (14, 0):
        host.memory.write("<II", RESULT, 99, 4)
        host.sockets.sock_getsockopt(fd, 0, 2, RESULT, RESULT + 4)
        assert host.memory.read("<II", RESULT) == (expected, 4)
    assert nobody in host.descriptors


@pytest.mark.parametrize(("level", "name"), [(1, 0), (6, 1), (0, 15)])
def test_other_options_are_invalid(host: Host, level: int, name: int) -> None:
    """There is one level, and options 0 to 14: wasifunc.cpp:303-340. TCP_NODELAY is not among them."""
    with pytest.raises(WasiError) as refused:
        host.sockets.sock_setsockopt(host.opened(), level, name, DATA, 4)
    assert refused.value.number == 28


def test_descriptors_are_large_and_random(host: Host) -> None:
    """Nobody can take a descriptor for an index: environ.h:1226-1236."""
    numbers = [host.opened() for _ in range(50)]
    assert len(set(numbers)) == 50
    assert all(abi.FIRST_SOCKET <= number < 1 << 31 for number in numbers)
    assert numbers != sorted(numbers)


def test_a_socket_has_its_rights(host: Host) -> None:
    """Its file type is 6 and it blocks; its rights are those of vinode.cpp:303-310, without FD_FILESTAT_GET."""
    fd = host.opened()
    host.streams.fd_fdstat_get(fd, DATA)
    assert host.memory.read("<BxH4xQQ", DATA) == (6, 0, 0xFF800004A, 0xFF800004A)
    with pytest.raises(WasiError) as refused:
        host.streams.fd_filestat_get(fd, DATA)
    assert refused.value.number == Errno.NOTCAPABLE


def test_what_is_closed_is_gone(host: Host) -> None:
    """A closed descriptor is BADF for every function."""
    fd = host.opened()
    host.streams.fd_close(fd)
    with pytest.raises(WasiError) as refused:
        host.streams.fd_close(fd)
    assert refused.value.number == 8
    with pytest.raises(WasiError) as refused:
        host.sockets.sock_listen_v2(fd, 1)
    assert refused.value.number == 8
    assert len(host.descriptors) == 0


def test_a_misaligned_pointer_is_an_error(host: Host) -> None:
    """Pointers have the alignment of their types, else ADDRNOTAVAIL: wasifunc.cpp:375-377."""
    with pytest.raises(WasiError) as refused:
        host.sockets.sock_open_v2(INET4, STREAM, RESULT + 2)
    assert refused.value.number == 4


def test_a_datagram_can_be_waited_for(host: Host) -> None:
    """A socket is writable at once and readable when something came; the size is 1: inode-linux.cpp:1857-1867."""
    fd, port = host.bound(DGRAM)
    assert [(data, error, kind) for data, error, kind, _ in host.poll((1, fd), (2, fd))] == [(101, 0, 2)]
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"datagram", ("127.0.0.1", port))
    assert host.poll((1, fd)) == [(100, 0, 1, 1)]


def test_a_descriptor_can_be_waited_for_once(host: Host) -> None:
    """The second subscription for the same direction gets EXIST: inode-linux.cpp:1718-1722."""
    fd, _ = host.bound(DGRAM)
    events = host.poll((2, fd), (2, fd))
    assert [(data, error) for data, error, _, _ in events] == [(100, 0), (101, 20)]


def test_a_new_socket_is_waited_for_after_an_old_one(host: Host) -> None:
    """The number that this machine gives again is not taken for the socket that was closed: environ.h:1305-1310."""
    for _ in range(3):
        fd, _ = host.bound(DGRAM)
        assert [error for _, error, _, _ in host.poll((2, fd))] == [0]
        host.streams.fd_close(fd)


def test_a_file_is_not_waited_for(host: Host) -> None:
    """The event of a file carries PERM, and the wait goes on; without another event it would never end."""
    fd, _ = host.bound(DGRAM)
    assert [(data, error) for data, error, _, _ in host.poll((1, 5), (2, fd))] == [(100, 63), (101, 0)]
    with pytest.raises(RuntimeError, match="for ever"):
        host.poll((1, 5))


@pytest.mark.parametrize(("clock", "flags"), [(0, 1), (1, 1), (1, 0)])
def test_a_time_is_waited_for_by_the_clock_that_the_guest_reads(host: Host, clock: int, flags: int) -> None:
    """A moment on a clock, or some time from now, has come when the wait ends, and not long after."""
    host.clocks.clock_time_get(clock, 0, RESULT)
    began = host.memory.read("<Q", RESULT)
    moment = 30_000_000 + (began if flags else 0)
    host.memory.write("<QB7xIxxxxQQH6x", DATA, 7, 0, clock, moment, 0, flags)
    host.polling.poll_oneoff(DATA, EVENTS, 1, PORT)
    host.clocks.clock_time_get(clock, 0, RESULT)
    assert host.memory.read("<QHB", EVENTS) == (7, 0, 0)
    assert 30_000_000 <= host.memory.read("<Q", RESULT) - began < 5_000_000_000


def test_an_error_alone_ends_a_wait_without_an_event(host: Host) -> None:
    """EPOLLERR is no event for WasmEdge, inode-linux.cpp:1893-1911: the guest has to look why it was woken."""
    _, port = host.bound()
    fd = host.opened(DGRAM)
    host.sockets.sock_connect_v2(fd, host.address(bytes([127, 0, 0, 1])), port)
    host.sockets.sock_send_v2(fd, host.vector(1), 1, 0, RESULT)
    assert host.poll((1, fd)) == []


def test_a_name_is_looked_up(host: Host) -> None:
    """The results are in the guest's chain, each with port and address in network order: inode-linux.cpp:866-889."""
    host.memory.put(DATA, b"127.0.0.1" + b"80")
    hints, chain, entry, target, data = 600, 640, 644, 680, 700
    host.memory.write("<HBBI20x", hints, 0, 0, STREAM, 1)
    host.memory.write("<I", chain, entry)
    host.memory.write("<12xIIII", entry, target, 0, 0, 0)
    host.memory.write("<B3xII", target, 0, 26, data)
    host.lookup.sock_getaddrinfo(DATA, 9, DATA + 9, 2, hints, chain, 1, RESULT)
    assert host.memory.read("<I", RESULT) == 1
    assert host.memory.read("<HBBII", entry) == (0, INET4, STREAM, 1, 16)
    assert host.memory.read("<B3xI", target) == (INET4, 14)
    assert host.memory.bytes_at(data, 6) == b"\0\x50\x7f\0\0\1"


_MODULE = """
(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "made\\00\\00\\00\\00content")
    (data (i32.const 32) "\\08\\00\\00\\00\\07\\00\\00\\00")
    (func (export "_start")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1)
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 48)))
        (drop (call $write (i32.load (i32.const 48)) (i32.const 32) (i32.const 1) (i32.const 52)))
        (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 52)))
        (call $exit (i32.add (i32.mul (i32.const 10) (call $close (i32.load (i32.const 48))))
            (call $close (i32.const 99999))))))
"""


def test_files_and_streams_go_to_those_who_know_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file is written by wasmtime, standard output by the host; a descriptor that nobody has is BADF."""
    module = tmp_path / "module.wasm"
    module.write_bytes(wat2wasm(_MODULE))
    before = signal.getsignal(signal.SIGPIPE)
    try:
        code = run(module, [], {}, {"/": tmp_path}, tmp_path / "cache")
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert code == 8
    assert (tmp_path / "made").read_bytes() == b"content"
    assert capfd.readouterr().out == "content"
    assert len(list((tmp_path / "cache").iterdir())) == 1
