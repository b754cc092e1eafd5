"""Serves an ASGI application, a node's proxy or the node-info service, with uvicorn until it is told to stop."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, cast

import msgspec
import uvicorn
from starlette.types import ASGIApp

from skylark_proxy.errors import ConfigError
from skylark_proxy.http_protocol import ClientLimits, StrictProtocol
from skylark_proxy.printable import json_text, lines, one_line
from skylark_proxy.tls import ServerContext, TlsFiles

_GRACE_S = 10
_KEEP_ALIVE_S = 120  # other nodes keep their connections; a new one costs a round trip, which may be 200 ms and more
_BACKLOG = 2048


class ServerSettings(Protocol):
    """What a server is told: `Config`, or `NodeInfoSettings`."""

    @property
    def node(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> str: ...


def listen(config: ServerSettings, variables: str = "SKYLARK_HOST, SKYLARK_PORT") -> socket.socket:
    """The listening socket of a server: bound early, so that a port that is taken is known before anything starts.

    Args:
        variables: The names of the settings, for the error.

    Raises:
        ConfigError: It cannot listen there.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except (OSError, UnicodeError, TypeError) as error:  # the last two of names that are none
        listener.close()
        where = f"{config.host}:{config.port}"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(variables, where, f"an address to listen on ({reason})") from error
    return listener


def listen_plain(address: str) -> socket.socket:
    """Return the listening socket of `SKYLARK_PLAIN_LISTEN`.

    Raises:
        ConfigError: It cannot listen there.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        expected = f"an address to listen on ({error.strerror})"
        raise ConfigError("SKYLARK_PLAIN_LISTEN", address, expected) from error


def serve(
    app: ASGIApp,
    listener: socket.socket,
    on_shutdown: Callable[[], None] | None = None,
    headers: Mapping[str, str] | None = None,
    limits: ClientLimits | None = None,
    tls: TlsFiles | None = None,
    plain: socket.socket | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; requests that run then have ten seconds to end.

    Args:
        tls: With a certificate in it, the listener speaks TLS.
        plain: A second listener, which never does.
        headers: Headers of every answer, also of those that uvicorn gives by itself.
        on_shutdown: Is called before they are waited for, in the event loop.
        limits: What clients may do; see `ClientLimits`.
    """
    limits = limits or ClientLimits()
    limits.max_connections = min(limits.max_connections, _connections_of_system())
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(StrictProtocol, limits=limits)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is decided by `api.callers`
        headers=list((headers or {}).items()),
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    if tls is not None and tls.serves:
        context = ServerContext(tls)
        settings.ssl_context_factory = lambda _config, _default: context
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again that ended it
        _Server(settings, on_shutdown, plain).run(sockets=[listener])


def _connections_of_system() -> int:
    """Raise this process's limit of open files as far as it may, and return how many of them connections may take.

    The others are for Redis, other nodes and what guests open. A server that runs out of them accepts nobody.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft - soft // 4 if soft != resource.RLIM_INFINITY else 1 << 20


class _Server(uvicorn.Server):
    def __init__(
        self, settings: uvicorn.Config, on_shutdown: Callable[[], None] | None, plain: socket.socket | None
    ) -> None:
        super().__init__(settings)
        self._on_shutdown = on_shutdown
        self._plain = plain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._plain is not None:

            def protocol() -> StrictProtocol:
                return StrictProtocol(self.config, self.server_state, self.lifespan.state)

            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_server(protocol, sock=self._plain, backlog=_BACKLOG))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_shutdown is not None:
            self._on_shutdown()
        await super().shutdown(sockets)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM unwind the stack as Ctrl-C does, so that whatever was opened is closed, however early it comes."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its time, level, logger, message and what the log call added."""
        extra = {name: getattr(record, name) for name in ("function", "chain_id", "stream") if hasattr(record, name)}
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | extra
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json_text(msgspec.json.encode(entry).decode())


class TextFormatter(logging.Formatter):
    """One line for each record, but for tracebacks: what strangers and guests put into it cannot look like others."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, with control characters escaped."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The lines of a traceback, with control characters escaped."""
        return lines(super().formatException(ei))


def configure_logging(config: ServerSettings) -> None:
    """Sends the log to stderr, as the settings say."""
    handler = logging.StreamHandler()
    plain = TextFormatter(f"%(asctime)s %(levelname)-7s {config.node} %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if config.log_format == "json" else plain)
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel("WARNING")
