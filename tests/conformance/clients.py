"""What speaks to a program that is a server: clients of this machine."""

import hashlib
import http.client
import socket
import struct

from conformance.running import Found, Running

_LINES = 5


def visit(program: Running, host: str) -> Found:
    """The visits that the program `sockets_server` expects, one after the other, and what they saw."""
    address = host, int(program.told("port"))
    found: Found = [("echo", _echo(address))]
    program.told("ready")
    with socket.create_connection(address) as opened:
        opened.sendall(b"sent and closed")
    content = bytes(number % 255 for number in range(500_000))
    found.append(("reversed", _asked(address, content) == content[::-1]))
    _leave(address)
    found.append(("several", _several(address)))
    return found


def _echo(address: tuple[str, int]) -> list[str]:
    with socket.create_connection(address) as opened:
        opened.sendall(b"first")
        first = opened.recv(5, socket.MSG_WAITALL)
        opened.sendall(b"second")
        second = opened.recv(6, socket.MSG_WAITALL)
        opened.shutdown(socket.SHUT_WR)
        return [part.decode() for part in (first, second, _rest(opened))]


def _asked(address: tuple[str, int], content: bytes) -> bytes:
    with socket.create_connection(address) as opened:
        opened.sendall(content)
        opened.shutdown(socket.SHUT_WR)
        return _rest(opened)


def _leave(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as opened:
        opened.sendall(b"question")
        opened.recv(6, socket.MSG_WAITALL)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _several(address: tuple[str, int]) -> list[bool]:
    """Opens eight, and speaks first to the last."""
    opened = [socket.create_connection(address) for _ in range(8)]
    answers = []
    for number, each in reversed(list(enumerate(opened))):
        content = bytes([number]) * 500
        each.sendall(content)
        answers.append(each.recv(500, socket.MSG_WAITALL) == content)
    for each in opened:
        each.close()
    return answers


def _rest(opened: socket.socket) -> bytes:
    return b"".join(iter(lambda: opened.recv(1 << 16), b""))


def hundred(program: Running, host: str, clients: int) -> Found:
    """Opens all connections, then speaks to all by turns, the last first; each says five lines."""
    address = host, int(program.told("port"))
    opened = [socket.create_connection(address) for _ in range(clients)]
    right = 0
    for turn in range(_LINES):
        for number, each in reversed(list(enumerate(opened))):
            each.sendall(f"client {number}, line {turn}\n".encode())
        right += sum(_line(each) == f"{turn} client {number}, line {turn}" for number, each in enumerate(opened))
    for each in opened:
        each.shutdown(socket.SHUT_WR)
    ended = sum(_rest(each) == b"" for each in opened)
    for each in opened:
        each.close()
    return [("right", right), ("ended", ended)]


def _line(opened: socket.socket) -> str:
    content = b""
    while not content.endswith(b"\n"):
        content += opened.recv(1) or b"\n"
    return content.decode().strip()


def browse(program: Running, host: str) -> Found:
    """Three connections to the HTTP server of `http_both`: with several requests, with a body, with an empty one."""
    port = int(program.told("port"))
    found: Found = []
    for paths in (["/one", "/two?x=%20", "/three"], ["/"]):
        connection = http.client.HTTPConnection(host, port, timeout=600)
        for path in paths:
            connection.request("GET", path, headers={"X-Own": "ü".encode()})
            answer = connection.getresponse()
            found.append((path, [answer.status, answer.read().decode()]))
        connection.close()
    body = bytes(range(256)) * 10_000
    connection = http.client.HTTPConnection(host, port, timeout=600)
    connection.request("POST", "/", body)
    found.append(("POST", connection.getresponse().read().decode() == hashlib.sha256(body).hexdigest()))
    connection.close()
    return found
