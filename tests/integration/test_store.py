"""The store against real Redis servers: single, restarted, killed, full, clustered and watched by Sentinel."""

import array
import contextlib
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from servers import RedisServer, free_port, run_redis, wait_for
from skylark_proxy.errors import (
    ConfigError,
    Conflict,
    InvalidArgument,
    NotFound,
    StoreTimeout,
    StoreUnavailable,
    TooLarge,
    TooManyBundles,
)
from skylark_proxy.model import NAME_PATTERN, BundleInfo, StateKey, WriteId
from skylark_proxy.redis_binary import find_servers
from skylark_proxy.redis_client import connect
from skylark_proxy.store import Store

KEY = StateKey("chain", "task")
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


def binaries() -> list[Path]:
    """Every server of this machine: Redis and Valkey differ in how they run scripts and write files."""
    return [server.path for server in find_servers()]


@pytest.fixture(scope="module", params=binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with run_redis(binary=request.param, options=DURABLE) as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with server.client() as client:
        client.flushall()
    with opened(server.url) as store:
        yield store


@contextlib.contextmanager
def opened(
    url: str,
    *,
    node: str = "sat-1",
    timeout_s: float = 10.0,
    max_bundle_bytes: int = 2**28,
    max_bundles_per_chain: int | None = None,
) -> Iterator[Store]:
    client = connect(url, timeout_s=timeout_s)
    store = Store(client, node, max_bundle_bytes=max_bundle_bytes, max_bundles_per_chain=max_bundles_per_chain)
    try:
        yield store
    finally:
        store.close()


class Options(TypedDict, total=False):
    expected_version: int
    version: int
    ttl_ms: int
    home: str | None
    write: WriteId


def put(store: Store, data: bytes, key: StateKey = KEY, **options: Unpack[Options]) -> BundleInfo:
    return store.put(key, {"f": data}, origin="edge-1", created_ms=1, crc32=zlib.crc32(data), **options)


def keys(server: RedisServer) -> list[bytes]:
    """All keys but those of the sets that count the bundles of chains."""
    with server.client() as client:
        return sorted(name for name in client.keys("*") if not name.startswith(b"skylark:chain:"))


class TestRoundTrip:
    def test_what_was_put_is_read(self, store: Store) -> None:
        """A bundle comes back byte for byte, its fields in order, its key naming this node."""
        fields = {"zeta": os.urandom(3_000_000), "alpha": b"", "b.c-d": bytes(range(256))}
        stored = store.put(KEY.at("elsewhere"), fields, origin="edge-1", created_ms=17, crc32=2**32 - 1)
        assert stored == BundleInfo(
            KEY.at("sat-1"),
            1,
            17,
            "edge-1",
            2**32 - 1,
            {"zeta": 3_000_000, "alpha": 0, "b.c-d": 256},
            home="sat-1",
        )
        bundle = store.get(KEY)
        assert bundle.info == stored
        assert list(bundle.fields.items()) == list(fields.items())
        assert store.head(KEY) == stored

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.dictionaries(st.from_regex(NAME_PATTERN, fullmatch=True), st.binary(max_size=40_000), max_size=20),
        st.integers(0, 2**32 - 1),
    )
    def test_any_fields(self, store: Store, fields: dict[str, bytes], crc32: int) -> None:
        """Any names and bytes, also none at all, are read as they were put."""
        info = store.put(KEY, fields, origin="edge-1", created_ms=1, crc32=crc32)
        assert store.get(KEY) == type(store.get(KEY))(info, fields)

    def test_buffers_of_every_shape(self, store: Store) -> None:
        """A memoryview's bytes are stored, whatever the size of its items and the steps between them."""
        numbers = array.array("d", [1.5, -2.5] * 5000)
        fields = {"doubles": memoryview(numbers), "backwards": memoryview(bytes(range(200)) * 100)[::-1]}
        store.put(KEY, fields, origin="edge-1", created_ms=1, crc32=0)
        assert store.get(KEY).fields == {"doubles": numbers.tobytes(), "backwards": (bytes(range(200)) * 100)[::-1]}

    def test_some_fields(self, store: Store) -> None:
        """Only the fields that were asked for are read, and one that does not exist is left out."""
        store.put(KEY, {"a": b"1", "b": b"2", "c": b"3"}, origin="edge-1", created_ms=1, crc32=0)
        bundle = store.get(KEY, ["c", "missing", "a"])
        assert bundle.fields == {"a": b"1", "c": b"3"}
        assert bundle.info.sizes == {"a": 1, "b": 1, "c": 1}

    def test_replacement_is_whole(self, store: Store) -> None:
        """A put leaves none of the fields of the bundle before it."""
        store.put(KEY, {"a": b"1", "b": b"2"}, origin="edge-1", created_ms=1, crc32=0)
        store.put(KEY, {"b": b"3"}, origin="edge-2", created_ms=2, crc32=0)
        bundle = store.get(KEY)
        assert (bundle.fields, bundle.info.version, bundle.info.origin) == ({"b": b"3"}, 2, "edge-2")

    def test_what_is_not_there(self, store: Store) -> None:
        """A bundle that does not exist is not found by any way of reading."""
        for read in (store.get, store.head, lambda key: store.get(key, ["f"])):
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
            store.put(KEY, {"@meta": b""}, origin="edge-1", created_ms=1, crc32=0)
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
        """A put with an expected version succeeds at that version only, and 0 stands for no bundle."""
        assert put(store, b"1", expected_version=0).version == 1
        assert put(store, b"2", expected_version=1).version == 2
        for expected in (0, 1, 3):
            with pytest.raises(Conflict) as caught:
                put(store, b"3", expected_version=expected)
            assert (caught.value.expected, caught.value.actual) == (expected, 2)
        assert store.get(KEY).fields == {"f": b"2"}

    def test_one_winner_for_each_version(self, server: RedisServer, store: Store) -> None:
        """Of eight threads that replace the same version at once, one wins and the others learn of it."""
        start = threading.Barrier(8)

        def race(thread: int) -> list[int]:
            won = []
            for version in range(40):
                start.wait(30)
                with contextlib.suppress(Conflict):
                    put(store, b"%d" % thread, expected_version=version)
                    won.append(version)
            return won

        with ThreadPoolExecutor(8) as threads:
            wins = [version for won in threads.map(race, range(8)) for version in won]
        assert sorted(wins) == list(range(40))
        assert store.head(KEY).version == 40
        assert keys(server) == [b"skylark:bundle:{chain}:task"]

    def test_a_version_that_a_peer_gives(self, store: Store) -> None:
        """A bundle that is forwarded keeps its version, if it is newer than the stored one."""
        assert put(store, b"1", version=7).version == 7
        assert put(store, b"2", version=9).version == 9
        assert put(store, b"3").version == 10
        with pytest.raises(Conflict) as caught:
            put(store, b"2", version=9)
        assert (caught.value.expected, caught.value.actual) == (9, 10)
        assert put(store, b"4", version=2**53 - 1).version == store.head(KEY).version == 2**53 - 1

    def test_delivered_twice(self, server: RedisServer, store: Store) -> None:
        """The same version with the same checksum is a success that changes nothing; with another, a conflict."""
        stored = put(store, b"1", version=7)
        with server.client() as client:
            assert put(store, b"1", version=7, ttl_ms=1000) == stored
            assert client.pttl("skylark:bundle:{chain}:task") == -1
        with pytest.raises(Conflict):
            put(store, b"2", version=7)
        assert store.get(KEY).fields == {"f": b"1"}
        assert keys(server) == [b"skylark:bundle:{chain}:task"]

    def test_copies_of_another_home(self, store: Store) -> None:
        """Versions of two homes are not compared: a copy takes the place of a copy, and never of a bundle at home."""
        assert put(store, b"theirs", version=7, home="edge-1").home == "edge-1"
        assert put(store, b"others'", version=3, home="edge-2") == store.head(KEY)
        assert (store.head(KEY).version, store.get(KEY).fields) == (3, {"f": b"others'"})
        assert put(store, b"own").home == "sat-1"
        for version in (1, 4, 99):
            with pytest.raises(Conflict):
                put(store, b"theirs", version=version, home="edge-1")
        assert store.get(KEY).fields == {"f": b"own"}
        assert put(store, b"saved everywhere", version=99).home is None

    def test_a_write_that_is_sent_again(self, store: Store) -> None:
        """A write happens once, however often it arrives, also where it expects the version before."""
        first = put(store, b"1", write=WriteId("a" * 16, 1))
        assert put(store, b"1", write=WriteId("a" * 16, 1)) == first
        second = put(store, b"2", write=WriteId("a" * 16, 2), expected_version=1)
        assert put(store, b"2", write=WriteId("a" * 16, 2), expected_version=1) == second
        assert (second.version, store.get(KEY).fields) == (2, {"f": b"2"})

    def test_a_write_that_was_overtaken(self, store: Store) -> None:
        """A write that arrives after a later one of its writer changes nothing; that of another writer does."""
        put(store, b"later", write=WriteId("a" * 16, 12))
        with pytest.raises(Conflict):
            put(store, b"earlier", write=WriteId("a" * 16, 9))
        assert store.get(KEY).fields == {"f": b"later"}
        assert put(store, b"another's", write=WriteId("b" * 16, 1)).version == 2

    @pytest.mark.parametrize(
        "options",
        [
            {"expected_version": -1},
            {"version": 0},
            {"version": 2**53},
            {"ttl_ms": 0},
            {"version": 1, "expected_version": 0},
        ],
    )
    def test_numbers_that_make_no_sense(self, store: Store, options: Options) -> None:
        """A version or a time to live out of range is the caller's error."""
        with pytest.raises(InvalidArgument):
            put(store, b"1", **options)


