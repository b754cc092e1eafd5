"""Links between a test's nodes, as slow as a test wants them, which it can cut and heal: relays in a thread.

Every pair of nodes has a relay of its own, with a port for each end, and a link of its own: none leads around another.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from continuum import Nodes, run_nodes
from skylark_proxy.topology import Topology
from skylark_testbed import links
from skylark_testbed.event_loop import exact_event_loop
from skylark_testbed.shaping import Channel, Jitter, Route

T = TypeVar("T")


class Relay:
    """The link between two nodes. Made by `Relays.add`; safe for threads. See `skylark_testbed.links.Relay`."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, None]], None], relay: links.Relay) -> None:
        self._run = run
        self._relay = relay
        self.ends = relay.ends

    @property
    def connections(self) -> int:
        """How many it has taken."""
        return self._relay.connections

    @property
    def is_cut(self) -> bool:
        """Whether it is cut now."""
        return self._relay.is_cut

    def address(self, to: str) -> str:
        """Where the other end connects to reach `to`."""
        return self._relay.address(to)

    def carried_bytes(self, to: str) -> int:
        """What the link has carried in the direction of `to`, on all connections."""
        return self._relay.carried_bytes(to)

    def cut(self) -> None:
        """Resets all connections and refuses new ones; what is under way is lost."""
        self._call(self._relay.cut)

    def cut_after(self, to: str, more_bytes: int) -> None:
        """Cuts the link once it has carried so many further bytes in the direction of `to`."""
        self._call(lambda: self._relay.cut_after(to, more_bytes))

    def black_hole(self) -> None:
        """Carries nothing more: connections stay open, new ones are accepted, nobody gets an answer."""
        self._call(self._relay.silence)

    def heal(self) -> None:
        """Works again. What was stuck in a black hole arrives now; what was cut off does not."""
        self._call(self._relay.heal)

    def set_speed(self, latency_ms: float, bandwidth_mbps: float) -> None:
        """Changes the link, also for connections that are open."""
        self._call(lambda: self._relay.set_routes(routes(self.ends, latency_ms, bandwidth_mbps)))

    def _call(self, act: Callable[[], None]) -> None:
        async def acting() -> None:
            act()

        self._run(acting())


def routes(ends: Sequence[str], latency_ms: float, bandwidth_mbps: float) -> dict[str, Route]:
    """Those of a link that nothing else flows over."""
    return {name: Route(latency_ms, (Channel(bandwidth_mbps),)) for name in ends}


class Relays:
    """Relays in one thread with one event loop. Made by `run_relays`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._all: dict[frozenset[str], Relay] = {}

    def add(
        self,
        ends: Mapping[str, str],
        latency_ms: float = 0.0,
        bandwidth_mbps: float = 10_000.0,
        jitter: Jitter | None = None,
    ) -> Relay:
        """The relay of a new link between two nodes, by their names, with their real addresses."""

        async def make() -> links.Relay:
            return links.Relay(self._loop, ends, routes(list(ends), latency_ms, bandwidth_mbps), jitter)

        relay = Relay(self._run, self._run(make()))
        self._all[frozenset(ends)] = relay
        return relay

    def between(self, one: str, other: str) -> Relay:
        """The relay of the link between two nodes."""
        return self._all[frozenset((one, other))]

    def all(self) -> list[Relay]:
        """All relays."""
        return list(self._all.values())

    def of(self, node: str) -> list[Relay]:
        """The relays of a node's links."""
        return [relay for ends, relay in self._all.items() if node in ends]

    def close(self) -> None:
        """Ends every connection and gives the ports back."""

        async def end() -> None:
            for relay in self._all.values():
                relay._relay.close()

        self._run(end())

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)


@contextlib.contextmanager
def run_relays() -> Iterator[Relays]:
    """Relays work until the context ends."""
    loop = exact_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relays")
    thread.start()
    relays = Relays(loop)
    try:
        yield relays
    finally:
        relays.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def run_relayed(
    topology: Topology,
    names: Sequence[str] = (),
    *,
    functions: Path | None = None,
    settings: Mapping[str, str] | None = None,
    of_node: Mapping[str, Mapping[str, str]] | None = None,
    as_links: bool = False,
) -> Iterator[tuple[Nodes, Relays]]:
    """Runs the proxies of a topology's nodes, of which each reaches every other one through a relay of their own.

    Args:
        topology: Its addresses, with ports, are the real ones; each node gets a file with the relays' for the others.
        names: The nodes to run; all if empty.
        functions: The components of every node.
        settings: Settings of every node, by the names of environment variables.
        of_node: Further settings of single nodes.
        as_links: Whether relays have the latency and bandwidth of the topology's links. Else, and where two nodes
            have no link, they are as fast as they can be.
    """
    with run_relays() as relays, contextlib.ExitStack() as stack:
        for one, other in itertools.combinations(topology.nodes.values(), 2):
            link = topology.neighbors(one.name, 0.0).get(other.name) if as_links else None
            speed = (link.latency_ms, link.bandwidth_mbps) if link else ()
            relays.add({one.name: one.address, other.name: other.address}, *speed)
        nodes: Nodes = {}
        for name in topology.nodes:
            if not names or name in names:
                seen = seen_from(topology, name, relays)
                running = run_nodes(seen, [name], functions=functions, settings=settings, of_node=of_node, start=False)
                nodes |= stack.enter_context(running)
        for node in nodes.values():
            node.start()
        for node in nodes.values():
            node.wait_until_ready()
        yield nodes, relays


def seen_from(topology: Topology, name: str, relays: Relays) -> Topology:
    """The topology with the addresses at which a node reaches the others."""
    nodes = (
        node if node.name == name else replace(node, address=relays.between(name, node.name).address(node.name))
        for node in topology.nodes.values()
    )
    return Topology.build(nodes, topology.links, topology.epoch)
