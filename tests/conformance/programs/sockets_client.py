"""Sockets as a client of the test's peer, which does what the first line of a connection says; see `peers.py`."""

import hashlib
import select
import socket

from conformance.programs.record import attempt, name_of, outcome, say

_BLOCK = b"0123456789abcdef" * 4096


def main(arguments: list[str]) -> None:
    """The arguments are the peer's address, its TCP port, its UDP port and a port where nobody listens."""
    host, port, datagrams, nobody = arguments[0], int(arguments[1]), int(arguments[2]), int(arguments[3])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    _Client(family, host, port).run()
    _refused(family, host, nobody)
    _datagrams(family, host, datagrams)
    _refused_datagrams(family, host, nobody)


class _Client:
    def __init__(self, family: int, host: str, port: int) -> None:
        self._family, self._address = family, (host, port)

    def _ask(self, command: str) -> socket.socket:
        opened = socket.create_connection(self._address)
        opened.sendall(command.encode() + b"\n")
        return opened

    def run(self) -> None:
        """All that can happen to a connection that was made."""
        self._echoed()
        self._half_closed()
        self._ended()
        self._waited()
        self._not_blocking()
        self._names()
        self._pieces()

    def _echoed(self) -> None:
        with self._ask("echo") as opened:
            opened.sendall(b"hello")
            say("echo", opened.recv(100))
            opened.sendall(b"")
            attempt("nothing received", opened.recv, 0)
            opened.sendall(b"first")
            opened.send(b"second")
            say("both", _exactly(opened, 11))
            buffer = bytearray(8)
            opened.sendall(b"12345678")
            say("recv_into", [_exactly_into(opened, buffer), buffer])
            opened.shutdown(socket.SHUT_WR)
            say("the end", opened.recv(10))
        attempt("recv when closed", opened.recv, 1)
        attempt("send when closed", opened.send, b"x")
        say("fileno when closed", opened.fileno())

    def _half_closed(self) -> None:
        with self._ask("digest") as opened:
            for _ in range(32):
                opened.sendall(_BLOCK)
            opened.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: opened.recv(4096), b""))
            say("digest after the half close", answer.decode() == hashlib.sha256(_BLOCK * 32).hexdigest())
            attempt("send after shutdown", opened.send, b"x")
        with self._ask("echo") as opened:
            attempt("shutdown both", opened.shutdown, socket.SHUT_RDWR)
            say("read after shutdown", outcome(opened.recv, 1))
        with self._ask("echo") as opened:
            opened.sendall(b"x")
            say("before", opened.recv(1))
            attempt("shutdown reading", opened.shutdown, socket.SHUT_RD)
            say("read after shutting reading", outcome(opened.recv, 1))

    def _ended(self) -> None:
        with self._ask("close") as opened:
            say("closed by the peer", [opened.recv(100), opened.recv(100)])
        with self._ask("reset") as opened:
            attempt("reset by the peer", opened.recv, 100)
            say("after the reset", outcome(opened.recv, 100))
            attempt("send after the reset", opened.send, b"x")
        with self._ask("answer and reset") as opened:
            say("answer before the reset", _exactly(opened, 6))
            opened.sendall(b"go")
            attempt("then the reset", opened.recv, 100)

    def _waited(self) -> None:
        with self._ask("silent") as opened:
            opened.settimeout(0.1)
            attempt("timed out", opened.recv, 100)
            say("timeout", opened.gettimeout())
            say("readable", select.select([opened], [], [], 0.05)[0] != [])
            say("writable", select.select([], [opened], [], 0.05)[1] == [opened])
            opened.settimeout(None)
        with self._ask("echo") as opened:
            opened.settimeout(5)
            opened.sendall(b"in time")
            say("in time", _exactly(opened, 7))
        with self._ask("full") as opened:
            opened.settimeout(0.1)
            say("peer does not read", outcome(_fill, opened))
            self._drain(opened)

    def _not_blocking(self) -> None:
        with self._ask("silent") as opened:
            opened.setblocking(False)
            attempt("would block", opened.recv, 100)
            say("blocking", [opened.getblocking(), opened.gettimeout()])
        with self._ask("full") as opened:
            opened.setblocking(False)
            say("send would block", outcome(_fill, opened))
            self._drain(opened)
        with socket.socket(self._family) as opened:
            opened.setblocking(False)
            opened.connect_ex(self._address)  # done at once, or under way
            say("connected", select.select([], [opened], [], 5)[1] == [opened])
            say("SO_ERROR", opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            opened.setblocking(True)
            opened.sendall(b"echo\nabc")
            say("then", _exactly(opened, 3))
        with self._ask("echo") as opened:
            poll = select.poll()
            poll.register(opened, select.POLLIN | select.POLLOUT)
            say("poll writes", _events(poll, 1000, select.POLLOUT))
            opened.sendall(b"x")
            poll.modify(opened, select.POLLIN)
            say("poll reads", _events(poll, 5000, select.POLLIN))
            poll.unregister(opened)
            say("poll nothing", poll.poll(10))

    def _drain(self, opened: socket.socket) -> None:
        """Lets the peer read what it has not: closing may wait for that."""
        self._ask(f"drain {opened.getsockname()[1]}").close()

    def _names(self) -> None:
        with self._ask("name") as opened:
            seen = b"".join(iter(lambda: opened.recv(100), b"")).decode().split()
            own = opened.getsockname()
            say("the peer sees", seen == [own[0], str(own[1])])
            say("getpeername", opened.getpeername()[:2] == self._address)
            say("family", [opened.family == self._family, opened.type == socket.SOCK_STREAM])
            attempt("connect again", opened.connect, self._address)

    def _pieces(self) -> None:
        with self._ask("echo") as opened:
            file = opened.makefile("rwb")
            file.write(b"one\ntwo\nthree")
            file.flush()
            say("readline", [file.readline(), file.readline(), file.read(5)])
            file.close()
        with self._ask("source 300000") as opened:
            content = b"".join(iter(lambda: opened.recv(65536), b""))
            say("received", [len(content), hashlib.sha256(content).hexdigest()])
        with self._ask("source 100000") as opened:
            opened.settimeout(5)
            received = 0
            while content := opened.recv(50_000_000):
                received += len(content)
            say("with a large buffer", received)
        with self._ask("digest") as opened:
            content = bytes(20_000_000)
            opened.sendall(content)
            opened.shutdown(socket.SHUT_WR)
            say("20 MB at once", _exactly(opened, 64).decode() == hashlib.sha256(content).hexdigest())
        with self._ask("echo") as opened:
            opened.sendall(b"peeked")
            say("peek", outcome(opened.recv, 3, socket.MSG_PEEK))
            say("waitall", outcome(opened.recv, 6, socket.MSG_WAITALL))


def _refused(family: int, host: str, nobody: int) -> None:
    with socket.socket(family) as opened:
        attempt("refused", opened.connect, (host, nobody))
    with socket.socket(family) as opened:
        opened.setblocking(False)
        opened.connect_ex((host, nobody))
        select.select([], [opened], [], 5)
        say("refused, not blocking", name_of(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        say("asked again", opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    with socket.socket(family) as opened:
        say("connect_ex", name_of(opened.connect_ex((host, nobody))))
    attempt("create_connection", lambda: socket.create_connection((host, nobody), timeout=5))


def _datagrams(family: int, host: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        attempt("sendto", opened.sendto, b"datagram", (host, port))
        answer, peer = opened.recvfrom(100)
        say("recvfrom", [answer, peer[:2] == (host, port)])
        opened.sendto(b"long datagram", (host, port))
        say("cut off", opened.recv(4))
        opened.sendto(b"next", (host, port))
        say("the next one", opened.recv(100))
        opened.sendto(b"", (host, port))
        say("an empty one", opened.recvfrom(100)[0])
        opened.connect((host, port))
        say("connected", opened.getpeername()[:2] == (host, port))
        attempt("send", opened.send, b"connected")
        say("answer", opened.recv(100))
        opened.settimeout(0.05)
        attempt("nothing comes", opened.recv, 100)
        opened.setblocking(False)
        attempt("would block", opened.recv, 100)
        attempt("too long", opened.send, bytes(70_000))


def _refused_datagrams(family: int, host: str, nobody: int) -> None:
    """An error that comes back is waited for, and ends the wait."""
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        opened.connect((host, nobody))
        attempt("a datagram to nobody", opened.send, b"x")
        attempt("comes back as an error", opened.recv, 100)


def _exactly(opened: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size and (piece := opened.recv(size - len(content))):
        content += piece
    return content


def _exactly_into(opened: socket.socket, buffer: bytearray) -> int:
    received, view = 0, memoryview(buffer)
    while received < len(buffer):
        received += opened.recv_into(view[received:])
    return received


def _fill(opened: socket.socket) -> str:
    """Sends until the peer, which does not read, stops it; at most 100 MB."""
    for _ in range(1600):
        opened.sendall(_BLOCK)
    return "never"


def _events(poll: "select.poll", timeout_ms: int, wanted: int) -> bool:
    return [event & wanted for _, event in poll.poll(timeout_ms)] == [wanted]
