"""`/bundles`: state bundles as binary bodies."""

from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from skylark.plan import Plan
from skylark.session import MAX_VERSION
from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.peer import PeerApi, bundle_answer, bundle_fields, bundle_headers, stored_headers
from skylark_proxy.api.reports import placement_json
from skylark_proxy.api.routing import by_method
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.model import BundleInfo, check_name, check_write_id, parse_plan
from skylark_proxy.placement import Write
from skylark_proxy.propagation import Propagation

_MAX_INDEX_BYTES = 1 << 20
_MAX_CRC32 = 0xFFFFFFFF


@dataclass(frozen=True)
class BundlesApi:
    """The bundles of a node, and through it those of others."""

    propagation: Propagation
    peer: PeerApi
    max_bundle_bytes: int
    local: Bulkhead

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
        infos = await self.local.run(lambda: list(self.propagation.store.list(chain_id)))
        return json_answer({"bundles": [_info_json(info) for info in infos]})

    async def get(self, request: Request) -> Response:
        """A bundle: from here, the node that the key names, or the cloud. With `scope=local` from here only."""
        key, fields = parameters.key_in_path(request), parameters.names(request, "fields")
        read, min_version = parameters.read(request), parameters.number(request, "min_version", 1, MAX_VERSION) or 0
        if parameters.local_only(request):
            return await self.local.run(self.peer.give, request)
        if request.method == "HEAD":
            info, hops, stale = await self.local.run(self.propagation.head, key, read, min_version)
            return Response(headers=bundle_headers(info, hops, stale), media_type=bundle_http.MEDIA_TYPE)
        return bundle_answer(await self.local.run(self.propagation.fetch, key, fields, read, min_version))

    async def put(self, request: Request) -> Response:
        """Stores a bundle: at the node that the key names, else where an election says."""
        key = parameters.key_in_path(request)
        if parameters.local_only(request):
            return await self.local.run(self.peer.take, request, await self._body(request))
        write = Write(
            key=key,
            fields={},
            destination=parameters.name(request, "destination"),
            policy=parameters.policy(request),
            ttl_ms=parameters.ttl_ms(request),
            expected_version=parameters.expected_version(request),
            origin=_name(request, bundle_http.ORIGIN),
            created_ms=parameters.header_number(request, bundle_http.CREATED_MS, parameters.MAX_TIME_MS),
            ack=parameters.ack(request),
            replicate=parameters.truth(request, "replicate"),
            write=_write_id(request),
            plan=_plan(request),
            seen=bundle_http.parse_seen(request.headers.get(bundle_http.SEEN)),
            destination_from="request" if "destination" in request.query_params else "default",
        )
        crc32 = parameters.header_number(request, bundle_http.CRC32, _MAX_CRC32)
        fields = bundle_fields(await self._body(request))
        placed = await self.local.run(self.propagation.place, write.with_fields(fields, crc32))
        return json_answer(placement_json(placed), 200, stored_headers(placed.version, placed.key))

    async def announce(self, request: Request) -> Response:
        """Says that a bundle is on its way here, so that a fetch waits for it."""
        return self.peer.announce(request)

    async def delete(self, request: Request) -> Response:
        """Deletes a bundle at the node that the key names, else here."""
        key = parameters.key_in_path(request)
        if parameters.local_only(request):
            return await self.local.run(self.peer.remove, request)
        expected = parameters.expected_version(request)
        if expected == 0:
            raise InvalidArgument("If-None-Match", "*", "no such header: what does not exist cannot be deleted")
        owned, removed = await self.local.run(self.propagation.remove, key, expected)
        if not removed.existed:
            raise NotFound("bundle", str(key), (key.node or self.propagation.node,), removed.version)
        named = {bundle_http.OWNER: owned.node} if owned.node is not None else {}
        return Response(status_code=204, headers={bundle_http.DELETED: str(removed.version), **named})

    async def _body(self, request: Request) -> bytes | bytearray:
        """The body of a write whose sender still waits: what it has given up need not be done."""
        body = await parameters.body(request, self.max_bundle_bytes, _MAX_INDEX_BYTES)
        if await request.is_disconnected():
            raise ClientDisconnect
        return body


def _name(request: Request, header: str) -> str | None:
    name = request.headers.get(header)
    return check_name(header, name) if name is not None else None


def _write_id(request: Request) -> str | None:
    write_id = request.headers.get(bundle_http.WRITE)
    return check_write_id(write_id, bundle_http.WRITE) if write_id is not None else None


def _plan(request: Request) -> Plan | None:
    plan = request.headers.get(bundle_http.PLAN)
    return parse_plan(plan, bundle_http.PLAN) if plan is not None else None


def _info_json(info: BundleInfo) -> dict[str, object]:
    return {
        "key": str(info.public_key),
        "held_by": info.held_by,
        "version": info.version,
        "size_bytes": info.size_bytes,
        "fields": info.sizes,
        "origin": info.meta.origin,
        "created_ms": info.meta.created_ms,
        "expires_ms": info.expires_ms,
        "age_ms": info.age_ms,
        "crc32": info.meta.crc32,
    }
