"""The store against real Redis servers: single, restarted, killed, full, clustered and watched by Sentinel."""

import array
import contextlib
import itertools
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from servers import RedisServer, free_port, run_redis, wait_for
from skylark.plan import Plan
from skylark.session import MAX_VERSION
from skylark.wire import Buffer
from skylark_proxy.errors import (
    ConfigError,
    Conflict,
    InvalidArgument,
    NotFound,
    StoreTimeout,
    StoreUnavailable,
    Superseded,
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.model import NAME_PATTERN, BundleInfo, Metadata, Sealed, StateKey
from skylark_proxy.redis_binary import find_servers
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import REMEMBERED_MS, Removed, Store

KEY = StateKey("chain", "task", "sat-1")
COPY = StateKey("chain", "task", "edge-1")
SHARED = StateKey("chain", "task")
NAME = b"skylark:bundle:{chain}:sat-1:task"
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
WRITES = itertools.count(1)


def binaries() -> list[Path]:
    """Every server of this machine: Redis and Valkey differ in how they run scripts and write files."""
    return [server.path for server in find_servers()]


@pytest.fixture(scope="module", params=binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with run_redis(binary=request.param, options=DURABLE) as running:
        yield running


class RealStore(Store):
    """A store with the wire to its Redis."""

    def __init__(self, wire: RedisWire, node: str, **limits: Any) -> None:
        super().__init__(wire, node, **limits)
        self.redis = wire


@pytest.fixture
def store(server: RedisServer) -> Iterator[RealStore]:
    with server.client() as client:
        client.flushall()
    with opened(server.url) as store:
        yield store


@contextlib.contextmanager
def opened(url: str, *, node: str = "sat-1", timeout_s: float = 10.0, **limits: int | None) -> Iterator[RealStore]:
    store = RealStore(RedisWire(connect(url, timeout_s=timeout_s)), node, **limits)
    try:
        yield store
    finally:
        store.redis.close()


class Options(TypedDict, total=False):
    expected_version: int
    known_version: int
    promised: Sequence[str]


def write_id(number: int) -> str:
    return f"{'a' * 16}-{number}"


def sealed(data: bytes, ttl_ms: int | None = None, write: str | None = None) -> Sealed:
    meta = Metadata("edge-1", 1, zlib.crc32(data), write or write_id(next(WRITES)))
    return Sealed({"f": data}, meta, ttl_ms)


def put(
    store: Store,
    data: bytes,
    key: StateKey = KEY,
    *,
    ttl_ms: int | None = None,
    write: str | None = None,
    **options: Unpack[Options],
) -> BundleInfo:
    return store.commit(key, sealed(data, ttl_ms, write), **options).info


def put_copy(store: Store, data: bytes, version: int, key: StateKey = COPY, **options: Any) -> BundleInfo:
    promised = options.pop("promised", ())
    return store.commit_copy(key, sealed(data, **options), version, promised=promised).info


def put_fields(store: Store, fields: Mapping[str, Buffer], origin: str = "edge-1", crc32: int = 0) -> BundleInfo:
    return store.commit(KEY, Sealed(fields, Metadata(origin, 17, crc32, write_id(next(WRITES))))).info


def head(store: Store, key: StateKey = KEY) -> BundleInfo:
    return store.get(key, ()).info


def keys(server: RedisServer) -> list[bytes]:
    """All keys but those of the sets that count the bundles of chains, and of ledgers."""
    with server.client() as client:
        return sorted(name for name in client.keys("*") if not name.startswith((b"skylark:chain:", b"skylark:ledger:")))


class TestRoundTrip:
    def test_what_was_put_is_read(self, store: Store) -> None:
        """A bundle comes back byte for byte, its fields in order, its key naming this node."""
        fields = {"zeta": os.urandom(3_000_000), "alpha": b"", "b.c-d": bytes(range(256))}
        meta = Metadata("edge-1", 17, 2**32 - 1, write_id(1), Plan.parse("a@n,b"), {StateKey("c", "t", "n"): 5})
        stored = store.commit(KEY.at("elsewhere"), Sealed(fields, meta)).info
        sizes = {"zeta": 3_000_000, "alpha": 0, "b.c-d": 256}
        assert stored == BundleInfo(KEY, stored.version, "sat-1", meta, sizes)
        bundle = store.get(KEY)
        assert bundle.info == stored
        assert list(bundle.fields.items()) == list(fields.items())
        assert head(store) == stored

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.dictionaries(st.from_regex(NAME_PATTERN, fullmatch=True), st.binary(max_size=40_000), max_size=20),
        st.integers(0, 2**32 - 1),
    )
    def test_any_fields(self, store: Store, fields: dict[str, bytes], crc32: int) -> None:
        """Any names and bytes, also none at all, are read as they were put."""
        info = put_fields(store, fields, crc32=crc32)
        assert store.get(KEY) == type(store.get(KEY))(info, fields)

    def test_buffers_of_every_shape(self, store: Store) -> None:
        """A memoryview's bytes are stored, whatever the size of its items and the steps between them."""
        numbers = array.array("d", [1.5, -2.5] * 5000)
        fields = {"doubles": memoryview(numbers), "backwards": memoryview(bytes(range(200)) * 100)[::-1]}
        put_fields(store, fields)
        assert store.get(KEY).fields == {"doubles": numbers.tobytes(), "backwards": (bytes(range(200)) * 100)[::-1]}

    def test_some_fields(self, store: Store) -> None:
        """Only the fields that were asked for are read, and one that does not exist is left out."""
        put_fields(store, {"a": b"1", "b": b"2", "c": b"3"})
        bundle = store.get(KEY, ["c", "missing", "a"])
        assert bundle.fields == {"a": b"1", "c": b"3"}
        assert bundle.info.sizes == {"a": 1, "b": 1, "c": 1}

    def test_replacement_is_whole(self, store: Store) -> None:
        """A put leaves none of the fields of the bundle before it."""
        put_fields(store, {"a": b"1", "b": b"2"})
        put_fields(store, {"b": b"3"}, "edge-2")
        bundle = store.get(KEY)
        assert (bundle.fields, bundle.info.meta.origin) == ({"b": b"3"}, "edge-2")

    def test_what_is_not_there(self, store: Store) -> None:
        """A bundle that does not exist is not found by any way of reading."""
        for read in (store.get, store.find, lambda key: store.get(key, ["f"])):
            with pytest.raises(NotFound) as caught:
                read(KEY)
            assert caught.value.looked_at == ("sat-1",)

    def test_one_command_and_one_connection(self, server: RedisServer, store: Store) -> None:
        """Reading takes one command, and a hundred calls take one connection."""
        put(store, b"1")
        with server.client() as client:
            client.config_resetstat()
            for _ in range(100):
                store.get(KEY)
                store.get(KEY, ["f"])
                put(store, b"1")
            calls = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
            assert client.info("stats")["total_connections_received"] == 0
        assert (calls["cmdstat_hgetall"], calls["cmdstat_hmget"], calls["cmdstat_evalsha"]) == (100, 100, 100)
        assert "cmdstat_keys" not in calls

    def test_names_that_are_reserved(self, store: Store) -> None:
        """A field name that could be metadata is refused before anything is sent."""
        with pytest.raises(InvalidArgument, match="@meta"):
            put_fields(store, {"@meta": b""})
        with pytest.raises(InvalidArgument, match="chain_id"):
            next(store.list("*"))

    def test_too_large(self, server: RedisServer) -> None:
        """A bundle over the limit is refused with both numbers; one at the limit is stored."""
        with opened(server.url, max_bundle_bytes=1000) as store:
            put(store, bytes(1000))
            with pytest.raises(TooLarge) as caught:
                put(store, bytes(1001))
            assert (caught.value.size_bytes, caught.value.limit_bytes) == (1001, 1000)


class TestVersions:
    def test_expected_version(self, store: Store) -> None:
        """A write with an expected version succeeds at that version only, and 0 stands for no bundle."""
        first = put(store, b"1", expected_version=0).version
        second = put(store, b"2", expected_version=first).version
        assert second > first
        for expected in (0, first, second + 1):
            with pytest.raises(Conflict) as caught:
                put(store, b"3", expected_version=expected)
            assert (caught.value.expected, caught.value.actual) == (expected, second)
        assert store.get(KEY).fields == {"f": b"2"}

    def test_one_winner_for_each_version(self, server: RedisServer, store: Store) -> None:
        """Of eight threads that replace the same version at once, one wins and the others learn of it."""
        start = threading.Barrier(8)
        versions = [put(store, b"0").version]

        def race(thread: int) -> list[int]:
            won = []
            for number in range(40):
                start.wait(30)
                with contextlib.suppress(Conflict):
                    versions.append(put(store, b"%d" % thread, expected_version=versions[number]).version)
                    won.append(number)
                start.wait(30)
            return won

        with ThreadPoolExecutor(8) as threads:
            wins = [number for won in threads.map(race, range(8)) for number in won]
        assert sorted(wins) == list(range(40))
        assert sorted(set(versions)) == versions
        assert head(store).version == versions[-1]
        assert keys(server) == [NAME]

    def test_versions_rise_for_ever(self, server: RedisServer, store: Store) -> None:
        """Neither a deletion, nor an expiry, nor another clock of Redis, begins the versions anew."""
        versions = [put(store, b"1").version, store.delete(KEY).version, put(store, b"2", ttl_ms=50_000).version]
        with server.client() as client:
            client.delete(NAME)  # as an expiry does
            versions.append(put(store, b"3").version)
            late = versions[-1] + 10**12
            client.hset(NAME, "@version", late)  # by a clock that was eleven days ahead
            versions += [late, put(store, b"4").version]
            assert client.hget("skylark:ledger:{chain}:sat-1:task", "@version") == b"%d" % versions[-1]
        assert sorted(set(versions)) == versions
        assert versions[-1] == late + 1

    def test_a_write_that_does_not_know_the_newest_version(self, store: Store) -> None:
        """A late write finds a version of which its writer did not know, and does not happen; so does a deletion."""
        first = put(store, b"1", known_version=0).version
        second = put(store, b"2", known_version=first).version
        for late in (
            lambda: put(store, b"late", known_version=first),
            lambda: put(store, b"late", known_version=0),
            lambda: store.delete(KEY, known_version=first),
        ):
            with pytest.raises(Superseded) as caught:
                late()
            assert caught.value.actual == second
        assert store.get(KEY).fields == {"f": b"2"}
        deleted = store.delete(KEY, known_version=second).version
        with pytest.raises(Superseded) as caught:
            put(store, b"late", known_version=second)
        assert caught.value.actual == deleted
        assert put(store, b"3", known_version=deleted).version > deleted

    def test_a_write_that_is_sent_again(self, store: Store) -> None:
        """A write happens once, however often it arrives, also where it expects or knows the version before."""
        first = put(store, b"1", write=write_id(1), known_version=0)
        assert put(store, b"1", write=write_id(1), known_version=0) == first
        second = put(store, b"2", write=write_id(2), expected_version=first.version)
        assert put(store, b"2", write=write_id(2), expected_version=first.version) == second
        assert (head(store).version, store.get(KEY).fields) == (second.version, {"f": b"2"})

    def test_a_write_that_was_given_up(self, store: Store) -> None:
        """It is undone if it has happened, and else refused, whenever it comes; later writes are not touched."""
        put(store, b"1", write=write_id(1), promised=["cloud"])
        undone = store.refuse(KEY, write_id(1))
        assert (undone.existed, [holder.node for holder in undone.behind]) == (True, ["cloud"])
        with pytest.raises(NotFound):
            store.get(KEY)
        assert store.refuse(KEY, write_id(2)).existed is False
        with pytest.raises(Superseded):
            put(store, b"2", write=write_id(2))
        put(store, b"3", write=write_id(3))
        assert store.refuse(KEY, write_id(1)).existed is False
        assert store.get(KEY).fields == {"f": b"3"}

    @pytest.mark.parametrize("key", [COPY, SHARED], ids=["copy", "shared"])
    def test_a_version_that_another_node_gives(self, store: Store, key: StateKey) -> None:
        """A copy keeps its version, and the highest one stays, whatever the order in which they come."""
        assert put_copy(store, b"1", 7, key).version == 7
        assert put_copy(store, b"2", 9, key).version == 9
        for version in (1, 8, 9):
            with pytest.raises(Superseded) as caught:
                put_copy(store, b"3", version, key)
            assert caught.value.actual == 9
        assert store.get(key).fields == {"f": b"2"}
        assert put_copy(store, b"4", MAX_VERSION, key).version == head(store, key).version == MAX_VERSION

    def test_delivered_twice(self, server: RedisServer, store: Store) -> None:
        """The same write with the same version is a success that changes nothing."""
        stored = put_copy(store, b"1", 7, write=write_id(1))
        with server.client() as client:
            again = put_copy(store, b"1", 7, write=write_id(1), ttl_ms=1000)
            assert replace(again, age_ms=0) == replace(stored, age_ms=0)
            assert client.pttl("skylark:bundle:{chain}:edge-1:task") == -1

    def test_bundles_of_several_owners_lie_side_by_side(self, store: Store) -> None:
        """A copy takes the place of no bundle of another owner; who names an owner gets that one's."""
        own = put(store, b"own")
        put_copy(store, b"theirs", 7)
        put_copy(store, b"others'", own.version + 10**9, COPY.at("edge-2"))
        put_copy(store, b"everybody's", 3, SHARED)
        found = {node: store.find(SHARED.at(node)).fields["f"] for node in ("sat-1", "edge-1", "edge-2", "none")}
        assert found == {"sat-1": b"own", "edge-1": b"theirs", "edge-2": b"others'", "none": b"everybody's"}
        assert store.find(SHARED).fields == {"f": b"others'"}
        assert store.get(SHARED).fields == {"f": b"everybody's"}
        with pytest.raises(NotFound):
            store.get(COPY.at("none"))
        assert {info.key for info in store.list("chain")} == {KEY, COPY, COPY.at("edge-2"), SHARED}

    def test_own_bundles_are_no_copies(self, store: Store) -> None:
        """Nobody gives this node's bundles their versions."""
        for call in (lambda: put_copy(store, b"1", 7, KEY), lambda: store.forget(KEY, 7, deleted=True)):
            with pytest.raises(InvalidArgument, match="a key of another node"):
                call()

    def test_the_age_of_a_copy(self, store: Store) -> None:
        """A copy is as old as it was when it came, and the time since; an own bundle has no age."""
        copy = store.commit_copy(COPY, Sealed({}, Metadata("o", 1, 0, write_id(1)), None, 5000), 7).info
        assert copy.age_ms is not None
        age_ms = head(store, COPY).age_ms
        assert age_ms is not None
        assert age_ms >= copy.age_ms >= 5000
        assert put(store, b"own").age_ms is None
        assert put_copy(store, b"1", 7, SHARED).age_ms is None

    def test_numbers_that_make_no_sense(self, store: Store) -> None:
        """A version or a time to live out of range is the caller's error."""
        for call in (
            lambda: put(store, b"1", expected_version=-1),
            lambda: put(store, b"1", ttl_ms=0),
            lambda: put_copy(store, b"1", 0),
            lambda: put_copy(store, b"1", 2**53),
            lambda: store.delete(KEY, expected_version=0),
            lambda: store.forget(COPY, 0, deleted=True),
        ):
            with pytest.raises(InvalidArgument):
                call()


class TestLedgers:
    """Who has which version, and who has yet to be told."""

    def test_promised_copies(self, store: Store) -> None:
        """A node that was promised a copy is behind until it has acknowledged the newest version."""
        first = store.commit(KEY, sealed(b"1"), promised=["cloud", "edge-1"])
        assert [(holder.node, holder.version, holder.is_promised) for holder in first.behind] == [
            ("cloud", 0, True),
            ("edge-1", 0, True),
        ]
        cloud, _ = first.behind
        store.acknowledge(KEY, cloud, first.info.version)
        assert [holder.node for holder in store.ledger(KEY).behind] == ["edge-1"]
        second = store.commit(KEY, sealed(b"2"))
        assert [(holder.node, holder.version) for holder in second.behind] == [
            ("cloud", first.info.version),
            ("edge-1", 0),
        ]
        assert list(store.behind()) == [(KEY, second.behind)]

    def test_an_acknowledgement_that_is_late(self, store: Store) -> None:
        """What was noted of a holder meanwhile is not undone by who knows only what was before."""
        behind = store.commit(KEY, sealed(b"1"), promised=["cloud"]).behind
        second = store.commit(KEY, sealed(b"2"), promised=["cloud"])
        store.acknowledge(KEY, behind[0], second.info.version)
        store.acknowledge(KEY, behind[0], 1)
        store.release(KEY, behind[0])
        assert store.ledger(KEY).behind == ()
        assert [holder.node for holder in store.commit(KEY, sealed(b"3")).behind] == ["cloud"]

    def test_caches(self, store: Store) -> None:
        """Who keeps what it fetched is told of the next version, and then no more until it fetches again."""
        first = put(store, b"1").version
        assert store.note_cache(KEY, "edge-1", first) == ()
        second = store.commit(KEY, sealed(b"2"))
        [holder] = second.behind
        assert (holder.node, holder.is_promised, holder.version, holder.given_version) == (
            "edge-1",
            False,
            first,
            first,
        )
        store.release(KEY, holder, second.info.version)
        assert store.ledger(KEY).behind == ()
        assert store.commit(KEY, sealed(b"3")).behind == ()

    def test_a_cache_that_fetches_while_it_is_told(self, store: Store) -> None:
        """A version that is on its way to a node may be kept there after it was told: it stays noted."""
        store.note_cache(KEY, "edge-1", put(store, b"1").version)
        second = store.commit(KEY, sealed(b"2"))
        [late] = store.note_cache(KEY, "edge-1", second.info.version)
        store.release(KEY, second.behind[0], second.info.version)  # knows only of what was before
        assert store.ledger(KEY).behind == (late,)
        store.release(KEY, late, second.info.version)
        assert store.ledger(KEY).behind == ()
        assert [holder.node for holder in store.commit(KEY, sealed(b"3")).behind] == ["edge-1"]

    def test_deletions_are_told_to_all(self, store: Store) -> None:
        """A deletion is told to each holder, and remembered for an hour once all know of it."""
        first = store.commit(KEY, sealed(b"1"), promised=["cloud"])
        store.acknowledge(KEY, first.behind[0], first.info.version)
        store.note_cache(KEY, "edge-1", first.info.version)
        deleted = store.delete(KEY)
        assert sorted(holder.node for holder in deleted.behind) == ["cloud", "edge-1"]
        ledger = store.ledger(KEY)
        assert (ledger.version, ledger.deleted, ledger.present) == (deleted.version, True, False)
        again = store.delete(KEY)
        assert (again.existed, again.version, again.behind) == (False, deleted.version, deleted.behind)
        for holder in deleted.behind:
            store.release(KEY, holder, deleted.version)
        assert list(store.behind()) == []

    def test_how_long_ledgers_are_remembered(self, server: RedisServer, store: Store) -> None:
        """One that somebody has to be told of stays; another one goes an hour after its bundle."""
        name = "skylark:ledger:{chain}:sat-1:task"
        with server.client() as client:
            put(store, b"1")
            assert not client.exists(name)
            put(store, b"2", ttl_ms=50_000)
            assert REMEMBERED_MS < client.pttl(name) <= REMEMBERED_MS + 50_000
            holders = store.commit(KEY, sealed(b"3"), promised=["cloud"]).behind
            assert client.pttl(name) == -1
            deleted = store.delete(KEY)
            assert client.pttl(name) == -1
            store.release(KEY, holders[0], deleted.version)
            assert 0 < client.pttl(name) <= REMEMBERED_MS

    def test_copies_that_are_forgotten(self, store: Store) -> None:
        """A copy goes when a newer version, or its own deletion, is told; older ones are taken no more."""
        put_copy(store, b"1", 7)
        assert store.forget(COPY, 7, deleted=False).existed is False
        assert store.get(COPY).fields == {"f": b"1"}
        assert store.forget(COPY, 7, deleted=True).existed is True
        assert store.forget(COPY, 9, deleted=False).existed is False
        for version in (7, 8):
            with pytest.raises(Superseded):
                put_copy(store, b"late", version)
        assert put_copy(store, b"2", 9).version == 9
        assert store.find(SHARED).fields == {"f": b"2"}

    def test_a_late_deletion_of_an_old_copy(self, store: Store) -> None:
        """Who hears late that a version was deleted keeps a newer one."""
        put_copy(store, b"2", 9)
        assert store.forget(COPY, 8, deleted=True).existed is False
        assert store.get(COPY).fields == {"f": b"2"}

    def test_writes_that_may_be_late_elsewhere(self, store: Store) -> None:
        """A node that has to undo a write stands in the ledger until it has."""
        holder = store.note_refusal(KEY.at("edge-1"), write_id(1))
        assert (holder.node, holder.refused_write) == ("edge-1", write_id(1))
        assert list(store.behind()) == [(KEY.at("edge-1"), (holder,))]
        store.release(KEY.at("edge-1"), holder)
        assert list(store.behind()) == []

    def test_many_ledgers(self, store: Store) -> None:
        """All that is left to do is found, also among thousands of ledgers with nothing."""
        for number in range(1500):
            put(store, b"1", of_chain(number), ttl_ms=500_000, promised=["cloud"] if number % 100 == 0 else [])
        assert {key for key, _ in store.behind()} == {of_chain(number) for number in range(0, 1500, 100)}


class TestEnds:
    def test_time_to_live(self, server: RedisServer, store: Store) -> None:
        """A bundle with a time to live says when it ends, and ends."""
        info = put(store, b"1", ttl_ms=300)
        assert info.expires_ms is not None
        assert head(store).expires_ms == info.expires_ms
        wait_for(lambda: keys(server) == [], "the bundle is gone", 5)
        with pytest.raises(NotFound):
            store.get(KEY)

    def test_time_to_live_is_replaced(self, server: RedisServer, store: Store) -> None:
        """A put without a time to live takes the old one's away, and one with it sets it."""
        put(store, b"1", ttl_ms=50_000)
        assert put(store, b"2").expires_ms is None
        with server.client() as client:
            assert client.pttl(NAME) == -1
            put(store, b"3", ttl_ms=100_000)
            assert 60_000 < client.pttl(NAME) <= 100_000

    def test_delete(self, store: Store) -> None:
        """Deleting says whether there was a bundle, and does not touch one of another version."""
        assert store.delete(KEY) == Removed(False, 0)
        assert store.delete(KEY, expected_version=1) == Removed(False, 0)
        first = put(store, b"1").version
        with pytest.raises(Conflict) as caught:
            store.delete(KEY, expected_version=first + 1)
        assert (caught.value.expected, caught.value.actual) == (first + 1, first)
        deleted = store.delete(KEY, expected_version=first)
        assert deleted.existed and deleted.version > first
        put(store, b"1")
        assert store.delete(KEY).existed
        with pytest.raises(NotFound):
            store.get(KEY)

    def test_list(self, store: Store) -> None:
        """Listing a chain yields its bundles once each, out of thousands of others with like names."""
        for chain in ("c", "cc", "c.c", "C"):
            for task in range(700):
                put(store, b"%d" % task, StateKey(chain, f"t{task}"))
        listed = list(store.list("c"))
        assert len(listed) == 700
        assert {info.key for info in listed} == {StateKey("c", f"t{task}", "sat-1") for task in range(700)}
        assert list(store.list("none")) == []

    def test_list_while_keys_go(self, server: RedisServer, store: Store) -> None:
        """A bundle is listed once, also where Redis shrinks its table meanwhile and walks over keys again."""
        with server.client() as client:
            others = [f"other{number}" for number in range(30_000)]
            client.mset(dict.fromkeys(others, ""))
            for task in range(500):
                put(store, b"1", StateKey("c", f"t{task}"))
            listing = store.list("c")
            listed = [next(listing) for _ in range(250)]
            client.unlink(*others)
            wait_for(lambda: client.dbsize() == 501, "the others are gone")
            listed += listing
        assert len(listed) == len({info.key for info in listed}) == 500


INDEX = "skylark:chain:{chain}"


def of_chain(number: int) -> StateKey:
    return StateKey("chain", f"t{number}", "sat-1")


@contextlib.contextmanager
def limited(server: RedisServer, limit: int) -> Iterator[RealStore]:
    """An empty store with a limit of bundles for each chain."""
    with server.client() as client:
        client.flushall()
    with opened(server.url, max_bundles_per_chain=limit) as store:
        yield store


class TestBundlesOfAChain:
    def test_the_limit(self, server: RedisServer) -> None:
        """A chain has no more bundles than the limit; what is there can be replaced; other chains have theirs."""
        with limited(server, 2) as store:
            for number in (0, 1, 0, 1):
                put(store, b"1", of_chain(number))
            put(store, b"1", StateKey("chain2", "t2"))
            calls: list[Callable[[], object]] = [
                lambda: put(store, b"1", of_chain(2)),
                lambda: put_copy(store, b"1", 7, of_chain(2).at("edge-1")),
                lambda: put_copy(store, b"1", 7, of_chain(1).anywhere()),
                lambda: put(store, b"1", of_chain(2), expected_version=0),
                lambda: put(store, b"1", of_chain(2), ttl_ms=1000),
            ]
            for call in calls:
                with pytest.raises(TooManyBundles) as caught:
                    call()
            assert (caught.value.chain, caught.value.node, caught.value.limit) == ("chain", "sat-1", 2)
            assert len(list(store.list("chain"))) == 2
            with pytest.raises(Conflict):
                put(store, b"1", of_chain(2), expected_version=5)
            assert not any(b"staging" in name for name in keys(server))

    @pytest.mark.parametrize("is_conditional", [False, True])
    def test_deletion_makes_room(self, server: RedisServer, is_conditional: bool) -> None:
        """A bundle that is deleted counts no more; one that is not, does."""
        with limited(server, 1) as store:
            version = put(store, b"1", of_chain(0)).version
            expected = version if is_conditional else None
            assert not store.delete(of_chain(1), expected_version=expected).existed
            with pytest.raises(Conflict):
                store.delete(of_chain(0), expected_version=9)
            with pytest.raises(TooManyBundles):
                put(store, b"1", of_chain(1))
            assert store.delete(of_chain(0), expected_version=expected).existed
            put(store, b"1", of_chain(1))

    def test_copies_that_go_make_room(self, server: RedisServer) -> None:
        """A copy that is dropped, and a write that is undone, count no more."""
        with limited(server, 1) as store:
            put_copy(store, b"1", 7)
            store.forget(COPY, 8, deleted=False)
            put(store, b"1", write=write_id(1))
            store.refuse(KEY, write_id(1))
            put(store, b"1", of_chain(1))

    def test_expiry_makes_room(self, server: RedisServer) -> None:
        """A bundle that has expired counts no more, and comes back as a new one."""
        with limited(server, 2) as store:
            put(store, b"1", of_chain(0), ttl_ms=200)
            put(store, b"1", of_chain(1))
            with pytest.raises(TooManyBundles):
                put(store, b"1", of_chain(2))
            wait_for(lambda: len(list(store.list("chain"))) == 1, "the bundle is gone", 5)
            wait_for(lambda: stored(lambda: put(store, b"1", of_chain(2))), "there is room", 1)
            with pytest.raises(TooManyBundles):
                put(store, b"1", of_chain(0))

    def test_a_bundle_that_is_replaced_lives_as_long_as_it_says(self, server: RedisServer) -> None:
        """A put with another time to live, or none, counts for as long as the bundle is there."""
        with limited(server, 1) as store:
            put(store, b"1", of_chain(0), ttl_ms=200)
            put(store, b"2", of_chain(0))
            with server.client() as client:
                assert client.zscore(INDEX, "sat-1:t0") == float("inf")
                assert client.pttl(INDEX) == -1
                put(store, b"3", of_chain(0), ttl_ms=50_000)
                assert 0 < float(client.zscore(INDEX, "sat-1:t0") or 0) - time.time() * 1000 <= 50_000
                assert 0 < client.pttl(INDEX) <= 50_000

    def test_nothing_is_left(self, server: RedisServer, store: Store) -> None:
        """What counts a chain's bundles goes with the last of them, however it goes."""
        with server.client() as client:
            put(store, b"1", of_chain(0))
            put(store, b"1", of_chain(1), ttl_ms=100_000)
            put(store, b"1", of_chain(2), ttl_ms=50_000)
            assert client.pttl(INDEX) == -1
            store.delete(of_chain(0))
            assert 50_000 < client.pttl(INDEX) <= 100_000
            store.delete(of_chain(1))
            assert 0 < client.pttl(INDEX) <= 50_000
            put_copy(store, b"1", 7, ttl_ms=50_000)
            assert 0 < client.pttl("skylark:held:{chain}:task") <= 50_000
            store.forget(COPY, 8, deleted=False)
            store.delete(of_chain(2))
            assert not client.exists(INDEX, "skylark:held:{chain}:task")
            assert keys(server) == []
            assert all(client.pttl(ledger) > 0 for ledger in client.keys("*"))
            put(store, b"1", of_chain(3), ttl_ms=100)
            put_copy(store, b"1", 9, ttl_ms=200)
            wait_for(lambda: keys(server) == [] and not client.exists(INDEX), "all have expired", 5)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.sampled_from(["put", "keep", "delete"]), st.integers(0, 4)), max_size=25))
    def test_it_counts_what_is_there(self, server: RedisServer, calls: list[tuple[str, int]]) -> None:
        """After any sequence of calls the count is that of the bundles, and it decided what was stored."""
        with limited(server, 3) as store, server.client() as client:
            there: set[int] = set()
            for call, number in calls:
                key = of_chain(number)
                ttl_ms = 90_000 if call == "put" else None
                if call == "delete":
                    assert store.delete(key).existed is (number in there)
                    there.discard(number)
                elif stored(partial(put, store, b"1", key, ttl_ms=ttl_ms)):
                    there.add(number)
                else:
                    assert number not in there and len(there) == 3
                assert client.zcard(INDEX) == len(there) == len(list(store.list("chain")))

    def test_redis_forgets_the_script(self, server: RedisServer, store: Store) -> None:
        """A Redis that has lost its scripts is sent it again, and a put happens once."""
        first = put(store, b"1").version
        with server.client() as client:
            client.script_flush()
            assert put(store, b"2", expected_version=first).version > first
            for call in (
                lambda: store.note_cache(KEY, "edge-1", first),
                lambda: store.refuse(KEY, write_id(1)),
                lambda: store.forget(COPY, 1, deleted=False),
                lambda: store.release(KEY, store.ledger(KEY).behind[0]),
            ):
                client.script_flush()
                call()
        assert store.get(KEY).fields == {"f": b"2"}
        assert keys(server) == [NAME]


