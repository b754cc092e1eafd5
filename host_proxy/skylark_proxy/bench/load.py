"""A load on an HTTP server: each connection sends the next POST when the last is answered."""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop

from skylark_proxy.errors import SkylarkError

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_BODY = b"0123456789abcdef"


@dataclass(slots=True)
class Load:
    """What a load gave: the latency of each request, and how long it went on."""

    latencies_s: list[float] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def requests_per_s(self) -> float:
        """The throughput."""
        return len(self.latencies_s) / self.duration_s

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the requests do not exceed."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run_load(url: str, path: str, connections: int, seconds: float) -> Load:
    """Loads a server for some seconds.

    Raises:
        SkylarkError: An answer has another status than 200, or a connection ends.
    """
    parts = urlsplit(url)
    load, done = Load(), asyncio.get_running_loop().create_future()
    request = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        path.encode(),
        parts.netloc.encode(),
        len(_BODY),
        _BODY,
    )
    started = time.perf_counter()
    protocols = [_Connection(request, load, started + seconds, done) for _ in range(connections)]
    loop = asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    transports = [(await loop.create_connection(partial(_same, p), host, port))[0] for p in protocols]
    try:
        for protocol in protocols:
            protocol.send()
        while not all(protocol.ended for protocol in protocols) and not done.done():
            await asyncio.sleep(0.005)
        if done.done():
            done.result()
    finally:
        for transport in transports:
            transport.close()
    load.duration_s = time.perf_counter() - started
    return load


def run(url: str, path: str, connections: int, seconds: float) -> Load:
    """`run_load` in an event loop of its own."""
    return uvloop.run(run_load(url, path, connections, seconds))


def _same(protocol: "_Connection") -> "_Connection":
    return protocol


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, load: Load, end: float, failed: "asyncio.Future[None]") -> None:
        self._request = request
        self._load = load
        self._end = end
        self._failed = failed
        self._received = b""
        self._sent = 0.0
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self) -> None:
        """Sends a request."""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_HEAD_END)
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(f"the server answered {self._received[:300]!r}")
            return
        lowered = head.lower()
        start = lowered.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(lowered[start:].split(b"\r\n", 1)[0]):
            return
        now = time.perf_counter()
        self._load.latencies_s.append(now - self._sent)
        self._received = b""
        if now < self._end:
            self.send()
        else:
            self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended:
            self._fail(f"the connection ended: {exc}")

    def _fail(self, reason: str) -> None:
        self.ended = True
        if not self._failed.done():
            self._failed.set_exception(SkylarkError(reason))
