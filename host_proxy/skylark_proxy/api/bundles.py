"""`/bundles`: state bundles as binary bodies."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from skylark import wire
from skylark.plan import Plan
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.reports import placement_json
from skylark_proxy.api.routing import by_method
from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.machine import now_ms
from skylark_proxy.model import BundleInfo, Sealed, StateKey, check_name, check_write_id, parse_plan
from skylark_proxy.peers import ON_ITS_WAY, UNCHANGED
from skylark_proxy.placement import FetchedBundle, Write
from skylark_proxy.propagation import OnItsWay, Propagation, Terms, Unchanged, check_held
from skylark_proxy.store import MAX_VERSION, Removed

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
        if parameters.local_only(request):
            return await self._give(request, self._held(request, key), fields)
        read, min_version = parameters.read(request), parameters.number(request, "min_version", 1, MAX_VERSION) or 0
        if request.method == "HEAD":
            info, hops, stale = await run_in_threadpool(self.propagation.head, key, read, min_version)
            return Response(headers=_headers(info, hops, stale), media_type=bundle_http.MEDIA_TYPE)
        return _bundle_answer(await run_in_threadpool(self.propagation.fetch, key, fields, read, min_version))

    async def put(self, request: Request) -> Response:
        """Stores a bundle: at the node that the key names, else where an election says."""
        key = parameters.key_in_path(request)
        if parameters.local_only(request):
            return await self._take(request, self._held(request, key))
        write = Write(
            key=key,
            fields={},
            destination=parameters.name(request, "destination"),
            policy=parameters.policy(request),
            ttl_ms=parameters.ttl_ms(request),
            expected_version=parameters.expected_version(request),
            origin=_name(request, bundle_http.ORIGIN),
            created_ms=parameters.header_number(request, bundle_http.CREATED_MS, _MAX_TIME_MS),
            ack=parameters.ack(request),
            replicate=parameters.truth(request, "replicate"),
            write=_write_id(request),
            plan=_plan(request),
            destination_from="request" if "destination" in request.query_params else "default",
        )
        crc32 = parameters.header_number(request, bundle_http.CRC32, _MAX_CRC32)
        fields = await self._fields(request)
        placed = await run_in_threadpool(self.propagation.place, write.with_fields(fields, crc32))
        return json_answer(placement_json(placed), 200, _placed(placed.version, placed.key))

    async def announce(self, request: Request) -> Response:
        """Says that a bundle is on its way here, so that a fetch waits for it."""
        key = check_held(parameters.key_in_path(request), self.propagation.node)
        wait_ms = parameters.number(request, "wait_ms", 1, _MAX_ANNOUNCED_MS)
        self.propagation.arrivals.expect(key, (wait_ms or _MAX_ANNOUNCED_MS) / 1000)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """Deletes a bundle at the node that the key names, else here."""
        key = parameters.key_in_path(request)
        if parameters.local_only(request):
            return await self._remove(request, self._held(request, key))
        expected = parameters.expected_version(request)
        if expected == 0:
            raise InvalidArgument("If-None-Match", "*", "no such header: what does not exist cannot be deleted")
        if not await run_in_threadpool(self.propagation.delete, key, expected):
            raise NotFound("bundle", str(key), (key.node or self.propagation.node,))
        return Response(status_code=204)

    # What nodes ask of each other: the path names this node, a header the owner of the bundle that is meant.

    def _held(self, request: Request, key: StateKey) -> StateKey:
        check_held(key, self.propagation.node)
        owner = _name(request, bundle_http.OWNER)
        return key.anywhere() if owner is None else key.at(owner)

    async def _give(self, request: Request, key: StateKey, fields: Collection[str]) -> Response:
        if request.method == "HEAD":
            info = await run_in_threadpool(self.propagation.tell, key)
            return Response(headers=_headers(info), media_type=bundle_http.MEDIA_TYPE)
        found = await run_in_threadpool(
            self.propagation.give,
            key,
            fields,
            asker=parameters.name(request, "asker"),
            keep=parameters.truth(request, "keep") or False,
            newer_than=parameters.version_here(request),
        )
        if isinstance(found, OnItsWay):
            return Response(status_code=ON_ITS_WAY)
        if isinstance(found, Unchanged):
            return Response(status_code=UNCHANGED)
        return _bundle_answer(FetchedBundle(*found, 0, 0.0))

    async def _take(self, request: Request, key: StateKey) -> Response:
        version = parameters.header_number(request, bundle_http.VERSION, MAX_VERSION)
        supplied, replicate = parameters.name(request, "copy_at"), parameters.truth(request, "replicate") or False
        ttl_ms = parameters.ttl_ms(request)
        expected = parameters.expected_version(request)
        known = parameters.header_number(request, bundle_http.KNOWN, MAX_VERSION)
        meta = bundle_http.parse_meta(request.headers)
        age_ms = parameters.header_number(request, bundle_http.AGE_MS, _MAX_TIME_MS)
        fields = await self._fields(request)
        bundle_http.verify(meta.crc32, fields)
        sealed = Sealed(fields, meta, ttl_ms, age_ms)
        if version is None:
            terms = Terms(expected, known, replicate, supplied)
            version = await run_in_threadpool(self.propagation.put_here, key, sealed, terms)
        else:
            await run_in_threadpool(
                self.propagation.put_copy_here, key, sealed, version, supplied=supplied, replicate=replicate
            )
        return json_answer({"version": version}, 200, _placed(version, key))

    async def _remove(self, request: Request, key: StateKey) -> Response:
        version = parameters.header_number(request, bundle_http.VERSION, MAX_VERSION)
        write, below = parameters.text(request, "write"), parameters.text(request, "below")
        if write is not None:
            await run_in_threadpool(self.propagation.refuse_here, key, check_write_id(write))
            return Response(status_code=204)
        if version is not None:
            existed = await run_in_threadpool(self.propagation.forget_here, key, version, deleted=below == "deleted")
            removed = Removed(existed, version)
        else:
            known = parameters.header_number(request, bundle_http.KNOWN, MAX_VERSION)
            removed = await run_in_threadpool(
                self.propagation.delete_here, key, parameters.expected_version(request), known
            )
        if not removed.existed:
            raise NotFound("bundle", str(key), (self.propagation.node,), removed.version)
        return Response(status_code=204, headers={bundle_http.DELETED: str(removed.version)})

    async def _fields(self, request: Request) -> dict[str, memoryview]:
        """The fields of a body whose sender still waits: what it has given up need not be done."""
        fields = bundle_http.decode(await parameters.body(request, self.max_bundle_bytes, _MAX_INDEX_BYTES))
        for name in fields:
            check_name("body: field", name)
        if await request.is_disconnected():
            raise ClientDisconnect
        return fields


def _name(request: Request, header: str) -> str | None:
    name = request.headers.get(header)
    return check_name(header, name) if name is not None else None


def _write_id(request: Request) -> str | None:
    write_id = request.headers.get(bundle_http.WRITE)
    return check_write_id(write_id, bundle_http.WRITE) if write_id is not None else None


def _plan(request: Request) -> Plan | None:
    plan = request.headers.get(bundle_http.PLAN)
    return parse_plan(plan, bundle_http.PLAN) if plan is not None else None


def _placed(version: int, key: StateKey) -> dict[str, str]:
    return {"ETag": f'"{version}"', bundle_http.KEY: str(key)}


def _headers(info: BundleInfo, hops: int = 0, stale: str | None = None) -> dict[str, str]:
    given = bundle_http.info_headers(info, now_ms()) | {bundle_http.HOPS: str(hops)}
    return given if stale is None else given | {bundle_http.STALE: stale}


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


def _bundle_answer(fetched: FetchedBundle) -> Response:
    parts = wire.encode(fetched.fields)
    size_bytes = sum(map(len, parts))
    headers = _headers(fetched.info, fetched.hops, fetched.stale) | {
        "Content-Length": str(size_bytes),
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
