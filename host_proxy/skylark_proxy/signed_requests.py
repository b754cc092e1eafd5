"""Requests of a node to other nodes and to node-info, signed where they share a key."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import urllib3
from urllib3.exceptions import HTTPError

from skylark.wire import Buffer
from skylark_proxy.signatures import BOOT, NONCE_BYTES, Signer

_CHUNK_BYTES = 1 << 20
_HEALTH = "/health/liveness"
_BOOT_ID = re.compile(r"[0-9a-f]{32}")
_UNAUTHORIZED = 401


class Connections(Protocol):
    """The part of urllib3's connection pool that is used here."""

    def urlopen(
        self, method: str, url: str, *, body: Any, headers: Any, **options: Any
    ) -> urllib3.BaseHTTPResponse: ...


class HttpPool(Protocol):
    """The part of urllib3's pool manager that is used here."""

    def connection_from_url(self, url: str, pool_kwargs: dict[str, Any] | None = None) -> Connections: ...

    def clear(self) -> None: ...


class SignedRequests:
    """Sends requests, and knows for which start of each receiver they have to be signed. Safe for threads.

    A receiver tells its boot id in its answers. Before the first request it is asked for it, which costs a round trip.
    After its restart the request is refused with the new id, and is signed and sent once more.

    Args:
        pool: The connections.
        signer: Signs every request; None: none is signed.
    """

    def __init__(self, pool: HttpPool, signer: Signer | None) -> None:
        self._pool = pool
        self._signer = signer
        self._boots: dict[str, str | None] = {}

    def meet(self, base: str, name: str | None = None) -> None:
        """Learn the boot id of a receiver that is not known yet.

        Args:
            base: `http://host:port` of the receiver.
            name: The node that its certificate has to name; None: the certificate has to be good for its host.

        Raises:
            HTTPError: The receiver cannot be reached.
        """
        if self._signer is not None and base not in self._boots:
            response = self._answer(base, name, "GET", _HEALTH, {}, ())
            response.drain_conn()
            response.release_conn()

    def send(
        self,
        base: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        parts: Sequence[Buffer] = (),
        name: str | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer, whose body is still to be read; see `meet` for the arguments.

        Raises:
            HTTPError: The receiver cannot be reached.
        """
        self.meet(base, name)
        boot = self._boots.get(base)
        response = self._answer(base, name, method, target, self._signed(method, target, headers, parts, boot), parts)
        if response.status == _UNAUTHORIZED and self._signer is not None and self._boots.get(base) != boot:
            response.drain_conn()
            response.release_conn()
            again = self._signed(method, target, headers, parts, self._boots.get(base))
            response = self._answer(base, name, method, target, again, parts)
        return response

    def _answer(
        self,
        base: str,
        name: str | None,
        method: str,
        target: str,
        headers: Mapping[str, str],
        parts: Sequence[Buffer],
    ) -> urllib3.BaseHTTPResponse:
        try:
            response = self._connections(base, name).urlopen(
                method,
                target,
                body=cast(Iterable[bytes], _chunks(parts)) if parts else None,
                headers=headers,
                preload_content=False,
                retries=False,
                redirect=False,  # a node never redirects: what does is not the node
            )
        except HTTPError:
            self._boots.pop(base, None)  # it may have been restarted: ask before a large body is sent in vain
            raise
        boot = response.headers.get(BOOT, "")
        if self._signer is not None and (base not in self._boots or boot):
            self._boots[base] = boot if _BOOT_ID.fullmatch(boot) else None
        return response

    def _connections(self, base: str, name: str | None) -> Connections:
        return self._pool.connection_from_url(base, {"server_hostname": name} if name is not None else None)

    def _signed(
        self, method: str, target: str, headers: Mapping[str, str], parts: Sequence[Buffer], boot: str | None
    ) -> Mapping[str, str]:
        if self._signer is None:
            return headers
        named = {**headers, BOOT: boot} if boot is not None else headers
        return self._signer.headers(method, target, named, parts, time.time(), os.urandom(NONCE_BYTES))


def _chunks(parts: Sequence[Buffer]) -> Iterator[Buffer]:
    """Pieces for the socket: large ones cut, so that a timeout is for each piece and not for a whole bundle."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), _CHUNK_BYTES):
            yield view[start : start + _CHUNK_BYTES]
