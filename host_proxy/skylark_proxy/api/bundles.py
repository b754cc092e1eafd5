"""`/bundles`: state bundles as binary bodies."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from skylark import wire
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.reports import placement_json
from skylark_proxy.api.routing import by_method
from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.model import BundleInfo, Plan, check_name
from skylark_proxy.propagation import FetchedBundle, Propagation, Write, check_held
from skylark_proxy.store import MAX_VERSION

_CHUNK_BYTES = 256 << 10
_MAX_TIME_MS = 1 << 53
_MAX_ANNOUNCED_MS = 600_000
_MAX_INDEX_BYTES = 1 << 20
_MAX_CRC32 = 0xFFFFFFFF


@dataclass(frozen=True)
class BundlesApi:
    """The bundles of a node, and through it those of others."""

    propagation: Propagation
    max_bundle_bytes: int

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/bundles", self.list, methods=["GET"]),
            by_method("/bundles/{key}", GET=self.get, PUT=self.put, DELETE=self.delete),
            Route("/bundles/{key}/announcement", self.announce, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """The bundles of a chain that this node holds."""
        chain_id = parameters.name(request, "chain")
        if chain_id is None:
            raise InvalidArgument("chain", None, "the id of a chain")
        infos = await run_in_threadpool(lambda: list(self.propagation.store.list(chain_id)))
        return json_answer({"bundles": [_info_json(info) for info in infos]})

    async def get(self, request: Request) -> Response:
        """A bundle: from here, the node that the key names, or the cloud. With `scope=local` from here only."""
        key, fields = parameters.key_in_path(request), parameters.names(request, "fields")
        local = parameters.local_only(request)
        if request.method == "HEAD" and local:
            info = await run_in_threadpool(self.propagation.store.head, check_held(key, self.propagation.node))
            return Response(headers=bundle_http.headers(info), media_type=bundle_http.MEDIA_TYPE)
        if local:
            stored = await run_in_threadpool(
                self.propagation.store.get, check_held(key, self.propagation.node), fields or None
            )
            return _bundle_answer(FetchedBundle(stored.info, stored.fields, 0, 0.0))
        return _bundle_answer(await run_in_threadpool(self.propagation.fetch, key, fields))

    async def put(self, request: Request) -> Response:
        """Stores a bundle: at the node that the key names, else where an election says."""
        key, local = parameters.key_in_path(request), parameters.local_only(request)
        write = Write(
            key=check_held(key, self.propagation.node).at(self.propagation.node) if local else key,
            fields={},
            destination=parameters.name(request, "destination"),
            policy=parameters.policy(request),
            ttl_ms=parameters.ttl_ms(request),
            expected_version=parameters.expected_version(request),
            origin=_origin(request),
            created_ms=parameters.header_number(request, bundle_http.CREATED_MS, _MAX_TIME_MS),
            ack=parameters.ack(request),
            replicate=parameters.truth(request, "replicate"),
            version=parameters.header_number(request, bundle_http.VERSION, MAX_VERSION),
            plan=_plan(request),
            destination_from="request" if "destination" in request.query_params else "default",
        )
        crc32 = parameters.header_number(request, bundle_http.CRC32, _MAX_CRC32)
        fields = bundle_http.decode(await parameters.body(request, self.max_bundle_bytes, _MAX_INDEX_BYTES))
        for name in fields:
            check_name("body: field", name)
        placed = await run_in_threadpool(self.propagation.place, write.with_fields(fields, crc32))
        headers = {"ETag": f'"{placed.version}"', bundle_http.KEY: str(placed.key)}
        return json_answer(placement_json(placed), 200, headers)

    async def announce(self, request: Request) -> Response:
        """Says that a bundle is on its way here, so that a fetch waits for it."""
        key = check_held(parameters.key_in_path(request), self.propagation.node)
        wait_ms = parameters.number(request, "wait_ms", 1, _MAX_ANNOUNCED_MS)
        self.propagation.arrivals.expect(key, (wait_ms or _MAX_ANNOUNCED_MS) / 1000)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """Deletes a bundle at the node that the key names, else here."""
        key, local = parameters.key_in_path(request), parameters.local_only(request)
        if local:
            check_held(key, self.propagation.node)
        if not await run_in_threadpool(self.propagation.delete, key):
            raise NotFound("bundle", str(key), (key.node or self.propagation.node,))
        return Response(status_code=204)


def _origin(request: Request) -> str | None:
    origin = request.headers.get(bundle_http.ORIGIN)
    return check_name(bundle_http.ORIGIN, origin) if origin is not None else None


def _plan(request: Request) -> Plan | None:
    plan = request.headers.get(bundle_http.PLAN)
    return Plan.parse(plan, bundle_http.PLAN) if plan is not None else None


def _info_json(info: BundleInfo) -> dict[str, object]:
    return {
        "key": str(info.key),
        "version": info.version,
        "size_bytes": info.size_bytes,
        "fields": info.sizes,
        "origin": info.origin,
        "created_ms": info.created_ms,
        "expires_ms": info.expires_ms,
        "crc32": info.crc32,
    }


def _bundle_answer(fetched: FetchedBundle) -> Response:
    parts = wire.encode(fetched.fields)
    size_bytes = sum(map(len, parts))
    headers = bundle_http.headers(fetched.info) | {
        "Content-Length": str(size_bytes),
        bundle_http.HOPS: str(fetched.hops),
        bundle_http.SERVED_BY: fetched.info.key.node or "",
        "Server-Timing": f"dr;dur={fetched.duration_ms:.3f}",
    }
    if size_bytes <= _CHUNK_BYTES:
        return Response(b"".join(parts), headers=headers, media_type=bundle_http.MEDIA_TYPE)
    return StreamingResponse(_chunks(parts), headers=headers, media_type=bundle_http.MEDIA_TYPE)


async def _chunks(parts: Sequence[Buffer]) -> AsyncIterator[memoryview]:
    """Pieces that the server sends as the receiver takes them."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), _CHUNK_BYTES):
            yield view[start : start + _CHUNK_BYTES]
