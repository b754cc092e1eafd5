"""The ASGI application of a node."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from skylark_proxy.api.access import Access, Trust
from skylark_proxy.api.answers import json_answer, on_defect, on_disconnect, on_http_error, on_skylark_error
from skylark_proxy.api.bundles import BundlesApi
from skylark_proxy.api.elections import ElectionsApi
from skylark_proxy.api.functions import CALLS, Calls, CallsFirst, FunctionsApi
from skylark_proxy.api.health import HealthApi, Probe
from skylark_proxy.api.hosts import KnownHosts
from skylark_proxy.api.in_flight import HEALTH, InFlight
from skylark_proxy.api.openapi import description
from skylark_proxy.api.peer import PeerApi
from skylark_proxy.api.rights import route_of_proxy
from skylark_proxy.api.state import StateApi
from skylark_proxy.api.strict import Operation, strict
from skylark_proxy.errors import SkylarkError
from skylark_proxy.proxy import Proxy
from skylark_proxy.signatures import Verifier
from skylark_proxy.single_state import SingleStates


def create_app(proxy: Proxy, on_started: Callable[[], None] | None = None) -> Starlette:
    """The application of an open proxy."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if on_started is not None:
            on_started()
        yield

    limit = proxy.config.max_bundle_bytes
    bulkheads = proxy.bulkheads
    described = description()
    calls = Calls(proxy.invoker, limit, Operation.of(described["paths"][CALLS]["post"]))
    routes = [
        *FunctionsApi(proxy.invoker).routes(),
        *BundlesApi(proxy.propagation, PeerApi(proxy.propagation), limit, bulkheads.local).routes(),
        *StateApi(SingleStates(proxy.propagation), limit, bulkheads.local).routes(),
        *ElectionsApi(proxy.propagation, proxy.topology, bulkheads.others).routes(),
        *HealthApi(
            proxy.config.node,
            Probe(proxy.redis.check_writable, bulkheads.health),
            proxy.workers,
            proxy.topology,
            proxy.room,
        ).routes(),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]
    handlers = {
        SkylarkError: on_skylark_error,
        HTTPException: on_http_error,
        ClientDisconnect: on_disconnect,
        Exception: on_defect,
    }
    app = Starlette(
        routes=[*strict(routes, described, free=(HEALTH,)), Route(CALLS, calls, methods=["POST"])],
        middleware=[*_middleware(proxy), Middleware(CallsFirst, calls=calls)],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a client that does not follow would have run nothing
    return app


def _middleware(proxy: Proxy) -> list[Middleware]:
    limit = Middleware(InFlight, limit=proxy.config.max_in_flight, budget=proxy.budget)
    return [limit, Middleware(Access, trust=_trust(proxy), route_of=route_of_proxy)]


def _trust(proxy: Proxy) -> Trust:
    config = proxy.config
    return Trust(
        verifier=Verifier(config.peer_key, config.peer_clock_skew_s) if config.peer_key is not None else None,
        nodes=(lambda: proxy.topology.current(time.time()).nodes) if config.tls.mutual else None,
        encrypted=config.tls.serves,
        local_networks=config.local_networks,
        trusted_proxies=config.trusted_proxies,
        hosts=KnownHosts(config.node, lambda: proxy.topology.current(time.time()), config.allowed_hosts),
    )


async def _openapi(_request: Request) -> Response:
    return json_answer(description())
