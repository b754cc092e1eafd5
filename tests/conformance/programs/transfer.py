"""50 MB through a socket, both ways at once, with SHA-256."""

import contextlib
import hashlib
import select
import socket

from conformance.programs.record import say

_CHUNK = 65536


def main(arguments: list[str]) -> None:
    """The arguments are the peer's address and port and the bytes to send; the peer sends back what it gets."""
    size = int(arguments[2])
    with socket.create_connection((arguments[0], int(arguments[1]))) as opened:
        opened.sendall(b"echo\n")
        opened.setblocking(False)
        sent, received = _exchange(opened, size)
    say("sent", [size, sent])
    say("came back", sent == received)


def _exchange(opened: socket.socket, size: int) -> tuple[str, str]:
    """Sends a pattern, and reads it again as it comes."""
    out, back = hashlib.sha256(), hashlib.sha256()
    pattern = memoryview(bytes(number * 7 % 251 for number in range(251)) * (_CHUNK // 251 + 2))
    buffer = memoryview(bytearray(_CHUNK))
    sent = received = 0
    while received < size:
        readable, writable, _ = select.select([opened], [opened] if sent < size else [], [])
        with contextlib.suppress(BlockingIOError):
            if writable:
                piece = pattern[sent % 251 :][: min(_CHUNK, size - sent)]
                done = opened.send(piece)
                out.update(piece[:done])
                sent += done
                if sent == size:
                    opened.shutdown(socket.SHUT_WR)
        with contextlib.suppress(BlockingIOError):
            if readable:
                done = opened.recv_into(buffer)
                if not done:
                    raise ConnectionError(f"ended after {received} bytes")
                back.update(buffer[:done])
                received += done
    return out.hexdigest(), back.hexdigest()
