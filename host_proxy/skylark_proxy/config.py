"""The settings of a node, read once from the environment (and a file `.env`), then from defaults."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from dotenv import dotenv_values

from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.model import Objectives, Policy, check_name

T = TypeVar("T")

DEFAULT_PORT = 30002


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skylark"


def _data_dir() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "skylark"


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
    destination: str | None = None
    """The destination of elections that name none; the topology's first cloud node if absent."""
    functions: tuple[Path, ...] = ()
    """Components, or folders of them, separated by the path separator."""
    redis_url: str | None = None
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
    keep_fetched: bool = False
    """Whether to keep a bundle locally that was fetched from another node."""
    workers: int = 16
    """Threads that run functions."""
    peer_connect_timeout_ms: int = 1000
    """How long to wait for a connection to another node."""
    peer_timeout_ms: int = 30_000
    """How long to wait for another node while it sends or takes nothing."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "text"
    """`text` or `json`."""

    @property
    def objectives(self) -> Objectives:
        """The operator's objectives."""
        return Objectives(self.max_latency_ms, self.min_bandwidth_mbps)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **overrides: object) -> "Config":
        """Reads the settings.

        Args:
            environment: What to read; the process's environment, below it the file `.env` here, if absent.
            overrides: Settings by field name that win over the environment; None: not set.

        Raises:
            ConfigError: A value is not valid, or a variable `SKYLARK_…` is not known; the error names it.
        """
        if environment is None:
            environment = {key: value for key, value in dotenv_values(".env").items() if value is not None} | os.environ
        values: dict[str, Any] = {}
        for name, text in environment.items():
            if name.startswith("SKYLARK_") and name not in _FOREIGN:
                setting = name.removeprefix("SKYLARK_").lower()
                if setting not in _PARSERS:
                    raise ConfigError(name, text, f"a known setting: {', '.join(sorted(_PARSERS))}")
                if text != "":
                    values[setting] = _parsed(name, text, *_PARSERS[setting])
        values |= {name: value for name, value in overrides.items() if value is not None}
        config = cls(**values)
        for setting, (parse, expected) in _PARSERS.items():
            value = getattr(config, setting)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                _parsed(f"SKYLARK_{setting.upper()}", str(value), parse, expected)
        return config


def _parsed(name: str, text: str, parse: Callable[[str], T], expected: str) -> T:
    try:
        return parse(text)
    except (ValueError, InvalidArgument) as error:
        raise ConfigError(name, text, expected) from error


def _whole(minimum: int, maximum: int = 1 << 40) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not minimum <= value <= maximum:
            raise ValueError(text)
        return value

    return parse


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _one_of(*choices: str) -> tuple[Callable[[str], str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return parse, f"one of {', '.join(choices)}"


def _name(text: str) -> str:
    return check_name("node", text)


def _truth(text: str) -> bool:
    choices = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in choices:
        raise ValueError(text)
    return choices[text.lower()]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)


_FOREIGN = frozenset({"SKYLARK_PROXY_URL"})
"""Variables of the guest SDK, not of a node."""

_NAME_EXPECTED = "1 to 128 of A-Z a-z 0-9 . _ -"
_MS_EXPECTED = "a whole number of milliseconds above 0"
_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "node": (_name, _NAME_EXPECTED),
    "host": (str, "an address"),
    "port": (_whole(0, 65535), "a port, 0 to 65535"),
    "topology": (Path, "a path"),
    "destination": (_name, _NAME_EXPECTED),
    "functions": (_paths, f"paths separated by {os.pathsep}"),
    "redis_url": (str, "a URL"),
    "redis_fsync": _one_of("always", "everysec"),
    "data_dir": (Path, "a path"),
    "cache_dir": (Path, "a path"),
    "policy": (Policy, f"one of {', '.join(Policy)}"),
    "max_latency_ms": (_not_negative, "a number of milliseconds, 0 or more"),
    "min_bandwidth_mbps": (_not_negative, "a number of Mbps, 0 or more"),
    "bundle_ttl_ms": (_whole(1), _MS_EXPECTED),
    "max_bundle_bytes": (_whole(1), "a whole number of bytes above 0"),
    "keep_fetched": (_truth, "true or false"),
    "workers": (_whole(1, 1024), "a whole number, 1 to 1024"),
    "peer_connect_timeout_ms": (_whole(1), _MS_EXPECTED),
    "peer_timeout_ms": (_whole(1), _MS_EXPECTED),
    "log_level": _one_of("debug", "info", "warning", "error"),
    "log_format": _one_of("text", "json"),
}

SETTINGS = tuple(setting.name for setting in fields(Config))
"""The names of all settings, in the order of their documentation."""
