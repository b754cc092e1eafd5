"""When a link has carried what: arithmetic on times that are given, without sockets and without a clock.

A `Channel` is one direction of a link. Whatever flows over it queues there in the order in which it comes; as no flow
queues its next chunk before its last one has almost left, flows take turns, and share the bandwidth fairly. A chunk
that flows over several channels has left when the slowest of them is done with it.
"""

import random
from dataclasses import dataclass

QUEUE_S = 0.004
"""How far ahead of a channel's rate a flow may read: so that a late timer does not leave the channel idle."""

_CHUNK_S = 0.00025
_SMALLEST_CHUNK_BYTES, _LARGEST_CHUNK_BYTES = 1448, 64 << 10
_SPREAD_LIMIT = 3.0


@dataclass(slots=True)
class Channel:
    """One direction of a link.

    Attributes:
        bandwidth_mbps: What flows over it shares this.
        free_at_s: When the last byte that was queued has left.
        carried_bytes: All that was ever queued.
    """

    bandwidth_mbps: float
    free_at_s: float = 0.0
    carried_bytes: int = 0

    def take(self, size_bytes: int, now_s: float) -> float:
        """Queues bytes; returns when the last of them has left."""
        self.free_at_s = max(now_s, self.free_at_s) + 8 * size_bytes / (self.bandwidth_mbps * 1e6)
        self.carried_bytes += size_bytes
        return self.free_at_s

    def set_bandwidth(self, bandwidth_mbps: float, now_s: float) -> None:
        """Changes the bandwidth, also for what is queued."""
        queued_s = max(0.0, self.free_at_s - now_s)
        self.free_at_s = now_s + queued_s * self.bandwidth_mbps / bandwidth_mbps
        self.bandwidth_mbps = bandwidth_mbps


@dataclass(frozen=True, slots=True)
class Route:
    """The way from one node to another: the sum of the latencies, one way, and the channels in their order."""

    latency_ms: float
    channels: tuple[Channel, ...]

    @property
    def bandwidth_mbps(self) -> float:
        """That of the narrowest channel."""
        return min(channel.bandwidth_mbps for channel in self.channels)

    @property
    def chunk_bytes(self) -> int:
        """How much a flow takes at once: what the route carries in a quarter of a millisecond, within bounds. As flows
        take turns, large chunks of one would take from another's share that is slowed elsewhere."""
        return min(_LARGEST_CHUNK_BYTES, max(_SMALLEST_CHUNK_BYTES, int(self.bandwidth_mbps * 1e6 / 8 * _CHUNK_S)))

    def take(self, size_bytes: int, now_s: float) -> float:
        """Queues bytes at every channel; returns when the last of them has left the slowest one."""
        return max(channel.take(size_bytes, now_s) for channel in self.channels)


class Jitter:
    """Draws latencies around a mean: normally distributed, at most three standard deviations away, never below 0.

    Args:
        share: The standard deviation as a share of the mean; 0: none.
        seed: Makes the draws repeatable.
    """

    def __init__(self, share: float = 0.0, seed: int = 0) -> None:
        self._share = share
        self._random = random.Random(seed)

    def draw_s(self, latency_ms: float) -> float:
        """A latency in seconds."""
        if not self._share:
            return latency_ms / 1000
        deviation = min(_SPREAD_LIMIT, max(-_SPREAD_LIMIT, self._random.gauss(0.0, 1.0)))
        return max(0.0, latency_ms * (1 + self._share * deviation)) / 1000
