"""The outbox in a real Redis, and the forwarder that works it off, with nodes that a test plays."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from servers import RedisServer, run_redis, wait_for
from skylark.plan import Plan
from skylark_proxy import forwarder as forwarding
from skylark_proxy.bundle_http import checksum, now_ms
from skylark_proxy.errors import (
    Conflict,
    InvalidArgument,
    OutboxFull,
    PeerTimeout,
    PeerUnreachable,
    StoreUnavailable,
    TooLarge,
    TooManyBundles,
    UnknownNode,
)
from skylark_proxy.forwarder import Forwarder
from skylark_proxy.model import Node, StateKey, Tier, WriteId
from skylark_proxy.outbox import Entry, Kind, Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.redis_client import connect
from skylark_proxy.store import Store

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
LONG_AGO_MS = 61_000


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with run_redis(0, options=DURABLE) as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with contextlib.closing(Store(connect(server.url), "here")) as opened:
        yield opened


def key(chain: str, task: str = "t1") -> StateKey:
    return StateKey(chain, task, "here")


def put(store: Store, at: StateKey, data: bytes = b"bytes", **more: Any) -> None:
    store.put(at, {"f": data}, origin="here", created_ms=now_ms(), crc32=checksum({"f": data}), **more)


def add(outbox: Outbox, at: StateKey, target: str = "far", kind: Kind = Kind.STORE) -> Entry:
    return outbox.add(kind, at, target, now_ms())


class TestOutbox:
    def test_what_was_added_is_taken_in_order(self, store: Store) -> None:
        """Entries come out as they went in, each once, until there are none."""
        outbox = Outbox(store, 100)
        added = [add(outbox, key("c", f"t{number}"), kind=list(Kind)[number % 2]) for number in range(10)]
        assert outbox.take() == added
        assert outbox.take() == []
        assert len(outbox) == 10

    def test_what_was_removed(self, store: Store) -> None:
        """What is done is forgotten, whether it was taken or not."""
        outbox = Outbox(store, 100)
        one, two = add(outbox, key("c", "t1")), add(outbox, key("c", "t2"))
        outbox.remove(one)
        assert outbox.take() == [two]
        outbox.remove(two)
        outbox.remove(two)
        assert len(outbox) == 0
        assert list(outbox.unfinished()) == []

    def test_a_crash(self, store: Store) -> None:
        """A new process takes up what the one before had taken and not removed, in order, and then what is new."""
        outbox = Outbox(store, 2000)
        added = [add(outbox, key("c", f"t{number}")) for number in range(600)]
        taken = [entry for _ in range(3) for entry in outbox.take()]
        assert taken == added
        for entry in added[::7]:
            outbox.remove(entry)
        late = add(outbox, key("c", "late"))
        after = Outbox(store, 2000)
        assert list(after.unfinished()) == [entry for entry in added if entry not in added[::7]]
        assert after.take() == [late]
        assert list(after.unfinished(added[590].id)) == [*(added[591:595]), *added[596:], late]

    def test_what_a_later_store_replaces(self, store: Store) -> None:
        """Once a bundle is stored again, the entries for the version before go; those to other nodes, and those whose
        bundle is not stored yet, stay."""
        outbox = Outbox(store, 100)
        first, elsewhere = add(outbox, key("c")), add(outbox, key("c"), "cloud")
        for entry in (first, elsewhere):
            outbox.settle(entry, 1, 200_000)
        begun, second = add(outbox, key("c")), add(outbox, key("c"))
        assert (outbox.on_its_way(key("c"), "far"), outbox.on_its_way(key("c"), "sat")) == (200_000, 0)
        outbox.settle(second, 2, 300_000)
        assert outbox.on_its_way(key("c").anywhere(), "far") == 300_000
        assert [outbox.awaits(entry) for entry in (first, elsewhere, begun, second)] == [False, False, True, False]
        assert outbox.take() == [elsewhere, begun, second]
        assert outbox.settled(key("c")) == [elsewhere, second]
        for entry in (elsewhere, begun, second):
            outbox.remove(entry)
        assert (outbox.settled(key("c")), outbox.on_its_way(key("c"), "far")) == ([], 0)
        assert Outbox(store, 100).awaits(first)  # a process that did not add it

    def test_an_outbox_that_is_full(self, store: Store) -> None:
        """It says how full it is and takes nothing, until there is room again."""
        outbox = Outbox(store, 3)
        entries = [add(outbox, key("c", f"t{number}")) for number in range(3)]
        with pytest.raises(OutboxFull) as caught:
            add(outbox, key("c", "t3"))
        assert (caught.value.entries, caught.value.limit, caught.value.retryable) == (3, 3, True)
        assert (len(outbox), outbox.copies(key("c", "t3"))) == (3, [])
        outbox.remove(entries[0])
        add(outbox, key("c", "t3"))

    def test_redis_that_is_started_again(self, server: RedisServer, store: Store) -> None:
        """A killed Redis has every entry when it is back, those that were taken as well; meanwhile nothing is added."""
        outbox = Outbox(store, 100)
        one = add(outbox, key("c", "t1"))
        assert outbox.take() == [one]
        two = add(outbox, key("c", "t2"))
        server.kill()
        with pytest.raises(StoreUnavailable):
            add(outbox, key("c", "t3"))
        server.start()
        assert outbox.take() == [two]
        assert list(outbox.unfinished()) == [one, two]

    def test_redis_that_lost_everything(self, store: Store, server: RedisServer) -> None:
        """An emptied Redis is no reason to stop: the outbox begins anew."""
        outbox = Outbox(store, 100)
        with server.client() as client:
            client.flushall()
        assert outbox.take() == []
        entry = add(outbox, key("c"))
        assert outbox.take() == [entry]

    def test_the_nodes_of_copies(self, store: Store) -> None:
        """Who was to get a copy is known until it is to be deleted, of each bundle apart; a deletion is no copy."""
        outbox = Outbox(store, 100)
        for target in ("far", "cloud", "far"):
            add(outbox, key("c"), target)
        add(outbox, key("c"), "other", Kind.DELETE)
        add(outbox, key("c", "t2"), "sat")
        assert outbox.copies(StateKey("c", "t1")) == ["cloud", "far"]
        outbox.forget_copies(key("c"))
        assert (outbox.copies(key("c")), outbox.copies(key("c", "t2"))) == ([], ["sat"])

    def test_copies_are_forgotten_in_the_end(self, store: Store, server: RedisServer) -> None:
        """What is noted about copies does not stay for ever."""
        add(Outbox(store, 100), key("c"))
        with server.client() as client:
            [noted] = client.scan_iter("skylark:copies:*")
            assert 29 * 24 * 3600 < client.ttl(noted) <= 30 * 24 * 3600


@dataclass
class FakePeers:
    """Other nodes as the forwarder sees them.

    Attributes:
        act: Is called for each request, with the node's name and what is asked for; may raise.
        done: The requests that went well.
        tried: When each node was tried.
    """

    act: Callable[[str, str], None] = lambda _node, _what: None
    done: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_at: dict[tuple[str, str], bytes] = field(default_factory=dict)
    sent_with: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tried: list[tuple[str, float]] = field(default_factory=list)

    def put(self, node: Node, at: StateKey, fields: Mapping[str, bytes], **more: Any) -> int:
        self._do(node, "put", at)
        self.bytes_at[node.name, str(at)] = bytes(fields["f"])
        self.sent_with[node.name, str(at)] = more
        return 1

    def delete(self, node: Node, at: StateKey, write: WriteId | None = None) -> bool:
        self._do(node, "delete", at)
        return True

    def announce(self, node: Node, at: StateKey, for_s: float) -> None:
        self.act(node.name, f"announce {at.task_id}")

    def _do(self, node: Node, what: str, at: StateKey) -> None:
        self.tried.append((node.name, time.monotonic()))
        self.act(node.name, f"{what} {at.task_id}")
        self.done.append((node.name, what, at.task_id))


def node_of(name: str) -> Node:
    if name == "nowhere":
        raise UnknownNode(name)
    return Node(name, "127.0.0.1:1", Tier.SAT)


@contextlib.contextmanager
def forwarding_to(peers: FakePeers, store: Store, outbox: Outbox, threads: int = 4) -> Iterator[Forwarder]:
    with contextlib.closing(Forwarder(outbox, store, cast(Peers, peers), node_of, threads)) as running:
        yield running


def fill(store: Store, outbox: Outbox, chain: str, tasks: int, target: str = "far") -> None:
    """Bundles of a chain, each with its entry, as a store with `ack=local` leaves them."""
    for number in range(tasks):
        add(outbox, key(chain, f"t{number}"), target)
        put(store, key(chain, f"t{number}"), f"{chain} {number}".encode())


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, 1000)


def is_empty(outbox: Outbox) -> Callable[[], bool]:
    return lambda: len(outbox) == 0


def waiting(running: Forwarder, expected: Mapping[str, int]) -> Callable[[], bool]:
    return lambda: running.counters().waiting == expected


class TestForwarder:
    def test_a_bundle_with_all_that_belongs_to_it(self, store: Store, outbox: Outbox) -> None:
        """A copy has the bytes, version, time, origin, plan and the time to live that is left."""
        peers, plan = FakePeers(), Plan.parse("a@here,b@far")
        add(outbox, key("c"))
        for _ in range(3):
            store.put(key("c"), {"f": b"x"}, origin="o", created_ms=7, crc32=9, ttl_ms=50_000, plan=plan)
        with forwarding_to(peers, store, outbox):
            wait_for(is_empty(outbox), "the outbox is empty")
        sent = peers.sent_with["far", "c:here:t1"]
        assert 40_000 < sent.pop("ttl_ms") <= 50_000
        assert sent == {
            "origin": "o",
            "created_ms": 7,
            "crc32": 9,
            "version": 3,
            "plan": plan,
            "home": "here",
            "write": None,
        }

    def test_the_order_of_a_chain(self, store: Store, outbox: Outbox) -> None:
        """Of each chain, bundles arrive at a node in the order in which they were stored, however often it fails."""
        failures = iter([*[True, False] * 20])

        def act(_node: str, what: str) -> None:
            if what.startswith("put") and next(failures, False):
                raise PeerUnreachable("far", "on purpose")

        peers = FakePeers(act)
        for chain in ("a", "b", "c"):
            fill(store, outbox, chain, 5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forwarding, "_FIRST_BACKOFF_S", 0.005)
            patch.setattr(forwarding, "_LAST_BACKOFF_S", 0.02)
            with forwarding_to(peers, store, outbox) as running:
                wait_for(is_empty(outbox), "the outbox is empty")
                wait_for(lambda: running.counters().done == 15, "all are counted")
                assert running.counters().retried > 0
        for chain in ("a", "b", "c"):
            arrived = [at.split(":")[2] for _, at in peers.bytes_at if at.startswith(f"{chain}:")]
            assert arrived == [f"t{number}" for number in range(5)]
            assert peers.bytes_at["far", f"{chain}:here:t3"] == f"{chain} 3".encode()

    def test_chains_do_not_wait_for_each_other(self, store: Store, outbox: Outbox) -> None:
        """A transfer that takes long holds up its own chain only."""
        release = threading.Event()

        def act(_node: str, what: str) -> None:
            if what == "put t0":
                assert release.wait(20)

        peers = FakePeers(act)
        fill(store, outbox, "slow", 2)
        for number in range(1, 6):
            add(outbox, key("fast", f"t{number}"))
            put(store, key("fast", f"t{number}"))
        with forwarding_to(peers, store, outbox):
            wait_for(lambda: len(peers.done) == 5, "the other chain has arrived")
            assert {at for _, at in peers.bytes_at} == {f"fast:here:t{number}" for number in range(1, 6)}
            release.set()
            wait_for(is_empty(outbox), "the outbox is empty")

    def test_a_crash_in_between(self, store: Store, outbox: Outbox) -> None:
        """What a forwarder has taken and not done is done by the next one, and new entries come after it."""

        def away(node: str, _what: str) -> None:
            raise PeerUnreachable(node, "on purpose")

        fill(store, outbox, "c", 4)
        with forwarding_to(FakePeers(away), store, outbox) as running:
            wait_for(lambda: running.counters().retried > 0, "it was tried")
            wait_for(waiting(running, {"far": 4}), "all wait")
        add(outbox, key("c", "t4"))
        put(store, key("c", "t4"))
        peers = FakePeers()
        with forwarding_to(peers, store, Outbox(store, 1000)):
            wait_for(is_empty(outbox), "the outbox is empty")
        assert peers.done == [("far", "put", f"t{number}") for number in range(5)]

    def test_redis_that_is_started_again(self, server: RedisServer, store: Store, outbox: Outbox) -> None:
        """A forwarder outlives its Redis, and what was acknowledged is forwarded when that is back."""
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            fill(store, outbox, "before", 2)
            wait_for(is_empty(outbox), "the outbox is empty")
            server.kill()
            server.start()
            fill(store, outbox, "after", 2)
            running.wake()
            wait_for(is_empty(outbox), "the outbox is empty")
        assert len(peers.bytes_at) == 4

    def test_entries_whose_reading_was_broken_off(self, store: Store, outbox: Outbox) -> None:
        """Entries that Redis has handed out, but that never reached the forwarder, are taken up without a restart."""
        peers, lost = FakePeers(), LossyStore(store)
        fill(store, outbox, "c", 3)
        with forwarding_to(peers, store, Outbox(cast(Store, lost), 1000)):
            wait_for(is_empty(outbox), "the outbox is empty")
        assert lost.lost > 0
        assert peers.done == [("far", "put", f"t{number}") for number in range(3)]

    def test_an_entry_without_its_bundle(self, store: Store, outbox: Outbox) -> None:
        """It is dropped once its bundle would be there if it were to come, and is kept until then."""
        old, young = key("old"), key("young")
        outbox.add(Kind.STORE, old, "far", now_ms() - LONG_AGO_MS)
        outbox.add(Kind.STORE, young, "far", now_ms())
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: len(outbox) == 1 and waiting(running, {"far": 1})(), "the old one is dropped")
            assert peers.done == []
            put(store, young)
            wait_for(is_empty(outbox), "the other one is forwarded, since its bundle has come")
        assert peers.done == [("far", "put", "t1")]

    def test_an_entry_without_its_bundle_holds_nobody_up(self, store: Store, outbox: Outbox) -> None:
        """The chain's other bundles pass an entry whose bundle is not there: it was deleted, or has expired."""
        for number in range(3):
            add(outbox, key("c", f"gone{number}"))
        fill(store, outbox, "c", 3)
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: len(peers.done) == 3, "the chain's bundles have arrived", 5)
            assert [task for _, _, task in peers.done] == ["t0", "t1", "t2"]
            put(store, key("c", "gone1"))
            wait_for(lambda: len(peers.done) == 4, "a bundle that comes late is forwarded")
            wait_for(waiting(running, {"far": 2}), "only what has no bundle waits")

    def test_an_entry_that_is_quicker_than_its_bundle(self, store: Store, outbox: Outbox) -> None:
        """An entry is not done with the bundle of before, whose place its own is about to take."""
        put(store, key("c"), b"before")
        outbox.add(Kind.STORE, key("c"), "far", now_ms(), checksum({"f": b"after"}))
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: running.counters().retried > 0, "it was looked at")
            put(store, key("c"), b"after")
            wait_for(is_empty(outbox), "the outbox is empty")
        assert peers.bytes_at["far", "c:here:t1"] == b"after"

    def test_an_entry_whose_bundle_was_replaced(self, store: Store, outbox: Outbox) -> None:
        """Where a bundle was replaced before it was forwarded, the last one arrives, and the first entry is dropped."""
        peers = FakePeers()
        for data, added_ms in ((b"first", now_ms() - LONG_AGO_MS), (b"last", now_ms())):
            outbox.add(Kind.STORE, key("c"), "far", added_ms, checksum({"f": data}))
            put(store, key("c"), data)
        with forwarding_to(peers, store, outbox):
            wait_for(is_empty(outbox), "the outbox is empty")
        assert peers.bytes_at == {("far", "c:here:t1"): b"last"}

    def test_deletions_keep_their_place(self, store: Store, outbox: Outbox) -> None:
        """A bundle that is stored, deleted and stored anew is there in the end."""
        peers = FakePeers()
        put(store, key("c"))
        for kind in (Kind.STORE, Kind.DELETE, Kind.STORE):
            add(outbox, key("c"), kind=kind)
        with forwarding_to(peers, store, outbox):
            wait_for(is_empty(outbox), "the outbox is empty")
        assert [what for _, what, _ in peers.done] == ["put", "delete", "put"]

    @pytest.mark.parametrize(
        "answer",
        [Conflict("k", 1, 2), TooLarge("bundle", 2, 1), InvalidArgument("bundle", "k", "another")],
        ids=["conflict", "too-large", "refused"],
    )
    def test_a_copy_that_is_refused(self, store: Store, outbox: Outbox, answer: Exception) -> None:
        """What a node will never take is not sent for ever; the bundle stays where it was acknowledged."""

        def refuse(_node: str, what: str) -> None:
            if what == "put t0":
                raise answer

        fill(store, outbox, "c", 2)
        peers = FakePeers(refuse)
        with forwarding_to(peers, store, outbox) as running:
            wait_for(is_empty(outbox), "the outbox is empty")
            assert running.counters().dropped == (0 if isinstance(answer, Conflict) else 1)
        assert peers.done == [("far", "put", "t1")]
        assert store.get(key("c", "t0")).fields == {"f": b"c 0"}

    def test_a_node_without_room(self, store: Store, outbox: Outbox) -> None:
        """What a node has no room for now is brought there once it has, and holds up nothing of its chain."""
        full = threading.Event()
        full.set()

        def refuse(_node: str, what: str) -> None:
            if what == "put t0" and full.is_set():
                raise TooManyBundles("c", "far", 1)

        fill(store, outbox, "c", 2)
        peers = FakePeers(refuse)
        with forwarding_to(peers, store, outbox):
            wait_for(lambda: peers.done == [("far", "put", "t1")], "the second one is there")
            full.clear()
            wait_for(is_empty(outbox), "the outbox is empty")
        assert peers.done[-1] == ("far", "put", "t0")

    def test_bundles_that_are_not_to_come(self, store: Store, outbox: Outbox) -> None:
        """Entries whose bundle was stored, and is gone, are done with at once, and not after a minute."""
        for number in range(3):
            entry = add(outbox, key("c", f"t{number}"))
            put(store, entry.key)
            outbox.settle(entry, 1, 5)
        store.delete(key("c", "t1"))
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: running.counters().done == 3, "nothing waits", 5)
        assert [what for _, _, what in peers.done] == ["t0", "t2"]

    @pytest.mark.parametrize("target", ["nowhere", "far"])
    def test_a_node_that_is_gone(self, store: Store, outbox: Outbox, target: str) -> None:
        """For a node that is away, or not in the topology, bundles wait; those for other nodes do not."""

        def act(node: str, _what: str) -> None:
            if node == "far":
                raise PeerUnreachable(node, "on purpose")

        peers = FakePeers(act)
        fill(store, outbox, "c", 3, target)
        fill(store, outbox, "d", 3, "near")
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: len(peers.done) == 3, "the others have arrived")
            wait_for(waiting(running, {target: 3}), "nothing else waits")
            assert len(outbox) == 3

    def test_errors_that_nobody_expected(self, store: Store, outbox: Outbox) -> None:
        """Neither a transfer nor an announcement that fails in an unforeseen way ends the forwarding."""
        failing = ["announce t0", "put t0", "announce t1"]

        def act(_node: str, what: str) -> None:
            if what in failing:
                failing.remove(what)
                raise ZeroDivisionError("on purpose")

        peers = FakePeers(act)
        with forwarding_to(peers, store, outbox) as running:
            fill(store, outbox, "c", 3)
            running.wake()
            wait_for(is_empty(outbox), "the outbox is empty")
        assert [task for _, _, task in peers.done] == ["t0", "t1", "t2"]

    def test_a_silent_node_does_not_hold_up_the_others(self, store: Store, outbox: Outbox) -> None:
        """A node that answers nothing keeps each thread busy once at most, and then one."""
        silence = threading.Event()

        def act(node: str, _what: str) -> None:
            if node == "silent":
                silence.wait(1.0)
                raise PeerTimeout(node, "on purpose")

        peers = FakePeers(act)
        for number in range(20):
            fill(store, outbox, f"c{number}", 1, "silent")
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: len(peers.tried) >= 4, "all threads wait for the silent node")
            for number in range(20):
                fill(store, outbox, f"d{number}", 2, "near")
            running.wake()
            wait_for(lambda: len(peers.done) == 40, "all others have arrived", 4)
            assert sum(name == "silent" for name, _ in peers.tried) <= 4 + 3
            silence.set()

    def test_announcements_do_not_slow_transfers(self, store: Store, outbox: Outbox) -> None:
        """Transfers do not wait until all that comes after them has been announced over a link of high latency."""
        never = threading.Event()

        def act(_node: str, what: str) -> None:
            if what.startswith("announce"):
                never.wait(0.3)

        peers = FakePeers(act)
        for number in range(40):
            fill(store, outbox, f"c{number}", 1)
        with forwarding_to(peers, store, outbox):
            wait_for(is_empty(outbox), "the outbox is empty", 4)
            never.set()

    def test_the_pauses(self, store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """A node that is away is tried after pauses that double up to a limit, by one of the chains that wait."""
        monkeypatch.setattr(forwarding, "_FIRST_BACKOFF_S", 0.1)
        monkeypatch.setattr(forwarding, "_LAST_BACKOFF_S", 0.4)
        is_away = True

        def act(node: str, what: str) -> None:
            if is_away and what.startswith("put"):
                raise PeerUnreachable(node, "on purpose")

        peers = FakePeers(act)
        for number in range(8):
            fill(store, outbox, f"c{number}", 1)
        with forwarding_to(peers, store, outbox):
            wait_for(lambda: len(peers.tried) >= 4 + 4, "it was tried")
            pauses = [after - before for (_, before), (_, after) in itertools.pairwise(peers.tried)]
            long = [pause for pause in pauses if pause > 0.05]  # at first, several chains are tried at once
            assert len(pauses) - len(long) <= 3, pauses
            for pause, expected in zip(long, [0.1, 0.2, 0.4, 0.4], strict=False):
                assert 0.75 * expected < pause < 1.25 * expected + 0.15, pauses
            is_away = False
            wait_for(is_empty(outbox), "the outbox is empty")
            count = len(peers.tried)
            is_away = True
            fill(store, outbox, "again", 1)
            wait_for(lambda: len(peers.tried) >= count + 2, "it was tried")
            assert peers.tried[-1][1] - peers.tried[-2][1] < 0.3

    def test_closing_while_transfers_hang(self, store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes its time to end once, however many transfers wait for an answer."""
        monkeypatch.setattr(forwarding, "_CLOSE_S", 0.5)
        hang = threading.Event()

        def act(_node: str, _what: str) -> None:
            hang.wait(60)

        peers = FakePeers(act)
        for number in range(6):
            fill(store, outbox, f"c{number}", 1)
        running = Forwarder(outbox, store, cast(Peers, peers), node_of)
        wait_for(lambda: len(peers.tried) == 4, "all threads hang")
        started = time.monotonic()
        running.close()
        assert time.monotonic() - started < 1.5
        assert len(outbox) == 6
        hang.set()


@dataclass
class LossyStore:
    """A store whose Redis hands out entries in answers that get lost, twice."""

    store: Store
    lost: int = 0

    def execute(self, at: bytes, *commands: tuple[bytes, ...]) -> list[Any]:
        replies = self.store.execute(at, *commands)
        if commands[0][0] == b"XREADGROUP" and replies[0] and commands[0][-1] == b">" and self.lost < 2:
            self.lost += 1
            raise StoreUnavailable("the answer is lost, on purpose")
        return replies
