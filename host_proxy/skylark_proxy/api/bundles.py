"""`/bundles`: state bundles as binary bodies."""

from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from skylark import wire
from skylark.plan import Plan
from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer, whole_answer
from skylark_proxy.api.reports import placement_json
from skylark_proxy.api.routing import by_method
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.model import BundleInfo, StateKey, WriteId, check_name, parse_plan
from skylark_proxy.peers import ON_ITS_WAY
from skylark_proxy.placement import FetchedBundle, Write
from skylark_proxy.propagation import Propagation, check_held
from skylark_proxy.store import MAX_VERSION

_MAX_TIME_MS = 1 << 53
_MAX_ANNOUNCED_MS = 600_000
_MAX_INDEX_BYTES = 1 << 20
_MAX_CRC32 = 0xFFFFFFFF


@dataclass(frozen=True)
class BundlesApi:
    """The bundles of a node, and through it those of others."""

    propagation: Propagation
    max_bundle_bytes: int
    peer_timeout_ms: int
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
        local = parameters.local_only(request)
        if request.method == "HEAD":
            return await self._head(key, local)
        asker = parameters.name(request, "asker")
        if asker is not None and self.propagation.brings(key, asker):
            return Response(status_code=ON_ITS_WAY)
        if local:
            stored = await self.local.run(
                self.propagation.store.get, check_held(key, self.propagation.node), fields or None
            )
            return _bundle_answer(FetchedBundle(stored.info, stored.fields, 0, 0.0))
        return _bundle_answer(await self.local.run(self.propagation.fetch, key, fields))

    async def _head(self, key: StateKey, local: bool) -> Response:
        if local:
            info = await self.local.run(self.propagation.store.head, check_held(key, self.propagation.node))
            hops = 0
        else:
            info, hops = await self.local.run(self.propagation.head, key)
        headers = bundle_http.headers(info) | {bundle_http.HOPS: str(hops), bundle_http.SERVED_BY: info.key.node or ""}
        return Response(headers=headers, media_type=bundle_http.MEDIA_TYPE)

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
            origin=_name(request, bundle_http.ORIGIN),
            created_ms=parameters.header_number(request, bundle_http.CREATED_MS, _MAX_TIME_MS),
            ack=parameters.ack(request),
            replicate=parameters.truth(request, "replicate"),
            version=parameters.header_number(request, bundle_http.VERSION, MAX_VERSION),
            home=_name(request, bundle_http.HOME),
            write=_write_id(request),
            copy_at=parameters.name(request, "copy_at"),
            plan=_plan(request),
            destination_from="request" if "destination" in request.query_params else "default",
        )
        crc32 = parameters.header_number(request, bundle_http.CRC32, _MAX_CRC32)
        fields = bundle_http.decode(await self._current_body(request))
        for name in fields:
            check_name("body: field", name)
        placed = await self.local.run(self.propagation.place, write.with_fields(fields, crc32))
        headers = {"ETag": f'"{placed.version}"', bundle_http.KEY: str(placed.key)} | bundle_http.clock()
        return json_answer(placement_json(placed), 200, headers)

    async def announce(self, request: Request) -> Response:
        """Says that a bundle is on its way here, so that a fetch waits for it."""
        key = check_held(parameters.key_in_path(request), self.propagation.node)
        wait_ms = parameters.number(request, "wait_ms", 1, _MAX_ANNOUNCED_MS)
        self.propagation.arrivals.expect(key, (wait_ms or _MAX_ANNOUNCED_MS) / 1000)
        return Response(status_code=204, headers=bundle_http.clock())

    async def _current_body(self, request: Request) -> bytearray:
        """The body of a write that its sender still waits for: what got stuck on its way was given up, and is not to
        be carried out over what has been written since.
        """
        sent_ms = parameters.header_number(request, bundle_http.SENT_MS, _MAX_TIME_MS)
        if sent_ms is not None and bundle_http.uptime_ms() - sent_ms > self.peer_timeout_ms:
            raise ClientDisconnect
        body = await parameters.body(request, self.max_bundle_bytes, _MAX_INDEX_BYTES)
        if await request.is_disconnected():
            raise ClientDisconnect
        return body

    async def delete(self, request: Request) -> Response:
        """Deletes a bundle at the node that the key names, else here."""
        key, local = parameters.key_in_path(request), parameters.local_only(request)
        if local:
            check_held(key, self.propagation.node)
        write = parameters.text(request, "write")
        made_by = WriteId.parse(write, "write") if write is not None else None
        if not await self.local.run(self.propagation.delete, key, made_by):
            raise NotFound("bundle", str(key), (key.node or self.propagation.node,))
        return Response(status_code=204)


def _name(request: Request, header: str) -> str | None:
    name = request.headers.get(header)
    return check_name(header, name) if name is not None else None


def _write_id(request: Request) -> WriteId | None:
    write_id = request.headers.get(bundle_http.WRITE)
    return WriteId.parse(write_id, bundle_http.WRITE) if write_id is not None else None


def _plan(request: Request) -> Plan | None:
    plan = request.headers.get(bundle_http.PLAN)
    return parse_plan(plan, bundle_http.PLAN) if plan is not None else None


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
    headers = bundle_http.headers(fetched.info) | {
        "Content-Type": bundle_http.MEDIA_TYPE,
        bundle_http.HOPS: str(fetched.hops),
        bundle_http.SERVED_BY: fetched.info.key.node or "",
        "Server-Timing": f"dr;dur={fetched.duration_ms:.3f}",
    }
    return whole_answer(wire.encode(fetched.fields), 200, headers)
