"""Simulated nodes: a Redis in memory that outlives crashes, and the real parts of a proxy on it."""

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from schedules.memory_redis import MemoryRedis, MemoryWire
from schedules.network import Network, Pool, Server
from schedules.scheduler import Condition, Life, Scheduler, SimulatedMachine
from skylark_proxy.api.peer import PeerApi
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.errors import NotFound, StoreBrokenOff, StoreTimeout, StoreUnavailable
from skylark_proxy.forwarder import Forwarder
from skylark_proxy.model import Link, Node, StateKey, Tier
from skylark_proxy.outbox import Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.placement import Defaults
from skylark_proxy.propagation import Propagation
from skylark_proxy.redis_protocol import Replies
from skylark_proxy.store import Store
from skylark_proxy.topology import Topology

T = TypeVar("T")

NODES = (
    Node("sat1", "sat1:30002", Tier.SAT),
    Node("sat2", "sat2:30002", Tier.SAT),
    Node("edge", "edge:30002", Tier.EDGE),
    Node("cloud", "cloud:30002", Tier.CLOUD),
)
LINKS = (
    Link("sat1", "sat2", 5, 1000),
    Link("sat2", "edge", 10, 1000),
    Link("edge", "cloud", 20, 1000),
)


class Lost(Exception):
    """The node crashed while it did what a client had asked: nobody knows whether it happened."""


class Always:
    """A topology that stays."""

    def __init__(self) -> None:
        self._topology = Topology.build(NODES, LINKS, epoch=1)

    def current(self, _at_s: float) -> Topology:
        return self._topology


class SimulatedNode:
    """One node: its Redis, and its process, which can crash and start again."""

    def __init__(
        self, scheduler: Scheduler, network: Network, provider: Always, name: str, defaults: Defaults, fails: float
    ) -> None:
        self.name = name
        self.skew_s = 0.0
        self.redis_away = False
        self.life = Life()
        self.life.ended = True
        self._scheduler = scheduler
        self._network = network
        self._provider = provider
        self._defaults = defaults
        self.fails = fails
        self._machine = SimulatedMachine(scheduler, self.life)
        self._redis = MemoryRedis(lambda: self._machine.now_s())
        self.inside = Store(MemoryWire(self._redis), name)  # looks into the node from outside, and takes no time
        self._pending: dict[int, Callable[[], None]] = {}  # in the order of the calls
        self._calls = itertools.count()
        self.propagation: Propagation
        self.outbox: Outbox

    def start(self) -> None:
        """Start the process."""
        self.life = Life()
        self._machine = machine = SimulatedMachine(self._scheduler, self.life, self.skew_s)
        store = Store(MemoryWire(self._redis, self._around), self.name, machine=machine)
        pool = Pool(self._network, self.name, self.life)
        peers = Peers(1000, 1000, machine=machine, pool=pool)
        self.outbox = Outbox(machine, 100_000)
        topology = self._provider.current(0)
        self.forwarder = Forwarder(self.outbox, store, peers, topology.node, machine, threads=2)
        arrivals = Arrivals(1.0, machine=machine)
        self.propagation = Propagation(
            store, peers, self._provider, self.outbox, self.forwarder, arrivals, self._defaults, machine
        )
        self.store = store
        self._network.servers[self.name] = Server(self.name, self.life, PeerApi(self.propagation, machine))

    def crash(self) -> None:
        """End the process at once. What its Redis has stays."""
        self.life.ended = True
        pending, self._pending = self._pending, {}
        for wake in pending.values():
            wake()

    def jump(self, skew_s: float) -> None:
        """Set the node's clock, and that of its Redis."""
        self.skew_s = self._machine.skew_s = skew_s

    def peek(self, key: StateKey) -> tuple[bytes, int] | None:
        """Return what this node's Redis has of a bundle, and its version; None: nothing."""
        try:
            stored = self.inside.get(key)
        except NotFound:
            return None
        return stored.fields["f"], stored.info.version

    def call(self, what: Callable[[Propagation], T]) -> T:
        """Do something in the process, as for a client of it, and return or raise what comes of it.

        Raises:
            Lost: The node is down, or crashed meanwhile.
        """
        if self.life.ended:
            self._scheduler.sleep(0.01)
            raise Lost(self.name)
        changed, results = Condition(self._scheduler), list[Any]()

        def run() -> None:
            try:
                results.append((True, what(self.propagation)))
            except Exception as error:
                results.append((False, error))
            changed.notify_all()

        life = self.life
        number = next(self._calls)
        self._pending[number] = changed.notify_all
        self._scheduler.start(run, f"client at {self.name}", life)
        while not results and not life.ended:
            changed.wait(3600)
        self._pending.pop(number, None)
        if not results:
            raise Lost(self.name)
        worked, result = results[0]
        if worked:
            return result  # type: ignore[no-any-return]
        raise result

    def _around(self, do: Callable[[], Replies]) -> Replies:
        """Take time for commands, before they are done or after, and fail now and then.

        Commands that take no time are as good a schedule as others, and cheaper.
        """
        chance, sleep = self._scheduler.random.random, self._scheduler.sleep
        if chance() < 0.3:
            sleep(chance() * 0.001)
        if self.redis_away:
            raise StoreUnavailable("Redis is away")
        if chance() < self.fails:
            raise StoreBrokenOff("the connection to Redis broke")
        replies = do()
        if chance() < self.fails:
            raise StoreBrokenOff("the connection to Redis broke") if chance() < 0.5 else StoreTimeout("Redis is slow")
        if chance() < 0.2:
            sleep(chance() * 0.001)
        return replies
