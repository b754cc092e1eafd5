"""Other nodes' proxies: fetching, forwarding and deleting bundles over HTTP, as binary streams."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, TimeoutError

from skylark import wire
from skylark.plan import Plan
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
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.link_meter import LinkMeter, TimedConnection
from skylark_proxy.model import BundleInfo, Node, StateKey, WriteId
from skylark_proxy.signatures import Signer
from skylark_proxy.signed_requests import SignedRequests
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


class Bundle(msgspec.Struct, frozen=True):
    """A bundle as a peer sent it."""

    info: BundleInfo
    fields: dict[str, memoryview]


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
        tls: With a certificate in it, nodes are asked by TLS only.
    """

    def __init__(
        self,
        connect_timeout_ms: int,
        timeout_ms: int,
        meter: LinkMeter | None = None,
        signer: Signer | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._meter = meter
        self._ahead_ms: dict[str, int] = {}
        timeout = urllib3.Timeout(connect=connect_timeout_ms / 1000, read=timeout_ms / 1000)
        tls = tls or TlsFiles()
        self._scheme = tls.scheme
        # A public authority knows no nodes: without a CA of our own, certificates have to be good for the address.
        self._names_nodes = tls.ca is not None
        self._pool = open_pool(
            tls, num_pools=256, maxsize=_CONNECTIONS_PER_PEER, timeout=timeout, retries=False, block=False
        )
        self._requests = SignedRequests(self._pool, signer)

    def get(self, node: Node, key: StateKey, fields: Collection[str] = (), asker: str | None = None) -> Bundle | None:
        """Fetches a bundle that the node itself holds.

        Args:
            asker: This node, if it can wait for a bundle that is on its way to it.

        Returns:
            The bundle; None: it is on its way to the asker.

        Raises:
            NotFound: The node does not hold it.
        """
        query = {"scope": "local"} | ({"fields": ",".join(fields)} if fields else {})
        query |= {"asker": asker} if asker is not None else {}

        def attempt() -> Bundle | None:
            accepted = (200, ON_ITS_WAY) if asker is not None else (200,)
            with self._request(node, "GET", key, query, accepted=accepted) as response:
                if response.status == ON_ITS_WAY:
                    return None
                body = _read(response)
            with _understood(node):
                parts = bundle_http.decode(body)
                info = bundle_http.parse_info(response.headers, {name: len(part) for name, part in parts.items()})
                if not fields:
                    bundle_http.verify(info.crc32, parts)
            return Bundle(info, parts)

        return self._twice(node, attempt)

    def head(self, node: Node, key: StateKey) -> BundleInfo:
        """The metadata of a bundle that the node itself holds, without the sizes of its fields.

        Raises:
            NotFound: It does not hold it.
        """

        def attempt() -> BundleInfo:
            with self._request(node, "HEAD", key, {"scope": "local"}) as response, _understood(node):
                return bundle_http.parse_info(response.headers, {})

        return self._twice(node, attempt)

    def put(
        self,
        node: Node,
        key: StateKey,
        fields: Mapping[str, Buffer],
        *,
        origin: str,
        created_ms: int,
        crc32: int,
        expected_version: int | None = None,
        version: int | None = None,
        ttl_ms: int | None = None,
        plan: Plan | None = None,
        home: str | None = None,
        write: WriteId | None = None,
        replicate: bool = False,
        copy_at: str | None = None,
    ) -> int:
        """Has the node store a bundle, or the copy of one with the same `version`; returns the version.

        A first attempt that was broken off may have been carried out; a repeated one is known by its version or id.

        Args:
            replicate: Whether the node sees to a copy in the cloud.
            copy_at: A node that gets a copy from here, which the node is to delete with the bundle.

        Raises:
            Conflict: The node's bundle does not have the expected version, or is a newer one.
            TooLarge: The node does not take bundles of this size.
        """
        query = {"scope": "local"} | ({"ttl_ms": str(ttl_ms)} if ttl_ms is not None else {})
        query |= {"replicate": "true"} if replicate else {}
        query |= {"copy_at": copy_at} if copy_at is not None else {}
        parts = wire.encode(fields)
        ahead_ms = self._ahead_ms.get(node.name)
        headers = {
            "Content-Type": bundle_http.MEDIA_TYPE,
            "Content-Length": str(sum(map(len, parts))),
            bundle_http.ORIGIN: origin,
            bundle_http.CREATED_MS: str(created_ms),
            bundle_http.CRC32: str(crc32),
            **({bundle_http.VERSION: str(version)} if version is not None else {}),
            **({bundle_http.PLAN: str(plan)} if plan is not None else {}),
            **({bundle_http.HOME: home} if home is not None else {}),
            **({bundle_http.WRITE: str(write)} if write is not None else {}),
            **({bundle_http.SENT_MS: str(bundle_http.uptime_ms() + ahead_ms)} if ahead_ms is not None else {}),
        } | _condition(expected_version)

        def attempt() -> int:
            with self._request(node, "PUT", key, query, headers, parts) as response, _understood(node):
                return bundle_http.parse_version(response.headers)

        return self._twice(node, attempt)

    def announce(self, node: Node, key: StateKey, for_s: float) -> None:
        """Tells the node that a bundle is on its way: a fetch there waits for it, for `for_s` at most."""
        query = {"wait_ms": str(int(for_s * 1000))}
        with self._request(node, "POST", key, query, path="/announcement", accepted=(204,)):
            pass

    def delete(self, node: Node, key: StateKey, write: WriteId | None = None) -> bool:
        """Has the node delete a bundle, or only that of a write; False if it had none."""
        query = {"scope": "local"} | ({"write": str(write)} if write is not None else {})

        def attempt() -> bool:
            with self._request(node, "DELETE", key, query, accepted=(204,)):
                return True

        try:
            return self._twice(node, attempt)
        except NotFound:
            return False

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _twice(self, node: Node, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except PeerTimeout:
            raise
        except PeerUnreachable as error:
            if not isinstance(error.__cause__, ProtocolError | NewConnectionError):
                raise
            _LOG.info("trying again: %s", error)
            return attempt()

    @contextlib.contextmanager
    def _request(
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
        target = f"/bundles/{quote(str(key.at(node.name)))}{path}?{urlencode(query)}"
        base, name = f"{self._scheme}://{endpoint(node.address)}", node.name if self._names_nodes else None
        try:
            TimedConnection.take_connecting_s()
            self._requests.meet(base, name)
            self._measure_connecting(node)
            started, uptime_ms = time.perf_counter(), bundle_http.uptime_ms()
            response = self._requests.send(base, method, target, headers or {}, parts or (), name)
            try:
                _check_sender(node, response)
                self._note_clock(node, response, uptime_ms)
                if response.status >= 400:
                    raise _error(node, key, response.status, response.read(_MAX_ERROR_BYTES))
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
            raise PeerUnreachable(node.name, _reason(error)) from error
        except (MemoryError, OverflowError) as error:
            raise PeerUnreachable(node.name, "its answer does not fit in memory") from error

    def _note_clock(self, node: Node, response: urllib3.BaseHTTPResponse, uptime_ms: int) -> None:
        theirs = response.headers.get(bundle_http.UPTIME_MS, "")
        if theirs.isdecimal():
            self._ahead_ms[node.name] = int(theirs) - uptime_ms

    def _measure(
        self, node: Node, sent: Mapping[str, str] | None, response: urllib3.BaseHTTPResponse, started: float
    ) -> None:
        if self._meter is None:
            return
        ended = time.perf_counter()
        exchange_s = ended - started - self._measure_connecting(node)
        size_bytes = int((sent or {}).get("Content-Length", 0)) + int(response.headers.get("Content-Length", 0))
        self._meter.record(node.name, size_bytes, exchange_s, time.time())

    def _measure_connecting(self, node: Node) -> float:
        """Note what this thread has spent connecting, and return it in seconds."""
        connecting_s = TimedConnection.take_connecting_s()
        if connecting_s > 0 and self._meter is not None:
            self._meter.record(node.name, 0, connecting_s, time.time())
        return connecting_s


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


def _error(node: Node, key: StateKey, status: int, body: bytes) -> SkylarkError:
    """The peer's error, as if it had been raised here."""
    if status == 404 and not body:
        return NotFound("bundle", str(key), (node.name,))
    try:
        error = msgspec.json.decode(body, type=_Answer).error
        return _raised_there(node, key, status, error)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError):
        return PeerUnreachable(node.name, f"it answered with status {status}")


def _raised_there(node: Node, key: StateKey, status: int, error: ErrorBody) -> SkylarkError:
    match error.code:
        case "not-found":
            return NotFound("bundle", str(key), (node.name,))
        case "conflict":
            return Conflict(str(key), int(error.expected), int(error.actual))
        case "too-large":
            return TooLarge(f"bundle {key} at node {node.name}", error.size_bytes, error.limit_bytes)
        case "too-many-bundles":
            return TooManyBundles(key.chain_id, node.name, int(error.limit))
        case "unauthorized" | "forbidden" | "too-many-requests":
            return PeerUnreachable(node.name, error.message)
        case _ if status < 500:
            return InvalidArgument("bundle", str(key), f"what node {node.name} accepts ({error.message})")
        case _:
            return PeerUnreachable(node.name, error.message)


def _reason(error: Exception) -> str:
    text = str(error.args[-1] if error.args else error)
    return text.rpartition(": ")[2] if "Connection" in text or ": " in text else text
