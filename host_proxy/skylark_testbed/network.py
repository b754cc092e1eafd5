"""The network of a testbed: relays that follow a topology, and what each node is told of it."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from skylark_proxy.model import Link
from skylark_proxy.nodeinfo.provider import Latest, Provider
from skylark_proxy.nodeinfo.service import Bell
from skylark_proxy.topology import Topology
from skylark_testbed.links import Relay
from skylark_testbed.routing import Channels, Faults, Pair, Slowness, linked_pair, pair_of
from skylark_testbed.shaping import Jitter


class SinceStart(Provider):
    """A provider whose time begins at the start of the testbed, so that each run sees the same."""

    def __init__(self, provider: Provider, started_s: float) -> None:
        self._provider = provider
        self._started_s = started_s

    def current(self, at_s: float) -> Topology:
        """The topology at the time `at_s`."""
        return self._provider.current(at_s - self._started_s)

    def upcoming(self, at_s: float) -> Topology:
        """The topology that follows."""
        return self._provider.upcoming(at_s - self._started_s)

    def next_change_s(self, at_s: float) -> float:
        """When time alone will change it."""
        return self._provider.next_change_s(at_s - self._started_s) + self._started_s

    def rotation(self, at_s: float) -> Sequence[Topology]:
        """The topologies that take turns."""
        return self._provider.rotation(at_s - self._started_s)

    def refresh(self) -> None:
        """Refreshes the provider."""
        self._provider.refresh()


class Network:
    """A relay between every two nodes, with routes that follow the topology and the faults. For one event loop.

    Args:
        provider: Of the links; its nodes do not change, and have real addresses with ports.
        jitter: The standard deviation of latencies, as a share of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, provider: Provider, jitter: float, seed: int) -> None:
        self._loop = loop
        self._provider = provider
        self._faults = Faults()
        self._channels = Channels()
        self._followed: tuple[Topology, int, Faults] | None = None
        self._latest = Latest()
        seeds = random.Random(seed)
        addresses = {node.name: node.address for node in provider.current(time.time()).nodes.values()}
        self._relays: dict[Pair, Relay] = {
            (one, other): Relay(
                loop, {one: addresses[one], other: addresses[other]}, None, Jitter(jitter, seeds.getrandbits(32))
            )
            for one, other in combinations(sorted(addresses), 2)
        }

    @property
    def faults(self) -> Faults:
        """What is wrong now."""
        return self._faults

    def topology(self) -> Topology:
        """The links as they are now, with the real addresses of the nodes."""
        base, faults = self._provider.current(time.time()), self._faults
        return self._latest.made_of((base, faults), lambda _epoch: faults.applied(base))

    def seen_from(self, name: str, topology: Topology) -> Topology:
        """A topology with the addresses at which a node reaches the others."""
        nodes = (
            node if node.name == name else replace(node, address=self._between(name, node.name).address(node.name))
            for node in topology.nodes.values()
        )
        return Topology.build(nodes, topology.links, topology.epoch)

    def carried_bytes(self, source: str, target: str) -> int:
        """What a node has sent to another one, over whichever links."""
        topology = self.topology()
        topology.node(source), topology.node(target)
        return 0 if source == target else self._between(source, target).carried_bytes(target)

    def links(self) -> Iterator[tuple[Link, Mapping[str, int]]]:
        """The links that are up, each with what it has carried to each of its ends."""
        topology, now_s = self.topology(), time.time()
        for name in topology.nodes:
            for other, link in topology.neighbors(name, now_s).items():
                if name < other:
                    carried = self._channels.carried_bytes
                    yield link, {other: carried(name, other), name: carried(other, name)}

    def cut(self, one: str, other: str) -> None:
        """Has a link carry nothing until it is healed.

        Raises:
            UnknownNode, InvalidArgument: There is no such link now.
        """
        self._set_faults(self._faults.with_cut(self._linked(one, other)))

    def slow(self, one: str, other: str, slowness: Slowness) -> None:
        """Has a link be as slow until it is healed; see `cut`."""
        self._set_faults(self._faults.with_slow(self._linked(one, other), slowness))

    def heal(self, one: str, other: str) -> None:
        """Has a link be what the topology says; see `cut`."""
        self._set_faults(self._faults.without(self._linked(one, other)))

    def update(self) -> None:
        """Sets the routes, where anything has changed."""
        at_s, base = time.time(), self._provider.current(time.time())
        following = base, base.contact_interval(at_s), self._faults
        if self._followed is not None and self._followed[0] is base and self._followed[1:] == following[1:]:
            return
        self._followed = following
        routes = self._channels.routes(self.topology(), at_s, self._loop.time())
        for pair, relay in self._relays.items():
            relay.set_routes(routes[pair])

    async def follow(self, bell: Bell) -> None:
        """Updates the routes whenever the bell rings or time changes the topology, until it is cancelled."""
        with bell.listening() as rung:
            while True:
                rung.clear()
                self.update()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._stable_s()):
                        await rung.wait()

    def close(self) -> None:
        """Ends all relays."""
        for relay in self._relays.values():
            relay.close()

    def _stable_s(self) -> float | None:
        """How long no time alone changes anything; None: for ever."""
        now_s = time.time()
        contacts = (at_s for at_s in self._provider.current(now_s).contact_changes_s if at_s > now_s)
        change_s = min(self._provider.next_change_s(now_s), min(contacts, default=math.inf))
        return None if change_s == math.inf else max(0.0, change_s - now_s)

    def _linked(self, one: str, other: str) -> Pair:
        return linked_pair(self._provider.current(time.time()), one, other)

    def _set_faults(self, faults: Faults) -> None:
        self._faults = faults
        self.update()

    def _between(self, one: str, other: str) -> Relay:
        return self._relays[pair_of(one, other)]
