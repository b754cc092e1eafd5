"""Links that carry one bundle after the other: when what is sent now will have arrived."""

from collections.abc import Iterable

Direction = tuple[str, str]


class SimulatedLinks:
    """The links of a topology, each direction on its own.

    A transfer takes every link of its way for as long as its bytes need there, after what came before it (first in,
    first out), and flows through: it need not have arrived at one node to go on to the next. Links of real networks
    share their bandwidth instead; the work is the same, and so are the times where nothing else is carried.
    """

    def __init__(self) -> None:
        self._free_at_s: dict[Direction, float] = {}
        self.carried_bytes = 0

    def carry(self, now_s: float, size_bytes: int, way: Iterable[tuple[Direction, float]], latency_ms: float) -> float:
        """When a bundle that is sent now has arrived and its arrival is known, in seconds.

        Args:
            way: Each link's direction and bandwidth in Mbps.
            latency_ms: The sum of the way's latencies; there and back it is waited for.
        """
        way = list(way)
        start_s = max((self._free_at_s.get(direction, 0.0) for direction, _ in way), default=0.0)
        start_s = max(start_s, now_s)
        longest_s = 0.0
        for direction, bandwidth_mbps in way:
            takes_s = 8 * size_bytes / (bandwidth_mbps * 1e6)
            self._free_at_s[direction] = start_s + takes_s
            longest_s = max(longest_s, takes_s)
        self.carried_bytes += size_bytes * len(way)
        return start_s + longest_s + 2 * latency_ms / 1000
