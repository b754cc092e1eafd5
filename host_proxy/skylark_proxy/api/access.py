"""Refuses requests from those who may not send them: who asks is found out here, who may do what says `rights`.

A signature is verified wherever there is one; a token of an invocation is good for the bundles of its chain. What is
left is known by its address. Without a key and without certificates nobody can prove anything, and all is open; but
pages of other origins in somebody's browser are kept out always.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skylark_proxy.api.answers import error_answer
from skylark_proxy.api.callers import Client, Network, client_of, foreign_page, identity_of, known_host, sure_host
from skylark_proxy.api.headers import headers_of
from skylark_proxy.api.rights import Identity, RouteClass, acts, allowed, those_allowed
from skylark_proxy.bundle_http import SEEN
from skylark_proxy.errors import Forbidden, SkylarkError, Unauthorized
from skylark_proxy.http_protocol import CERTIFIED
from skylark_proxy.invocation_tokens import InvocationToken
from skylark_proxy.signatures import BOOT, SIGNATURE, SIGNATURE_INPUT, RequestHead, Verifier

_LOG = logging.getLogger(__name__)
_EMPTY = hashlib.sha256().digest()
_HEALTH = "/health"
_BUNDLES = "/bundles/"
_BEARER = "Bearer "
_WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True)
class Trust:
    """What a server trusts.

    Attributes:
        verifier: Verifies signatures; None: there is no key.
        nodes: The names of the nodes that may show certificates; None: there is no CA for them.
        encrypted: Whether what nodes ask has to come by TLS.
        local_networks: Networks whose addresses are of this node too.
        trusted_proxies: The networks of reverse proxies that say for whom they ask.
        hosts: The names by which the node is known, in lower case; see `callers.known_host`.
        clock: The time in seconds since the epoch.
    """

    verifier: Verifier | None = None
    nodes: Callable[[], Collection[str]] | None = None
    encrypted: bool = False
    local_networks: Collection[Network] = ()
    trusted_proxies: Collection[Network] = ()
    hosts: Callable[[], Collection[str]] = field(default=tuple)
    clock: Callable[[], float] = time.time

    @property
    def guarded(self) -> bool:
        """True if identities can be proven."""
        return self.verifier is not None or self.nodes is not None


class Access:
    """Refuses requests from those who may not send them, before anything of their bodies is read.

    The digest of a signed request's body is compared when the last of it has been read, and before whoever reads it
    learns that it was the last.

    Args:
        route_of: The class of a request, by its method, path and query.
    """

    def __init__(self, app: ASGIApp, trust: Trust, route_of: Callable[[str, str, str], RouteClass]) -> None:
        self._app = app
        self._trust = trust
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, self._route_of)
        send = self._telling(request, send)
        try:
            admitted = self._admit(request, receive)
        except SkylarkError as error:
            _LOG.warning("refused %s %r from %s: %s", request.method, request.path, self._client(request).shown, error)
            await error_answer(error)(scope, receive, send)
            return
        await self._app(scope, admitted, send)

    def _client(self, request: "_Request") -> Client:
        return client_of(request.nearest, request.headers, self._trust.trusted_proxies)

    def _admit(self, request: "_Request", receive: Receive) -> Receive:
        """Raises: Forbidden, Unauthorized: See the class."""
        if request.signed and self._trust.verifier is not None:
            return self._verified(request, self._trust.verifier, receive)
        self._check_page(request)
        if self._trust.guarded:
            client = self._client(request)
            if not allowed(request.route, self._identity(request, client)):
                raise self._refusal(request, client)
        return receive

    def _identity(self, request: "_Request", client: Client) -> Identity:
        """Every proof that can be asked for is needed: with a key, a certificate alone makes no node."""
        verifier = self._trust.verifier
        if verifier is None and self._shown(request):
            return Identity.PEER
        token = request.headers.get("authorization", "")
        if verifier is not None and token.startswith(_BEARER) and request.route is not RouteClass.PUBLIC:
            self._check_chain(request, verifier.token(token.removeprefix(_BEARER), self._trust.clock()))
            return Identity.INVOCATION
        return identity_of(client, request.server, self._trust.local_networks)

    def _check_chain(self, request: "_Request", token: InvocationToken) -> None:
        """Hold an invocation to its own chain, as the sandbox does with one of a hosted function.

        What it has seen is checked too: a version that is not true would keep others from reading that bundle.
        """
        if request.route is not RouteClass.BUNDLE:
            return
        seen = request.headers.get(SEEN.lower())
        for key in (request.path.removeprefix(_BUNDLES), *(seen.split(",") if seen is not None else ())):
            if not token.may_touch(key.strip().partition(":")[0]):
                allowed_ones = f"those of its own chain {token.chain_id!r} for function {token.function!r}"
                raise Forbidden(f"bundle {key[:300]!r} of another chain", allowed_ones)

    def _shown(self, request: "_Request") -> Collection[str]:
        """The nodes that the sender's certificate names."""
        return request.certified.intersection(self._trust.nodes() if self._trust.nodes is not None else ())

    def _refusal(self, request: "_Request", client: Client) -> SkylarkError:
        if not any(allowed(request.route, other) for other in Identity if other is not Identity.PEER):
            signed = f"are signed ({SIGNATURE_INPUT}, {SIGNATURE})" if self._trust.verifier is not None else ""
            shown = "come with a node's certificate" if self._trust.nodes is not None else ""
            return Unauthorized(f"requests for {request.route.value} {' and '.join(filter(None, (signed, shown)))}")
        others = "others may use /functions, /tasks, /neighbors, /storage-node, /health, /openapi.json"
        return Forbidden(f"{request.path!r} from {client.shown}", f"{those_allowed(request.route)}; {others}")

    def _check_page(self, request: "_Request") -> None:
        """Keep out pages in browsers, of which a node's client is none."""
        host = request.headers.get("host", "")
        if not (sure_host(host) or known_host(host, self._trust.hosts())):
            allowed_hosts = "an address, localhost, the node's name or one in SKYLARK_ALLOWED_HOSTS"
            raise Forbidden(f"the Host {host[:100]!r}", allowed_hosts)
        page = foreign_page(request.headers)
        if page is not None and acts(request.route, request.method):
            raise Forbidden(f"{request.method} {request.path!r} from a page of another origin ({page})", "no such page")

    def _verified(self, request: "_Request", verifier: Verifier, receive: Receive) -> Receive:
        signature = verifier.verify(RequestHead(request.method, request.target, request.headers), self._trust.clock())
        if self._trust.encrypted and not request.encrypted:
            raise Unauthorized("nodes ask each other by TLS here, and this is plain HTTP")
        if self._trust.nodes is not None and signature.sender not in self._shown(request):
            shown = ", ".join(sorted(request.certified)) or "none"
            raise Unauthorized(f"node {signature.sender!r} signed it, and the certificate is that of {shown}")
        if request.method in _WITH_BODY:
            return _compared(receive, signature.sha256)
        if signature.sha256 != _EMPTY:
            raise Unauthorized(f"it was signed with a body, which {request.method} has not")
        return receive

    def _telling(self, request: "_Request", send: Send) -> Send:
        """Add the boot id to answers that nodes read; see `signed_requests`."""
        verifier = self._trust.verifier
        if verifier is None or not (request.signed or request.path.startswith(_HEALTH)):
            return send

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                boot = (BOOT.lower().encode(), verifier.boot.encode())
                message = {**message, "headers": [*message.get("headers", ()), boot]}
            await send(message)

        return telling


