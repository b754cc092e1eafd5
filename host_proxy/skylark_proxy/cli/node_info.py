"""`skylark node-info`."""

import contextlib
import logging
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from skylark_proxy.nodeinfo.api import create_node_info_app, trust_of
from skylark_proxy.nodeinfo.settings import PROVIDERS, NodeInfoSettings, open_node_info
from skylark_proxy.private_folders import UMASK
from skylark_proxy.server import configure_logging, listen, serve, sigterm_as_interrupt
from skylark_proxy.topology import address_of

_LOG = logging.getLogger("skylark")


def node_info_command(
    provider: Annotated[
        str | None, typer.Option(help=f"Where the topology comes from: {', '.join(PROVIDERS)}; default: static.")
    ] = None,
    topology: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file: the topology (static), the topologies that take turns (rotating), the nodes that links "
            "are drawn for (random), or the links of the cluster (kubernetes; without it they are drawn)."
        ),
    ] = None,
    node: Annotated[
        str | None, typer.Option(help="The name of the node that the service runs on; default: the host's name.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; default: 30001; 0: a free one.")] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Objective: the longest migration of a bundle; default: 150.")
    ] = None,
    min_bandwidth_mbps: Annotated[
        float | None, typer.Option(help="Objective: the narrowest link a bundle may take; default: 0, any.")
    ] = None,
    interval_s: Annotated[
        float | None,
        typer.Option(help="How long a turn (rotating; default: the file's) or drawn links (default: 15) last."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes drawn links repeatable.")] = None,
    density: Annotated[
        float | None, typer.Option(help="The share of the pairs of nodes that are linked, if drawn; default: 1, all.")
    ] = None,
) -> None:
    """Tells the nodes of a continuum who they are, how they are linked now, and what the operator asks for.

    Proxies follow it that are started with SKYLARK_NODE_INFO_URL=http://HOST:PORT. It runs until Ctrl-C or SIGTERM.
    Options are also environment variables: SKYLARK_NODE, SKYLARK_TOPOLOGY, SKYLARK_MAX_LATENCY_MS,
    SKYLARK_MIN_BANDWIDTH_MBPS, and the others as SKYLARK_NODE_INFO_PORT, SKYLARK_NODE_INFO_PROVIDER and so on.
    """
    settings = NodeInfoSettings.load(
        node=node,
        topology=topology,
        max_latency_ms=max_latency_ms,
        min_bandwidth_mbps=min_bandwidth_mbps,
        node_info_provider=provider,
        node_info_host=host,
        node_info_port=port,
        node_info_interval_s=interval_s,
        node_info_seed=seed,
        node_info_density=density,
    )
    configure_logging(settings)
    os.umask(UMASK)
    with sigterm_as_interrupt(), contextlib.closing(listen(settings, _VARIABLES)) as listener:
        settings.tls.check()
        address = f"{settings.tls.scheme}://{address_of(settings.host, listener.getsockname()[1])}"
        with open_node_info(settings) as service:
            report = partial(_LOG.info, "node-info serves %s, provider: %s", address, settings.node_info_provider)
            app = create_node_info_app(service, report, trust_of(settings, service))
            serve(app, listener, service.close, tls=settings.tls)
    _LOG.info("node-info has ended")


_VARIABLES = "SKYLARK_NODE_INFO_HOST, SKYLARK_NODE_INFO_PORT"
