"""One schedule: clients work at four nodes while things fail, then all is healed, and everything is looked at."""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from schedules.checker import Checker, Operation, Violation
from schedules.network import LONGEST_DELAY_S, TIMEOUT_S, LinkState, Network, Rates
from schedules.nodes import NODES, Always, Lost, SimulatedNode
from schedules.scheduler import Life, Scheduler
from skylark_proxy.errors import (
    Conflict,
    NotFound,
    OutboxFull,
    PeerUnreachable,
    SkylarkError,
    StoreUnavailable,
    UnknownNode,
)
from skylark_proxy.model import Ack, Read, StateKey, Tier
from skylark_proxy.placement import Defaults, Write
from skylark_proxy.propagation import Propagation

T = TypeVar("T")

NAMES = tuple(node.name for node in NODES)
CLOUD = next(node.name for node in NODES if node.tier is Tier.CLOUD)
LARGE_BYTES = 70_000
"""More than what is forwarded without an announcement."""

_LONGEST_UNREST_S = 240.0
_FAULTS = ("cut", "stall", "heal", "crash", "redis", "clock")


@dataclass(frozen=True)
class Settings:
    """How a schedule is made.

    Attributes:
        writes: How many acknowledged writes end it.
        clients: How many work at once.
        fault_pause_s: The mean time between two faults; 0: none.
        keep_fetched: Whether nodes keep what they fetch.
    """

    writes: int = 400
    clients: int = 10
    fault_pause_s: float = 0.4
    rates: Rates = field(default_factory=Rates)
    redis_fails: float = 0.002
    keep_fetched: bool = True


@dataclass
class Outcome:
    """What a schedule did."""

    acknowledged: int
    reads: int
    in_doubt: int
    faults: int
    requests: int
    simulated_s: float