def stored(call: Callable[[], object]) -> bool:
    """Whether there was room."""
    try:
        call()
    except TooManyBundles:
        return False
    return True


class TestFailures:
    def test_restart(self) -> None:
        """The first read and the first write after a restart of Redis succeed, on connections made before it."""
        with run_redis(options=DURABLE) as server, opened(server.url) as store:
            first = put(store, b"1").version
            server.restart()
            assert store.get(KEY).fields == {"f": b"1"}
            server.restart()
            assert put(store, b"2", expected_version=first).version > first

    def test_killed_after_an_answer(self) -> None:
        """What was acknowledged is there byte for byte after Redis was killed."""
        data = os.urandom(5_000_000)
        with run_redis(options=DURABLE) as server, opened(server.url) as store:
            info = put(store, data)
            server.restart(signal.SIGKILL)
            bundle = store.get(KEY)
            assert bundle.info == info
            assert bundle.fields == {"f": data}

    def test_away(self) -> None:
        """While Redis is away every call says so, and names the server."""
        with run_redis(port=0) as server, opened(server.url) as store:
            put(store, b"1")
            server.kill()
            for call in (
                lambda: store.get(KEY),
                lambda: put(store, b"2"),
                store.redis.ping,
                lambda: next(store.list("c")),
            ):
                with pytest.raises(StoreUnavailable, match=f"Redis at 127.0.0.1:{server.port}"):
                    call()

    def test_silence(self) -> None:
        """A Redis that does not answer in time is a timeout, and nothing is sent twice."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(run_redis(options=DURABLE))
            store, reader = (stack.enter_context(opened(server.url, timeout_s=0.3)) for _ in range(2))
            put(store, b"1")
            reader.redis.ping()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                for call in (lambda: put(store, b"22"), lambda: reader.get(KEY)):
                    with pytest.raises(StoreTimeout):
                        call()
            finally:
                os.kill(server.pid, signal.SIGCONT)
            wait_for(lambda: head(store).sizes == {"f": 2}, "the write that had been sent is done")
            with server.client() as client:
                wait_for(
                    lambda: "cmdstat_hgetall" in client.info("commandstats"), "the read that had been sent is done"
                )
                assert client.info("commandstats")["cmdstat_hgetall"]["calls"] == 1
            put(store, b"3")
            assert store.get(KEY).fields == {"f": b"3"}

    def test_out_of_memory(self) -> None:
        """At its memory limit Redis refuses; the old bundle stays whole and no staging key is left."""
        with run_redis(options=DURABLE) as server, opened(server.url) as store, server.client() as client:
            kept = os.urandom(100_000)
            put(store, kept)
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_500_000)
            refusals = []
            for size in [*range(100_000, 3_000_000, 100_000), 8_000_000]:
                data = os.urandom(size)
                try:
                    put(store, data)
                    kept = data
                except StoreUnavailable as error:
                    refusals.append(str(error))
                assert store.get(KEY).fields == {"f": kept}
                assert keys(server) == [NAME]
            assert refusals
            assert all("maxmemory" in refusal for refusal in refusals)

    def test_fields_that_were_lost(self, server: RedisServer, store: Store) -> None:
        """Fields that are not those of the put, whatever put them there, are never published."""
        put(store, b"old")
        with server.client() as client:
            client.hset("skylark:staging:{chain}", mapping={"stray": b"1"})
        with pytest.raises(StoreUnavailable, match="lost"):
            put(store, b"new")
        assert store.get(KEY).fields == {"f": b"old"}
        assert keys(server) == [NAME]
        put(store, b"new")
        assert store.get(KEY).fields == {"f": b"new"}

    def test_read_only(self) -> None:
        """A replica refuses writes, and that is said."""
        with run_redis(options={"replicaof": f"127.0.0.1 {free_port()}"}) as server, opened(server.url) as store:
            with pytest.raises(StoreUnavailable, match=r"(?i)read only replica"):
                put(store, b"1")
            assert keys(server) == []


class TestWritable:
    """Whether Redis takes writes, asked without one."""

    def test_it_writes_nothing(self, server: RedisServer, store: RealStore) -> None:
        """Asking leaves no key and adds nothing to the file on disk."""
        put(store, b"1")
        with server.client() as client:
            before = client.info("persistence")["aof_current_size"]
            for _ in range(10):
                store.redis.check_writable()
            assert client.info("persistence")["aof_current_size"] == before
        assert keys(server) == [NAME]

    def test_a_replica(self) -> None:
        """A Redis that has become a replica is not writable, and is once it is a primary again."""
        with run_redis() as server, opened(server.url) as store, server.client() as client:
            store.redis.check_writable()
            client.replicaof("127.0.0.1", free_port())
            store.redis.ping()
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="read only replica"):
                    store.redis.check_writable()
            client.replicaof("NO", "ONE")
            store.redis.check_writable()

    def test_a_full_one(self) -> None:
        """A full Redis is not writable, takes deletions, and is writable again with room."""
        with run_redis() as server, opened(server.url) as store, server.client() as client:
            put(store, b"x" * 1_000_000)
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
            with pytest.raises(StoreUnavailable, match="maxmemory") as caught:
                store.redis.check_writable()
            assert caught.value.full
            assert store.delete(KEY)
            wait_for(lambda: is_writable(store), "there is room again")

    def test_one_that_cannot_save(self) -> None:
        """A Redis that stops writes since its disk refuses them says so, and goes on when it can save again."""
        with run_redis() as server, opened(server.url) as store, server.client() as client:
            client.config_set("save", "3600 1")
            (server.folder / "dump.rdb").mkdir()  # so that no file can have the name
            client.bgsave()
            wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving has failed")
            with pytest.raises(StoreUnavailable, match="MISCONF"):
                store.redis.check_writable()
            with pytest.raises(StoreUnavailable, match="MISCONF"):
                put(store, b"1")
            (server.folder / "dump.rdb").rmdir()
            client.bgsave()
            wait_for(lambda: is_writable(store), "it has saved again")

    def test_one_without_replicas(self) -> None:
        """A Redis that wants replicas before it writes is not writable without them."""
        options = {"min-replicas-to-write": "1"}
        with (
            run_redis(options=options) as server,
            opened(server.url) as store,
            pytest.raises(StoreUnavailable, match="NOREPLICAS"),
        ):
            store.redis.check_writable()

    def test_a_user_that_may_not_ask(self) -> None:
        """Rights that allow no SET say nothing about writes."""
        options = {"user": "sky on >s3cret ~skylark:* +@all -set"}
        with (
            run_redis(port=0, options=options) as server,
            opened(f"redis://sky:s3cret@127.0.0.1:{server.port}") as store,
        ):
            store.redis.check_writable()
            put(store, b"1")

    def test_an_address_that_leads_to_another_server(self) -> None:
        """After a failover the next write goes where the address leads now, not to the old server's connections."""
        with run_redis(port=0) as old, run_redis(port=0) as new, old.client() as client:
            relay = Relay(old.port or 0)
            try:
                with opened(f"redis://127.0.0.1:{relay.port}") as store:
                    put(store, b"1")
                    client.replicaof("127.0.0.1", free_port())
                    relay.lead_to(new.port or 0)
                    with contextlib.suppress(StoreUnavailable):
                        put(store, b"2")
                    put(store, b"3")
                    assert keys(new) == [NAME]
                    store.redis.check_writable()
            finally:
                relay.close()


