"""Requests to the node's proxy: the seam between what they mean (`http_backend`) and how they travel."""

import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from skylark import errors
from skylark.wire import Buffer


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
    """One connection in plain CPython, kept from request to request.

    Args:
        url: Whom the errors name.
        timeout_s: How long the server may send nothing.
    """

    def __init__(self, url: str, host: str, port: int, timeout_s: float) -> None:
        self._url = url
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        """See `Transport.exchange`."""
        fresh = self._connection.sock is None
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
        self._connection.close()

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        self._connection.request(method, path, body or None, dict(headers))
        response = self._connection.getresponse()
        data = response.read()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, data)
