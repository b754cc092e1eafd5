"""State over HTTP: how a function that runs outside the proxy's sandbox reaches its node's proxy."""

import contextlib
import http.client
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from skylark import errors, wire
from skylark.state import Bundle, Placement, Policy, Stored

DEFAULT_URL = "http://127.0.0.1:30002"


class HttpBackend:
    """State at a proxy, for one invocation after the other. The connection is kept; nothing is retried but a request
    on a kept connection that the proxy had closed meanwhile.

    Args:
        url: The proxy, `http://host:port`.
        timeout_s: How long the proxy may send nothing.

    Raises:
        ValueError: `url` is not such a URL.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the proxy's URL {url!r} is not http://host:port")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)
        self._url = url
        self._own_key = ""
        self._destination: str | None = None
        self._policy: Policy | None = None

    def begin(self, chain_id: str, task_id: str, destination: str | None = None, policy: Policy | None = None) -> None:
        """Begins an invocation: what its stores take where they say nothing."""
        self._own_key, self._destination, self._policy = f"{chain_id}:{task_id}", destination, policy

    def fetch(self, key: str, fields: Collection[str]) -> Bundle:
        """See `State.fetch`."""
        headers, body = self._request("GET", key, {"fields": ",".join(fields) or None})
        with self._of_a_proxy():
            return Bundle(
                {name: view.toreadonly() for name, view in wire.decode(body).items()},
                key=headers["skylark-key"],
                version=int(headers["etag"].strip('"')),
                origin=headers["skylark-origin"],
                hops=int(headers["skylark-hops"]),
            )

    def store(self, fields: Mapping[str, wire.Buffer], placement: Placement) -> Stored:
        """See `State.store`."""
        policy = placement.policy or self._policy
        query = {
            "destination": placement.destination or self._destination,
            "policy": policy.value if policy else None,
            "ttl_ms": placement.ttl_ms,
            "ack": placement.ack.value if placement.ack else None,
        }
        headers = {"Content-Type": wire.MEDIA_TYPE}
        if placement.expected_version is not None:
            headers |= (
                {"If-Match": f'"{placement.expected_version}"'}
                if placement.expected_version
                else {"If-None-Match": "*"}
            )
        body = b"".join(wire.encode(fields))
        answer, _ = self._request("PUT", placement.key or self._own_key, query, headers, body)
        with self._of_a_proxy():
            return Stored(answer["skylark-key"], int(answer["etag"].strip('"')))

    def delete(self, key: str) -> bool:
        """See `State.delete`."""
        try:
            self._request("DELETE", key)
        except errors.NotFound:
            return False
        return True

    def node(self) -> str:
        """The name of the proxy's node.

        Raises:
            Unavailable: The proxy cannot be reached.
        """
        _, body = self._exchange("GET", "/health/readiness", {}, None)
        with self._of_a_proxy():
            return str(json.loads(body)["node"])

    @contextlib.contextmanager
    def _of_a_proxy(self) -> Iterator[None]:
        """What is read in this context is missing where somebody else answers at the URL."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise errors.Internal(f"what answers at {self._url} is no proxy: {error!r}") from error

    def _request(
        self,
        method: str,
        key: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[dict[str, str], bytes]:
        given = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        path = f"/bundles/{quote(key)}" + (f"?{given}" if given else "")
        return self._exchange(method, path, headers or {}, body)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[dict[str, str], bytes]:
        fresh = self._connection.sock is None
        try:
            response, data = self._send(method, path, headers, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._connection.close()
            if fresh:
                raise errors.Unavailable(f"the proxy at {self._url} closed the connection") from error
            return self._exchange(method, path, headers, body)
        except TimeoutError as error:
            self._connection.close()
            raise errors.TimedOut(f"the proxy at {self._url} does not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise errors.Unavailable(f"the proxy at {self._url} cannot be reached: {error}") from error
        if response.status >= 400:
            raise _error(response.status, data)
        return {name.lower(): value for name, value in response.getheaders()}, data

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body=body, headers=dict(headers))
        response = self._connection.getresponse()
        return response, response.read()


def _error(status: int, body: bytes) -> errors.SkylarkError:
    """The error of the proxy's answer `{"error": {…}}`."""
    try:
        details: dict[str, Any] = json.loads(body)["error"]
        code, message = str(details["code"]), str(details["message"])
    except (ValueError, KeyError, TypeError):
        return errors.Internal(f"the proxy answered with status {status}")
    if code == errors.Conflict.code:
        return errors.Conflict(int(details["expected"]), int(details["actual"]))
    if code == errors.TooLarge.code:
        return errors.TooLarge(int(details["size_bytes"]), int(details["limit_bytes"]))
    fallback = errors.Unavailable if details.get("retryable") else errors.InvalidArgument
    return errors.BY_CODE.get(code, fallback if status < 500 or status == 503 else errors.Internal)(message)
