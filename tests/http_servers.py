"""A server of functions in a thread of its own, and clients that are as unruly as a test wants them."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from servers import free_port
from skylark.functions import REGISTRY
from skylark.http_application import Application
from skylark.http_server import HttpServer
from skylark.http_settings import ServerSettings, Settings
from skylark.http_transport import KeptConnection

_WAIT_S = 20.0


class Serving:
    """A server that runs. Its proxy does not: what needs state fails."""

    def __init__(self, settings: ServerSettings) -> None:
        self.logged: list[str] = []
        own = Settings.read({"SKYLARK_PROXY_URL": f"http://127.0.0.1:{free_port()}", "SKYLARK_NODE": "n1"}, REGISTRY)
        own = replace(own, max_body_bytes=settings.max_body_bytes)
        self.server = HttpServer(Application(own, KeptConnection, REGISTRY), settings, self.logged.append)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._listening = threading.Event()
        self._thread.start()
        assert self._listening.wait(_WAIT_S)

    def stop(self) -> None:
        """See `HttpServer.stop`."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(_WAIT_S)

    def begin_stop(self) -> None:
        """Begins to stop, and does not wait until it has."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_S)
        assert not self._thread.is_alive()

    def connect(self, timeout_s: float = _WAIT_S) -> "Client":
        return Client(self._port, timeout_s)

    def ask(self, request: bytes) -> "Reply":
        """Sends bytes on a connection of their own, and reads the answer."""
        with self.connect() as client:
            client.send(request)
            return client.reply()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        [url] = self._loop.run_until_complete(self.server.listen())
        self._port = int(url.rpartition(":")[2])
        self._listening.set()
        self._loop.run_forever()
        self._loop.close()


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Serving]:
    """Serves the functions that are registered, at a free port of loopback."""
    running = Serving(replace(ServerSettings(hosts=("127.0.0.1",), port=0), **settings))
    try:
        yield running
    finally:
        running.close()


class Reply:
    """What a server answered; the names of headers are in lower case."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.version, status, _ = first.split(" ", 2)
        self.status = int(status)
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Client:
    """One connection, of which a test has every byte in its hands."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._received = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, bodiless: bool = False) -> Reply:
        """The next answer.

        Args:
            bodiless: Whether it is the answer to a HEAD.
        """
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        reply = Reply(head, b"")
        size = 0 if bodiless else int(reply.headers.get("content-length", 0))
        parts, count = [rest], len(rest)
        while count < size:
            parts.append(self.socket.recv(1 << 20))
            assert parts[-1], "the connection ended in the midst of an answer"
            count += len(parts[-1])
        whole = b"".join(parts)
        reply.body, self._received = whole[:size], whole[size:]
        return reply

    def ended(self) -> bool:
        """Waits for the end of the connection; returns whether it ended without another byte."""
        try:
            return not self._received and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Ends the connection as one whose process was killed with data unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(1 << 16)
        assert data, f"the connection ended after {self._received[:200]!r}"
        self._received += data