class Schedule:
    """Everything that a seed decides."""

    def __init__(self, seed: int, settings: Settings) -> None:
        self.settings = settings
        self.scheduler = Scheduler(seed)
        self.random = self.scheduler.random
        self.network = Network(self.scheduler, settings.rates)
        self.checker = Checker()
        self.faults = 0
        self._clients = Life()
        self._quiet = False
        defaults = Defaults(keep_fetched=settings.keep_fetched)
        provider = Always()
        self.nodes = {
            name: SimulatedNode(self.scheduler, self.network, provider, name, defaults, settings.redis_fails)
            for name in NAMES
        }
        self._numbers = itertools.count(1)
        self._hot: deque[StateKey] = deque(maxlen=6)
        self._own: deque[StateKey] = deque(maxlen=60)
        self._abandoned: list[tuple[StateKey, bytes, Life]] = []

    def run(self) -> Outcome:
        """Run it.

        Raises:
            Violation: Something has happened that must not.
        """
        for node in self.nodes.values():
            node.start()
        for number in range(self.settings.clients):
            self.scheduler.start(Client(self, number).work, f"client {number}", self._clients)
        if self.settings.fault_pause_s:
            self.scheduler.start(self._break, "faults", self._clients)
        self.scheduler.run(lambda: self._over)
        self._quiet = True
        self.scheduler.start(self._settle, "settle", self._clients)
        self.scheduler.run(lambda: self._clients.ended)
        done = self.checker
        return Outcome(
            done.acknowledged, done.reads, done.in_doubt, self.faults, self.network.requests, self.scheduler.now_s
        )

    @property
    def _over(self) -> bool:
        return self.checker.acknowledged >= self.settings.writes or self.scheduler.now_s > 50 * self.settings.writes

    @property
    def quiet(self) -> bool:
        """True once the clients are to end."""
        return self._quiet

    def hot_key(self) -> StateKey:
        """Return a key that several clients write; a new one now and then."""
        if len(self._hot) < 6 or self.random.random() < 0.01:
            number = next(self._numbers)
            self._hot.append(StateKey(f"c{number % 40}", f"hot{number}", self.random.choice(NAMES)))
        return self.random.choice(self._hot)

    def own_key(self) -> StateKey | None:
        """Return a key that somebody has stored."""
        return self.random.choice(self._own) if self._own else None

    def new_task(self) -> StateKey:
        """Return the key of a new task."""
        number = next(self._numbers)
        return StateKey(f"c{number % 40}", f"t{number}")

    def content(self, key: StateKey) -> bytes:
        """Return contents that nobody else writes."""
        padding = b"." * LARGE_BYTES if self.random.random() < 0.02 else b""
        return f"{key.chain_id}:{key.task_id}:{next(self._numbers)}".encode() + padding

    def stored(self, key: StateKey) -> None:
        """Let others read what was stored."""
        self._own.append(key)

    def abandoned(self, key: StateKey, content: bytes, life: Life) -> None:
        """Note that a bundle was put elsewhere than at a node that may have got it."""
        self._abandoned.append((key, content, life))

    def _break(self) -> None:
        while True:
            self.scheduler.sleep(self.random.expovariate(1 / self.settings.fault_pause_s))
            if self._quiet:
                return
            self.faults += 1
            self._fault(self.random.choice(_FAULTS))

    def _fault(self, kind: str) -> None:
        one, other = self.random.sample(NAMES, 2)
        node = self.nodes[one]
        match kind:
            case "cut":
                self.network.set_link(one, other, LinkState.CUT)
            case "stall":
                self.network.set_link(one, other, LinkState.STALLED)
            case "heal":
                self.network.heal()
            case "crash":
                node.crash()
                self._later(lambda: self._restart(node))
            case "redis":
                node.redis_away = True
                self._later(lambda: setattr(node, "redis_away", False))
            case "clock":
                node.jump(self.random.choice((-300.0, -3.0, 0.0, 0.5, 420.0)))

    def _later(self, what: Callable[[], None]) -> None:
        def wait() -> None:
            self.scheduler.sleep(self.random.uniform(0.05, 3.0))
            what()

        self.scheduler.start(wait, "later", self._clients)

    def _restart(self, node: SimulatedNode) -> None:
        if node.life.ended:
            node.start()

    def _settle(self) -> None:
        """Heal everything, wait until nobody has anything to tell, and look at every key at every node."""
        self.network.heal()
        self.network.rates = Rates(0, 0, 0, 0)
        for node in self.nodes.values():
            node.redis_away = False
            node.fails = 0.0
            self._restart(node)
        self._wait_until_quiet()
        for node in self.nodes.values():  # nothing is under way any more that would begin to live here later
            node.jump(1000.0)  # what was to expire does, also where a clock had jumped
        self._wait_until_quiet()
        for key in self.checker.acknowledged_keys():
            content, version = self._final(key, key.node or "", Read.OWNER)
            self.checker.settled(key, "its owner", content, version)
            reader = self.random.choice(NAMES)  # nodes without a copy all ask the owner: one of them is enough
            self._compare(key, reader, self._final(key, reader, Read.NEAREST), (content, version))
            for name in NAMES:
                copy = self.nodes[name].peek(key)
                if copy is not None:
                    self._compare(key, name, copy, (content, version))
                elif name == CLOUD and content is not None and content == self.checker.promised(key):
                    raise Violation(f"{key}: the cloud was promised a copy, and has none", self.checker.history(key))
        for key, content, life in self._abandoned:
            if life.ended:  # while its Redis is away, a process refuses a late write only as long as it runs
                continue
            found, _ = self._final(key, key.node or "", Read.OWNER)
            if found == content:
                raise Violation(f"{key}: a write that was given up and put elsewhere is there")
        self._clients.ended = True

    def _wait_until_quiet(self) -> None:
        """Wait until nobody has anything to tell; no request may be under way any more by then."""
        self.scheduler.sleep(LONGEST_DELAY_S + TIMEOUT_S)
        end_s = self.scheduler.now_s + _LONGEST_UNREST_S
        nodes = self.nodes.values()
        while any(len(node.outbox) for node in nodes) or any(any(node.inside.behind()) for node in nodes):
            if self.scheduler.now_s > end_s:
                found = [(node.name, list(node.inside.behind()), node.outbox.waiting()) for node in nodes]
                raise Violation(f"there is still something to tell: {found}")
            self.scheduler.sleep(5.0)

    def _compare(
        self, key: StateKey, name: str, found: tuple[bytes | None, int], owned: tuple[bytes | None, int]
    ) -> None:
        if found != owned:
            history = self.checker.history(key)
            raise Violation(f"{key} at {name}: {found[1]} is there, and its owner has {owned[1]}", history)

    def _final(self, key: StateKey, at: str, read: Read) -> tuple[bytes | None, int]:
        try:
            fetched = self.nodes[at].propagation.fetch(key, read=read)
        except NotFound:
            return None, 0
        return bytes(fetched.fields["f"]), fetched.info.version