class TestEnds:
    def test_time_to_live(self, server: RedisServer, store: Store) -> None:
        """A bundle with a time to live says when it ends, and ends."""
        info = put(store, b"1", ttl_ms=300)
        assert info.expires_ms is not None
        assert store.head(KEY).expires_ms == info.expires_ms
        wait_for(lambda: keys(server) == [], "the bundle is gone", 5)
        with pytest.raises(NotFound):
            store.get(KEY)

    def test_time_to_live_is_replaced(self, server: RedisServer, store: Store) -> None:
        """A put without a time to live takes the old one's away, and one with it sets it."""
        put(store, b"1", ttl_ms=50_000)
        assert put(store, b"2").expires_ms is None
        with server.client() as client:
            assert client.pttl("skylark:bundle:{chain}:task") == -1
            put(store, b"3", ttl_ms=100_000)
            assert 60_000 < client.pttl("skylark:bundle:{chain}:task") <= 100_000

    def test_delete(self, store: Store) -> None:
        """Deleting says whether there was a bundle, and does not touch one of another version."""
        assert store.delete(KEY) is False
        assert store.delete(KEY, expected_version=1) is False
        put(store, b"1")
        with pytest.raises(Conflict) as caught:
            store.delete(KEY, expected_version=2)
        assert (caught.value.expected, caught.value.actual) == (2, 1)
        assert store.delete(KEY, expected_version=1) is True
        put(store, b"1")
        assert store.delete(KEY) is True
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
    return StateKey("chain", f"t{number}")


