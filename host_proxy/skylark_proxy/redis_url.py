"""Addresses of a Redis, a Sentinel's service or a Redis Cluster. What is wrong with one is said without its secrets."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from skylark_proxy.errors import ConfigError

FORMS = (
    "redis://host[:port][/db], rediss://..., unix:///path, redis+sentinel://host:port[,host:port]/service[/db]"
    " or redis+cluster://host:port[,host:port]; rediss+sentinel and rediss+cluster are encrypted"
)
SCHEMES = frozenset({"redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+sentinel", "rediss+cluster"})
_MAX_DB = 2**31 - 1

_OPTIONS: dict[str, frozenset[str]] = {
    "redis": frozenset({"db", "username", "password", "client_name", "health_check_interval", "max_connections"}),
    "redis+sentinel": frozenset({"sentinel_username", "sentinel_password"}),
    "redis+cluster": frozenset(),
}
_OPTIONS["unix"] = _OPTIONS["redis"]
_OPTIONS |= {f"rediss+{kind}": _OPTIONS[f"redis+{kind}"] for kind in ("sentinel", "cluster")}
_OPTIONS["rediss"] = _OPTIONS["redis"] | {
    f"ssl_{name}"
    for name in ("ca_certs", "ca_path", "ca_data", "cert_reqs", "certfile", "keyfile", "password", "check_hostname")
}
_NUMBERS = frozenset({"db", "health_check_interval", "max_connections"})

_ENCODE = "encode the user and the password: write %40 for @, %23 for #, %2F for /, %3F for ?, %3A for :, %25 for %"


class BadUrl(ValueError):
    """An address is not valid. Its text says what is expected, and shows nothing of the address."""


def wrong(url: str, reason: str) -> ConfigError:
    """Return the error for an address; it shows the address without anything that may be a secret."""
    return ConfigError("SKYLARK_REDIS_URL", redacted(url), f"{FORMS}; {reason}")


def redacted(url: str) -> str:
    """Return an address to show. Where it may hold a secret, nothing is left but the scheme."""
    if re.search(r"[@#?%]|pass|^[^/]*:[^/]", url) is None:
        return url
    scheme = re.match(r"[a-z+]+://", url)
    return f"{scheme[0] if scheme and scheme[0][:-3] in SCHEMES else ''}***"


def check_url(url: str) -> SplitResult:
    """Read an address and check all that can be checked without connecting.

    Raises:
        ConfigError: It is not valid; the error says what is expected and never shows a password.
    """
    try:
        return _check(url)
    except BadUrl as error:
        reason = str(error)
    except ValueError:  # without its text, which can hold the password
        reason = "this is no URL"
    raise wrong(url, reason) from None


def _check(url: str) -> SplitResult:
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise BadUrl("there may be no spaces or line breaks in it")
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise BadUrl(f"it has to begin with one of {', '.join(f'{known}://' for known in sorted(SCHEMES))}")
    _check_encoding(rest)
    parts = urlsplit(url)
    _check_options(parts)
    match parts.scheme:
        case "unix":
            if not parts.path or parts.hostname:
                raise BadUrl("a path with three slashes is needed, as in unix:///run/redis.sock")
        case "redis+sentinel" | "rediss+sentinel":
            hosts(parts)
            if re.fullmatch(r"/[^/]+(/\d{1,9})?", parts.path) is None:
                raise BadUrl("the name of the Sentinels' service is needed, and after it the number of the database")
        case "redis+cluster" | "rediss+cluster":
            hosts(parts)
            if parts.path not in ("", "/"):
                raise BadUrl("a cluster has one database, which is not named")
        case _:
            _check_one(parts)
    return parts


def _check_encoding(rest: str) -> None:
    """Find special characters in a password that cut the address in the wrong place."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if rest.count("@") > 1 or "#" in rest or "@" in rest[len(authority) :]:
        raise BadUrl(_ENCODE)
    userinfo = authority.rpartition("@")[0]
    if userinfo.count(":") > 1 or re.search(r"%(?![0-9A-Fa-f]{2})|[\[\]]", userinfo):
        raise BadUrl(_ENCODE)


def _check_options(parts: SplitResult) -> None:
    known = _OPTIONS[parts.scheme]
    for name, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
        if name not in known:
            expected = f"the options {', '.join(sorted(known))}" if known else "no options"
            raise BadUrl(f"{parts.scheme}:// takes {expected}, and no other one")
        if name in _NUMBERS and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= _MAX_DB):
            raise BadUrl(f"the option {name} has to be a whole number")


def _check_one(parts: SplitResult) -> None:
    host = parts.netloc.rpartition("@")[2]
    if "," in host:
        raise BadUrl("only one host can be named; for several use redis+sentinel:// or redis+cluster://")
    if not parts.hostname:
        raise BadUrl("a host is needed")
    _check_port(host)
    if re.fullmatch(r"(/([0-9]{1,9})?)?", parts.path) is None:
        raise BadUrl("the database after the host has to be a number, as in redis://host/0")


def _check_port(host: str) -> int | None:
    _, colon, text = host.rpartition("]" if host.startswith("[") else ":")
    if host.startswith("["):
        colon, text = text[:1], text[1:]
    elif not colon:
        return None
    if not colon:
        return None
    if not (re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535):
        raise BadUrl("the port has to be a number from 1 to 65535")
    return int(text)


def hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Return the hosts of a Sentinel or a cluster, each with its port.

    Raises:
        BadUrl: One has no port, or none that is possible.
    """
    found = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        port = _check_port(text)
        name = urlsplit(f"//{text}").hostname
        if not name or port is None:
            raise BadUrl("each host needs its port, as in host1:26379,host2:26379")
        found.append((name, port))
    return found


def credentials(parts: SplitResult) -> dict[str, Any]:
    """Return the user and the password of an address; None: it has none."""
    return {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
    }