class Client:
    """Works at one node, or at all of them with the versions that it has seen."""

    def __init__(self, schedule: Schedule, number: int) -> None:
        self._schedule = schedule
        self._random = schedule.random
        self._checker = schedule.checker
        self._roams = number % 2 == 0
        self._home = NAMES[number // 2 % len(NAMES)]
        self._seen: dict[StateKey, int] = {}
        self._life: Life | None = None

    def work(self) -> None:
        """Do one thing after the other until the schedule is over."""
        kinds = {
            self._store: 36,
            self._write: 18,
            self._increment: 12,
            self._read: 16,
            self._read_stored: 10,
            self._delete: 8,
            self._delete_stored: 3,
        }
        while not self._schedule.quiet:
            node = self._schedule.nodes[self._random.choice(NAMES) if self._roams else self._home]
            if not self._roams and node.life is not self._life:  # what a node has seen is forgotten with its process
                self._life, self._seen = node.life, {}
            [kind] = self._random.choices(list(kinds), list(kinds.values()))
            kind(node)
            self._schedule.scheduler.sleep(self._random.random() * 0.01)

    def _store(self, node: SimulatedNode) -> None:
        key = self._schedule.new_task()
        content = self._schedule.content(key)
        write = Write(
            key,
            {"f": content},
            destination=self._random.choice(NAMES),
            ack=self._random.choice(list(Ack)),
            replicate=self._random.random() < 0.3,
            ttl_ms=20_000 if self._random.random() < 0.05 else None,
        )
        now = self._schedule.scheduler
        began_s = now.now_s
        try:
            placed = node.call(lambda propagation: propagation.place(write))
        except (SkylarkError, Lost):
            # Whoever has it now: it is nobody's yet, and may come to be read nowhere, since nobody knows its key.
            return
        copied = write.replicate or write.ack is Ack.CLOUD
        operation = self._checker.begin(placed.key, content, began_s, expires=write.ttl_ms is not None, copied=copied)
        self._checker.acknowledge(placed.key, operation, placed.version, now.now_s)
        self._see(placed.key, placed.version)
        self._schedule.stored(placed.key)
        for attempt in placed.failed:
            self._schedule.abandoned(key.at(attempt.node), content, node.life)

    def _write(self, node: SimulatedNode) -> None:
        self._put(node, self._schedule.hot_key(), None)

    def _increment(self, node: SimulatedNode) -> None:
        key = self._schedule.hot_key()
        read = self._random.choice(list(Read))
        try:
            fetched = node.call(lambda propagation: propagation.fetch(key, (), read, self._seen.get(key, 0)))
            self._see(key, fetched.info.version)
            self._put(node, key, fetched.info.version)
        except NotFound:
            self._put(node, key, 0)
        except (SkylarkError, Lost):
            return

    def _put(self, node: SimulatedNode, key: StateKey, expected: int | None) -> None:
        content = self._schedule.content(key)
        expires = self._random.random() < 0.1
        write = Write(
            key,
            {"f": content},
            expected_version=expected,
            replicate=self._random.random() < 0.3,
            ack=Ack.CLOUD if self._random.random() < 0.15 else None,
            ttl_ms=2000 if expires else None,
        )
        now = self._schedule.scheduler
        copied = write.replicate or write.ack is Ack.CLOUD
        operation = self._checker.begin(key, content, now.now_s, expected=expected, expires=expires, copied=copied)
        placed = self._change(node, operation, lambda propagation: propagation.place(write))
        if placed is not None:
            self._checker.acknowledge(key, operation, placed.version, now.now_s)
            self._see(key, placed.version)

    def _delete(self, node: SimulatedNode) -> None:
        self._remove(node, self._schedule.hot_key())

    def _delete_stored(self, node: SimulatedNode) -> None:
        key = self._schedule.own_key()
        if key is not None:
            self._remove(node, key)

    def _remove(self, node: SimulatedNode, key: StateKey) -> None:
        now = self._schedule.scheduler
        operation = self._checker.begin(key, None, now.now_s)

        def delete(propagation: Propagation) -> tuple[bool, int]:
            return propagation.delete(key), propagation.seen.version(key)

        deleted = self._change(node, operation, delete)
        if deleted is not None:
            existed, version = deleted
            if existed:
                self._checker.acknowledge(key, operation, version, now.now_s)
                self._see(key, version)
            else:
                self._checker.give_up(operation, now.now_s)

    def _change(self, node: SimulatedNode, operation: Operation, change: Callable[[Propagation], T]) -> T | None:
        now = self._schedule.scheduler
        try:
            return node.call(change)
        except (Conflict, OutboxFull):
            self._checker.refuse(operation, now.now_s)
        except (StoreUnavailable, PeerUnreachable, UnknownNode, Lost):
            self._checker.give_up(operation, now.now_s)
        return None

    def _read(self, node: SimulatedNode) -> None:
        self._fetch(node, self._schedule.hot_key())

    def _read_stored(self, node: SimulatedNode) -> None:
        key = self._schedule.own_key()
        if key is not None:
            self._fetch(node, key)

    def _fetch(self, node: SimulatedNode, key: StateKey) -> None:
        read, seen = self._random.choice(list(Read)), self._seen.get(key, 0)
        of_owner = read is Read.OWNER or node.name == key.node
        floor = self._checker.floor(key) if of_owner else None
        where = f"{node.name} ({read})"
        given = seen if self._roams else 0
        try:
            fetched = node.call(lambda propagation: propagation.fetch(key, (), read, given))
        except NotFound:
            self._checker.read(key, None, 0, seen=seen, floor=floor, where=where)
            return
        except (SkylarkError, Lost):
            return
        if fetched.stale is not None:
            floor = None
        version = fetched.info.version
        self._checker.read(key, bytes(fetched.fields["f"]), version, seen=seen, floor=floor, where=where)
        self._see(key, version)

    def _see(self, key: StateKey, version: int) -> None:
        self._seen[key] = max(version, self._seen.get(key, 0))
