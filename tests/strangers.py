"""Something that is no proxy, at a node's address."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve these answers, the last one for ever; give the address, and the heads of the requests that came."""
    asked: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5.0)
                    asked.append(_head(connection))
                    connection.sendall(answers[min(len(asked), len(answers)) - 1])
                    # closing with something unread would reset the connection, and the answer would be lost
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 20):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _head(connection: socket.socket) -> bytes:
    """Read a whole request, whose body has a length if there is one; return its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(65536) or b" " * 65536
    return head
