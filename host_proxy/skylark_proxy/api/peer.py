"""What nodes ask of each other: requests for bundles with `scope=local`.

A request's path names the node that is asked, and the header `Skylark-Owner` the owner of the bundle that is meant.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from skylark import wire
from skylark.session import MAX_VERSION
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer, whole_answer
from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.machine import REAL, Machine, now_ms
from skylark_proxy.model import BundleInfo, Sealed, StateKey, check_name, check_write_id
from skylark_proxy.peers import ON_ITS_WAY, UNCHANGED
from skylark_proxy.placement import FetchedBundle
from skylark_proxy.propagation import OnItsWay, Propagation, Terms, Unchanged, check_held

_MAX_ANNOUNCED_MS = 600_000


@dataclass(frozen=True)
class PeerApi:
    """Answers other nodes. Every method blocks until the local store has answered, and asks no third node."""

    propagation: Propagation
    machine: Machine = REAL

    def give(self, request: Request) -> Response:
        """Give a bundle, or for HEAD its metadata."""
        key = self._key(request)
        if request.method == "HEAD":
            info = self.propagation.tell(key)
            return Response(headers=bundle_headers(info, machine=self.machine), media_type=bundle_http.MEDIA_TYPE)
        found = self.propagation.give(
            key,
            parameters.names(request, "fields"),
            asker=parameters.name(request, "asker"),
            keeper=parameters.name(request, "keeper"),
            newer_than=parameters.version_here(request),
        )
        if isinstance(found, OnItsWay):
            return Response(status_code=ON_ITS_WAY)
        if isinstance(found, Unchanged):
            return Response(status_code=UNCHANGED)
        return bundle_answer(FetchedBundle(*found, 0, 0.0), self.machine)

    def take(self, request: Request, body: Buffer) -> Response:
        """Store a bundle that this node owns, or a copy."""
        key = self._key(request)
        version = parameters.header_number(request, bundle_http.VERSION, MAX_VERSION)
        supplied, replicate = parameters.name(request, "copy_at"), parameters.truth(request, "replicate") or False
        meta, fields = bundle_http.parse_meta(request.headers), bundle_fields(body)
        bundle_http.verify(meta.crc32, fields)
        age_ms = parameters.header_number(request, bundle_http.AGE_MS, parameters.MAX_TIME_MS)
        sealed = Sealed(fields, meta, parameters.ttl_ms(request), age_ms)
        if version is not None:
            self.propagation.put_copy_here(key, sealed, version, supplied=supplied, replicate=replicate)
            return json_answer({"version": version}, 200, stored_headers(version, key))
        known = parameters.header_number(request, bundle_http.KNOWN, MAX_VERSION)
        terms = Terms(parameters.expected_version(request), known, replicate, supplied)
        owned = self._own(key)
        version = self.propagation.put_here(owned, sealed, terms)
        return json_answer({"version": version}, 200, stored_headers(version, owned))

    def remove(self, request: Request) -> Response:
        """Delete a bundle that this node owns, drop an old copy, or undo a write that was given up."""
        key = self._key(request)
        write, below = parameters.text(request, "write"), parameters.below(request)
        version = parameters.header_number(request, bundle_http.VERSION, MAX_VERSION)
        known = parameters.header_number(request, bundle_http.KNOWN, MAX_VERSION)
        expected = parameters.expected_version(request)
        if write is not None:
            self.propagation.refuse_here(self._own(key), check_write_id(write))
            return Response(status_code=204)
        if version is not None:
            if not self.propagation.forget_here(key, version, deleted=below == "deleted"):
                raise NotFound("bundle", str(key), (self.propagation.node,))
            return Response(status_code=204)
        removed = self.propagation.delete_here(self._own(key), expected, known)
        if not removed.existed:
            raise NotFound("bundle", str(key), (self.propagation.node,), removed.version)
        return Response(status_code=204, headers={bundle_http.DELETED: str(removed.version)})

    def announce(self, request: Request) -> Response:
        """Take note that a bundle is on its way here, so that a fetch waits for it."""
        key = check_held(parameters.key_in_path(request), self.propagation.node)
        wait_ms = parameters.number(request, "wait_ms", 1, _MAX_ANNOUNCED_MS)
        self.propagation.arrivals.expect(key, (wait_ms or _MAX_ANNOUNCED_MS) / 1000)
        return Response(status_code=204)

    def _key(self, request: Request) -> StateKey:
        """Return the key with the owner that is meant; without a node, if none is."""
        key = check_held(parameters.key_in_path(request), self.propagation.node)
        owner = request.headers.get(bundle_http.OWNER)
        return key.anywhere() if owner is None else key.at(check_name(bundle_http.OWNER, owner))

    def _own(self, key: StateKey) -> StateKey:
        if key.node not in (None, self.propagation.node):
            raise InvalidArgument(bundle_http.OWNER, key.node, f"{self.propagation.node}, which this is")
        return key.at(self.propagation.node)


def bundle_fields(body: Buffer) -> dict[str, memoryview]:
    """Return the fields of a bundle in a body.

    Raises:
        InvalidArgument: It is no bundle, or a field has no valid name.
    """
    fields = bundle_http.decode(body)
    for name in fields:
        check_name("body: field", name)
    return fields


def stored_headers(version: int, key: StateKey) -> dict[str, str]:
    """Return the headers that say which version a bundle has now, and where it is."""
    return {"ETag": f'"{version}"', bundle_http.KEY: str(key)}


def bundle_headers(
    info: BundleInfo, hops: int = 0, stale: str | None = None, machine: Machine = REAL
) -> dict[str, str]:
    """Return the headers of a bundle and of the way to it."""
    given = bundle_http.info_headers(info, now_ms(machine)) | {bundle_http.HOPS: str(hops)}
    return given if stale is None else given | {bundle_http.STALE: stale}


def bundle_answer(fetched: FetchedBundle, machine: Machine = REAL) -> Response:
    """Return the answer with a bundle; a large one is sent in pieces, as the receiver takes them."""
    headers = bundle_headers(fetched.info, fetched.hops, fetched.stale, machine) | {
        "Content-Type": bundle_http.MEDIA_TYPE,
        "Server-Timing": f"dr;dur={fetched.duration_ms:.3f}",
    }
    return whole_answer(wire.encode(fetched.fields), 200, headers)
