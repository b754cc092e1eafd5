"""The settings of a node, read once from the environment (and a file `.env`), then from defaults."""

import os
import re
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, TypeVar

from skylark_oci import Reference
from skylark_proxy.components import parse_component
from skylark_proxy.environment import is_service_link, read_environment
from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.model import DEFAULT_PORT, Ack, Objectives, Policy, check_name
from skylark_proxy.redis_url import check_url
from skylark_proxy.signatures import MIN_KEY_BYTES
from skylark_proxy.tls import TlsFiles

T = TypeVar("T")
Parsers = Mapping[str, tuple[Callable[[str], Any], str]]

_PREFIX = "SKYLARK_"
_SECRET = re.compile("KEY|PASS|SECRET|TOKEN|CREDENTIAL|AUTH|URL|REDIS")
"""Variables whose values no error shows: a mistyped name may hold a password."""


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or _home("SKYLARK_CACHE_DIR") / ".cache") / "skylark"


def _data_dir() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or _home("SKYLARK_DATA_DIR") / ".local" / "share") / "skylark"


def _home(setting: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a user id without a name, as in many containers
        raise ConfigError(setting, None, "a path", f"This user has no home folder: set {setting}.") from error


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a node. Each is read from the environment variable `SKYLARK_` and its name in capitals."""

    node: str = field(default_factory=lambda: socket.gethostname().split(".")[0] or "node")
    """The node's name in the topology."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = DEFAULT_PORT
    """The port to listen on; 0: a free one."""
    topology: Path | None = None
    """The topology's JSON file; without one the node is alone, its own cloud."""
    node_info_url: str | None = None
    """The node-info service whose topology and objectives the node follows; none if absent."""
    node_info_wait_ms: int = 5000
    """How long the start waits for that service before it goes on with `topology`, the last one known, or alone."""
    report_links: bool = False
    """Whether to measure the links to other nodes and report them to the node-info service."""
    destination: str | None = None
    """The destination of elections that name none; the topology's first cloud node if absent."""
    functions: tuple[Path | Reference, ...] = ()
    """Components, folders of them, or references `oci://…` to registries, separated by commas."""
    registry_plain_http: tuple[str, ...] = ()
    """Registries without TLS, as host:port, separated by commas; those on this machine need not be named."""
    redis_url: str | None = field(default=None, repr=False)
    """An external Redis; without one the node starts its own."""
    redis_fsync: Literal["always", "everysec"] = "always"
    """How the node's own Redis syncs its file: `always` before each answer, or `everysec`."""
    data_dir: Path = field(default_factory=_data_dir)
    """Where the node's own Redis keeps its data."""
    cache_dir: Path = field(default_factory=_cache_dir)
    """Where built and compiled components are kept."""
    policy: Policy = Policy.SKYLARK
    """The policy of elections that name none."""
    max_latency_ms: float = 150.0
    """Objective: the longest migration of a bundle."""
    min_bandwidth_mbps: float = 0.0
    """Objective: the narrowest link that a bundle may take."""
    bundle_ttl_ms: int | None = None
    """When bundles expire that name no time of their own; never if absent."""
    max_bundle_bytes: int = 128 << 20
    """The largest bundle, and the largest request body."""
    ack: Ack = Ack.ELECTED
    """When a store is acknowledged that does not say: `local`, `elected` or `cloud`."""
    replicate: bool = False
    """Whether the cloud gets a copy of every bundle, by the outbox."""
    outbox_max_entries: int = 10_000
    """How many transfers may wait for other nodes; beyond them, stores that need one are refused."""
    arrival_wait_ms: int = 10_000
    """How long a fetch waits for a bundle that was announced to this node."""
    keep_fetched: bool = False
    """Whether to keep a bundle locally that was fetched from another node."""
    workers: int = 16
    """Threads that run functions."""
    peer_connect_timeout_ms: int = 1000
    """How long to wait for a connection to another node."""
    peer_timeout_ms: int = 30_000
    """How long to wait for another node while it sends or takes nothing."""
    peer_key: bytes | None = field(default=None, repr=False)
    """The key that all nodes share, with which they sign what they ask of each other; nothing is signed if absent."""
    peer_clock_skew_s: float = 300.0
    """How far another node's time may be from this one's."""
    local_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks whose addresses are of this node too, as those of its containers; counts where there is a key."""
    tls_cert: Path | None = None
    """The node's certificate; with it the node speaks TLS, and asks other nodes by TLS only."""
    tls_key: Path | None = None
    """The key of that certificate."""
    tls_ca: Path | None = None
    """The authorities whose certificates are believed; with it nodes have to show theirs to each other."""
    plain_listen: str | None = None
    """A second address, `host:port`, where a node with TLS serves plain HTTP to clients on it."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of reverse proxies, whose `X-Forwarded-For` or `Forwarded` says for whom they ask."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that a request's `Host` may have, beside addresses and the nodes' own; `.example.org`: all below it."""
    max_in_flight: int = 1024
    """How many requests are answered at once."""
    max_bodies_bytes: int | None = None
    """The bytes of request bodies and answers that are held at once; a quarter of the memory, but not more than four
    of the largest bundles, if absent."""
    max_connections: int = 16_384
    """How many connections are open at once; beyond them the one that has been idle for longest is closed."""
    body_timeout_s: float = 30.0
    """How long a client may neither send nor take a byte; after that time it has to average 1 kB a second."""
    max_bundles_per_chain: int = 10_000
    """How many bundles of one chain this node holds."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "text"
    """`text` or `json`."""

    @property
    def tls(self) -> TlsFiles:
        """The files for encryption."""
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_ca)

    @property
    def objectives(self) -> Objectives:
        """The operator's objectives."""
        return Objectives(self.max_latency_ms, self.min_bandwidth_mbps)

    def bodies_bytes(self, memory_bytes: int) -> int:
        """The bytes of request bodies and answers that may be held on a machine with so much memory.

        Raises:
            ConfigError: The setting has no room for the largest bundle.
        """
        if self.max_bodies_bytes is None:
            return max(self.max_bundle_bytes, min(memory_bytes // 4, 4 * self.max_bundle_bytes))
        if self.max_bodies_bytes < self.max_bundle_bytes:
            expected = f"at least SKYLARK_MAX_BUNDLE_BYTES, {self.max_bundle_bytes}"
            raise ConfigError("SKYLARK_MAX_BODIES_BYTES", self.max_bodies_bytes, expected)
        return self.max_bodies_bytes

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **overrides: object) -> "Config":
        """Reads the settings.

        Args:
            environment: What to read; the process's environment, below it the file `.env` here, if absent.
            overrides: Settings by field name that win over the environment; None: not set.

        Raises:
            ConfigError: A value is not valid, or a variable `SKYLARK_…` is not known; the error names it.
        """
        return load_settings(cls, PARSERS, _OTHERS, environment, overrides)


def load_settings(
    kind: Callable[..., T],
    parsers: Parsers,
    others: Collection[str],
    environment: Mapping[str, str] | None,
    overrides: Mapping[str, object],
) -> T:
    """Reads settings into an object of `kind`, whose fields have the names of the settings; see `Config.load`.

    Args:
        parsers: How each setting is read from its variable, and what is expected of it.
        others: Settings that may be set as well and are not looked at.
    """
    if environment is None:
        environment = read_environment()
    values: dict[str, object] = {}
    for name, text in environment.items():
        setting = name.removeprefix(_PREFIX).lower()
        if name.startswith(_PREFIX) and setting not in others and not is_service_link(name, text):
            if setting not in parsers:
                raise _unknown(name, text, parsers)
            if text != "":
                values[setting] = _parsed(name, text, *parsers[setting])
    values |= {name: value for name, value in overrides.items() if value is not None}
    settings = kind(**values)
    for setting, (parse, expected) in parsers.items():
        value = getattr(settings, setting)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            _parsed(f"{_PREFIX}{setting.upper()}", str(value), parse, expected)
    return settings


def _unknown(name: str, text: str, parsers: Parsers) -> ConfigError:
    secret = _SECRET.search(name) is not None or "@" in text
    close = get_close_matches(name.removeprefix(_PREFIX).lower(), parsers, n=1)
    hint = f"; did you mean {_PREFIX}{close[0].upper()}?" if close else ""
    return ConfigError(name, "<hidden>" if secret else text, f"a known setting: {', '.join(sorted(parsers))}{hint}")


def _parsed(name: str, text: str, parse: Callable[[str], T], expected: str) -> T:
    try:
        return parse(text)
    except (ValueError, InvalidArgument) as error:
        raise ConfigError(name, text, expected) from error


def whole(minimum: int, maximum: int = 1 << 40) -> Callable[[str], int]:
    """Reads a whole number within bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not minimum <= value <= maximum:
            raise ValueError(text)
        return value

    return parse


def not_negative(text: str) -> float:
    """Reads a finite number, 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    value = not_negative(text)
    if value <= 0:
        raise ValueError(text)
    return value


def one_of(*choices: str) -> tuple[Callable[[str], str], str]:
    """Reads one of some words, in any case; with the text that says which."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return parse, f"one of {', '.join(choices)}"


def _name(text: str) -> str:
    return check_name("node", text)


def _peer_key(text: str) -> bytes:
    """Reads a key; no error shows it."""
    if not text.startswith("@"):
        return _secret(text, "<the value>")
    try:
        return _secret(Path(text[1:]).read_text().strip(), text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("SKYLARK_PEER_KEY", text, f"a readable file with {_KEY_EXPECTED} ({error})") from error


def _secret(text: str, source: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = text.encode()
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError("SKYLARK_PEER_KEY", source, f"{_KEY_EXPECTED}; it has {len(key)}") from None
    return key


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(","))


def _truth(text: str) -> bool:
    choices = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in choices:
        raise ValueError(text)
    return choices[text.lower()]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _components(text: str) -> tuple[Path | Reference, ...]:
    try:
        return tuple(parse_component(part) for part in _parts(text))
    except InvalidArgument as error:
        raise ConfigError("SKYLARK_FUNCTIONS", text, f"{error.expected} (in {error.value!r})") from error


def _hosts(text: str) -> tuple[str, ...]:
    parts = _parts(text)
    if any("/" in part for part in parts):
        raise ValueError(text)
    return tuple(parts)


def _host_port(text: str) -> str:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):([0-9]{1,5})", text)
    if match is None:
        raise ValueError(text)
    ip_address(match[1].strip("[]"))
    whole(0, 65535)(match[2])
    return text


def _host_names(text: str) -> tuple[str, ...]:
    parts = _parts(text)
    if not all(re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", part) for part in parts):
        raise ValueError(text)
    return tuple(parts)


def _redis_url(text: str) -> str:
    check_url(text)
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(text)
    return text.rstrip("/")


NODE_INFO_SETTINGS = frozenset(
    f"node_info_{name}"
    for name in ("host", "port", "provider", "interval_s", "seed", "density", "measured_weight", "measured_expiry_s")
)
"""The settings of the node-info service that a node does not have; see `nodeinfo.settings`."""

_OTHERS = NODE_INFO_SETTINGS | {"proxy_url", "function_token"}
"""Settings of the node-info service and of the guest SDK, not of a node."""

_NAME_EXPECTED = "1 to 128 of A-Z a-z 0-9 . _ -"
_MS_EXPECTED = "a whole number of milliseconds above 0"
_KEY_EXPECTED = f"at least {MIN_KEY_BYTES} bytes, as text or hexadecimal, or @FILE with them"
PARSERS: Parsers = {
    "node": (_name, _NAME_EXPECTED),
    "host": (str, "an address"),
    "port": (whole(0, 65535), "a port, 0 to 65535"),
    "topology": (Path, "a path"),
    "node_info_url": (_url, "http://host:port"),
    "node_info_wait_ms": (whole(0), "a whole number of milliseconds, 0 or more"),
    "report_links": (_truth, "true or false"),
    "destination": (_name, _NAME_EXPECTED),
    "functions": (_components, "paths and references separated by commas"),
    "registry_plain_http": (_hosts, "host:port, separated by commas"),
    "redis_url": (_redis_url, "a URL"),
    "redis_fsync": one_of("always", "everysec"),
    "data_dir": (Path, "a path"),
    "cache_dir": (Path, "a path"),
    "policy": (Policy, f"one of {', '.join(Policy)}"),
    "max_latency_ms": (not_negative, "a number of milliseconds, 0 or more"),
    "min_bandwidth_mbps": (not_negative, "a number of Mbps, 0 or more"),
    "bundle_ttl_ms": (whole(1), _MS_EXPECTED),
    "max_bundle_bytes": (whole(1), "a whole number of bytes above 0"),
    "ack": (Ack, f"one of {', '.join(Ack)}"),
    "replicate": (_truth, "true or false"),
    "outbox_max_entries": (whole(1), "a whole number above 0"),
    "arrival_wait_ms": (whole(1), _MS_EXPECTED),
    "keep_fetched": (_truth, "true or false"),
    "workers": (whole(1, 1024), "a whole number, 1 to 1024"),
    "peer_connect_timeout_ms": (whole(1), _MS_EXPECTED),
    "peer_timeout_ms": (whole(1), _MS_EXPECTED),
    "peer_key": (_peer_key, _KEY_EXPECTED),
    "peer_clock_skew_s": (not_negative, "a number of seconds, 0 or more"),
    "local_networks": (_networks, "networks such as 10.42.0.0/24, separated by commas"),
    "tls_cert": (Path, "a path"),
    "tls_key": (Path, "a path"),
    "tls_ca": (Path, "a path"),
    "plain_listen": (_host_port, "an address and a port, as 127.0.0.1:30004 or [::1]:30004"),
    "trusted_proxies": (_networks, "networks such as 10.0.0.1/32, separated by commas"),
    "allowed_hosts": (_host_names, "names of hosts without ports, separated by commas"),
    "max_in_flight": (whole(1), "a whole number above 0"),
    "max_bodies_bytes": (whole(1), "a whole number of bytes, at least that of the largest bundle"),
    "max_connections": (whole(16, 1 << 20), "a whole number, 16 or more"),
    "body_timeout_s": (_seconds, "a number of seconds above 0"),
    "max_bundles_per_chain": (whole(1), "a whole number above 0"),
    "log_level": one_of("debug", "info", "warning", "error"),
    "log_format": one_of("text", "json"),
}

SETTINGS = tuple(setting.name for setting in fields(Config))
"""The names of all settings, in the order of their documentation."""