def is_writable(store: RealStore) -> bool:
    with contextlib.suppress(StoreUnavailable):
        store.redis.check_writable()
        return True
    return False


class Relay:
    """A TCP relay to a Redis that can let a request through and break the connection before the reply."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.breaks = 0
        self.after_break: Callable[[], None] | None = None
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._threads += [threading.Thread(target=self._pump, args=pair) for pair in ((near, far), (far, near))]
            for thread in self._threads[-2:]:
                thread.start()

    def lead_to(self, port: int) -> None:
        """Leads new connections to another server."""
        self._target = port

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source.getpeername()[1] == self._target and self.breaks > 0:
                    self.breaks -= 1
                    if self.after_break is not None:
                        self.after_break()
                    break
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


class TestBrokenConnections:
    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with run_redis(port=0) as server:
            yield server

    @pytest.fixture
    def relay(self, server: RedisServer) -> Iterator[Relay]:
        assert server.port is not None
        relay = Relay(server.port)
        yield relay
        relay.close()

    @pytest.fixture
    def store(self, relay: Relay) -> Iterator[Store]:
        with opened(f"redis://127.0.0.1:{relay.port}") as store:
            put(store, b"1")
            yield store

    def test_reads_are_repeated_once(self, relay: Relay, store: Store) -> None:
        """A read whose reply was lost is sent once more, and no more than once."""
        relay.breaks = 1
        assert store.get(KEY).fields == {"f": b"1"}
        relay.breaks = 10
        with pytest.raises(StoreUnavailable):
            store.get(KEY)
        relay.breaks = 0
        assert store.get(KEY).fields == {"f": b"1"}

    def test_writes_are_repeated_once(self, relay: Relay, store: Store) -> None:
        """A write whose reply was lost is sent once more, is known by its id, and happens once."""
        first = head(store).version
        relay.breaks = 1
        second = put(store, b"2", expected_version=first)
        assert relay.breaks == 0
        assert head(store) == second
        relay.breaks = 1
        assert put_copy(store, b"5", 5).version == 5
        relay.breaks = 10
        with pytest.raises(StoreUnavailable):
            put(store, b"3")
        relay.breaks = 0
        assert store.get(COPY).fields == {"f": b"5"}

    def test_removals_are_repeated_once(self, relay: Relay, store: Store) -> None:
        """A removal whose reply was lost is done, and so is what is noted in a ledger."""
        first = store.commit(KEY, sealed(b"1"), promised=["cloud"])
        relay.breaks = 1
        store.acknowledge(KEY, first.behind[0], first.info.version)
        assert store.ledger(KEY).behind == ()
        relay.breaks = 1
        deleted = store.delete(KEY)
        assert [holder.node for holder in deleted.behind] == ["cloud"]
        assert store.ledger(KEY).version == deleted.version

    def test_a_write_that_another_one_followed(self, relay: Relay, store: Store) -> None:
        """Where the reply is lost and another write comes next, it is in doubt, and is not done again."""
        first = head(store).version

        def follow() -> None:
            relay.after_break = None
            put(store, b"other's", known_version=head(store).version)

        relay.after_break = follow
        relay.breaks = 1
        with pytest.raises(StoreUnavailable, match="it is not known whether"):
            put(store, b"2", known_version=first)
        assert store.get(KEY).fields == {"f": b"other's"}


class TestCluster:
    @pytest.fixture
    def nodes(self) -> Iterator[tuple[RedisServer, RedisServer]]:
        """Two nodes; the first has the lower half of the slots."""
        options = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        with run_redis(port=0, options=options) as low, run_redis(port=0, options=options) as high:
            with low.client() as one, high.client() as two:
                one.execute_command("CLUSTER", "ADDSLOTS", *range(8192))
                two.execute_command("CLUSTER", "ADDSLOTS", *range(8192, 16384))
                two.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
                one.execute_command("CLUSTER", "MEET", "127.0.0.1", high.port)
                wait_for(lambda: cluster_is_up(one, 2) and cluster_is_up(two, 2), "both nodes know all slots")
            yield low, high

    def test_one_node(self) -> None:
        """The store works with a cluster of one node: puts, reads, conflicts, lists and deletes."""
        with run_redis(port=0, options={"cluster-enabled": "yes"}) as server:
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                wait_for(lambda: cluster_is_up(client, 1), "the cluster is up")
            with opened(f"redis+cluster://127.0.0.1:{server.port}") as store:
                store.redis.ping()
                for chain in ("a", "b", "c"):
                    put(store, os.urandom(2_000_000), StateKey(chain, "t"))
                one, two = StateKey("a", "t", "sat-1"), StateKey("b", "t", "sat-1")
                version = head(store, one).version
                put(store, b"1", one, expected_version=version)
                with pytest.raises(Conflict):
                    put(store, b"1", one, expected_version=version)
                assert [info.key.chain_id for info in store.list("b")] == ["b"]
                assert store.delete(two, expected_version=head(store, two).version).existed
                assert keys(server) == [b"skylark:bundle:{a}:sat-1:t", b"skylark:bundle:{c}:sat-1:t"]
                put(store, b"2", one, promised=["cloud"])
                assert [key for key, _ in store.behind()] == [one]
                put_copy(store, b"3", 7, one.at("edge-1"))
                assert store.find(one.anywhere()).fields == {"f": b"2"}
                assert store.redis.durability() is not None

    def test_chains_on_several_nodes(self, nodes: tuple[RedisServer, RedisServer]) -> None:
        """Each chain is on one node, all of it, and is read and listed there."""
        chains = [f"chain{number}" for number in range(20)]
        with opened(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}") as store:
            store.redis.check_writable()
            for chain in chains:
                for task in ("t1", "t2"):
                    put(store, chain.encode(), StateKey(chain, task), promised=["cloud"])
            for chain in chains:
                assert store.get(StateKey(chain, "t2", "sat-1")).fields == {"f": chain.encode()}
                assert {info.key.task_id for info in store.list(chain)} == {"t1", "t2"}
            assert len(list(store.behind())) == 40
        on_low, on_high = (set(keys(node)) for node in nodes)
        assert len(on_low) + len(on_high) == 40
        assert on_low
        assert on_high

    def test_a_slot_that_moves(self, nodes: tuple[RedisServer, RedisServer]) -> None:
        """A put and a read follow a slot to another node."""
        slot = key_slot(b"chain")
        source, target = nodes if slot < 8192 else nodes[::-1]
        with opened(f"redis+cluster://127.0.0.1:{source.port}") as store:
            put(store, b"1")
            with source.client() as one, target.client() as two:
                one.flushall()
                name = two.execute_command("CLUSTER", "MYID")
                for client in (two, one):
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
            put(store, b"2", expected_version=0)
            assert store.get(KEY).fields == {"f": b"2"}
        assert keys(source) == []
        assert keys(target) == [NAME]

    def test_nobody_there(self) -> None:
        """A cluster that cannot be reached at the start is unavailable, not a crash."""
        with pytest.raises(StoreUnavailable, match=r"Redis cluster at 127\.0\.0\.1"):
            connect(f"redis+cluster://:s3cret@127.0.0.1:{free_port()}")


def cluster_is_up(client: Any, nodes: int) -> bool:
    info = client.execute_command("CLUSTER INFO")
    wanted = {"cluster_state": "ok", "cluster_slots_assigned": "16384", "cluster_known_nodes": str(nodes)}
    return {name: info.get(name) for name in wanted} == wanted


class TestSentinel:
    def test_sentinels_that_cannot_be_reached(self) -> None:
        """One short sentence names the service and the Sentinels, and shows no objects and no passwords."""
        ports = free_port(), free_port()
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        with opened(f"redis+sentinel://:s3cret@{hosts}/main?sentinel_password=s3cret") as store:
            for ask in (store.redis.ping, store.redis.check_writable):
                with pytest.raises(StoreUnavailable, match="no Sentinel can be reached that knows") as caught:
                    ask()
                text = str(caught.value)
                assert all(f"127.0.0.1:{port}" in text for port in ports)
                assert "'main'" in text
                assert len(text) < 250
                assert not set("<>\n") & set(text)
                assert "s3cret" not in text

    def test_a_service_that_no_sentinel_knows(self) -> None:
        """A wrong name of the service is the same sentence."""
        with run_redis(port=0, mode=["--sentinel"]) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/nobody"
            with opened(url) as store, pytest.raises(StoreUnavailable, match=r"'nobody'.*no Sentinel"):
                store.redis.ping()

    def test_late_answers(self) -> None:
        """An answer that came too late is never taken for the answer to a later question."""
        with contextlib.ExitStack() as stack:
            primary = stack.enter_context(run_redis(port=0))
            watch = {"sentinel monitor main": f"127.0.0.1 {primary.port} 1"}
            sentinel = stack.enter_context(run_redis(port=0, options=watch, mode=["--sentinel"]))
            store = stack.enter_context(opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", timeout_s=0.5))
            other = StateKey("other", "task", "sat-1")
            put(store, b"1")
            put(store, b"2", other)
            os.kill(primary.pid, signal.SIGSTOP)
            goes_on = threading.Timer(0.7, os.kill, (primary.pid, signal.SIGCONT))
            goes_on.start()
            with pytest.raises(StoreTimeout):
                store.get(KEY)
            assert store.get(other).fields == {"f": b"2"}
            goes_on.join()

    def test_failover(self) -> None:
        """The store finds the primary through Sentinel, and the new one after the old one was killed."""
        with contextlib.ExitStack() as stack:
            primary = stack.enter_context(run_redis(port=0))
            replica = stack.enter_context(run_redis(port=0, options={"replicaof": f"127.0.0.1 {primary.port}"}))
            watch = {
                "sentinel monitor main": f"127.0.0.1 {primary.port} 1",
                "sentinel down-after-milliseconds main": "500",
                "sentinel failover-timeout main": "3000",
            }
            sentinel = stack.enter_context(run_redis(port=0, options=watch, mode=["--sentinel"]))
            watcher = stack.enter_context(sentinel.client())
            follower = stack.enter_context(replica.client())
            wait_for(lambda: follower.info("replication")["master_link_status"] == "up", "the replica follows")
            wait_for(lambda: len(watcher.sentinel_slaves("main")) == 1, "Sentinel knows the replica")

            dead = free_port()
            store = stack.enter_context(opened(f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{sentinel.port}/main/0"))
            put(store, b"1")
            wait_for(lambda: len(keys(replica)) == 1, "the bundle is replicated")
            primary.kill()
            with pytest.raises(StoreUnavailable, match="Redis service 'main'"):
                put(store, b"2")

            def written() -> bool:
                with contextlib.suppress(StoreUnavailable):
                    return put(store, b"2").version > 0
                return False

            wait_for(written, "the new primary takes writes", 30)
            assert store.get(KEY).fields == {"f": b"2"}
            assert keys(replica) == [NAME]


class TestDurability:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (DURABLE, None),
            ({"appendonly": "yes", "appendfsync": "everysec"}, None),
            ({"appendonly": "no"}, "appendonly"),
            ({"appendonly": "yes", "appendfsync": "no"}, "appendfsync"),
            ({**DURABLE, "maxmemory-policy": "allkeys-lru"}, "evict"),
            ({**DURABLE, "rename-command CONFIG": ""}, "unknown"),
        ],
    )
    def test_settings(self, options: dict[str, str], sentence: str | None) -> None:
        """A Redis that may lose bundles is told apart from one that does not, and from one that hides it."""
        with run_redis(options=options) as server, opened(server.url) as store:
            answer = store.redis.durability()
            assert answer is None if sentence is None else sentence in str(answer)

    def test_away(self) -> None:
        """A Redis that is away is not taken for one that hides its settings."""
        with run_redis() as server, opened(server.url) as store:
            server.kill()
            with pytest.raises(StoreUnavailable):
                store.redis.durability()


class TestConnect:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "localhost:6379",
            "http://:s3cret@localhost",
            "redis://",
            "redis://user:s3cret@localhost:port/0",
            "redis://user:s3cret@localhost:99999/0",
            "redis://user:s3/cret@localhost/0",
            "redis://user:s3cret@localhost/zero",
            "redis://localhost/0?password=s3cret&colour=red",
            "redis://localhost/?socket_timeout=soon&password=s3cret",
            "user:s3cret@localhost",
            "unix://",
            "unix://data/redis.sock",
            "redis+sentinel://:s3cret@localhost:26379",
            "redis+sentinel://localhost/main",
            "redis+sentinel://localhost:26379/main/zero",
            "redis+sentinel://localhost:26379/main?sentinel_password=s3cret&colour=red",
            "redis+cluster://:s3cret@localhost",
            "redis+cluster://:s3cret@localhost:7000/1",
        ],
    )
    def test_addresses_that_are_wrong(self, url: str) -> None:
        """A wrong address is a configuration error that says what is expected and never shows a password."""
        with pytest.raises(ConfigError, match=r"SKYLARK_REDIS_URL.*redis://host") as caught:
            connect(url)
        assert "cret" not in str(caught.value)
        assert "cret" not in str(caught.value.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_credentials_and_database(self) -> None:
        """User, password and database of the address are used; wrong ones are refused without showing them."""
        options = {"user": "sky on >s3:cret ~* +@all"}
        with run_redis(port=0, options=options) as server, server.client() as client:
            with opened(f"redis://sky:s3%3Acret@127.0.0.1:{server.port}/3") as store:
                put(store, b"1")
            assert client.info("keyspace")["db3"]["keys"] == 2
            with opened(f"redis://sky:wr0ng@127.0.0.1:{server.port}") as store:
                with pytest.raises(StoreUnavailable) as caught:
                    store.redis.ping()
                assert "wr0ng" not in str(caught.value)
                assert "wr0ng" not in repr(caught.value.__cause__)

    def test_encrypted(self) -> None:
        """An address with `rediss://` is accepted; what comes of it names the server."""
        with opened("rediss://127.0.0.1:1") as store, pytest.raises(StoreUnavailable, match=r"Redis at 127\.0\.0\.1:1"):
            store.redis.ping()
