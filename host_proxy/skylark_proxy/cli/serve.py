"""`skylark serve`."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from skylark_proxy import bundle_http
from skylark_proxy.allocator import limit_arenas
from skylark_proxy.api import create_app
from skylark_proxy.cli.options import PolicyName, policy
from skylark_proxy.components import parse_component
from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.http_protocol import ClientLimits
from skylark_proxy.private_folders import UMASK
from skylark_proxy.proxy import open_proxy
from skylark_proxy.server import configure_logging, listen, listen_plain, serve, sigterm_as_interrupt
from skylark_proxy.topology import address_of

_LOG = logging.getLogger("skylark")


def serve_command(
    functions: Annotated[
        list[str] | None,
        typer.Argument(help="Components, folders with *.wasm files, or references oci://HOST/PATH:TAG."),
    ] = None,
    node: Annotated[str | None, typer.Option(help="The node's name in the topology; default: the host's name.")] = None,
    topology: Annotated[Path | None, typer.Option(help="The topology, a JSON file; default: this node alone.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; default: 30002; 0: a free one.")] = None,
    node_info_url: Annotated[
        str | None, typer.Option(help="The node-info service whose topology and objectives it follows.")
    ] = None,
    redis_url: Annotated[str | None, typer.Option(help="An external Redis; default: start one of its own.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where its own Redis keeps its data.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Objective: the longest migration of a bundle.")] = None,
    policy_name: PolicyName = None,
    plain_http: Annotated[
        list[str] | None, typer.Option("--registry-plain-http", help="A registry without TLS.", metavar="HOST:PORT")
    ] = None,
) -> None:
    """Runs the host proxy of a node until Ctrl-C or SIGTERM.

    Every option is also an environment variable `SKYLARK_NAME`; the README has the whole table.
    """
    config = Config.load(
        functions=tuple(map(parse_component, functions)) if functions else None,
        node=node,
        topology=topology,
        host=host,
        port=port,
        node_info_url=node_info_url,
        redis_url=redis_url,
        data_dir=data_dir,
        max_latency_ms=max_latency_ms,
        policy=policy(policy_name),
        registry_plain_http=tuple(plain_http) if plain_http else None,
    )
    serve_node(config)


def serve_node(config: Config) -> None:
    """Serves a node in the foreground and says where."""
    configure_logging(config)
    os.umask(UMASK)
    limit_arenas()
    with sigterm_as_interrupt(), contextlib.closing(listen(config)) as listener:
        port = listener.getsockname()[1]
        config = replace(config, port=port)
        with _plain(config) as plain, open_proxy(config) as proxy:
            names = ", ".join(sorted(proxy.invoker.functions.all())) or "none"
            address = f"{config.tls.scheme}://{address_of(config.host, port)}"
            report = partial(_LOG.info, "node %s serves %s, functions: %s", config.node, address, names)
            _warn_of_strangers(config, listener.getsockname()[0])
            limits = ClientLimits(config.max_connections, body_timeout_s=config.body_timeout_s)
            named = {bundle_http.NODE: config.node}
            serve(create_app(proxy, report), listener, headers=named, limits=limits, tls=config.tls, plain=plain)
    _LOG.info("node %s has ended", config.node)


@contextlib.contextmanager
def _plain(config: Config) -> Iterator[socket.socket | None]:
    """The second listener of a node with TLS, if it is asked for."""
    if config.plain_listen is None:
        yield None
        return
    if not config.tls.serves:
        expected = "SKYLARK_TLS_CERT beside it; without TLS there is one address"
        raise ConfigError("SKYLARK_PLAIN_LISTEN", config.plain_listen, expected)
    with contextlib.closing(listen_plain(config.plain_listen)) as listener:
        yield listener


def _warn_of_strangers(config: Config, address: str) -> None:
    if config.peer_key is None and not config.tls.mutual and not ip_address(address).is_loopback:
        _LOG.warning("whoever reaches %s can read and change all state: SKYLARK_PEER_KEY is not set", address)
