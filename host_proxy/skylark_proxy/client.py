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
from skylark_proxy.connections import open_pool
from skylark_proxy.environment import read_environment
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.tls import TlsFiles

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
    url: str = ""

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ProxyError: It is none: something else than a proxy answers there.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise self.stranger() from error

    def stranger(self) -> ProxyError:
        """Return the error for an answer that no proxy gives."""
        message = f"what answers at {self.url} is no Skylark proxy, or cuts its answers (status {self.status})"
        return ProxyError(self.url, self.status, message)


class ProxyClient:
    """Calls one proxy. Safe for threads; connections are kept; nothing is retried.

    Args:
        url: `http://host:port`.
        timeout_s: How long the proxy may send nothing.
        tls: For `https://`: whom to believe. None: as the environment says, SKYLARK_TLS_CA.

    Raises:
        InvalidArgument: `url` is not the URL of a proxy.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = 120.0, tls: TlsFiles | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidArgument("url", url, "http://host:port")
        self.url = url.rstrip("/")
        if tls is None and url.startswith("https://"):
            tls = tls_of_environment()
        timeout = urllib3.Timeout(connect=5.0, read=timeout_s)
        self._pool = open_pool(tls or TlsFiles(), maxsize=16, timeout=timeout, retries=False)

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
            response = self._pool.request(method, url, headers=headers, body=body, redirect=False)
        except TimeoutError as error:
            what = "cannot be reached" if isinstance(error, NewConnectionError) else "does not answer in time"
            raise ProxyError(self.url, None, f"the proxy at {self.url} {what}: {error}") from error
        except HTTPError as error:
            raise ProxyError(self.url, None, f"the proxy at {self.url} cannot be reached: {error}") from error
        received = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(response.status, received, response.data, self.url)
        if answer.status >= 400:
            raise _error(self.url, answer)
        if answer.status >= 300 and path.startswith("/bundles"):  # a function may answer with a redirect of its own
            raise answer.stranger()
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
        """Runs a function, or several of one component, joined by `+`.

        Raises:
            InvalidArgument: `content_type` cannot be a header's value.
            ProxyError: The proxy cannot be reached, or answered with a status of 400 or more.
        """
        if not (content_type.isascii() and content_type.isprintable()):
            raise InvalidArgument("--content-type", content_type, "a media type: ASCII without control characters")
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
        try:
            return wire.decode(answer.body), answer.headers
        except wire.FormatError as error:
            raise answer.stranger() from error

    def put_bundle(self, key: str, fields: Mapping[str, Buffer], **query: object) -> dict[str, Any]:
        """Stores a bundle; returns where it was put, and why."""
        body = b"".join(wire.encode(fields))
        answer = self.request("PUT", f"/bundles/{quote(key)}", query, {"Content-Type": wire.MEDIA_TYPE}, body)
        return _checked(answer, answer.json(), "key")

    def delete_bundle(self, key: str) -> None:
        """Deletes a bundle."""
        answer = self.request("DELETE", f"/bundles/{quote(key)}")
        if answer.status != 204:
            raise answer.stranger()

    def list_bundles(self, chain: str) -> Sequence[dict[str, Any]]:
        """The bundles of a chain that the node holds."""
        answer = self.request("GET", "/bundles", {"chain": chain})
        bundles: Sequence[dict[str, Any]] = _checked(answer, answer.json(), "bundles")["bundles"]
        return bundles


def tls_of_environment() -> TlsFiles:
    """Return the files that the environment and the file `.env` name.

    Raises:
        ConfigError: They are not there, or do not fit together.
    """
    files = TlsFiles.of(read_environment())
    files.check()
    return files


def _checked(answer: Answer, content: Any, field: str) -> dict[str, Any]:
    if not isinstance(content, dict) or field not in content:
        raise answer.stranger()
    return content


def _error(url: str, answer: Answer) -> ProxyError:
    try:
        details = msgspec.json.decode(answer.body, type=dict[str, Any])["error"]
        return ProxyError(url, answer.status, details["message"], details)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeError, RecursionError):
        return ProxyError(url, answer.status, answer.body.decode(errors="replace")[:500] or f"status {answer.status}")
