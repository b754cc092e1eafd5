"""What a node has yet to tell others: the queue, the ledgers in a real Redis, and the forwarder with played nodes."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from servers import RedisServer, run_redis, wait_for
from skylark.plan import Plan
from skylark_proxy import forwarder as forwarding
from skylark_proxy import outbox as queueing
from skylark_proxy.bundle_http import checksum
from skylark_proxy.errors import (
    InvalidArgument,
    NotFound,
    OutboxFull,
    PeerTimeout,
    PeerUnreachable,
    StoreUnavailable,
    Superseded,
    TooLarge,
    TooManyBundles,
    UnknownNode,
)
from skylark_proxy.forwarder import Forwarder
from skylark_proxy.machine import REAL
from skylark_proxy.model import BundleInfo, Metadata, Node, Sealed, StateKey, Tier
from skylark_proxy.outbox import Entry, Outbox
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import Committed, Removed, Store

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
WRITES = itertools.count(1)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with run_redis(0, options=DURABLE) as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with contextlib.closing(RedisWire(connect(server.url))) as wire:
        yield Store(wire, "here")


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    opened = Outbox(REAL, 1000)
    yield opened
    opened.end()


def key(chain: str, task: str = "t1") -> StateKey:
    return StateKey(chain, task, "here")


def write_id(number: int) -> str:
    return f"{'a' * 16}-{number}"


def sealed(data: bytes = b"bytes", ttl_ms: int | None = None, write: str | None = None) -> Sealed:
    meta = Metadata("here", 7, checksum({"f": data}), write or write_id(next(WRITES)), Plan.parse("a@here,b@far"))
    return Sealed({"f": data}, meta, ttl_ms)


def put(store: Store, at: StateKey, data: bytes = b"bytes", *targets: str) -> Committed:
    """Store a bundle of which these nodes are promised copies."""
    return store.commit(at, sealed(data), promised=targets)


def enter(outbox: Outbox, at: StateKey, done: Committed | Removed) -> None:
    outbox.add(at, [holder.node for holder in done.behind], done.info.size_bytes if isinstance(done, Committed) else 0)


def taken(outbox: Outbox, count: int) -> list[Entry]:
    entries = []
    for _ in range(count):
        entry = outbox.take()
        assert entry is not None
        entries.append(entry)
    return entries


class TestOutbox:
    def test_what_was_added_is_taken_in_order(self, outbox: Outbox) -> None:
        """Entries for a node come out as they went in, each once, until they are done."""
        keys = [key("c", f"t{number}") for number in range(10)]
        for at in keys:
            outbox.add(at, ["far"])
        entries = taken(outbox, 10)
        assert [entry.key for entry in entries] == keys
        assert (len(outbox), outbox.waiting()) == (10, {"far": 10})
        for entry in entries:
            outbox.done(entry)
        assert (len(outbox), outbox.waiting()) == (0, {})

    def test_nodes_take_turns(self, outbox: Outbox) -> None:
        """A node for which much waits does not hold up the others."""
        for number in range(5):
            outbox.add(key("c", f"t{number}"), ["far"])
        outbox.add(key("c", "t0"), ["near", "cloud"])
        assert {entry.target for entry in taken(outbox, 3)} == {"far", "near", "cloud"}

    def test_entries_for_the_same_are_one(self, outbox: Outbox) -> None:
        """What a node is to be told of a bundle is decided when it is told, so one entry is enough."""
        for size in (5, 7):
            outbox.add(key("c"), ["far"], size)
        outbox.add(key("c"), ["near"], 9)
        assert (len(outbox), outbox.waiting()) == (2, {"far": 1, "near": 1})
        assert [entry.size_bytes for entry in taken(outbox, 2)] == [7, 9]

    def test_what_changes_while_it_is_told(self, outbox: Outbox) -> None:
        """An entry that comes again while it is being done is done once more."""
        outbox.add(key("c"), ["far"])
        [entry] = taken(outbox, 1)
        outbox.add(key("c"), ["far"])
        outbox.done(entry)
        assert len(outbox) == 1
        [again] = taken(outbox, 1)
        outbox.done(again)
        assert len(outbox) == 0

    def test_a_refusal_is_not_forgotten(self, outbox: Outbox) -> None:
        """A write that was given up stays one, also where the bundle is entered again for something else."""
        outbox.add(key("c"), ["far"], refused=write_id(1))
        outbox.add(key("c"), ["far"], 5)
        [entry] = taken(outbox, 1)
        assert (entry.refused, entry.size_bytes) == (write_id(1), 5)

    def test_an_outbox_that_is_full(self) -> None:
        """It says how full it is until there is room again, and takes what has been promised already."""
        outbox = Outbox(REAL, 2)
        for number in range(2):
            outbox.check_room()
            outbox.add(key("c", f"t{number}"), ["far"])
        with pytest.raises(OutboxFull) as caught:
            outbox.check_room()
        assert (caught.value.entries, caught.value.limit, caught.value.retryable) == (2, 2, True)
        outbox.add(key("c", "t2"), ["far"])
        for entry in taken(outbox, 2):
            outbox.done(entry)
        outbox.check_room()

    def test_what_is_on_its_way(self, outbox: Outbox) -> None:
        """The size of what is coming is known, by a key without a node too, as long as its target can be reached."""
        outbox.add(key("c"), ["far"], 300_000)
        assert outbox.on_its_way(key("c"), "far") == outbox.on_its_way(StateKey("c", "t1"), "far") == 300_000
        assert outbox.on_its_way(key("c"), "near") == outbox.on_its_way(StateKey("c", "t1", "near"), "far") == 0
        [entry] = taken(outbox, 1)
        outbox.retry(entry, whole_target=True)
        assert outbox.on_its_way(key("c"), "far") == 0

    def test_what_is_announced(self, outbox: Outbox) -> None:
        """Each entry that is large enough is announced once, and again with the next version."""
        for number, size in enumerate((10, 1000, 0, 2000)):
            outbox.add(key("c", f"t{number}"), ["far"], size)
        for size in (1000, 2000):
            entry = outbox.take_unannounced(100)
            assert entry is not None
            assert entry.size_bytes == size
        outbox.add(key("c", "t1"), ["far"], 3000)
        again = outbox.take_unannounced(100)
        assert again is not None
        assert (again.key.task_id, again.size_bytes) == ("t1", 3000)

    def test_one_that_waits_when_all_ends(self, outbox: Outbox) -> None:
        """Whoever waits for an entry is let go."""
        found: list[object] = []
        waiting = [
            threading.Thread(target=lambda: found.append(outbox.take())),
            threading.Thread(target=lambda: found.append(outbox.take_unannounced(1))),
        ]
        for thread in waiting:
            thread.start()
        outbox.end()
        for thread in waiting:
            thread.join(20)
        assert found == [None, None]


@dataclass
class FakePeers:
    """Other nodes as the forwarder sees them.

    Attributes:
        act: Is called for each request, with the node's name and what is asked for; may raise.
        done: The requests that went well.
        copies: What each node has, with its version.
        tried: When each node was tried.
    """

    act: Callable[[str, str], None] = lambda _node, _what: None
    done: list[tuple[str, str, str]] = field(default_factory=list)
    copies: dict[tuple[str, StateKey], tuple[bytes, int]] = field(default_factory=dict)
    sent: list[Sealed] = field(default_factory=list)
    forgotten: list[tuple[str, StateKey, int, bool]] = field(default_factory=list)
    refused: list[tuple[str, StateKey, str]] = field(default_factory=list)
    tried: list[tuple[str, float]] = field(default_factory=list)

    def head(self, node: Node, key: StateKey) -> BundleInfo:
        self.act(node.name, f"head {key.task_id}")
        if (node.name, key) not in self.copies:
            raise NotFound("bundle", str(key), (node.name,))
        return BundleInfo(key, self.copies[node.name, key][1], node.name, Metadata("here", 7, 0, write_id(1)))

    def put_copy(self, node: Node, key: StateKey, sealed: Sealed, version: int) -> None:
        self._do(node, "put", key)
        self.copies[node.name, key] = bytes(sealed.fields["f"]), version
        self.sent.append(sealed)

    def forget(self, node: Node, key: StateKey, version: int, *, deleted: bool) -> bool:
        self._do(node, "forget", key)
        self.forgotten.append((node.name, key, version, deleted))
        return self.copies.pop((node.name, key), None) is not None

    def refuse(self, node: Node, key: StateKey, write: str) -> None:
        self._do(node, "refuse", key)
        self.refused.append((node.name, key, write))

    def announce(self, node: Node, key: StateKey, for_s: float) -> None:
        self.act(node.name, f"announce {key.task_id}")

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
    with contextlib.closing(Forwarder(outbox, store, peers, node_of, REAL, threads)) as running:
        yield running


def fill(store: Store, outbox: Outbox, chain: str, tasks: int, target: str = "far", size_bytes: int = 5) -> None:
    """Store bundles of a chain, each to be brought to a node, as a store with `ack=local` does."""
    for number in range(tasks):
        at = key(chain, f"t{number}")
        put(store, at, f"{chain} {number}".encode(), target)
        outbox.add(at, [target], size_bytes)


def nothing_left(store: Store) -> Callable[[], bool]:
    """Whether nobody has to be told anything any more: what counts, since it outlives the process."""
    return lambda: not list(Store.behind(store))


def settled(store: Store, outbox: Outbox) -> Callable[[], bool]:
    return lambda: len(outbox) == 0 and nothing_left(store)()


def waiting(running: Forwarder, expected: Mapping[str, int]) -> Callable[[], bool]:
    return lambda: running.counters().waiting == expected


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that are away are tried again soon."""
    monkeypatch.setattr(queueing, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(queueing, "LAST_PAUSE_S", 0.02)


def away(node: str, _what: str) -> None:
    raise PeerUnreachable(node, "on purpose")


class TestForwarder:
    def test_a_bundle_with_all_that_belongs_to_it(self, store: Store, outbox: Outbox) -> None:
        """A copy has the bytes, version, time, origin, plan and write, and the time to live that is left."""
        peers, given = FakePeers(), sealed(b"x", 50_000)
        put(store, key("c"), b"before")
        done = store.commit(key("c"), given, promised=["far"])
        enter(outbox, key("c"), done)
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        [sent] = peers.sent
        assert peers.copies == {("far", key("c")): (b"x", done.info.version)}
        assert (sent.meta, sent.age_ms) == (given.meta, 0)
        assert sent.ttl_ms is not None and 40_000 < sent.ttl_ms <= 50_000

    def test_only_the_last_version_travels(self, store: Store, outbox: Outbox) -> None:
        """Where a bundle was replaced before it was forwarded, the last one arrives, once."""
        peers = FakePeers()
        for data in (b"1", b"2", b"3"):
            enter(outbox, key("c"), put(store, key("c"), data, "far"))
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert (peers.done, peers.copies["far", key("c")][0]) == ([("far", "put", "t1")], b"3")

    def test_a_version_that_comes_while_another_one_travels(self, store: Store, outbox: Outbox) -> None:
        """A node has the last version in the end, also where that came while it was given the one before."""
        travels, stored = threading.Event(), threading.Event()

        def act(_node: str, what: str) -> None:
            if what == "put t1" and not travels.is_set():
                travels.set()
                assert stored.wait(20)

        peers = FakePeers(act)
        enter(outbox, key("c"), put(store, key("c"), b"first", "far"))
        with forwarding_to(peers, store, outbox):
            assert travels.wait(20)
            enter(outbox, key("c"), put(store, key("c"), b"last"))
            stored.set()
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.copies["far", key("c")][0] == b"last"

    @pytest.mark.usefixtures("short_pauses")
    def test_what_fails_is_tried_again(self, store: Store, outbox: Outbox) -> None:
        """Every bundle arrives, however often it fails."""
        failures = iter([*[True, False] * 20])

        def act(_node: str, what: str) -> None:
            if what.startswith("put") and next(failures, False):
                raise PeerUnreachable("far", "on purpose")

        peers = FakePeers(act)
        for chain in ("a", "b", "c"):
            fill(store, outbox, chain, 5)
        with forwarding_to(peers, store, outbox) as running:
            wait_for(settled(store, outbox), "nothing is left")
            wait_for(lambda: running.counters().done >= 15, "all are counted")
            assert running.counters().retried > 0
        assert {at: data for (_, at), (data, _) in peers.copies.items()} == {
            key(chain, f"t{number}"): f"{chain} {number}".encode() for chain in ("a", "b", "c") for number in range(5)
        }

    def test_a_transfer_that_takes_long(self, store: Store, outbox: Outbox) -> None:
        """It holds up nothing else, also not of its own chain."""
        release = threading.Event()

        def act(_node: str, what: str) -> None:
            if what == "put t0":
                assert release.wait(20)

        peers = FakePeers(act)
        fill(store, outbox, "c", 6)
        with forwarding_to(peers, store, outbox):
            wait_for(lambda: len(peers.done) == 5, "the others have arrived")
            assert set(peers.copies) == {("far", key("c", f"t{number}")) for number in range(1, 6)}
            release.set()
            wait_for(settled(store, outbox), "nothing is left")

    def test_a_crash_in_between(self, store: Store, outbox: Outbox) -> None:
        """What one process has not done the next one finds in the ledgers, also what never came into its outbox."""
        fill(store, outbox, "c", 4)
        store.refuse(key("d"), write_id(1))
        store.note_refusal(key("d").at("near"), write_id(2))
        with forwarding_to(FakePeers(away), store, outbox) as running:
            wait_for(lambda: running.counters().retried > 0, "it was tried")
            wait_for(waiting(running, {"far": 4, "near": 1}), "all wait")
        put(store, key("c", "t4"), b"c 4", "far")
        peers, after = FakePeers(), Outbox(REAL, 1000)
        with forwarding_to(peers, store, after):
            wait_for(nothing_left(store), "nothing is left")
        assert {at.task_id for _, at in peers.copies} == {f"t{number}" for number in range(5)}
        assert peers.refused == [("near", key("d").at("near"), write_id(2))]

    def test_redis_that_is_started_again(self, server: RedisServer, store: Store, outbox: Outbox) -> None:
        """A forwarder outlives its Redis, and what was acknowledged is forwarded when that is back."""
        peers = FakePeers()
        with forwarding_to(peers, store, outbox):
            fill(store, outbox, "before", 2)
            wait_for(settled(store, outbox), "nothing is left")
            server.kill()
            server.start()
            fill(store, outbox, "after", 2)
            wait_for(settled(store, outbox), "nothing is left")
        assert len(peers.copies) == 4

    def test_redis_that_is_away_at_the_start(self, server: RedisServer, store: Store, outbox: Outbox) -> None:
        """What is left to do is looked for until it can be read."""
        put(store, key("c"), b"1", "far")
        server.kill()
        peers = FakePeers()
        with forwarding_to(peers, store, outbox):
            with pytest.raises(StoreUnavailable):
                store.ledger(key("c"))
            server.start()
            wait_for(nothing_left(store), "nothing is left")
        assert peers.done == [("far", "put", "t1")]

    def test_a_write_whose_answer_was_lost(self, store: Store, outbox: Outbox) -> None:
        """What was done without anybody hearing of it is found once somebody asks to look again."""
        peers = FakePeers()
        with forwarding_to(peers, store, outbox) as running:
            put(store, key("c"), b"1", "far")
            running.look_again()
            wait_for(nothing_left(store), "nothing is left")
        assert peers.done == [("far", "put", "t1")]

    def test_an_entry_with_nothing_to_tell(self, store: Store, outbox: Outbox) -> None:
        """An entry for a node that has everything, or for a bundle that never was, is done at once."""
        peers = FakePeers()
        put(store, key("c"))
        for at in (key("c"), key("none")):
            outbox.add(at, ["far"])
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.tried == []

    def test_a_bundle_that_is_deleted(self, store: Store, outbox: Outbox) -> None:
        """A copy of what was deleted is dropped, with the version of the deletion, and its node is told no more."""
        peers = FakePeers()
        enter(outbox, key("c"), put(store, key("c"), b"1", "far"))
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "the copy is there")
            deleted = store.delete(key("c"))
            enter(outbox, key("c"), deleted)
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.forgotten == [("far", key("c"), deleted.version, True)]
        assert peers.copies == {}

    def test_a_bundle_that_is_stored_anew(self, store: Store, outbox: Outbox) -> None:
        """A bundle that is stored, deleted and stored anew is there in the end."""
        peers = FakePeers()
        for _ in range(2):
            enter(outbox, key("c"), put(store, key("c"), b"1", "far"))
            enter(outbox, key("c"), store.delete(key("c")))
        enter(outbox, key("c"), put(store, key("c"), b"last", "far"))
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.copies["far", key("c")][0] == b"last"

    def test_a_bundle_that_has_expired(self, server: RedisServer, store: Store, outbox: Outbox) -> None:
        """What has gone before it was forwarded is not sent; its copy is dropped."""
        done = store.commit(key("c"), sealed(ttl_ms=50_000), promised=["far"])
        with server.client() as client:
            client.delete("skylark:bundle:{c}:here:t1")  # as an expiry does
        peers = FakePeers()
        enter(outbox, key("c"), done)
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.forgotten == [("far", key("c"), done.info.version, True)]

    def test_a_cache_is_told_and_not_sent(self, store: Store, outbox: Outbox) -> None:
        """A node that keeps what it fetched is told of a new version once, and fetches that if it wants."""
        store.note_cache(key("c"), "far", put(store, key("c"), b"1").info.version)
        second = put(store, key("c"), b"2")
        enter(outbox, key("c"), second)
        peers = FakePeers()
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.forgotten == [("far", key("c"), second.info.version, False)]
        assert put(store, key("c"), b"3").behind == ()

    def test_a_write_that_was_given_up(self, store: Store, outbox: Outbox) -> None:
        """It is noted in the ledger, undone at its node, and then forgotten; at this node as well."""
        here = store.commit(key("c"), sealed(b"mine", write=write_id(2)))
        assert here.info.meta.write == write_id(2)
        outbox.add(key("c").at("far"), ["far"], refused=write_id(1))
        outbox.add(key("c"), ["here"], refused=write_id(2))
        peers = FakePeers()
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.refused == [("far", key("c").at("far"), write_id(1))]
        with pytest.raises(NotFound):
            store.get(key("c"))

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_copy_that_somebody_else_brings(
        self, store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, is_there: bool
    ) -> None:
        """It is asked for after a while, and sent only if it has not come."""
        monkeypatch.setattr(queueing, "SUPPLIED_S", 0.05)
        done = put(store, key("c"), b"1", "far")
        peers = FakePeers()
        if is_there:
            peers.copies["far", key("c")] = b"1", done.info.version
        outbox.add(key("c"), ["far"], is_supplied=True)
        monkeypatch.setattr(store, "behind", lambda: iter(()))  # at a start nothing is known of who brings what
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
        assert (peers.done, peers.copies["far", key("c")][0]) == ([] if is_there else [("far", "put", "t1")], b"1")

    @pytest.mark.parametrize(
        "answer",
        [Superseded("k", 2), TooLarge("bundle", 2, 1), InvalidArgument("bundle", "k", "another")],
        ids=["superseded", "too-large", "refused"],
    )
    def test_a_copy_that_is_refused(
        self, store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, answer: Exception
    ) -> None:
        """What a node will never take is not sent for ever; the bundle stays where it was acknowledged."""

        def refuse(_node: str, what: str) -> None:
            if what == "put t0":
                raise answer

        fill(store, outbox, "c", 2)
        peers = FakePeers(refuse)
        monkeypatch.setattr(store, "behind", lambda: iter(()))  # each start tries it once more
        with forwarding_to(peers, store, outbox) as running:
            wait_for(lambda: len(outbox) == 0, "the outbox is empty")
            assert running.counters().dropped == (0 if isinstance(answer, Superseded) else 1)
        assert peers.done == [("far", "put", "t1")]
        assert store.get(key("c", "t0")).fields == {"f": b"c 0"}
        assert nothing_left(store)() is isinstance(answer, Superseded)

    def test_a_node_without_room(self, store: Store, outbox: Outbox) -> None:
        """What a node has no room for now is brought there once it has, and holds up nothing else."""
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
            wait_for(settled(store, outbox), "nothing is left")
        assert peers.done[-1] == ("far", "put", "t0")

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
            assert len(list(store.behind())) == 3

    @pytest.mark.usefixtures("short_pauses")
    def test_errors_that_nobody_expected(self, store: Store, outbox: Outbox) -> None:
        """Neither a transfer nor an announcement that fails in an unforeseen way ends the forwarding."""
        failing = ["announce t0", "put t0", "announce t1"]

        def act(_node: str, what: str) -> None:
            if what in failing:
                failing.remove(what)
                raise ZeroDivisionError("on purpose")

        peers = FakePeers(act)
        with forwarding_to(peers, store, outbox):
            fill(store, outbox, "c", 3, size_bytes=100_000)
            wait_for(settled(store, outbox), "nothing is left")
        assert {task for _, _, task in peers.done} == {"t0", "t1", "t2"}

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
        with forwarding_to(peers, store, outbox):
            wait_for(lambda: len(peers.tried) >= 4, "all threads wait for the silent node")
            for number in range(20):
                fill(store, outbox, f"d{number}", 2, "near")
            wait_for(lambda: len(peers.done) == 40, "all others have arrived")
            silence.set()

    def test_announcements_do_not_slow_transfers(self, store: Store, outbox: Outbox) -> None:
        """Transfers do not wait until what comes after them has been announced."""
        never = threading.Event()

        def act(_node: str, what: str) -> None:
            if what.startswith("announce"):
                never.wait(60)

        peers = FakePeers(act)
        fill(store, outbox, "c", 40, size_bytes=100_000)
        with forwarding_to(peers, store, outbox):
            wait_for(settled(store, outbox), "nothing is left")
            never.set()

    def test_a_node_that_is_away_is_tried_with_one_entry(self, store: Store, outbox: Outbox) -> None:
        """Once it is known to be away, all but one entry wait until that one has come through."""
        is_away = threading.Event()
        is_away.set()

        def act(node: str, what: str) -> None:
            if is_away.is_set() and what.startswith("put"):
                raise PeerUnreachable(node, "on purpose")

        peers = FakePeers(act)
        fill(store, outbox, "c", 8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queueing, "FIRST_PAUSE_S", 0.1)
            patch.setattr(queueing, "LAST_PAUSE_S", 0.1)
            with forwarding_to(peers, store, outbox):
                wait_for(lambda: len(peers.tried) >= 4 + 4, "it was tried")
                pauses = [after - before for (_, before), (_, after) in itertools.pairwise(peers.tried)]
                assert sum(pause < 0.04 for pause in pauses) <= 3, pauses  # at first, each thread tries
                is_away.clear()
                wait_for(settled(store, outbox), "nothing is left")

    def test_closing_while_transfers_hang(self, store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ends although transfers wait for an answer, and leaves what they had to do in the ledgers."""
        monkeypatch.setattr(forwarding, "_CLOSE_S", 0.5)
        hang = threading.Event()

        def act(_node: str, _what: str) -> None:
            hang.wait(60)

        peers = FakePeers(act)
        fill(store, outbox, "c", 6)
        running = Forwarder(outbox, store, peers, node_of, REAL)
        wait_for(lambda: len(peers.tried) == 4, "all threads hang")
        running.close()
        assert not hang.is_set()
        assert len(list(store.behind())) == 6
        hang.set()


@dataclass
class SteppedMachine:
    """A machine whose time only a test moves on, and whose chance always takes the middle."""

    at_s: float = 0.0

    def pauses(self, failures: int) -> list[float]:
        """Return how long a node waits after each of so many failures."""
        outbox = Outbox(self, 10)  # type: ignore[arg-type]
        outbox.add(key("c"), ["far"])
        found = []
        for _ in range(failures):
            before_s = self.at_s
            entry = outbox.take()
            assert entry is not None
            found.append(self.at_s - before_s)
            outbox.retry(entry, whole_target=True)
        return found[1:]

    def monotonic_s(self) -> float:
        return self.at_s

    def random(self) -> "SteppedMachine":
        return self

    def uniform(self, least: float, most: float) -> float:
        return (least + most) / 2

    def condition(self) -> "SteppedMachine":
        return self

    def wait(self, timeout: float) -> bool:
        self.at_s += timeout
        return False

    def notify_all(self) -> None: ...

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None: ...


def test_the_pauses() -> None:
    """A node that is away is tried after pauses that double from 0.2 s up to 30 s."""
    expected = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert SteppedMachine().pauses(11) == pytest.approx(expected, abs=0.002)
