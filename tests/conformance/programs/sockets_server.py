"""Sockets as a server of the test's clients: it accepts one after the other and tells what came."""

import contextlib
import hashlib
import select
import socket

from conformance.programs.record import attempt, say, tell


def main(arguments: list[str]) -> None:
    """The argument is the address to listen at."""
    host = arguments[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        say("not listening", _failed(server.accept))
        server.bind((host, 0))
        server.listen(8)
        say("name", [server.getsockname()[0] == host, server.getsockname()[1] > 0])
        attempt("recv from a listener", server.recv, 1)
        server.setblocking(False)
        attempt("nobody yet", server.accept)
        server.settimeout(0.05)
        attempt("nobody in time", server.accept)
        server.settimeout(None)
        tell("port", server.getsockname()[1])
        _echo(server)
        _sent_before(server)
        _digest(server)
        _gone(server)
        _several(server)
    attempt("accept when closed", server.accept)


def _failed(call: object) -> bool:
    try:
        call()  # type: ignore[operator]
    except OSError:
        return True
    return False


def _echo(server: socket.socket) -> None:
    opened, peer = server.accept()
    with opened:
        say("peer", [peer == opened.getpeername(), opened.getsockname() == server.getsockname()])
        say("blocking", [opened.getblocking(), server.getblocking()])
        while content := opened.recv(1000):
            opened.sendall(content.upper())
        say("the client stopped", content)
        opened.sendall(b"BYE")


def _sent_before(server: socket.socket) -> None:
    """The client has sent and closed before it is accepted."""
    tell("ready")
    select.select([server], [], [])
    opened, _ = server.accept()
    with opened:
        say("sent before", b"".join(iter(lambda: opened.recv(100), b"")))


def _digest(server: socket.socket) -> None:
    opened, _ = server.accept()
    with opened:
        content = b"".join(iter(lambda: opened.recv(65536), b""))
        say("received", [len(content), hashlib.sha256(content).hexdigest()])
        opened.sendall(content[::-1])


def _gone(server: socket.socket) -> None:
    """The client resets the connection while it is written to."""
    opened, _ = server.accept()
    with opened:
        say("first", opened.recv(100))
        opened.sendall(b"answer")
        attempt("the client is gone", opened.recv, 100)
        attempt("and cannot be sent to", _send_on, opened)


def _send_on(opened: socket.socket) -> None:
    for _ in range(100):
        opened.sendall(bytes(100_000))


def _several(server: socket.socket) -> None:
    """Eight clients at once, which are served as they come: nobody blocks the others."""
    server.setblocking(False)
    waiting, received, ended = [server], 0, 0
    while ended < 8:
        for ready in select.select(waiting, [], [])[0]:
            with contextlib.suppress(BlockingIOError):  # what is said to be ready may not be, as everywhere
                if ready is server:
                    opened, _ = server.accept()
                    opened.setblocking(False)
                    waiting.append(opened)
                elif content := ready.recv(1000):
                    ready.sendall(content)
                    received += len(content)
                else:
                    waiting.remove(ready)
                    ready.close()
                    ended += 1
    say("several", [received, len(waiting)])
