"""What exchanges with other nodes tell of the links to them: latency from small ones, bandwidth from large ones."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, ClassVar

import urllib3
from urllib3.connection import HTTPConnection

SMALL_BYTES = 4 << 10
"""Up to it an exchange takes a round trip: even a thin link adds little to it."""

LARGE_BYTES = 256 << 10
"""From it on the bytes take longer than the round trip, on most links."""

_SMOOTHING = 0.2
_MAX_NODES = 1024
_LEAST_SHARE = 0.1
_MAX_BANDWIDTH_MBPS = 1e6


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What is known of the link to a node: smoothed values, None where nothing was measured yet.

    `at_s` is the time of the last exchange, in seconds since the epoch.
    """

    node: str
    latency_ms: float | None
    bandwidth_mbps: float | None
    at_s: float


class LinkMeter:
    """Estimates the links to other nodes. Safe for threads; a record takes microseconds.

    Latency is half the round trip of exchanges of at most 4 KiB, with what the other node needs to answer in it.
    Bandwidth is that of exchanges of at least 256 KiB, less their round trip. Both are smoothed: `new = old + 0.2
    (sample - old)`. Exchanges in between tell neither. Of more than 1024 nodes, those longest silent are forgotten.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._estimates: OrderedDict[str, LinkEstimate] = OrderedDict()
        self._fresh: set[str] = set()

    def record(self, node: str, size_bytes: int, duration_s: float, at_s: float) -> None:
        """Takes the measure of an exchange.

        Args:
            node: The other node.
            size_bytes: The bytes of both bodies.
            duration_s: From the first byte sent to the last one received, without connecting.
            at_s: When it ended, in seconds since the epoch.
        """
        if SMALL_BYTES < size_bytes < LARGE_BYTES or duration_s <= 0:
            return
        with self._lock:
            known = self._estimates.pop(node, LinkEstimate(node, None, None, at_s))
            if size_bytes <= SMALL_BYTES:
                known = replace(known, latency_ms=_smoothed(known.latency_ms, duration_s * 1000 / 2), at_s=at_s)
            else:
                sample = _bandwidth_mbps(size_bytes, duration_s, known.latency_ms or 0.0)
                known = replace(known, bandwidth_mbps=_smoothed(known.bandwidth_mbps, sample), at_s=at_s)
            self._estimates[node] = known
            self._fresh.add(node)
            if len(self._estimates) > _MAX_NODES:
                self._fresh.discard(self._estimates.popitem(last=False)[0])

    def take_fresh(self) -> list[LinkEstimate]:
        """The estimates of the links that had exchanges since the last call."""
        with self._lock:
            fresh = [self._estimates[node] for node in sorted(self._fresh)]
            self._fresh.clear()
        return fresh


class TimedConnection(HTTPConnection):
    """A connection that knows what connecting took: one round trip of the network, and no work of the other node."""

    write_timeout_s: float | None = None
    """How long each piece of a request may take to be written."""

    _spent: ClassVar[threading.local] = threading.local()

    def connect(self) -> None:
        """Connects, and adds what it took to that of this thread."""
        started = time.perf_counter()
        super().connect()
        self._spent.connecting_s = getattr(self._spent, "connecting_s", 0.0) + time.perf_counter() - started
        if self.sock is not None:
            self.sock.settimeout(self.write_timeout_s)

    @classmethod
    def take_connecting_s(cls) -> float:
        """What this thread has spent connecting since the last call; 0: it connected nowhere."""
        connecting_s: float = getattr(cls._spent, "connecting_s", 0.0)
        cls._spent.connecting_s = 0.0
        return connecting_s


class TimedPool(urllib3.HTTPConnectionPool):
    """A pool of such connections.

    urllib3 writes a request under the timeout for connecting; over a slow link, a piece of a bundle may take longer.
    """

    ConnectionCls = TimedConnection

    def _new_conn(self) -> Any:
        connection = super()._new_conn()
        read_timeout = self.timeout.read_timeout
        if isinstance(connection, TimedConnection) and isinstance(read_timeout, int | float):
            connection.write_timeout_s = read_timeout
        return connection


def _smoothed(known: float | None, sample: float) -> float:
    return sample if known is None else known + _SMOOTHING * (sample - known)


def _bandwidth_mbps(size_bytes: int, duration_s: float, latency_ms: float) -> float:
    transfer_s = max(duration_s - 2 * latency_ms / 1000, _LEAST_SHARE * duration_s)
    return min(8 * size_bytes / transfer_s / 1e6, _MAX_BANDWIDTH_MBPS)
