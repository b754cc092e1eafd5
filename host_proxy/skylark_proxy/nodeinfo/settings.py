"""The settings of the node-info service, read as those of a node are, and what they open."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, get_args

from skylark_proxy.config import PARSERS, Parsers, load_settings, not_negative, one_of, whole
from skylark_proxy.errors import ConfigError
from skylark_proxy.model import Objectives
from skylark_proxy.nodeinfo.cluster import ClusterNodes, LinkedNodes
from skylark_proxy.nodeinfo.drawn import DrawnTopology
from skylark_proxy.nodeinfo.links import SimSettings
from skylark_proxy.nodeinfo.measured import MeasuredTopology, Mixing
from skylark_proxy.nodeinfo.provider import FileTopology, Provider
from skylark_proxy.nodeinfo.rotating import INTERVAL_EXPECTED, MAX_INTERVAL_S, MIN_INTERVAL_S, RotatingTopology
from skylark_proxy.nodeinfo.service import Bell, NodeInfo
from skylark_proxy.tls import TlsFiles

DEFAULT_PORT = 30001

ProviderName = Literal["static", "rotating", "random", "kubernetes"]
PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)


@dataclass(frozen=True, slots=True)
class NodeInfoSettings:
    """The settings of the service; each is read from `SKYLARK_` and its name in capitals."""

    node: str = field(default_factory=lambda: socket.gethostname().split(".")[0] or "node")
    """The name of the node that the service runs on."""
    topology: Path | None = None
    """The provider's file: a topology, a rotation, the nodes that links are drawn for, or the links of a cluster."""
    max_latency_ms: float = 150.0
    """Objective: the longest migration of a bundle."""
    min_bandwidth_mbps: float = 0.0
    """Objective: the narrowest link that a bundle may take."""
    node_info_host: str = "127.0.0.1"
    """The address to listen on."""
    node_info_port: int = DEFAULT_PORT
    """The port to listen on; 0: a free one."""
    node_info_provider: ProviderName = "static"
    """Where the topology comes from."""
    node_info_interval_s: float | None = None
    """How long a turn of a rotation holds (the file's own interval if absent), or drawn links (15 s if absent)."""
    node_info_seed: int | None = None
    """Makes drawn links repeatable."""
    node_info_density: float = 1.0
    """The share of the pairs of nodes that drawn links join; the topology is connected with any."""
    node_info_measured_weight: float = 0.5
    """The share of what proxies measured in what is served: 0 nothing, 1 all."""
    node_info_measured_expiry_s: float = 60.0
    """How long a measurement counts."""
    peer_key: bytes | None = field(default=None, repr=False)
    """The key that all nodes share; with it, whoever changes something has to sign the request."""
    peer_clock_skew_s: float = 300.0
    """How far the time of who signs may be from this service's."""
    tls_cert: Path | None = None
    """The certificate of the service; with it the service speaks TLS."""
    tls_key: Path | None = None
    """The key of that certificate."""
    tls_ca: Path | None = None
    """The authorities whose certificates are believed; with it whoever changes something has to show a node's."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of reverse proxies, whose `X-Forwarded-For` or `Forwarded` says for whom they ask."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that a request's `Host` may have, beside addresses and the nodes' own; `.example.org`: all below it."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "text"
    """`text` or `json`."""

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.node_info_host

    @property
    def port(self) -> int:
        """The port to listen on."""
        return self.node_info_port

    @property
    def tls(self) -> TlsFiles:
        """The files for encryption."""
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_ca)

    @property
    def objectives(self) -> Objectives:
        """The operator's objectives at the start."""
        return Objectives(self.max_latency_ms, self.min_bandwidth_mbps)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **overrides: object) -> "NodeInfoSettings":
        """Reads the settings; see `Config.load`.

        Raises:
            ConfigError: A value is not valid, or a variable `SKYLARK_…` is not known; the error names it.
        """
        return load_settings(cls, _PARSERS, _OTHERS, environment, overrides)


@contextlib.contextmanager
def open_node_info(settings: NodeInfoSettings) -> Iterator[NodeInfo]:
    """Opens what the service knows; closes it in the end.

    Raises:
        ConfigError: A setting does not fit the rest.
        InvalidArgument: The provider's file is not valid, or there are no nodes.
        SourceUnavailable: The cluster cannot be reached.
    """
    bell = Bell()
    with contextlib.ExitStack() as stack:
        provider = _provider(settings, bell, stack)
        mixing = Mixing(settings.node_info_measured_weight, settings.node_info_measured_expiry_s)
        drawn = provider if isinstance(provider, DrawnTopology) else None
        yield NodeInfo(settings.node, MeasuredTopology(provider, mixing), settings.objectives, bell, drawn)


def _provider(settings: NodeInfoSettings, bell: Bell, stack: contextlib.ExitStack) -> Provider:
    match settings.node_info_provider:
        case "static":
            return FileTopology(_file(settings))
        case "rotating":
            return RotatingTopology(_file(settings), settings.node_info_interval_s)
        case "random":
            return _drawn(settings, FileTopology(_file(settings)))
        case "kubernetes":
            nodes = ClusterNodes(bell.ring)
            nodes.open()
            stack.callback(nodes.close)
            if settings.topology is not None:
                return LinkedNodes(nodes, FileTopology(settings.topology))
            return _drawn(settings, nodes)


def _drawn(settings: NodeInfoSettings, nodes: Provider) -> DrawnTopology:
    defaults = SimSettings()
    interval_s = settings.node_info_interval_s or defaults.interval_s
    drawn = SimSettings(interval_s, settings.node_info_density, defaults.ranges)
    return DrawnTopology(nodes, drawn, settings.node_info_seed)


def _file(settings: NodeInfoSettings) -> Path:
    if settings.topology is None:
        expected = f"a file, for the provider {settings.node_info_provider}"
        raise ConfigError("SKYLARK_TOPOLOGY", None, expected)
    return settings.topology


def _interval_s(text: str) -> float:
    value = float(text)
    if not MIN_INTERVAL_S <= value <= MAX_INTERVAL_S:
        raise ValueError(text)
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


_SHARED = (
    "node",
    "topology",
    "max_latency_ms",
    "min_bandwidth_mbps",
    "peer_key",
    "peer_clock_skew_s",
    "tls_cert",
    "tls_key",
    "tls_ca",
    "trusted_proxies",
    "allowed_hosts",
    "log_level",
    "log_format",
)
_PARSERS: Parsers = {name: PARSERS[name] for name in _SHARED} | {
    "node_info_host": PARSERS["host"],
    "node_info_port": PARSERS["port"],
    "node_info_provider": one_of(*PROVIDERS),
    "node_info_interval_s": (_interval_s, INTERVAL_EXPECTED),
    "node_info_seed": (whole(0), "a whole number, 0 or more"),
    "node_info_density": (_share, "a number from 0 to 1"),
    "node_info_measured_weight": (_share, "a number from 0 to 1"),
    "node_info_measured_expiry_s": (not_negative, "a number of seconds, 0 or more"),
}
_OTHERS = (frozenset(PARSERS) | {"proxy_url", "function_token"}) - frozenset(_SHARED)
"""Settings of a node and of the guest SDK, not of this service."""
