"""What a server of functions reads from its environment."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from skylark.http_answers import Refused
from skylark.http_backend import DEFAULT_URL, parse_url
from skylark.http_routes import MAX_BODY_BYTES

_PROXY_PORT = 30002


@dataclass(frozen=True)
class Settings:
    """The settings of a server of functions.

    Attributes:
        proxy_url: The node's proxy: `SKYLARK_PROXY_URL`, else port 30002 of `LOCAL_NODE_HOST`, else of this machine.
        node: The node's name, `SKYLARK_NODE`; None: the proxy is asked for it, once it is needed.
        root: The functions that `/` runs: `SKYLARK_FUNCTION`, else the first that is defined.
        max_body_bytes: The largest request body, `SKYLARK_MAX_BUNDLE_BYTES`.
    """

    proxy_url: str
    node: str | None
    root: tuple[str, ...]
    max_body_bytes: int

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
        )


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
    text = environment.get("SKYLARK_MAX_BUNDLE_BYTES") or str(MAX_BODY_BYTES)
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise _invalid("SKYLARK_MAX_BUNDLE_BYTES", text, "a number of bytes above 0")
    return int(text)


def _invalid(key: str, value: str, expected: str) -> Refused:
    return Refused("config", f"{key}={value!r} is not valid; expected {expected}", key=key, value=value)
