"""Nodes that are given, with links that are drawn at random, and drawn again after an interval."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement
from threading import Lock

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Node
from skylark_proxy.nodeinfo.links import SimSettings, draw, pair_of
from skylark_proxy.nodeinfo.provider import Latest, Provider, turn_at
from skylark_proxy.topology import MAX_TOTAL_LATENCY_US, Topology


class DrawnTopology(Provider):
    """The nodes of another provider, with random links.

    What is drawn depends on the seed, the nodes, the settings and the number of the interval since the epoch:
    services that agree on these draw the same, and the next topology is known beforehand.

    Args:
        nodes: Says which nodes there are; its links are not looked at.
        seed: None: a random one.
    """

    def __init__(self, nodes: Provider, settings: SimSettings, seed: int | None = None) -> None:
        self._nodes = nodes
        self._seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._lock = Lock()
        self._settings = settings
        self._redrawn = 0
        self._latest = Latest()

    @property
    def settings(self) -> SimSettings:
        """What links are drawn from now."""
        return self._settings

    def set_settings(self, settings: SimSettings, at_s: float) -> None:
        """Has links drawn from these from now on; where they are others, at once.

        Raises:
            InvalidArgument: The latencies may exceed what a topology of so many nodes can have.
        """
        tiers = Counter(node.tier for node in self._nodes.current(at_s).nodes.values())
        highest_ms = sum(
            settings.ranges[pair_of(one, other)].latency_ms[1] * tiers[one] * tiers[other]
            for one, other in combinations_with_replacement(tiers, 2)
        )
        if highest_ms * 1000 > MAX_TOTAL_LATENCY_US:
            expected = f"latencies that, over all pairs of nodes, are at most {MAX_TOTAL_LATENCY_US // 1000} ms"
            raise InvalidArgument("ranges", f"{highest_ms:.0f} ms", expected)
        self._settings = settings

    def current(self, at_s: float) -> Topology:
        """The nodes of the time `at_s` with the links of its interval."""
        settings, redrawn = self._settings, self._redrawn
        nodes, turn = tuple(self._nodes.current(at_s).nodes.values()), turn_at(at_s, settings.interval_s)
        return self._latest.made_of(
            (nodes, settings, turn, redrawn), lambda epoch: self._draw(nodes, settings, turn, redrawn, epoch)
        )

    def upcoming(self, at_s: float) -> Topology:
        """The nodes of the time `at_s` with the links of the next interval."""
        settings = self._settings
        nodes, turn = tuple(self._nodes.current(at_s).nodes.values()), turn_at(at_s, settings.interval_s)
        return self._draw(nodes, settings, turn + 1, self._redrawn, epoch=1)

    def next_change_s(self, at_s: float) -> float:
        """When the interval ends, or the nodes change."""
        interval_s = self._settings.interval_s
        return min((turn_at(at_s, interval_s) + 1) * interval_s, self._nodes.next_change_s(at_s))

    def refresh(self) -> None:
        """Finds the nodes again and draws the links again."""
        self._nodes.refresh()
        with self._lock:
            self._redrawn += 1

    def problem(self) -> str | None:
        """That of the nodes."""
        return self._nodes.problem()

    def _draw(self, nodes: Sequence[Node], settings: SimSettings, turn: int, redrawn: int, epoch: int) -> Topology:
        rng = random.Random(f"{self._seed}/{turn}/{redrawn}")  # a simulation, not a secret
        return Topology.build(nodes, draw(nodes, settings, rng), epoch)
