"""The state of the node-info service: a topology and objectives under one epoch, and those who wait for its changes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from skylark_proxy.errors import InvalidArgument, NotFound
from skylark_proxy.model import Node, Objectives
from skylark_proxy.nodeinfo.drawn import DrawnTopology
from skylark_proxy.nodeinfo.links import SimSettings
from skylark_proxy.nodeinfo.measured import MeasuredTopology, Measurement
from skylark_proxy.topology import Topology

_LEAST_WAIT_S = 0.001


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the service says at one moment. `epoch` rises with every change of the topology or of the objectives."""

    epoch: int
    topology: Topology
    objectives: Objectives


class Bell:
    """Wakes those in event loops who wait for a change. Rung from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listening: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever the bell rings."""
        event = asyncio.Event()
        with self._lock:
            self._listening[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self._lock:
                del self._listening[event]

    def ring(self) -> None:
        """Sets all events."""
        with self._lock:
            for event, loop in self._listening.items():
                loop.call_soon_threadsafe(event.set)


class NodeInfo:
    """What the service knows. Safe for threads.

    The epoch begins with the time of the start in milliseconds, so that a service that was started again has epochs
    that nobody has seen, and higher ones.

    Args:
        node: The name of the node that the service runs on.
        topology: The provider, with what is measured mixed in.
        objectives: What the operator asks for, until that is changed.
        bell: Is rung after every change but those of time; the provider may ring it too.
        drawn: The provider that draws links, where the topology is made of one.
    """

    def __init__(
        self,
        node: str,
        topology: MeasuredTopology,
        objectives: Objectives,
        bell: Bell,
        drawn: DrawnTopology | None = None,
    ) -> None:
        self.node = node
        self._topology = topology
        self._bell = bell
        self._drawn = drawn
        self._lock = Lock()
        self._objectives = objectives
        self._last = Snapshot(time.time_ns() // 1_000_000, topology.current(time.time()), objectives)
        self._closing = False

    def snapshot(self) -> Snapshot:
        """The state now."""
        with self._lock:
            topology = self._topology.current(time.time())
            if topology is not self._last.topology or self._objectives != self._last.objectives:
                self._last = Snapshot(self._last.epoch + 1, topology, self._objectives)
            return self._last

    async def wait_beyond(self, epoch: int, wait_s: float) -> Snapshot:
        """The state as soon as its epoch is another one; what it is after `wait_s`, or when the service ends, else."""
        until_s = time.monotonic() + wait_s
        with self._bell.listening() as rung:
            while True:
                rung.clear()
                snapshot = self.snapshot()
                left_s = until_s - time.monotonic()
                if snapshot.epoch != epoch or left_s <= 0 or self._closing:
                    return snapshot
                changes_s = self._topology.next_change_s(time.time()) - time.time()
                try:
                    async with asyncio.timeout(max(_LEAST_WAIT_S, min(left_s, changes_s))):
                        await rung.wait()
                except TimeoutError:
                    continue

    def close(self) -> None:
        """Answers all who wait, now and from now on."""
        self._closing = True
        self._bell.ring()

    def upcoming(self) -> Topology:
        """The topology that follows the one now; that one where none is known to follow."""
        return self._topology.upcoming(time.time())

    def numbered(self, number: int | None) -> Topology:
        """A topology of the rotation, counted from 0; None: the last one. Without a rotation there is one, the current.

        Raises:
            InvalidArgument: The rotation does not have so many.
        """
        rotation = self._topology.rotation(time.time())
        number = len(rotation) - 1 if number is None else number
        if number >= len(rotation):
            raise InvalidArgument("t", number, f"a whole number from 0 to {len(rotation) - 1}")
        return rotation[number]

    def cloud_node(self) -> Node:
        """The first node of the cloud, by name.

        Raises:
            NotFound: There is none.
        """
        nodes = self.snapshot().topology.cloud_nodes()
        if not nodes:
            raise NotFound("node of the tier", "Cloud")
        return nodes[0]

    def set_objectives(self, objectives: Objectives) -> None:
        """Changes what the operator asks for."""
        with self._lock:
            self._objectives = objectives
        self._bell.ring()

    @property
    def objectives(self) -> Objectives:
        """What the operator asks for."""
        return self._objectives

    def sim_settings(self) -> SimSettings:
        """What links are drawn from.

        Raises:
            InvalidArgument: None are drawn here.
        """
        return self._random().settings

    def set_sim_settings(self, settings: SimSettings) -> None:
        """Changes what links are drawn from, and draws them anew.

        Raises:
            InvalidArgument: None are drawn here, or there are too many nodes for such latencies.
        """
        self._random().set_settings(settings, time.time())
        self._bell.ring()

    def report(self, measurement: Measurement) -> bool:
        """Takes a measurement; False: it does not count; see `MeasuredTopology.report`."""
        counts = self._topology.report(measurement, time.time())
        if counts:
            self._bell.ring()
        return counts

    def refresh(self) -> None:
        """Has the provider read, draw or turn anew; see `Provider.refresh`. It may block."""
        self._topology.refresh()
        self._bell.ring()

    def problem(self) -> str | None:
        """Why the topology may be out of date; None: it is not, as far as is known."""
        return self._topology.problem()

    def _random(self) -> DrawnTopology:
        if self._drawn is None:
            raise InvalidArgument("provider", "not one that draws links", "the provider random")
        return self._drawn
