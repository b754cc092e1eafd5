"""A node's proxy as its callers see it: the CLI, the demo and the benchmarks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

from skylark import wire
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, SkylarkError

DEFAULT_URL = "http://127.0.0.1:30002"


class ProxyError(SkylarkError):
    """A proxy answered with an error, or not at all. `details` is the `error` of its answer."""

    code = "proxy"

    def __init__(self, url: str, status: int | None, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.details = dict(details or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a proxy; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class ProxyClient:
    """Calls one proxy. Safe for threads; connections are kept; nothing is retried.

    Args:
        url: `http://host:port`.
        timeout_s: How long the proxy may send nothing.

    Raises:
        InvalidArgument: `url` is not the URL of a proxy.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = 120.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidArgument("url", url, "http://host:port")
        self.url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            maxsize=16, timeout=urllib3.Timeout(connect=5.0, read=timeout_s), retries=False
        )

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Sends a request; parameters that are None are left out.

        Raises:
            ProxyError: The proxy cannot be reached, or answered with a status of 400 or more.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urlencode(given)}" if given else "")
        try:
            response = self._pool.request(method, url, headers=headers, body=body)
        except TimeoutError as error:
            what = "cannot be reached" if isinstance(error, NewConnectionError) else "does not answer in time"
            raise ProxyError(self.url, None, f"the proxy at {self.url} {what}: {error}") from error
        except HTTPError as error:
            raise ProxyError(self.url, None, f"the proxy at {self.url} cannot be reached: {error}") from error
        answer = Answer(
            response.status, {name.lower(): value for name, value in response.headers.items()}, response.data
        )
        if answer.status >= 400:
            raise _error(self.url, answer)
        return answer

    def invoke(
        self,
        functions: str,
        body: bytes = b"",
        *,
        key: str | None = None,
        chain: str | None = None,
        destination: str | None = None,
        plan: str | None = None,
        policy: str | None = None,
        fuse: bool = True,
        content_type: str = "application/octet-stream",
    ) -> Answer:
        """Runs a function, or several of one component, joined by `+`."""
        query = {"key": key, "chain": chain, "destination": destination, "plan": plan, "policy": policy}
        query |= {"fuse": None if fuse else "false"}
        return self.request("POST", f"/functions/{quote(functions)}", query, {"Content-Type": content_type}, body)

    def task(self, task_id: str) -> dict[str, Any]:
        """The report of an invocation."""
        report: dict[str, Any] = self.request("GET", f"/tasks/{quote(task_id)}").json()
        return report

    def get_bundle(self, key: str, fields: Collection[str] = ()) -> tuple[dict[str, memoryview], Mapping[str, str]]:
        """A bundle's fields, and the headers with its metadata."""
        answer = self.request("GET", f"/bundles/{quote(key)}", {"fields": ",".join(fields) or None})
        return wire.decode(answer.body), answer.headers

    def put_bundle(self, key: str, fields: Mapping[str, Buffer], **query: object) -> dict[str, Any]:
        """Stores a bundle; returns where it was put, and why."""
        body = b"".join(wire.encode(fields))
        placed: dict[str, Any] = self.request(
            "PUT", f"/bundles/{quote(key)}", query, {"Content-Type": wire.MEDIA_TYPE}, body
        ).json()
        return placed

    def delete_bundle(self, key: str) -> None:
        """Deletes a bundle."""
        self.request("DELETE", f"/bundles/{quote(key)}")

    def list_bundles(self, chain: str) -> Sequence[dict[str, Any]]:
        """The bundles of a chain that the node holds."""
        bundles: Sequence[dict[str, Any]] = self.request("GET", "/bundles", {"chain": chain}).json()["bundles"]
        return bundles


def _error(url: str, answer: Answer) -> ProxyError:
    try:
        details = msgspec.json.decode(answer.body, type=dict[str, Any])["error"]
        return ProxyError(url, answer.status, details["message"], details)
    except (msgspec.MsgspecError, KeyError, TypeError):
        return ProxyError(url, answer.status, answer.body.decode(errors="replace")[:500] or f"status {answer.status}")
