"""Requests to the node's proxy: the seam between what they mean (`http_backend`) and how they travel."""

import contextlib
import http.client
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from skylark import errors
from skylark.wire import Buffer, joined


@dataclass(frozen=True)
class Reply:
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Buffer


class Transport(Protocol):
    """Sends requests to one server. Nothing is retried but a request on a kept connection that had been closed."""

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        """Sends one request, its body part by part, and waits for the whole answer.

        Raises:
            Unavailable: The server cannot be reached.
            TimedOut: It does not answer in time.
        """
        ...

    def close(self) -> None:
        """Closes what is kept open; the next request opens it anew."""
        ...


class KeptConnection:
    """One connection over a socket, kept from request to request.

    Args:
        url: Whom the errors name.
        timeout_s: How long the server may send or take nothing.
    """

    def __init__(self, url: str, host: str, port: int, timeout_s: float) -> None:
        self._url = url
        self._address = (host, port)
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        """See `Transport.exchange`."""
        fresh = self._socket is None
        try:
            return self._send(method, path, headers, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if fresh:
                raise errors.Unavailable(f"the proxy at {self._url} closed the connection") from error
            return self.exchange(method, path, headers, body)
        except TimeoutError as error:
            self.close()
            raise errors.TimedOut(f"the proxy at {self._url} does not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise errors.Unavailable(f"the proxy at {self._url} cannot be reached: {error}") from error

    def close(self) -> None:
        """See `Transport.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        connection = self._connected()
        whole = self._sent(connection, [self._head(method, path, headers), *body])
        with http.client.HTTPResponse(connection, method=method) as response:
            response.begin()
            data = response.read()
        if response.will_close or not whole:
            self.close()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, data)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            with contextlib.suppress(OSError):  # not every sandbox can say so
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _sent(self, connection: socket.socket, parts: Iterable[Buffer]) -> bool:
        """Sends parts, small ones in one write: in two, a sandbox without TCP_NODELAY waits 40 ms between them.

        Returns:
            Whether the server took all: one that answers before it has the whole body has its reasons.
        """
        try:
            for part in joined(parts):
                connection.sendall(part)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
