"""The process of a testbed's network: `python -m skylark_testbed.network_process FOLDER DESCRIPTOR`.

It reads `network.json` in the folder, and serves on the listening socket with that descriptor: the node-info service
with the real addresses at `/`, the view of each node at `/nodes/NAME/`, and at `/network/` what happens to the links.
"""

import asyncio
import contextlib
import math
import os
import resource
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from skylark_proxy.api import parameters
from skylark_proxy.api.access import Access, Trust
from skylark_proxy.api.answers import json_answer, on_defect, on_http_error, on_skylark_error
from skylark_proxy.api.json_bodies import json_body
from skylark_proxy.api.rights import route_of_node_info
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.model import Objectives
from skylark_proxy.nodeinfo.api import NodeInfoApi
from skylark_proxy.nodeinfo.drawn import DrawnTopology
from skylark_proxy.nodeinfo.links import SimSettings
from skylark_proxy.nodeinfo.measured import MeasuredTopology, Mixing
from skylark_proxy.nodeinfo.provider import FileTopology, Provider
from skylark_proxy.nodeinfo.rotating import RotatingTopology
from skylark_proxy.nodeinfo.service import Bell, NodeInfo
from skylark_testbed.event_loop import exact_event_loop
from skylark_testbed.network import Network, SinceStart
from skylark_testbed.network_json import FILE, LinkBody, NetworkJson
from skylark_testbed.routing import Slowness, pair_of

_PRIORITY = -10


@dataclass(frozen=True)
class NetworkApi:
    """What happens to the links."""

    network: Network
    service: NodeInfo

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/topology", self.topology, methods=["GET"]),
            Route("/links", self.links, methods=["GET"]),
            Route("/carried", self.carried, methods=["GET"]),
            Route("/cut", self.cut, methods=["POST"]),
            Route("/slow", self.slow, methods=["POST"]),
            Route("/heal", self.heal, methods=["POST"]),
        ]

    async def topology(self, _request: Request) -> Response:
        """The links as they are, with real addresses; the epoch, as nodes know it, is in the ETag."""
        headers = {"ETag": f'"{self.service.snapshot().epoch}"'}
        return Response(self.network.topology().to_json(), headers=headers, media_type="application/json")

    async def links(self, _request: Request) -> Response:
        """The links that are up, with what they have carried, and those that are cut."""
        faults = self.network.faults
        up = [
            {
                "between": [link.source, link.target],
                "latency_ms": link.latency_ms,
                "bandwidth_mbps": link.bandwidth_mbps,
                "slowed": pair_of(link.source, link.target) in faults.slow,
                "carried_bytes": carried,
            }
            for link, carried in self.network.links()
        ]
        return json_answer({"links": up, "cut": sorted(faults.cut)})

    async def carried(self, request: Request) -> Response:
        """What a node has sent to another one."""
        source, target = (parameters.name(request, end) for end in ("source", "target"))
        if source is None or target is None:
            raise InvalidArgument("source, target", None, "the names of two nodes")
        return json_answer({"carried_bytes": self.network.carried_bytes(source, target)})

    async def cut(self, request: Request) -> Response:
        """Cuts a link."""
        self.network.cut(*(await json_body(request, LinkBody)).between)
        return json_answer({})

    async def slow(self, request: Request) -> Response:
        """Changes a link."""
        body = await json_body(request, LinkBody)
        if body.latency_ms is None and body.bandwidth_mbps is None:
            raise InvalidArgument("latency_ms", None, "a latency, or a bandwidth_mbps")
        self.network.slow(*body.between, Slowness(body.latency_ms, body.bandwidth_mbps))
        return json_answer({})

    async def heal(self, request: Request) -> Response:
        """Makes a link what the topology says."""
        self.network.heal(*(await json_body(request, LinkBody)).between)
        return json_answer({})


def create_network_app(service: NodeInfo, network: Network) -> Starlette:
    """The application of the process."""
    views = [
        Mount(f"/nodes/{name}", routes=list(NodeInfoApi(service, name, partial(network.seen_from, name)).routes()))
        for name in service.snapshot().topology.nodes
    ]
    routes = [
        *NodeInfoApi(service).routes(),
        *views,
        Mount("/network", routes=list(NetworkApi(network, service).routes())),
    ]
    handlers: Any = {SkylarkError: on_skylark_error, HTTPException: on_http_error, Exception: on_defect}
    middleware = [Middleware(Access, trust=Trust(), route_of=route_of_node_info)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


async def run_network(settings: NetworkJson, folder: Path, listener: socket.socket) -> None:
    """Serves until SIGTERM."""
    bell = Bell()
    given = _provider(settings, folder)
    provider = SinceStart(given, time.time())
    network = Network(asyncio.get_running_loop(), provider, settings.jitter, settings.seed)
    objectives = Objectives(settings.max_latency_ms, settings.min_bandwidth_mbps)
    nodes = provider.current(time.time()).nodes
    drawn = given if isinstance(given, DrawnTopology) else None
    service = NodeInfo(next(iter(nodes)), MeasuredTopology(provider, Mixing()), objectives, bell, drawn)
    following = asyncio.ensure_future(network.follow(bell))
    config = uvicorn.Config(
        create_network_app(service, network),
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    try:
        await _Server(config, service).serve([listener])
    finally:
        following.cancel()
        network.close()


class _Server(uvicorn.Server):
    """Answers those who wait for a change before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: NodeInfo) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.close()
        await super().shutdown(sockets)


def _provider(settings: NetworkJson, folder: Path) -> Provider:
    file, interval_s = folder / settings.topology, settings.interval_s or math.inf
    match settings.provider:
        case "static":
            return FileTopology(file)
        case "rotating":
            return RotatingTopology(file, interval_s)
        case "random":
            drawing = settings.drawing.over(SimSettings(interval_s))
            return DrawnTopology(FileTopology(file), drawing, settings.seed)


def main() -> None:
    """Runs the process."""
    folder, listener = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    settings = msgspec.json.decode((folder / FILE).read_bytes(), type=NetworkJson)
    os.set_inheritable(listener.fileno(), False)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each pair has ports, each connection two sockets
    with contextlib.suppress(OSError):  # where it may: a busy machine is not to make links slower than they are
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    loop = exact_event_loop()
    asyncio.set_event_loop(loop)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(loop):
        loop.run_until_complete(run_network(settings, folder, listener))


if __name__ == "__main__":
    main()