@contextlib.contextmanager
def limited(server: RedisServer, limit: int) -> Iterator[Store]:
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
            refused: list[Options] = [{}, {"version": 7}, {"expected_version": 0}, {"ttl_ms": 1000}]
            for options in refused:
                with pytest.raises(TooManyBundles) as caught:
                    put(store, b"1", of_chain(2), **options)
            assert (caught.value.chain, caught.value.node, caught.value.limit) == ("chain", "sat-1", 2)
            assert len(list(store.list("chain"))) == 2
            with pytest.raises(Conflict):
                put(store, b"1", of_chain(2), expected_version=5)
            assert not any(b"staging" in name for name in keys(server))

    @pytest.mark.parametrize("expected_version", [None, 1])
    def test_deletion_makes_room(self, server: RedisServer, expected_version: int | None) -> None:
        """A bundle that is deleted counts no more; one that is not, does."""
        with limited(server, 1) as store:
            put(store, b"1", of_chain(0))
            assert store.delete(of_chain(1), expected_version) is False
            with pytest.raises(Conflict):
                store.delete(of_chain(0), expected_version=9)
            with pytest.raises(TooManyBundles):
                put(store, b"1", of_chain(1))
            assert store.delete(of_chain(0), expected_version) is True
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
                assert client.zscore(INDEX, "t0") == float("inf")
                assert client.pttl(INDEX) == -1
                put(store, b"3", of_chain(0), ttl_ms=50_000)
                assert 0 < float(client.zscore(INDEX, "t0") or 0) - time.time() * 1000 <= 50_000
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
            store.delete(of_chain(2))
            assert client.keys("*") == []
            put(store, b"1", of_chain(3), ttl_ms=100)
            put(store, b"1", of_chain(4), ttl_ms=200)
            wait_for(lambda: client.keys("*") == [], "all have expired", 5)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.sampled_from(["put", "keep", "delete"]), st.integers(0, 4)), max_size=25))
    def test_it_counts_what_is_there(self, server: RedisServer, calls: list[tuple[str, int]]) -> None:
        """After any sequence of calls the count is that of the bundles, and it decided what was stored."""
        with limited(server, 3) as store, server.client() as client:
            there: set[int] = set()
            for call, number in calls:
                key = of_chain(number)
                options: Options = {"ttl_ms": 90_000} if call == "put" else {}
                if call == "delete":
                    assert store.delete(key) is (number in there)
                    there.discard(number)
                elif stored(partial(put, store, b"1", key, **options)):
                    there.add(number)
                else:
                    assert number not in there and len(there) == 3
                assert client.zcard(INDEX) == len(there) == len(list(store.list("chain")))

    def test_redis_forgets_the_script(self, server: RedisServer, store: Store) -> None:
        """A Redis that has lost its scripts is sent it again, and a put happens once."""
        put(store, b"1")
        with server.client() as client:
            client.script_flush()
        assert put(store, b"2").version == 2
        assert keys(server) == [b"skylark:bundle:{chain}:task"]


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
            put(store, b"1")
            server.restart()
            assert store.get(KEY).fields == {"f": b"1"}
            server.restart()
            assert put(store, b"2", expected_version=1).version == 2

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
            for call in (lambda: store.get(KEY), lambda: put(store, b"2"), store.ping, lambda: next(store.list("c"))):
                with pytest.raises(StoreUnavailable, match=f"Redis at 127.0.0.1:{server.port}"):
                    call()

    def test_silence(self) -> None:
        """A Redis that does not answer in time is a timeout, and nothing is sent twice."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(run_redis(options=DURABLE))
            store, reader = (stack.enter_context(opened(server.url, timeout_s=0.3)) for _ in range(2))
            put(store, b"1")
            reader.ping()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                for call in (lambda: put(store, b"2"), lambda: reader.get(KEY)):
                    with pytest.raises(StoreTimeout):
                        call()
            finally:
                os.kill(server.pid, signal.SIGCONT)
            wait_for(lambda: store.head(KEY).version == 2, "the write that had been sent is done")
            with server.client() as client:
                wait_for(
                    lambda: "cmdstat_hgetall" in client.info("commandstats"), "the read that had been sent is done"
                )
                assert client.info("commandstats")["cmdstat_hgetall"]["calls"] == 1
            assert put(store, b"3").version == 3

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
                assert keys(server) == [b"skylark:bundle:{chain}:task"]
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
        assert keys(server) == [b"skylark:bundle:{chain}:task"]
        assert put(store, b"new").version == 2

    def test_read_only(self) -> None:
        """A replica refuses writes, and that is said."""
        with run_redis(options={"replicaof": f"127.0.0.1 {free_port()}"}) as server, opened(server.url) as store:
            with pytest.raises(StoreUnavailable, match=r"(?i)read only replica"):
                put(store, b"1")
            assert keys(server) == []


class TestWritable:
    """Whether Redis takes writes, asked without one."""

    def test_it_writes_nothing(self, server: RedisServer, store: Store) -> None:
        """Asking leaves no key and adds nothing to the file on disk."""
        put(store, b"1")
        with server.client() as client:
            before = client.info("persistence")["aof_current_size"]
            for _ in range(10):
                store.check_writable()
            assert client.info("persistence")["aof_current_size"] == before
        assert keys(server) == [b"skylark:bundle:{chain}:task"]

    def test_a_replica(self) -> None:
        """A Redis that has become a replica is not writable, and is once it is a primary again."""
        with run_redis() as server, opened(server.url) as store, server.client() as client:
            store.check_writable()
            client.replicaof("127.0.0.1", free_port())
            store.ping()
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="read only replica"):
                    store.check_writable()
            client.replicaof("NO", "ONE")
            store.check_writable()

    def test_a_full_one(self) -> None:
        """A full Redis is not writable, takes deletions, and is writable again with room."""
        with run_redis() as server, opened(server.url) as store, server.client() as client:
            put(store, b"x" * 1_000_000)
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
            with pytest.raises(StoreUnavailable, match="maxmemory") as caught:
                store.check_writable()
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
                store.check_writable()
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
            store.check_writable()

    def test_a_user_that_may_not_ask(self) -> None:
        """Rights that allow no SET say nothing about writes."""
        options = {"user": "sky on >s3cret ~skylark:* +@all -set"}
        with (
            run_redis(port=0, options=options) as server,
            opened(f"redis://sky:s3cret@127.0.0.1:{server.port}") as store,
        ):
            store.check_writable()
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
                    assert keys(new) == [b"skylark:bundle:{chain}:task"]
                    store.check_writable()
            finally:
                relay.close()


def is_writable(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailable):
        store.check_writable()
        return True
    return False


class Relay:
    """A TCP relay to a Redis that can let a request through and break the connection before the reply."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.breaks = 0
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

    def test_writes_are_not(self, relay: Relay, store: Store) -> None:
        """A write whose reply was lost is reported, and happened once."""
        relay.breaks = 1
        with pytest.raises(StoreUnavailable):
            put(store, b"2")
        wait_for(lambda: store.head(KEY).version == 2, "the write arrives")
        relay.breaks = 1
        with pytest.raises(StoreUnavailable):
            store.delete(KEY)

    def test_writes_that_name_their_version_are(self, relay: Relay, store: Store) -> None:
        """A write that may be done twice is sent once more."""
        relay.breaks = 1
        assert put(store, b"5", version=5).version == 5
        assert relay.breaks == 0
        assert store.get(KEY).fields == {"f": b"5"}


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
                store.ping()
                for chain in ("a", "b", "c"):
                    put(store, os.urandom(2_000_000), StateKey(chain, "t"))
                assert put(store, b"1", StateKey("a", "t"), expected_version=1).version == 2
                with pytest.raises(Conflict):
                    put(store, b"1", StateKey("a", "t"), expected_version=1)
                assert [info.key.chain_id for info in store.list("b")] == ["b"]
                assert store.delete(StateKey("b", "t"), expected_version=1) is True
                assert keys(server) == [b"skylark:bundle:{a}:t", b"skylark:bundle:{c}:t"]
                assert store.durability() is not None

    def test_chains_on_several_nodes(self, nodes: tuple[RedisServer, RedisServer]) -> None:
        """Each chain is on one node, all of it, and is read and listed there."""
        chains = [f"chain{number}" for number in range(20)]
        with opened(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}") as store:
            store.check_writable()
            for chain in chains:
                for task in ("t1", "t2"):
                    put(store, chain.encode(), StateKey(chain, task))
            for chain in chains:
                assert store.get(StateKey(chain, "t2")).fields == {"f": chain.encode()}
                assert {info.key.task_id for info in store.list(chain)} == {"t1", "t2"}
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
            store.delete(KEY)
            with source.client() as one, target.client() as two:
                name = two.execute_command("CLUSTER", "MYID")
                for client in (two, one):
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
            assert put(store, b"2", expected_version=0).version == 1
            assert store.get(KEY).fields == {"f": b"2"}
        assert keys(source) == []
        assert keys(target) == [b"skylark:bundle:{chain}:task"]

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
            for ask in (store.ping, store.check_writable):
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
                store.ping()

    def test_late_answers(self) -> None:
        """An answer that came too late is never taken for the answer to a later question."""
        with contextlib.ExitStack() as stack:
            primary = stack.enter_context(run_redis(port=0))
            watch = {"sentinel monitor main": f"127.0.0.1 {primary.port} 1"}
            sentinel = stack.enter_context(run_redis(port=0, options=watch, mode=["--sentinel"]))
            store = stack.enter_context(opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", timeout_s=0.5))
            other = StateKey("other", "task")
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
            assert keys(replica) == [b"skylark:bundle:{chain}:task"]


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
            answer = store.durability()
            assert answer is None if sentence is None else sentence in str(answer)

    def test_away(self) -> None:
        """A Redis that is away is not taken for one that hides its settings."""
        with run_redis() as server, opened(server.url) as store:
            server.kill()
            with pytest.raises(StoreUnavailable):
                store.durability()


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
                    store.ping()
                assert "wr0ng" not in str(caught.value)
                assert "wr0ng" not in repr(caught.value.__cause__)

    def test_encrypted(self) -> None:
        """An address with `rediss://` is accepted; what comes of it names the server."""
        with opened("rediss://127.0.0.1:1") as store, pytest.raises(StoreUnavailable, match=r"Redis at 127\.0\.0\.1:1"):
            store.ping()
