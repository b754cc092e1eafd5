"""A day's worth of requests, one for each second, in a bounded loop: neither memory nor descriptors may grow.

The test measures the process from outside at two checkpoints: when the first tenth has been done, and at the end.
"""

import json
import socket
import time
from pathlib import Path

from conformance.programs.record import await_word, say, tell

_STATE_ENTRIES = 20


def main(arguments: list[str]) -> None:
    """The arguments are a folder, the peer's address and port, requests, and cycles of opening and closing."""
    root, host, port = Path(arguments[0]), arguments[1], int(arguments[2])
    requests, cycles = int(arguments[3]), int(arguments[4])
    answered, opened = _work(root, host, port, requests // 10, cycles // 10)
    _checkpoint("warm")
    more, closed = _work(root, host, port, requests - requests // 10, cycles - cycles // 10)
    _checkpoint("end")
    say("answered", answered + more)
    say("cycles", opened + closed)


def _work(root: Path, host: str, port: int, requests: int, cycles: int) -> tuple[int, int]:
    with socket.create_connection((host, port)) as peer:
        peer.sendall(b"echo\n")
        answered = sum(_request(peer, number) for number in range(requests))
    return answered, sum(_cycle(root, host, port, number) for number in range(cycles))


def _request(peer: socket.socket, number: int) -> bool:
    """One small request with some work around it, and its answer."""
    state = {f"key-{entry}": number + entry for entry in range(_STATE_ENTRIES)} if number % 50 == 0 else {}
    question = json.dumps({"second": number, "state": state}).encode()
    peer.sendall(question)
    answer = b""
    while len(answer) < len(question):
        answer += peer.recv(4096)
    return answer == question and time.monotonic() > 0


def _cycle(root: Path, host: str, port: int, number: int) -> bool:
    """Opens and closes a connection, a listener, a file and a folder."""
    with socket.create_connection((host, port)) as peer:
        peer.sendall(b"close\n")
        ended = peer.recv(10) == b""
    with socket.create_server((host, 0)) as server:
        listening = server.getsockname()[1] > 0
    path = root / f"file-{number % 7}"
    path.write_text(str(number))
    read = path.read_text() == str(number) and len(list(root.iterdir())) <= 7
    path.unlink()
    return ended and listening and read


def _checkpoint(name: str) -> None:
    tell("checkpoint", name)
    await_word()
