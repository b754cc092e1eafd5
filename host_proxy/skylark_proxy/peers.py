"""Other nodes' proxies: fetching, forwarding and deleting bundles over HTTP, as binary streams."""

import contextlib
import copy
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, TimeoutError

from skylark import wire
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.connections import open_pool
from skylark_proxy.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PeerTimeout,
    PeerUnreachable,
    SkylarkError,
    Superseded,
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.link_meter import LinkMeter, TimedConnection
from skylark_proxy.machine import REAL, Machine, now_ms
from skylark_proxy.model import BundleInfo, Node, Sealed, StateKey
from skylark_proxy.propagation import Found, OnItsWay, Terms, Unchanged
from skylark_proxy.signatures import Signer
from skylark_proxy.signed_requests import HttpPool, SignedRequests
from skylark_proxy.store import Removed
from skylark_proxy.tls import TlsFiles
from skylark_proxy.topology import endpoint

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_CONNECTIONS_PER_PEER = 32
_MAX_ERROR_BYTES = 64 << 10
_SHOWN = 128  # characters of a header that something unknown has sent
ON_ITS_WAY = 202
"""The status of a fetch whose bundle is being brought to the one who asks."""
UNCHANGED = 304
"""The status of a fetch whose asker has the bundle already."""


class ErrorBody(msgspec.Struct):
    """The part of `{"error": {…}}` that makes the error again."""

    code: str
    message: str
    expected: Any = 0  # a text in errors about arguments, a number in conflicts
    actual: Any = 0
    size_bytes: int = 0
    limit_bytes: int = 0
    limit: Any = 0


class _Answer(msgspec.Struct):
    error: ErrorBody


Bounds = Callable[[str], contextlib.AbstractContextManager[Callable[[int], None]]]
"""Entered with a node's name for each exchange with it. What it yields is called with the size of the answer in bytes,
before that is read. Both may wait, and raise what the call then raises."""


