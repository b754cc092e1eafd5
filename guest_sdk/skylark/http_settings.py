"""What a server of functions reads from its environment."""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from skylark.http_answers import Refused
from skylark.http_backend import DEFAULT_URL, parse_url
from skylark.http_routes import MAX_BODY_BYTES
from skylark.invocation_token import Credential

_PROXY_PORT = 30002
_BYTES = "a number of bytes above 0"


@dataclass(frozen=True)
class Settings:
    """The settings of a server of functions.

    Attributes:
        proxy_url: The node's proxy: `SKYLARK_PROXY_URL`, else port 30002 of `LOCAL_NODE_HOST`, else of this machine.
        node: The node's name, `SKYLARK_NODE`; None: the proxy is asked for it, once it is needed.
        root: The functions that `/` runs: `SKYLARK_FUNCTION`, else the first that is defined.
        max_body_bytes: The largest request body, `SKYLARK_MAX_BUNDLE_BYTES`.
        credential: With which the function proves to the proxy who it is, `SKYLARK_FUNCTION_TOKEN`; None: it has none.
    """

    proxy_url: str
    node: str | None
    root: tuple[str, ...]
    max_body_bytes: int
    credential: Credential | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str], functions: Collection[str]) -> "Settings":
        """Reads the settings of a server with these functions.

        Raises:
            Refused: A value is not valid; the error names the variable.
        """
        return cls(
            proxy_url=_proxy_url(environment),
            node=environment.get("SKYLARK_NODE") or None,
            root=_root(environment, functions),
            max_body_bytes=_max_body_bytes(environment),
            credential=_credential(environment),
        )


def _credential(environment: Mapping[str, str]) -> Credential | None:
    name = "SKYLARK_FUNCTION_TOKEN"
    text = environment.get(name)
    try:
        return Credential.parse(text) if text else None
    except ValueError:
        raise _invalid(name, "<hidden>", "what `skylark token` prints") from None


def _proxy_url(environment: Mapping[str, str]) -> str:
    name, value = "SKYLARK_PROXY_URL", environment.get("SKYLARK_PROXY_URL")
    if not value and (host := environment.get("LOCAL_NODE_HOST")):
        name, value = "LOCAL_NODE_HOST", f"http://{f'[{host}]' if ':' in host else host}:{_PROXY_PORT}"
    try:
        parse_url(value or DEFAULT_URL)
    except ValueError:
        raise _invalid(name, environment[name], "a proxy, as in http://192.0.2.7:30002") from None
    return value or DEFAULT_URL


def _root(environment: Mapping[str, str], functions: Collection[str]) -> tuple[str, ...]:
    named = environment.get("SKYLARK_FUNCTION")
    if not named:
        return tuple(functions)[:1]
    names = tuple(named.split("+"))
    if not set(names) <= set(functions):
        raise _invalid("SKYLARK_FUNCTION", named, f"functions of this component: {', '.join(functions)}")
    return names


def _max_body_bytes(environment: Mapping[str, str]) -> int:
    return _whole(environment, "SKYLARK_MAX_BUNDLE_BYTES", MAX_BODY_BYTES, _BYTES)


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server that listens itself. The times are bounds for what a client does, or leaves undone.

    Attributes:
        hosts: The addresses to listen at, `SKYLARK_HOST`; none: all, of IPv4 and IPv6.
        port: The port, `PORT`; 0: a free one.
        max_body_bytes: The largest request body, `SKYLARK_MAX_BUNDLE_BYTES`.
        max_bodies_bytes: All request bodies that are held at once, `SKYLARK_MAX_BODIES_BYTES`.
        max_head_bytes: A request's line and headers, `SKYLARK_MAX_HEAD_BYTES`.
        max_connections: Open connections, `SKYLARK_MAX_CONNECTIONS`.
        head_timeout_s: From a request's first byte to the end of its head, `SKYLARK_HEAD_TIMEOUT_S`.
        body_timeout_s: How long a body may not go on, in either direction, `SKYLARK_BODY_TIMEOUT_S`.
        idle_timeout_s: From an answer to the next request's first byte, `SKYLARK_IDLE_TIMEOUT_S`.
        stop_timeout_s: How long open requests may take once the server is to end, `SKYLARK_STOP_TIMEOUT_S`.
        log_requests: Whether each request is logged, `SKYLARK_LOG_REQUESTS`.
    """

    hosts: tuple[str, ...] = ()
    port: int = 8080
    max_body_bytes: int = MAX_BODY_BYTES
    max_bodies_bytes: int = 2 * MAX_BODY_BYTES
    max_head_bytes: int = 32768
    max_connections: int = 512
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    stop_timeout_s: float = 10.0
    log_requests: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "ServerSettings":
        """Reads them.

        Raises:
            Refused: A value is not valid; the error names the variable.
        """
        max_body_bytes = _max_body_bytes(environment)
        return cls(
            hosts=_hosts(environment),
            port=_port(environment),
            max_body_bytes=max_body_bytes,
            max_bodies_bytes=_max_bodies_bytes(environment, max_body_bytes),
            max_head_bytes=_whole(environment, "SKYLARK_MAX_HEAD_BYTES", cls.max_head_bytes, _BYTES),
            max_connections=_whole(environment, "SKYLARK_MAX_CONNECTIONS", cls.max_connections, "a number above 0"),
            head_timeout_s=_seconds(environment, "SKYLARK_HEAD_TIMEOUT_S", cls.head_timeout_s),
            body_timeout_s=_seconds(environment, "SKYLARK_BODY_TIMEOUT_S", cls.body_timeout_s),
            idle_timeout_s=_seconds(environment, "SKYLARK_IDLE_TIMEOUT_S", cls.idle_timeout_s),
            stop_timeout_s=_seconds(environment, "SKYLARK_STOP_TIMEOUT_S", cls.stop_timeout_s),
            log_requests=_truth(environment, "SKYLARK_LOG_REQUESTS"),
        )


def _hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    text = environment.get("SKYLARK_HOST")
    if not text:
        return ()
    try:
        return (str(ipaddress.ip_address(text)),)
    except ValueError:
        raise _invalid("SKYLARK_HOST", text, "an address, as 127.0.0.1 or ::; none for all") from None


def _port(environment: Mapping[str, str]) -> int:
    text = environment.get("PORT") or str(ServerSettings.port)
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 65536):
        raise _invalid("PORT", text, "a port from 0 to 65535")
    return int(text)


def _max_bodies_bytes(environment: Mapping[str, str], max_body_bytes: int) -> int:
    """Twice the largest body, where nobody says otherwise."""
    name = "SKYLARK_MAX_BODIES_BYTES"
    size = _whole(environment, name, 2 * max_body_bytes, _BYTES)
    if size < max_body_bytes:
        raise _invalid(name, environment[name], f"at least the largest body, {max_body_bytes}")
    return size


def _whole(environment: Mapping[str, str], name: str, default: int, expected: str) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) > 0):
        raise _invalid(name, text, expected)
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    whole, _, rest = text.partition(".")
    if not (text.isascii() and whole.isdecimal() and (not rest or rest.isdecimal()) and 0 < float(text) <= 86400):
        raise _invalid(name, text, "seconds, above 0 and at most 86400")
    return float(text)


def _truth(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name) or "false"
    if text not in ("true", "false"):
        raise _invalid(name, text, "true or false")
    return text == "true"


def _invalid(key: str, value: str, expected: str) -> Refused:
    return Refused("config", f"{key}={value!r} is not valid; expected {expected}", key=key, value=value)
