"""Requests to one repository of a registry: connections, authorization, and the translation of what goes wrong.

Protocol: OCI distribution specification 1.1. Authorization: Basic, and the token scheme of Docker's registry
("Token Authentication Specification", and its OAuth 2 form for identity tokens).
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import IO, Any, Literal
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import urllib3
from urllib3.util import Retry, Timeout

from skylark_oci.challenge import Challenge, parse_challenges, preferred
from skylark_oci.credentials import DOCKER_HUB, Credentials, find_credentials
from skylark_oci.errors import AccessDenied, NotInRegistry, RegistryError, RegistryUnavailable
from skylark_oci.reference import Reference

Access = Literal["pull", "pull,push"]
"""What is to be done with the repository, as a token's scope says it."""

Finder = Callable[[str, str], tuple[Credentials, str] | None]
"""Finds the credentials of a host and repository, and names their source."""

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_CLIENT = "skylark"
_TIMEOUT = Timeout(connect=10, read=60)
_BLOCK_BYTES = 1 << 18
_REDIRECTS = 5
_SHOWN_BYTES = 1 << 16
_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}

PLAIN_HTTP_HINT = "say --plain-http"


@dataclass(frozen=True, slots=True)
class _Authorization:
    header: str
    source: str


class Transport:
    """Talks to a registry about one repository. Not safe for threads.

    Args:
        access: What will be asked for.
        plain_http: Whether to do without TLS.
        credentials: Is asked only once the registry wants any.
    """

    def __init__(
        self, reference: Reference, access: Access, plain_http: bool = False, credentials: Finder = find_credentials
    ) -> None:
        self._host = reference.host
        self._repository = _official(reference)
        self._access = access
        self._find = credentials
        self._scheme = "http" if plain_http else "https"
        self._origin = f"{self._scheme}://{_API_HOSTS.get(reference.host, reference.host)}"
        self._authorization: _Authorization | None = None
        self._pools = _pools(self._scheme, reference)

    def close(self) -> None:
        """Closes the connections."""
        self._pools.clear()

    def url(self, path: str) -> str:
        """The URL of a path below the repository."""
        return f"{self._origin}/v2/{self._repository}/{path}"

    def located(self, response: urllib3.BaseHTTPResponse, url: str) -> str:
        """The URL that a response's `Location` means; a registry behind a TLS proxy may call itself `http`."""
        target = urlsplit(urljoin(url, response.headers.get("Location", "")))
        if target.netloc == urlsplit(self._origin).netloc:
            target = target._replace(scheme=self._scheme)
        return urlunsplit(target)

    def request(
        self,
        method: str,
        url: str,
        what: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Sends a request once, and once more where the registry first wants to know who asks.

        Args:
            what: What errors call it.
            stream: Leaves the body to be read; the caller releases the connection.

        Raises:
            NotInRegistry: Status 404.
            AccessDenied: Status 401 or 403.
            RegistryUnavailable: No answer, or one that says to try again.
            RegistryError: Another status of 400 and above.
        """
        response = self._send(method, url, headers, body, stream)
        if response.status == 401 and self._is_ours(url):
            response.drain_conn()
            self._authorize(preferred(parse_challenges(response.headers.get("WWW-Authenticate", ""))), what)
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            response = self._send(method, url, headers, body, stream)
        if response.status >= 400:
            raise self._error(response, what)
        return response

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | IO[bytes] | None,
        stream: bool,
    ) -> urllib3.BaseHTTPResponse:
        sent = {"User-Agent": _CLIENT, **(headers or {})}
        if self._authorization is not None and self._is_ours(url):
            sent["Authorization"] = self._authorization.header
        try:
            return self._pools.request(
                method, url, headers=sent, body=body, preload_content=not stream, decode_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def _is_ours(self, url: str) -> bool:
        """Whether a URL is the registry's own: a storage that it refers to gets none of its credentials."""
        return url.startswith(self._origin + "/")

    def _authorize(self, challenge: Challenge | None, what: str) -> None:
        """Gets what the header `Authorization` has to be.

        Raises:
            AccessDenied: There are no credentials, or they are not accepted.
        """
        found = self._find(self._host, self._repository)
        credentials, source = found if found else (None, "")
        if challenge is not None and challenge.scheme == "bearer":
            header = f"Bearer {self._token(challenge, credentials, source, what)}"
        elif credentials is not None and credentials.username:
            header = credentials.basic
        else:
            raise AccessDenied(what, f"{self._host} wants credentials, and {self._whose('')}", 401)
        self._authorization = _Authorization(header, source)

    def _token(self, challenge: Challenge, credentials: Credentials | None, source: str, what: str) -> str:
        realm = challenge.parameters.get("realm", "")
        if not _is_service(realm, ("https",) if self._scheme == "https" else ("https", "http")):
            expected = "https:// and a host, without TLS none are sent" if self._scheme == "https" else "a whole URL"
            raise AccessDenied(what, f"{self._host} wants credentials sent to {realm!r}; expected {expected}", 401)
        asked = {
            "service": challenge.parameters.get("service", self._host),
            "scope": f"repository:{self._repository}:{self._access}",
        }
        try:
            response = self._token_request(realm, asked, credentials)
        except (urllib3.exceptions.HTTPError, urllib3.exceptions.LocationValueError) as error:
            raise RegistryUnavailable(
                f"token service {realm}", f"cannot be reached ({_shown(_cause(error))})"
            ) from error
        if response.status in _TRANSIENT:
            after = _retry_after_s(response.headers.get("Retry-After", ""))
            raise RegistryUnavailable(f"token service {realm}", f"status {response.status}", response.status, after)
        token = _token_in(response.data) if response.status == 200 else None
        if token is None:
            raise AccessDenied(what, f"{realm} gives no token ({_said(response)}); {self._whose(source)}", 401)
        return token

    def _token_request(
        self, realm: str, asked: dict[str, str], credentials: Credentials | None
    ) -> urllib3.BaseHTTPResponse:
        if credentials is not None and credentials.identity_token:
            form = asked | {
                "grant_type": "refresh_token",
                "client_id": _CLIENT,
                "refresh_token": credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._pools.request("POST", realm, headers=headers, body=urlencode(form).encode(), redirect=False)
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(asked)}"
        authorization = {"Authorization": credentials.basic} if credentials else {}
        return self._pools.request("GET", url, headers=authorization, redirect=False)

    def _whose(self, source: str) -> str:
        if source:
            return f"the credentials are those of {source}"
        return f"none were found for it (`docker login {self._host}` or `podman login {self._host}` keeps them)"

    def _error(self, response: urllib3.BaseHTTPResponse, what: str) -> RegistryError:
        status = response.status
        said = _said(response)
        response.release_conn()
        if status == 404:
            return NotInRegistry(what, f"not in the registry ({said})", status)
        if status in (401, 403):
            source = self._authorization.source if self._authorization else ""
            wish = "pushing" if self._access == "pull,push" else "pulling"
            return AccessDenied(what, f"{wish} is denied ({said}); {self._whose(source)}", status)
        if status in _TRANSIENT:
            after = _retry_after_s(response.headers.get("Retry-After", ""))
            return RegistryUnavailable(what, f"the registry cannot serve it now ({said})", status, after)
        return RegistryError(what, f"the registry refuses ({said})", status)

    def _unreachable(self, error: Exception) -> RegistryError:
        cause = _cause(error)
        hint = f"; if it speaks no TLS, {PLAIN_HTTP_HINT}" if isinstance(cause, urllib3.exceptions.SSLError) else ""
        return RegistryUnavailable(f"registry {self._host}", f"cannot be reached ({_shown(cause)}){hint}")


def _official(reference: Reference) -> str:
    """Return the repository as the registry calls it: Docker Hub has names without a user under `library/`."""
    short = reference.host in DOCKER_HUB and "/" not in reference.repository
    return f"library/{reference.repository}" if short else reference.repository


def _is_service(realm: str, schemes: tuple[str, ...]) -> bool:
    """True if a realm is a whole URL: a registry can send anything."""
    try:
        parts = urlsplit(realm)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _retry_after_s(text: str) -> float | None:
    """Return how long a `Retry-After` says to wait: seconds, or until a date (RFC 9110, section 10.2.3)."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())


def _pools(scheme: str, reference: Reference) -> urllib3.PoolManager:
    """Connections, through the proxy that the environment names, but to this machine and the hosts of `no_proxy`."""
    options: dict[str, Any] = {
        "headers": {"User-Agent": _CLIENT},
        "timeout": _TIMEOUT,
        "retries": Retry(total=_REDIRECTS, connect=0, read=0, status=0, other=0, redirect=_REDIRECTS),
        "blocksize": _BLOCK_BYTES,
    }
    proxy = getproxies().get(scheme)
    if proxy is None or reference.loopback or proxy_bypass(reference.host):
        return urllib3.PoolManager(**options)
    return urllib3.ProxyManager(proxy, **options)


def _cause(error: Exception) -> Exception:
    return error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error


def _shown(cause: Exception) -> str:
    """What went wrong, without the connection's own name."""
    return re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", str(cause))


def _said(response: urllib3.BaseHTTPResponse) -> str:
    """What a registry says is wrong (distribution specification, "Error Codes"), else the status alone."""
    try:
        document: Any = msgspec.json.decode(response.data if response.data else response.read(_SHOWN_BYTES))
        first = document["errors"][0]
        text = f"{first.get('message') or first['code']}"
    except (
        msgspec.MsgspecError,
        urllib3.exceptions.HTTPError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ):
        return f"status {response.status}"
    return f"status {response.status}: {text[:200]}"


def _token_in(content: bytes) -> str | None:
    try:
        document: Any = msgspec.json.decode(content)
        token = document.get("token") or document.get("access_token")
    except (msgspec.MsgspecError, AttributeError, UnicodeError, RecursionError):
        return None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else None