class Peers:
    """The other nodes of the topology. Connections are kept; a call blocks its thread until the peer has answered.

    A call is repeated once, on a new connection, where the connection could not be made or was broken off; every
    operation may be repeated (see `put` for why). After a timeout nothing is repeated.

    Every method raises `PeerUnreachable`, or `PeerTimeout`, where the peer cannot serve.

    Args:
        connect_timeout_ms: How long a new connection may take.
        timeout_ms: How long a peer may neither send nor take anything.
        meter: Is told how long each exchange took; None: nothing is measured.
        signer: Signs every request; None: none is signed.
        pool: The connections; None: real ones.
        tls: With a certificate in it, nodes are asked by TLS only.
    """

    def __init__(
        self,
        connect_timeout_ms: int,
        timeout_ms: int,
        meter: LinkMeter | None = None,
        signer: Signer | None = None,
        tls: TlsFiles | None = None,
        *,
        machine: Machine = REAL,
        pool: HttpPool | None = None,
    ) -> None:
        self._meter = meter
        self._machine = machine
        tls = tls or TlsFiles()
        self._scheme = tls.scheme
        # A public authority knows no nodes: without a CA of our own, certificates have to be good for the address.
        self._names_nodes = tls.ca is not None
        timeout = urllib3.Timeout(connect=connect_timeout_ms / 1000, read=timeout_ms / 1000)
        self._pool = pool or open_pool(
            tls, num_pools=256, maxsize=_CONNECTIONS_PER_PEER, timeout=timeout, retries=False, block=False
        )
        self._requests = SignedRequests(self._pool, signer)
        self._bounds: Bounds = _no_bounds

    def within(self, bounds: Bounds) -> "Peers":
        """Return the same nodes, over the same connections, for calls that keep within bounds."""
        bounded = copy.copy(self)
        bounded._bounds = bounds
        return bounded

    def get(
        self,
        node: Node,
        key: StateKey,
        fields: Collection[str] = (),
        *,
        asker: str | None = None,
        keeper: str | None = None,
        newer_than: int = 0,
    ) -> Found | OnItsWay | Unchanged:
        """Fetch a bundle that the node itself holds.

        Args:
            asker: This node, if it can wait for a bundle that is on its way to it.
            keeper: This node, if it will keep a copy: the owner notes that.
            newer_than: The version that is here already.

        Raises:
            NotFound: The node does not hold it.
        """
        query = {"scope": "local"} | ({"fields": ",".join(fields)} if fields else {})
        query |= {"asker": asker} if asker is not None else {}
        query |= {"keeper": keeper} if keeper is not None else {}
        headers = {"If-None-Match": f'"{newer_than}"'} if newer_than else {}
        accepted = (200, *((ON_ITS_WAY,) if asker is not None else ()), *((UNCHANGED,) if newer_than else ()))

        def attempt(_: bool) -> Found | OnItsWay | Unchanged:
            with self._request(node, "GET", key, query, headers, accepted=accepted) as response:
                if response.status != 200:
                    return OnItsWay() if response.status == ON_ITS_WAY else Unchanged()
                body = _read(response)
            with _understood(node):
                parts = bundle_http.decode(body)
                sizes = {name: len(part) for name, part in parts.items()}
                info = bundle_http.parse_info(response.headers, sizes, now_ms(self._machine))
                if not fields:
                    bundle_http.verify(info.meta.crc32, parts)
            return info, parts

        return self._twice(attempt)

    def head(self, node: Node, key: StateKey) -> BundleInfo:
        """Return the metadata of a bundle that the node itself holds, without the sizes of its fields.

        Raises:
            NotFound: It does not hold it.
        """

        def attempt(_: bool) -> BundleInfo:
            with self._request(node, "HEAD", key, {"scope": "local"}) as response, _understood(node):
                return bundle_http.parse_info(response.headers, {}, now_ms(self._machine))

        return self._twice(attempt)

    def put(self, node: Node, key: StateKey, sealed: Sealed, terms: Terms) -> int:
        """Have the node store a bundle that it owns; return the version.

        A first attempt that was broken off may have been carried out; a repeated one is known by its id.

        Raises:
            Conflict: The node's bundle does not have the expected version.
            Superseded: It has a later one than the known one.
            TooLarge: The node does not take bundles of this size.
        """
        query = {"replicate": "true"} if terms.replicate else {}
        query |= {"copy_at": terms.supplied} if terms.supplied is not None else {}
        headers = _condition(terms.expected_version)
        headers |= {bundle_http.KNOWN: str(terms.known_version)} if terms.known_version is not None else {}

        def attempt(is_first: bool) -> int:
            try:
                with self._put(node, key, sealed, query, headers) as response, _understood(node):
                    return bundle_http.parse_version(response.headers)
            except Superseded as error:
                if is_first:
                    raise
                # The first attempt may have happened, and another write after it: doing it again would undo that.
                raise _doubtful(node, f"it is not known whether {key} was written") from error

        return self._twice(attempt)

    def put_copy(
        self,
        node: Node,
        key: StateKey,
        sealed: Sealed,
        version: int,
        *,
        supplied: str | None = None,
        replicate: bool = False,
    ) -> None:
        """Have the node store a copy of a bundle of the owner that the key names, or a bundle without an owner.

        Args:
            supplied: A node that gets this version from here, and further ones from that node.
            replicate: True if the node sees to a copy in the cloud.

        Raises:
            Superseded: The node knows of a later version.
            TooLarge: The node does not take bundles of this size.
        """
        query = {"replicate": "true"} if replicate else {}
        query |= {"copy_at": supplied} if supplied is not None else {}
        headers = {bundle_http.VERSION: str(version), bundle_http.AGE_MS: str(sealed.age_ms or 0)}

        def attempt(_: bool) -> None:
            with self._put(node, key, sealed, query, headers):
                pass

        self._twice(attempt)

    def announce(self, node: Node, key: StateKey, for_s: float) -> None:
        """Tell the node that a bundle is on its way: a fetch there waits for it, for `for_s` at most."""
        query = {"wait_ms": str(int(for_s * 1000))}
        with self._request(node, "POST", key, query, path="/announcement", accepted=(204,)):
            pass

    def delete(
        self, node: Node, key: StateKey, *, expected_version: int | None = None, known_version: int | None = None
    ) -> Removed:
        """Have the node delete a bundle that it owns.

        Raises:
            Conflict: The node's bundle does not have the expected version.
            Superseded: It has a later one than the known one.
        """
        headers = _condition(expected_version)
        headers |= {bundle_http.KNOWN: str(known_version)} if known_version is not None else {}

        def attempt(is_first: bool) -> Removed:
            try:
                asked = self._request(node, "DELETE", key, {"scope": "local"}, headers, accepted=(204,))
                with asked as response, _understood(node):
                    return Removed(True, bundle_http.parse_version(response.headers, bundle_http.DELETED))
            except NotFound as error:
                # If the first attempt was broken off, it has deleted the bundle.
                return Removed(not is_first and error.deleted_version > 0, error.deleted_version)
            except Superseded as error:
                if is_first:
                    raise
                raise _doubtful(node, f"it is not known whether {key} was deleted") from error

        return self._twice(attempt)

    def forget(self, node: Node, key: StateKey, version: int, *, deleted: bool) -> bool:
        """Have the node drop a copy that is older than a version of its owner; return False if it had none."""
        query = {"scope": "local", "below": "deleted" if deleted else "newer"}

        def attempt(_: bool) -> bool:
            headers = {bundle_http.VERSION: str(version)}
            with self._request(node, "DELETE", key, query, headers, accepted=(204,)):
                return True

        try:
            return self._twice(attempt)
        except NotFound:
            return False

    def refuse(self, node: Node, key: StateKey, write: str) -> None:
        """Have the node undo a write that was given up here, and take it no more."""

        def attempt(_: bool) -> None:
            with self._request(node, "DELETE", key, {"scope": "local", "write": write}, accepted=(204,)):
                pass

        self._twice(attempt)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _twice(self, attempt: Callable[[bool], T]) -> T:
        """Try something, which is told whether this is the first time; again if the connection broke."""
        try:
            return attempt(True)
        except PeerTimeout:
            raise
        except PeerUnreachable as error:
            if not isinstance(error.__cause__, ProtocolError | NewConnectionError):
                raise
            _LOG.info("trying again: %s", error)
            try:
                return attempt(False)
            except PeerUnreachable as again:
                again.in_doubt |= error.in_doubt
                raise

    @contextlib.contextmanager
    def _put(
        self, node: Node, key: StateKey, sealed: Sealed, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        parts = wire.encode(sealed.fields)
        ttl = {"ttl_ms": str(sealed.ttl_ms)} if sealed.ttl_ms is not None else {}
        size = {"Content-Type": bundle_http.MEDIA_TYPE, "Content-Length": str(sum(map(len, parts)))}
        given = {**size, **bundle_http.meta_headers(sealed.meta), **headers}
        with self._request(node, "PUT", key, {"scope": "local", **ttl, **query}, given, parts) as response:
            yield response

    @contextlib.contextmanager
    def _request(self, node: Node, *args: Any, **kwargs: Any) -> Iterator[urllib3.BaseHTTPResponse]:
        """Do an exchange within the bounds; see `_exchange`."""
        with self._bounds(node.name) as expect, self._exchange(node, *args, **kwargs) as response:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal():
                expect(int(length))
            yield response

    @contextlib.contextmanager
    def _exchange(
        self,
        node: Node,
        method: str,
        key: StateKey,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        parts: Sequence[Buffer] | None = None,
        path: str = "",
        accepted: Collection[int] = (200,),
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send a request and yield the node's answer, which has one of the `accepted` statuses.

        Raises:
            PeerUnreachable: The node does not answer, or something else answers at its address.
        """
        target = f"/bundles/{quote(str(key.at(node.name)))}{path}?{_encoded(tuple(query.items()))}"
        base, name = f"{self._scheme}://{endpoint(node.address)}", node.name if self._names_nodes else None
        try:
            TimedConnection.take_connecting_s()
            self._requests.meet(base, name)
            self._measure_connecting(node)
            started = time.perf_counter()
            response = self._requests.send(base, method, target, {**_owner(key), **(headers or {})}, parts or (), name)
            try:
                _check_sender(node, response)
                if response.status >= 400:
                    raise _error(node, key, response, response.read(_MAX_ERROR_BYTES))
                if response.status not in accepted:
                    raise PeerUnreachable(node.name, f"it answered with status {response.status}")
                yield response
                response.drain_conn()
                self._measure(node, headers, response, started)
            except BaseException:
                response.close()  # what is left of the answer must not be taken for the next one's
                raise
            finally:
                response.release_conn()
        except TimeoutError as error:
            if isinstance(error, NewConnectionError):
                raise PeerUnreachable(node.name, _reason(error)) from error
            raise PeerTimeout(node.name, _reason(error)) from error
        except HTTPError as error:
            raise _doubtful(node, _reason(error)) from error
        except (MemoryError, OverflowError) as error:
            raise PeerUnreachable(node.name, "its answer does not fit in memory") from error

    def _measure_connecting(self, node: Node) -> float:
        """Note what this thread has spent connecting, and return it in seconds."""
        connecting_s = TimedConnection.take_connecting_s()
        if connecting_s > 0 and self._meter is not None:
            self._meter.record(node.name, 0, connecting_s, time.time())
        return connecting_s

    def _measure(
        self, node: Node, sent: Mapping[str, str] | None, response: urllib3.BaseHTTPResponse, started: float
    ) -> None:
        if self._meter is None:
            return
        ended = time.perf_counter()
        exchange_s = ended - started - self._measure_connecting(node)
        size_bytes = int((sent or {}).get("Content-Length", 0)) + int(response.headers.get("Content-Length", 0))
        self._meter.record(node.name, size_bytes, exchange_s, time.time())


@contextlib.contextmanager
def _no_bounds(_node: str) -> Iterator[Callable[[int], None]]:
    yield lambda _size_bytes: None


@functools.lru_cache(maxsize=1024)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """Return a query as text; most are the same again and again."""
    return urlencode(query)


def _check_sender(node: Node, response: urllib3.BaseHTTPResponse) -> None:
    """Check that the answer is from the proxy of this node.

    A captive portal, a default page or another node's proxy may answer at its address. None of them has the bundle,
    and none of them may acknowledge one.
    """
    sender = response.headers.get(bundle_http.NODE)
    if sender == node.name:
        return
    what = "something that is no Skylark proxy" if sender is None else f"the proxy of node {sender[:_SHOWN]!r}"
    raise PeerUnreachable(node.name, f"{what} answers at {node.address} (status {response.status})")


@contextlib.contextmanager
def _understood(node: Node) -> Iterator[None]:
    """Turn an answer that does not follow the protocol into a node that cannot be reached."""
    try:
        yield
    except InvalidArgument as error:
        raise PeerUnreachable(node.name, f"its answer is not understood: {error}") from error


def _read(response: urllib3.BaseHTTPResponse) -> memoryview:
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise ProtocolError("the answer does not say how long it is")
    data = bytearray(int(length))
    view, done = memoryview(data), 0
    while done < len(data):
        chunk = response.read(min(_CHUNK_BYTES, len(data) - done))
        if not chunk:
            raise ProtocolError(f"the connection ended after {done} of {len(data)} bytes")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    return view


def _condition(expected_version: int | None) -> dict[str, str]:
    if expected_version is None:
        return {}
    return {"If-None-Match": "*"} if expected_version == 0 else {"If-Match": f'"{expected_version}"'}


def _owner(key: StateKey) -> dict[str, str]:
    """The path of a request names the node that is asked; this header, whose bundle is meant."""
    return {bundle_http.OWNER: key.node} if key.node is not None else {}


def _doubtful(node: Node, reason: str) -> PeerUnreachable:
    error = PeerUnreachable(node.name, reason)
    error.in_doubt = True
    return error


def _error(node: Node, key: StateKey, response: urllib3.BaseHTTPResponse, body: bytes) -> SkylarkError:
    """Return the peer's error, as if it had been raised here."""
    deleted = response.headers.get(bundle_http.DELETED, "")
    missing = NotFound("bundle", str(key), (node.name,), int(deleted) if deleted.isdecimal() else 0)
    if response.status == 404 and not body:
        return missing
    try:
        error = msgspec.json.decode(body, type=_Answer).error
        return missing if error.code == "not-found" else _raised_there(node, key, response.status, error)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError):
        return PeerUnreachable(node.name, f"it answered with status {response.status}")


def _raised_there(node: Node, key: StateKey, status: int, error: ErrorBody) -> SkylarkError:
    match error.code:
        case "conflict":
            return Conflict(str(key), int(error.expected), int(error.actual))
        case "superseded":
            return Superseded(str(key), int(error.actual))
        case "too-large":
            return TooLarge(f"bundle {key} at node {node.name}", error.size_bytes, error.limit_bytes)
        case "too-many-bundles":
            return TooManyBundles(key.chain_id, node.name, int(error.limit))
        case "unauthorized" | "forbidden" | "too-many-requests":
            return PeerUnreachable(node.name, error.message)
        case _ if status < 500:
            return InvalidArgument("bundle", str(key), f"what node {node.name} accepts ({error.message})")
        case _:
            return _doubtful(node, error.message)


def _reason(error: Exception) -> str:
    text = str(error.args[-1] if error.args else error)
    return text.rpartition(": ")[2] if "Connection" in text or ": " in text else text
