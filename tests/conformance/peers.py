"""What the programs speak to: servers of this machine that do what the first line of a connection says."""

import contextlib
import hashlib
import http.server
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ADDRESSES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the servers are.

    Attributes:
        host: The address of all of them.
        port: The server that does what it is told.
        datagrams: The one that sends datagrams back.
        nobody: A port where nobody listens: it is bound, so that nobody else gets it.
    """

    host: str
    port: int
    datagrams: int
    nobody: int


@contextlib.contextmanager
def peer(family: int = socket.AF_INET) -> Iterator[Peer]:
    """Runs the servers at the loopback address of a family."""
    host = ADDRESSES[socket.AddressFamily(family)]
    server, datagrams, nobody = (
        socket.create_server((host, 0), family=family, backlog=200),
        socket.socket(family, socket.SOCK_DGRAM),
        socket.socket(family),
    )
    datagrams.bind((host, 0))
    nobody.bind((host, 0))
    opened = (server, datagrams, nobody)
    with contextlib.ExitStack() as stack:
        for each in opened:
            stack.enter_context(each)
        stack.enter_context(_thread(_accept, server))
        stack.enter_context(_thread(_send_back, datagrams))
        yield Peer(host, *(each.getsockname()[1] for each in opened))


@contextlib.contextmanager
def _thread(serve: Callable[[socket.socket, socket.socket], None], server: socket.socket) -> Iterator[None]:
    """Runs a server in a thread, which ends when the other end of a pair is closed."""
    end, ending = socket.socketpair()
    thread = threading.Thread(target=serve, args=(server, ending))
    thread.start()
    try:
        yield
    finally:
        end.close()
        thread.join()
        ending.close()


def _accept(server: socket.socket, ending: socket.socket) -> None:
    threads: list[threading.Thread] = []
    while ending not in select.select([server, ending], [], [])[0]:
        opened, _ = server.accept()
        thread = threading.Thread(target=_serve, args=(opened, ending), daemon=True)
        thread.start()
        threads = [each for each in threads if each.is_alive()] + [thread]
    for thread in threads:
        thread.join(10)


def _serve(opened: socket.socket, ending: socket.socket) -> None:
    with opened, contextlib.suppress(ConnectionError):
        command = b""
        while not command.endswith(b"\n"):
            if not (read := opened.recv(1)):
                return
            command += read
        name, *arguments = command.decode().split()
        _COMMANDS[name](opened, ending, *arguments)


def _echo(opened: socket.socket, ending: socket.socket) -> None:
    buffer = memoryview(bytearray(1 << 18))
    while received := opened.recv_into(buffer):
        opened.sendall(buffer[:received])


def _digest(opened: socket.socket, ending: socket.socket) -> None:
    digest = hashlib.sha256()
    while content := opened.recv(1 << 18):
        digest.update(content)
    opened.sendall(digest.hexdigest().encode())


def _source(opened: socket.socket, ending: socket.socket, size: str) -> None:
    opened.sendall(bytes(number % 253 for number in range(int(size))))


def _close(opened: socket.socket, ending: socket.socket) -> None:
    pass


def _reset(opened: socket.socket, ending: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _answer_and_reset(opened: socket.socket, ending: socket.socket, *rest: str) -> None:
    opened.sendall(b"answer")
    opened.recv(2, socket.MSG_WAITALL)
    _reset(opened, ending)


def _silent(opened: socket.socket, ending: socket.socket) -> None:
    """Reads, and says nothing, until the client closes."""
    while ending not in select.select([opened, ending], [], [])[0]:
        if not opened.recv(1 << 16):
            return


def _full(opened: socket.socket, ending: socket.socket) -> None:
    """Does not read until another connection says `drain` and the port of the one that is not read."""
    port = opened.getpeername()[1]
    _DRAINED.setdefault(port, threading.Event()).wait(600)
    del _DRAINED[port]
    while opened.recv(1 << 18):
        pass


def _drain(opened: socket.socket, ending: socket.socket, port: str) -> None:
    _DRAINED.setdefault(int(port), threading.Event()).set()


def _name(opened: socket.socket, ending: socket.socket) -> None:
    host, port = opened.getpeername()[:2]
    opened.sendall(f"{host} {port}".encode())


_DRAINED: dict[int, threading.Event] = {}
_COMMANDS: dict[str, Callable[..., None]] = {
    "echo": _echo,
    "digest": _digest,
    "source": _source,
    "close": _close,
    "reset": _reset,
    "answer": _answer_and_reset,
    "silent": _silent,
    "full": _full,
    "drain": _drain,
    "name": _name,
}


def _send_back(server: socket.socket, ending: socket.socket) -> None:
    while ending not in select.select([server, ending], [], [])[0]:
        content, address = server.recvfrom(1 << 16)
        server.sendto(content, address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the handler of the program `http_both`, and with 404 for `/missing`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self._answer(404, b"nothing here")
        else:
            self._answer(200, json.dumps({"path": self.path, "own": self.headers.get("X-Own")}).encode())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, hashlib.sha256(content).hexdigest().encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def http_peer() -> Iterator[int]:
    """Runs an HTTP server at 127.0.0.1, and gives its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