class _Request:
    """The parts of a request that decide about it. Those that few requests need are read when they are asked for."""

    __slots__ = ("_scope", "headers", "method", "path", "route")

    def __init__(self, scope: Scope, route_of: Callable[[str, str, str], RouteClass]) -> None:
        self._scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = headers_of(scope)
        self.route = route_of(self.method, self.path, self._query)

    @property
    def _query(self) -> str:
        query: bytes = self._scope["query_string"]
        return query.decode("latin-1")

    @property
    def target(self) -> str:
        return f"{self._scope['raw_path'].decode('latin-1')}?{self._query}"

    @property
    def nearest(self) -> str | None:
        """The address at the other end of the connection; None: it is a unix socket."""
        return self._scope["client"][0] if self._scope["client"] else None

    @property
    def server(self) -> str | None:
        return self._scope["server"][0] if self._scope["server"] else None

    @property
    def encrypted(self) -> bool:
        return self._scope.get("scheme") == "https"

    @property
    def certified(self) -> frozenset[str]:
        """The names in the sender's certificate, which is one of the CA."""
        names: frozenset[str] = self._scope.get(CERTIFIED, frozenset())
        return names

    @property
    def signed(self) -> bool:
        return SIGNATURE in self.headers or SIGNATURE_INPUT in self.headers


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
