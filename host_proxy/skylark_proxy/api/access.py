"""Who may ask what of a node, where the nodes share a key.

| what | who |
|---|---|
| `/bundles/{key}` with `scope=local`, `/bundles/{key}/announcement` | other nodes: the request is signed |
| `/functions`, `/tasks`, `/neighbors`, `/storage-node`, `/health`, `/metrics`, `/openapi.json` | everybody |
| all the rest: `/bundles`, `/state`, `/save`, `/refresh` | clients on this node |

A client is on this node if its address is a loopback one, the one that it has reached the node by (a node that
connects to itself has the same address at both ends), or in one of the networks that the operator named. Behind a
reverse proxy on this node, it is the address of `X-Forwarded-For` that counts.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Collection
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skylark_proxy.api.answers import error_answer
from skylark_proxy.errors import Forbidden, SkylarkError, Unauthorized
from skylark_proxy.signatures import RequestHead, Verifier

_LOG = logging.getLogger(__name__)
_EMPTY = hashlib.sha256().digest()
_ANNOUNCEMENT = "/announcement"


class Audience(Enum):
    """Who may send a request."""

    ANYBODY = "anybody"
    THIS_NODE = "clients on this node"
    NODES = "other nodes, with a signature"


_OF_ANYBODY = frozenset({"functions", "tasks", "neighbors", "storage-node", "health", "metrics", "openapi.json"})
"""First parts of paths."""


def audience(path: str, query: str) -> Audience:
    """Who may send a request with this path and query."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    if first in _OF_ANYBODY:
        return Audience.ANYBODY
    if first == "bundles" and (path.endswith(_ANNOUNCEMENT) or "local" in QueryParams(query).getlist("scope")):
        return Audience.NODES
    return Audience.THIS_NODE


class Access:
    """Refuses requests from those who may not send them, before anything of their bodies is read.

    The digest of a signed request's body is compared when the last of it has been read, and before whoever reads it
    learns that it was the last.

    Args:
        local_networks: Networks whose addresses are of this node too.
        clock: The time in seconds since the epoch.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        local_networks: Collection[IPv4Network | IPv6Network] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._local_networks = tuple(local_networks)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            admitted = self._admit(scope, receive)
        except SkylarkError as error:
            client = scope["client"][0] if scope["client"] else None
            _LOG.warning("refused %s %r from %s: %s", scope["method"], scope["path"], client, error)
            await error_answer(error)(scope, receive, send)
            return
        await self._app(scope, admitted, send)

    def _admit(self, scope: Scope, receive: Receive) -> Receive:
        query = scope["query_string"].decode("latin-1")
        match audience(scope["path"], query):
            case Audience.NODES:
                return self._verified(scope, query, receive)
            case Audience.THIS_NODE if not self._is_local(scope):
                others = ", ".join(f"/{first}" for first in sorted(_OF_ANYBODY))
                raise Forbidden(f"{scope['path']!r} from {scope['client'][0]}", f"{others}; the rest on this node only")
            case _:
                return receive

    def _verified(self, scope: Scope, query: str, receive: Receive) -> Receive:
        path = scope["raw_path"].decode("latin-1")
        head = RequestHead(scope["method"], f"{path}?{query}", _headers(scope))
        signature = self._verifier.verify(head, self._clock())
        if scope["method"] == "PUT":
            return _compared(receive, signature.sha256)
        if signature.sha256 != _EMPTY:
            raise Unauthorized(f"it was signed with a body, which {scope['method']} has not")
        return receive

    def _is_local(self, scope: Scope) -> bool:
        client, server = (_address(end[0]) if end else None for end in (scope["client"], scope["server"]))
        if client is None:
            return scope["client"] is None  # a unix socket
        return client.is_loopback or client == server or any(client in network for network in self._local_networks)


def _compared(receive: Receive, sha256: bytes) -> Receive:
    running = hashlib.sha256()

    async def compared() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            running.update(message.get("body", b""))
            if not message.get("more_body", False) and not hmac.compare_digest(running.digest(), sha256):
                raise Unauthorized("its body is not the one that was signed")
        return message

    return compared


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
