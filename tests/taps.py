"""A tap on the way from a node to another one."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Tap:
    """Stands between a node and a peer, records what the node sends, and changes it if a test says how."""

    target: str
    change: Callable[[bytes], bytes] = lambda data: data
    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    recorded: bytes = b""
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self) -> str:
        host, port = self.server.getsockname()
        return f"{host}:{port}"

    def run(self) -> None:
        """Serves until the server socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                host, port = self.target.split(":")
                far = socket.create_connection((host, int(port)))
                for source, target, is_request in ((near, far, True), (far, near, False)):
                    self.threads.append(threading.Thread(target=self._pump, args=(source, target, is_request)))
                    self.threads[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_request:
                    self.recorded += data
                    data = self.change(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
