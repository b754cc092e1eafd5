"""The HTTP surface of the node-info service: parses a request, calls one function, answers."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from skylark_proxy.api import parameters
from skylark_proxy.api.access import Access, Trust
from skylark_proxy.api.answers import json_answer, on_defect, on_disconnect, on_http_error, on_skylark_error
from skylark_proxy.api.hosts import KnownHosts
from skylark_proxy.api.json_bodies import json_body
from skylark_proxy.api.rights import route_of_node_info
from skylark_proxy.api.routing import by_method
from skylark_proxy.api.strict import strict
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.nodeinfo.messages import (
    MeasurementJson,
    ObjectivesJson,
    SimSettingsJson,
    node_json,
)
from skylark_proxy.nodeinfo.openapi import MAX_EPOCH, MAX_WAIT_MS, description
from skylark_proxy.nodeinfo.service import NodeInfo, Snapshot
from skylark_proxy.nodeinfo.settings import NodeInfoSettings
from skylark_proxy.signatures import Verifier
from skylark_proxy.topology import Topology


def create_node_info_app(
    service: NodeInfo, on_started: Callable[[], None] | None = None, trust: Trust | None = None
) -> Starlette:
    """The application of an open service. `trust`: None: whoever reaches it may change what it tells."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if on_started is not None:
            on_started()
        yield

    handlers = {
        SkylarkError: on_skylark_error,
        HTTPException: on_http_error,
        ClientDisconnect: on_disconnect,
        Exception: on_defect,
    }
    middleware = [Middleware(Access, trust=trust or Trust(), route_of=route_of_node_info)]
    routes = NodeInfoApi(service).routes()
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False  # as at the proxy
    return app


def trust_of(settings: NodeInfoSettings, service: NodeInfo) -> Trust:
    """Return what an open service trusts by its settings."""
    key = settings.peer_key
    return Trust(
        verifier=Verifier(key, settings.peer_clock_skew_s) if key is not None else None,
        nodes=(lambda: service.snapshot().topology.nodes) if settings.tls.mutual else None,
        encrypted=settings.tls.serves,
        trusted_proxies=settings.trusted_proxies,
        hosts=KnownHosts(settings.node, lambda: service.snapshot().topology, settings.allowed_hosts),
    )


def _as_it_is(topology: Topology) -> Topology:
    return topology


@dataclass(frozen=True)
class NodeInfoApi:
    """What the service knows, under the published paths.

    Attributes:
        node: The node that it tells all this; None: the one that the service runs on.
        seen: Makes a topology what that node is to see of it, such as other addresses.
    """

    service: NodeInfo
    node: str | None = None
    seen: Callable[[Topology], Topology] = _as_it_is

    def routes(self) -> list[Route]:
        """The routes."""
        return strict(self._routes(), description(), free=("/health",))

    def _routes(self) -> list[Route]:
        return [
            Route("/local-node-info", self.local_node_info, methods=["GET"]),
            Route("/cloud-node-info", self.cloud_node_info, methods=["GET"]),
            by_method("/objectives", GET=self.objectives, POST=self.set_objectives),
            Route("/node-graph", self.node_graph, methods=["GET"]),
            Route("/current-topology", self.current_topology, methods=["GET"]),
            Route("/next-topology", self.next_topology, methods=["GET"]),
            Route("/static-topology", self.static_topology, methods=["GET"]),
            by_method("/sim-settings", GET=self.sim_settings, POST=self.set_sim_settings),
            Route("/measurements", self.measurements, methods=["POST"]),
            Route("/refresh", self.refresh, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def local_node_info(self, _request: Request) -> Response:
        """The node that the service runs on."""
        topology = self.seen(self.service.snapshot().topology)
        return json_answer(node_json(topology.node(self.node or self.service.node)))

    async def cloud_node_info(self, _request: Request) -> Response:
        """The first node of the cloud, by name."""
        return json_answer(node_json(self.seen(self.service.snapshot().topology).node(self.service.cloud_node().name)))

    async def objectives(self, _request: Request) -> Response:
        """What the operator asks for."""
        return json_answer(ObjectivesJson.of(self.service.objectives))

    async def set_objectives(self, request: Request) -> Response:
        """Changes the objectives that the body names."""
        given = await json_body(request, ObjectivesJson)
        self.service.set_objectives(given.over(self.service.objectives))
        return json_answer(ObjectivesJson.of(self.service.objectives))

    async def node_graph(self, _request: Request) -> Response:
        """The edges of the topology now."""
        return json_answer(_plain(self.seen(self.service.snapshot().topology))["edges"])

    async def current_topology(self, request: Request) -> Response:
        """The topology and the objectives now; with `after` and `wait_ms`, as soon as their epoch is another one."""
        after = parameters.number(request, "after", 0, MAX_EPOCH)
        wait_ms = parameters.number(request, "wait_ms", 0, MAX_WAIT_MS)
        if after is None and wait_ms is not None:
            raise InvalidArgument("after", None, "the epoch that is known, beside wait_ms")
        if after is None:
            snapshot = self.service.snapshot()
        else:
            snapshot = await self.service.wait_beyond(after, (wait_ms or 0) / 1000)
        headers = {"ETag": f'"{snapshot.epoch}"', "Cache-Control": "no-cache"}
        if snapshot.epoch == after or headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return json_answer(self._snapshot_json(snapshot), 200, headers)

    async def next_topology(self, _request: Request) -> Response:
        """The topology that follows the one now."""
        return self._topology_answer(self.service.upcoming())

    async def static_topology(self, request: Request) -> Response:
        """The topology number `t` of a rotation."""
        return self._topology_answer(self.service.numbered(parameters.number(request, "t", 0, MAX_EPOCH)))

    async def sim_settings(self, _request: Request) -> Response:
        """What links are drawn from."""
        return json_answer(SimSettingsJson.of(self.service.sim_settings()))

    async def set_sim_settings(self, request: Request) -> Response:
        """Changes the settings that the body names, and draws links anew."""
        given = await json_body(request, SimSettingsJson)
        self.service.set_sim_settings(given.over(self.service.sim_settings()))
        return json_answer(SimSettingsJson.of(self.service.sim_settings()))

    async def measurements(self, request: Request) -> Response:
        """Takes what a node measured of a link."""
        given = await json_body(request, MeasurementJson)
        counts = self.service.report(given.to_measurement(time.time()))
        return json_answer({"counts": counts, "epoch": self.service.snapshot().epoch})

    async def refresh(self, _request: Request) -> Response:
        """Reads files and the cluster again, draws links again, takes the next turn of a rotation."""
        await run_in_threadpool(self.service.refresh)
        return json_answer({"epoch": self.service.snapshot().epoch})

    async def health(self, _request: Request) -> Response:
        """That the service lives, and whether its topology may be out of date."""
        problem = self.service.problem()
        body = {"node": self.node or self.service.node, "status": "alive", "epoch": self.service.snapshot().epoch}
        return json_answer(body | {"problem": problem})

    async def openapi(self, _request: Request) -> Response:
        """The description of all this."""
        return json_answer(description())

    def _topology_answer(self, topology: Topology) -> Response:
        return json_answer({"epoch": self.service.snapshot().epoch} | _plain(self.seen(topology)))

    def _snapshot_json(self, snapshot: Snapshot) -> dict[str, Any]:
        objectives = msgspec.to_builtins(ObjectivesJson.of(snapshot.objectives))
        return {"epoch": snapshot.epoch, "objectives": objectives} | _plain(self.seen(snapshot.topology))


def _plain(topology: Topology) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(topology.to_json())
    return plain
