"""What an acknowledgement promises: who holds a bundle then, and that it gets where it is to go, whatever happens."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from continuum import LiveNode, Nodes, check_error, line, run_nodes, run_proxy
from relay import Relays, run_relayed
from servers import wait_for
from skylark import wire
from skylark_proxy.client import ProxyError
from skylark_proxy.continuum import with_free_ports
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.topology import Topology

QUICK = {"SKYLARK_PEER_CONNECT_TIMEOUT_MS": "500", "SKYLARK_PEER_TIMEOUT_MS": "1500"}
PATIENT = {"SKYLARK_MAX_LATENCY_MS": "1000000", "SKYLARK_PEER_CONNECT_TIMEOUT_MS": "20000"}
SMALL = {"f": bytes(range(256)) * 50}


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Nodes, Relays]]:
    """sat – edge – cloud over fast links."""
    with run_relayed(line("sat", "edge", "cloud"), settings=QUICK) as running:
        yield running


@pytest.fixture
def three(running: tuple[Nodes, Relays]) -> Iterator[Nodes]:
    """The nodes, with all links healed afterwards and nothing on its way."""
    yield running[0]
    for relay in running[1].all():
        relay.heal()
    for node in running[0].values():
        wait_for(idle(node), f"the outbox of {node.node.name} is empty", 20)


@pytest.fixture
def relays(running: tuple[Nodes, Relays]) -> Relays:
    return running[1]


@contextlib.contextmanager
def slow_link(
    settings: Mapping[str, str] | None = None, latency_ms: float = 60, bandwidth_mbps: float = 8
) -> Iterator[tuple[Nodes, Relays]]:
    """sat – cloud over a slow link that the objectives allow."""
    topology = line("sat", "cloud", latency_ms=latency_ms, bandwidth_mbps=bandwidth_mbps)
    with run_relayed(topology, settings=PATIENT | dict(settings or {}), as_links=True) as running:
        yield running


def noise(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def put(node: LiveNode, key: str, fields: Mapping[str, bytes] = SMALL, **query: object) -> dict[str, Any]:
    return node.client.put_bundle(key, fields, **query)


def held_at(nodes: Nodes, chain: str) -> list[str]:
    """The nodes that hold a bundle of a chain."""
    return [name for name, node in nodes.items() if node.held(chain)]


def read(node: LiveNode, key: str) -> dict[str, bytes]:
    """The bytes of a bundle that a node itself holds."""
    answer = node.http.get(f"/bundles/{key}", params={"scope": "local"})
    assert answer.status_code == 200, answer.text
    return {name: bytes(value) for name, value in wire.decode(answer.content).items()}


def fetched(node: LiveNode, key: str, expected: Mapping[str, bytes]) -> int:
    """Fetches a bundle, compares its bytes, and returns how many nodes were asked before one had it."""
    fields, headers = node.client.get_bundle(key)
    assert {name: bytes(value) for name, value in fields.items()} == expected
    return int(headers["skylark-hops"])


def idle(node: LiveNode) -> Callable[[], bool]:
    return lambda: node.behind() == []


class TestAckLevels:
    def test_local(self, three: Nodes, relays: Relays, chain: str) -> None:
        """With `local` the answer needs no other node; the elected one has the bundle later, and the cloud has not."""
        for relay in relays.of("sat"):
            relay.cut()
        placed = put(three["sat"], f"{chain}:t1", ack="local", destination="edge")
        assert (placed["key"], placed["on_the_way_to"], placed["failed"]) == (f"{chain}:sat:t1", ["edge"], [])
        assert placed["election"]["elected"] == "edge"
        assert held_at(three, chain) == ["sat"]
        for relay in relays.of("sat"):
            relay.heal()
        wait_for(lambda: held_at(three, chain) == ["edge", "sat"] or held_at(three, chain) == ["sat", "edge"], "there")
        wait_for(idle(three["sat"]), "the outbox is empty")
        assert three["cloud"].held(chain) == []
        assert read(three["edge"], f"{chain}:edge:t1") == SMALL

    def test_local_at_the_elected_node(self, three: Nodes, chain: str) -> None:
        """Where the local node is the elected one, nothing is on its way."""
        placed = put(three["sat"], f"{chain}:t1", ack="local", destination="sat")
        assert (placed["key"], placed["on_the_way_to"]) == (f"{chain}:sat:t1", [])
        assert three["sat"].behind() == []

    def test_elected(self, three: Nodes, relays: Relays, chain: str) -> None:
        """With `elected` the elected node has the bundle when the answer comes, no other one has, then or later."""
        relays.between("sat", "cloud").cut()
        relays.between("edge", "cloud").cut()
        placed = put(three["sat"], f"{chain}:t1", ack="elected", destination="edge")
        assert (placed["key"], placed["on_the_way_to"], placed["failed"]) == (f"{chain}:edge:t1", [], [])
        assert held_at(three, chain) == ["edge"]
        assert [node.behind() for node in three.values()] == [[], [], []]

    def test_elected_while_the_elected_node_is_away(self, three: Nodes, relays: Relays, chain: str) -> None:
        """Kept at the local node instead, the bundle is on its way to the elected one, and arrives when it is back."""
        relays.between("sat", "edge").cut()
        placed = put(three["sat"], f"{chain}:t1", ack="elected", destination="edge")
        assert (placed["key"], placed["on_the_way_to"]) == (f"{chain}:sat:t1", ["edge"])
        assert [attempt["node"] for attempt in placed["failed"]] == ["edge"]
        assert held_at(three, chain) == ["sat"]
        relays.between("sat", "edge").heal()
        wait_for(lambda: bool(three["edge"].held(chain)), "it is at the elected node")
        assert read(three["edge"], f"{chain}:edge:t1") == SMALL

    def test_cloud(self, three: Nodes, chain: str) -> None:
        """With `cloud` the elected node and the cloud have the bundle when the answer comes, in the same version."""
        placed = put(three["sat"], f"{chain}:t1", ack="cloud", destination="edge")
        assert (placed["key"], placed["on_the_way_to"]) == (f"{chain}:edge:t1", [])
        assert held_at(three, chain) == ["cloud", "edge"]
        assert read(three["cloud"], f"{chain}:cloud:t1") == read(three["edge"], f"{chain}:edge:t1") == SMALL
        heads = [three[name].http.head(f"/bundles/{placed['key']}").headers for name in ("edge", "cloud")]
        assert [head["skylark-served-by"] for head in heads] == ["edge", "cloud"]
        for name in ("etag", "skylark-crc32", "skylark-created-ms", "skylark-origin"):
            assert heads[0][name] == heads[1][name]

    def test_cloud_while_it_is_away(self, three: Nodes, relays: Relays, chain: str) -> None:
        """Without the cloud nothing is acknowledged, and the caller is told to come again."""
        relays.between("sat", "cloud").cut()
        body = b"".join(wire.encode(SMALL))
        answer = three["sat"].http.put(f"/bundles/{chain}:t1?ack=cloud&destination=edge", content=body)
        assert check_error(answer, 503, "unavailable", "cloud")["retryable"] is True
        relays.between("sat", "cloud").heal()
        put(three["sat"], f"{chain}:t1", ack="cloud", destination="edge")
        assert held_at(three, chain) == ["cloud", "edge"]

    @pytest.mark.parametrize("ack", ["local", "elected"])
    def test_a_copy_for_the_cloud(self, three: Nodes, relays: Relays, chain: str, ack: str) -> None:
        """With `replicate` the cloud gets a copy afterwards, from whoever holds the bundle."""
        for relay in relays.of("cloud"):
            relay.cut()
        placed = put(three["sat"], f"{chain}:t1", ack=ack, destination="edge", replicate="true")
        expected = {"local": ("sat", ["edge", "cloud"]), "elected": ("edge", ["cloud"])}[ack]
        assert (placed["key"].split(":")[1], placed["on_the_way_to"]) == expected
        assert three["cloud"].held(chain) == []
        for relay in relays.of("cloud"):
            relay.heal()
        wait_for(lambda: bool(three["cloud"].held(chain)), "it is at the cloud")
        assert read(three["cloud"], f"{chain}:cloud:t1") == SMALL

    def test_the_levels_of_a_node(self, chain: str) -> None:
        """A node's settings hold for stores that do not say; what they say wins."""
        of_node = {"sat": {"SKYLARK_ACK": "local", "SKYLARK_REPLICATE": "true"}}
        with run_nodes(line("sat", "edge", "cloud"), ("sat",), settings=QUICK, of_node=of_node) as nodes:
            placed = put(nodes["sat"], f"{chain}:t1", destination="edge")
            assert (placed["key"], placed["on_the_way_to"]) == (f"{chain}:sat:t1", ["edge", "cloud"])
            placed = put(nodes["sat"], f"{chain}:t2", destination="edge", replicate="false")
            assert placed["on_the_way_to"] == ["edge"]
            placed = put(nodes["sat"], f"{chain}:t3", destination="edge", ack="elected", replicate="false")
            assert [attempt["node"] for attempt in placed["failed"]] == ["edge"]

    @pytest.mark.parametrize(("name", "value"), [("ack", "everywhere"), ("replicate", "yes")])
    def test_levels_that_do_not_exist(self, three: Nodes, chain: str, name: str, value: str) -> None:
        """A level that does not exist is refused by its name, and nothing is stored."""
        body = b"".join(wire.encode(SMALL))
        answer = three["sat"].http.put(f"/bundles/{chain}:t1", params={name: value}, content=body)
        check_error(answer, 400, "invalid-argument", name, value)
        assert held_at(three, chain) == []


class TestArrivals:
    def test_a_slow_link(self, chain: str) -> None:
        """`local` answers before the link has carried the bundle; a fetch at the elected node waits for it, and it
        goes over the link once."""
        data = {"f": noise(5_000_000)}
        with slow_link() as (nodes, relays):
            relay = relays.between("sat", "cloud")
            started = time.monotonic()
            placed = put(nodes["sat"], f"{chain}:t1", data, ack="local")
            assert time.monotonic() - started < 1.5
            assert (placed["key"], placed["on_the_way_to"]) == (f"{chain}:sat:t1", ["cloud"])
            assert nodes["cloud"].held(chain) == []
            wait_for(lambda: relay.carried_bytes("sat") > 0, "the announcement is answered", 2)
            assert fetched(nodes["cloud"], placed["key"], data) == 0
            assert 4.5 < time.monotonic() - started < 9
            wait_for(idle(nodes["sat"]), "the outbox is empty")
            assert 5_000_000 < relay.carried_bytes("cloud") < 5_100_000
            assert relay.carried_bytes("sat") < 50_000

    def test_a_fetch_that_is_quicker_than_the_announcement(self, chain: str) -> None:
        """A fetch at the elected node in the moment of the acknowledgement does not take the link a second time."""
        data = {"f": noise(400_000)}
        with slow_link() as (nodes, relays):
            placed = put(nodes["sat"], f"{chain}:t1", data, ack="local")
            fetched(nodes["cloud"], placed["key"], data)
            wait_for(idle(nodes["sat"]), "the outbox is empty")
            assert relays.between("sat", "cloud").carried_bytes("cloud") < 450_000

    def test_a_timeout_for_connecting(self, chain: str) -> None:
        """The timeout of connecting, 1 s by default, does not bound how long a MiB takes over a link of a few Mbps."""
        with slow_link({"SKYLARK_PEER_CONNECT_TIMEOUT_MS": "100"}, 2, 20) as (nodes, _):
            placed = put(nodes["sat"], f"{chain}:t1", {"f": noise(6_000_000)}, ack="elected")
            assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t1", [])

    def test_a_wait_for_what_does_not_come(self, chain: str) -> None:
        """A fetch of a bundle that was announced and does not come ends after the node's time, as if nobody had."""
        with run_nodes(line("cloud"), settings={"SKYLARK_ARRIVAL_WAIT_MS": "400"}) as nodes:
            node, key = nodes["cloud"], f"{chain}:cloud:t1"
            assert node.http.post(f"/bundles/{key}/announcement?wait_ms=60000").status_code == 204
            started = time.monotonic()
            check_error(node.http.get(f"/bundles/{key}"), 404, "not-found")
            assert 0.4 <= time.monotonic() - started < 2
            started = time.monotonic()
            check_error(node.http.get(f"/bundles/{key}", params={"scope": "local"}), 404, "not-found")
            assert time.monotonic() - started < 0.4

    def test_many_who_wait(self, three: Nodes, chain: str) -> None:
        """However many fetches wait, the bundle that they wait for can arrive; all get it."""
        key = f"{chain}:cloud:t1"
        assert three["cloud"].http.post(f"/bundles/{key}/announcement?wait_ms=60000").status_code == 204
        got: list[int] = []

        def fetch() -> None:
            with contextlib.suppress(ProxyError):
                fields, _ = three["cloud"].client.get_bundle(key)
                got.append(len(fields["f"]))

        threads = [threading.Thread(target=fetch) for _ in range(60)]
        for thread in threads:
            thread.start()
        with three["cloud"].redis() as client:
            asked = int(client.info("stats")["total_commands_processed"])
            wait_for(lambda: int(client.info("stats")["total_commands_processed"]) > asked + 40, "they look for it")
        started = time.monotonic()
        put(three["cloud"], key)
        assert time.monotonic() - started < 2
        for thread in threads:
            thread.join(20)
        assert time.monotonic() - started < 5
        assert len(got) >= 20


class TestBundlesThatAreReplaced:
    def test_copies_are_replaced(self, three: Nodes, chain: str) -> None:
        """The copy of a bundle that is written again and again becomes that of the last one."""
        for number in range(20):
            put(three["sat"], f"{chain}:t1", {"f": noise(100_000, number)}, ack="local", destination="edge")
        last = {"f": noise(100_000, 19)}
        wait_for(lambda: bool(three["edge"].held(chain)), "a copy is there")
        wait_for(lambda: read(three["edge"], f"{chain}:edge:t1") == last, "it is the last one")
        wait_for(idle(three["sat"]), "the outbox is empty")

    @pytest.mark.parametrize("ack", ["local", "elected"])
    def test_one_writer_wins(self, three: Nodes, relays: Relays, chain: str, ack: str) -> None:
        """Of two writers who want to make the same bundle, by different nodes, one wins, also where a link is cut; so
        they have to say which node decides."""
        path, body = f"/bundles/{chain}:t1?ack={ack}&destination=edge", b"".join(wire.encode(SMALL))
        for condition in ({"If-None-Match": "*"}, {"If-Match": '"1"'}):
            answer = three["sat"].http.put(path, content=body, headers=condition)
            check_error(answer, 400, "invalid-argument", "key", f"{chain}:t1")
        relays.between("sat", "edge").cut()
        path = f"/bundles/{chain}:cloud:t1?ack={ack}"
        for name, status in (("sat", 200), ("edge", 409)):
            answer = three[name].http.put(path, content=body, headers={"If-None-Match": "*"})
            assert answer.status_code == status, answer.text
        assert held_at(three, chain) == ["cloud"]

    def test_a_write_that_was_given_up(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A write that was not acknowledged, because it got stuck on its way, does not replace a later one that was."""
        put(three["sat"], f"{chain}:edge:t0")  # each knows the other's clock since
        relays.between("sat", "edge").black_hole()
        body = b"".join(wire.encode({"f": b"given up"}))
        check_error(three["sat"].http.put(f"/bundles/{chain}:edge:t1", content=body), 504, "timed-out", "edge")
        put(three["edge"], f"{chain}:edge:t1", {"f": b"acknowledged"})
        relays.between("sat", "edge").heal()
        put(three["sat"], f"{chain}:edge:t2")  # overtakes nothing: it is a later request over the same link
        with contextlib.suppress(AssertionError):
            wait_for(lambda: read(three["edge"], f"{chain}:edge:t1") != {"f": b"acknowledged"}, "it is replaced", 2)
        assert read(three["edge"], f"{chain}:edge:t1") == {"f": b"acknowledged"}

    def test_a_key_that_names_a_node(self, three: Nodes, relays: Relays, chain: str) -> None:
        """Whoever asks with the key that was acknowledged gets what was acknowledged, at whatever node."""
        put(three["edge"], f"{chain}:edge:t1", {"f": b"before"})
        put(three["edge"], f"{chain}:edge:t1", {"f": b"before, again"})
        relays.between("sat", "edge").cut()
        placed = put(three["sat"], f"{chain}:t1", {"f": b"after"}, destination="edge")
        assert placed["key"] == f"{chain}:sat:t1"
        relays.between("sat", "edge").heal()
        wait_for(idle(three["sat"]), "the outbox is empty")
        assert fetched(three["edge"], placed["key"], {"f": b"after"}) >= 0

    def test_the_level_cloud_without_a_cloud(self, chain: str) -> None:
        """Where there is no cloud, nothing is acknowledged as being there."""
        nodes = [Node(name, "127.0.0.1", Tier.SAT) for name in ("sat", "other")]
        topology = with_free_ports(Topology.build(nodes, [Link("sat", "other", 1, 1000)], epoch=1))
        with run_nodes(topology, ["sat"]) as running:
            body = b"".join(wire.encode(SMALL))
            answer = running["sat"].http.put(f"/bundles/{chain}:t1?ack=cloud&destination=sat", content=body)
            assert answer.status_code != 200


class TestLinksThatBreak:
    def test_in_the_middle_of_a_transfer(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A forward that is broken off begins anew once the link is back, and the bundle arrives byte for byte."""
        data, relay = {"a": noise(3_000_000), "empty": b"", "b": noise(1000, 2)}, relays.between("sat", "cloud")
        relay.cut_after("cloud", 1_000_000)
        put(three["sat"], f"{chain}:t1", data, ack="local")
        wait_for(lambda: relay.is_cut, "the link is cut")
        assert three["cloud"].held(chain) == []
        relay.heal()
        wait_for(lambda: bool(three["cloud"].held(chain)), "it has arrived")
        assert read(three["cloud"], f"{chain}:cloud:t1") == data
        wait_for(idle(three["sat"]), "the outbox is empty")

    def test_a_black_hole(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A link that swallows everything delays what goes over it and nothing else."""
        relays.between("sat", "cloud").black_hole()
        for number in range(6):
            put(three["sat"], f"{chain}-{number}:t1", ack="local", destination="cloud")
        put(three["sat"], f"{chain}:t1", ack="local", destination="edge")
        wait_for(lambda: bool(three["edge"].held(chain)), "what goes over another link has arrived", 8)
        assert not any(three["cloud"].held(f"{chain}-{number}") for number in range(6))
        relays.between("sat", "cloud").heal()
        for number in range(6):
            wait_for(lambda chain=f"{chain}-{number}": bool(three["cloud"].held(chain)), "it has arrived")  # type: ignore[misc]

    def test_down_for_long(self, three: Nodes, relays: Relays, chain: str) -> None:
        """Of fifty chains every bundle arrives once the link is back."""
        relays.between("sat", "cloud").cut()
        expected = {}
        for task in range(4):
            for number in range(50):
                key, data = f"{chain}-{number}:t{task}", noise(2000, 1000 * task + number)
                put(three["sat"], key, {"f": data}, ack="local")
                expected[key] = data
        assert len(three["sat"].behind()) == 200
        relays.between("sat", "cloud").heal()
        wait_for(idle(three["sat"]), "all have arrived", 40)
        for key, data in expected.items():
            assert read(three["cloud"], key.replace(":", ":cloud:")) == {"f": data}

    def test_what_was_deleted_does_not_hold_up_its_chain(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A bundle that was deleted, or has expired, before it was forwarded is passed by the others of its chain."""
        relays.between("sat", "cloud").cut()
        put(three["sat"], f"{chain}:t1", ack="local")
        put(three["sat"], f"{chain}:t2", ack="local", ttl_ms=100)
        put(three["sat"], f"{chain}:t3", ack="local")
        three["sat"].client.delete_bundle(f"{chain}:sat:t1")
        wait_for(lambda: three["sat"].held(chain) == [f"{chain}:sat:t3"], "the second one has expired")
        relays.between("sat", "cloud").heal()
        wait_for(lambda: three["cloud"].held(chain) == [f"{chain}:sat:t3"], "the third one has arrived", 15)
        wait_for(idle(three["sat"]), "the outbox is empty")


class TestCrashes:
    def test_a_full_outbox(self, chain: str) -> None:
        """A node that is killed with a full outbox, in which nothing more could be stored, forwards all of it
        afterwards."""
        of_node = {"sat": {"SKYLARK_OUTBOX_MAX_ENTRIES": "20"}}
        with run_relayed(line("sat", "cloud"), settings=QUICK, of_node=of_node) as (nodes, relays):
            relays.between("sat", "cloud").cut()
            for number in range(20):
                put(nodes["sat"], f"{chain}:t{number:02}", {"f": noise(50_000, number)}, ack="local")
            body = b"".join(wire.encode(SMALL))
            answer = nodes["sat"].http.put(f"/bundles/{chain}:full?ack=local", content=body)
            error = check_error(answer, 503, "outbox-full", "20")
            assert (error["retryable"], error["entries"], error["limit"]) == (True, 20, 20)
            fallen_back = nodes["sat"].http.put(f"/bundles/{chain}:full?ack=elected", content=body)
            check_error(fallen_back, 503, "outbox-full")
            assert len(nodes["sat"].held(chain)) == 20
            nodes["sat"].kill()
            relays.between("sat", "cloud").heal()
            nodes["sat"].restart()
            wait_for(lambda: len(nodes["cloud"].held(chain)) == 20, "all have arrived")
            for number in range(20):
                assert read(nodes["cloud"], f"{chain}:cloud:t{number:02}") == {"f": noise(50_000, number)}
            wait_for(idle(nodes["sat"]), "the outbox is empty")
            assert put(nodes["sat"], f"{chain}:full", ack="local")["key"] == f"{chain}:sat:full"

    def test_a_node_without_its_redis(self, chain: str) -> None:
        """What may be in a Redis that does not answer is unavailable and not missing, whoever else is not known."""
        with run_proxy() as node:
            put(node, f"{chain}:t1")
            hanging = node.redis_pid()
            os.kill(hanging, signal.SIGKILL)
            answer = node.http.get(f"/bundles/{chain}:gone:t1")
            assert answer.status_code in (200, 503)
            node.wait_until_ready()

    def test_a_killed_redis(self, three: Nodes, relays: Relays, chain: str) -> None:
        """What is on its way survives the end of the Redis that holds it."""
        relays.between("sat", "cloud").cut()
        for number in range(10):
            put(three["sat"], f"{chain}:t{number}", ack="local")
        os.kill(three["sat"].redis_pid(), signal.SIGKILL)
        relays.between("sat", "cloud").heal()
        three["sat"].wait_until_ready()
        wait_for(lambda: len(three["cloud"].held(chain)) == 10, "all have arrived", 30)

    def test_a_transaction_that_was_cut_off(self, tmp_path: Path) -> None:
        """What is acknowledged after a crash in the midst of a transaction survives the next crash."""
        with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url, protocol=2) as client:
            client.set("kept", "1")
            client.set("deleted", "1")
        last = max((tmp_path / "appendonlydir").glob("*.incr.aof"), default=tmp_path / "appendonly.aof")
        with last.open("ab") as log:
            log.write(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSET\r\n$1")
        with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url, protocol=2, retry=None) as client:
            assert client.delete("deleted") == 1
            client.set("written", "1")
            killed = client.info("server")["process_id"]
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: client.info("server")["process_id"] != killed, "Redis runs again")
            assert sorted(client.keys()) == [b"kept", b"written"]


class TestTheEndOfBundles:
    def test_they_expire_everywhere(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A bundle ends at the node where it was made, at the elected one and at the cloud at about the same time, also
        where its copies were made late."""
        for relay in relays.of("sat"):
            relay.cut()
        started = time.monotonic()
        put(three["sat"], f"{chain}:t1", ack="local", destination="edge", replicate="true", ttl_ms=4000)
        wait_for(lambda: time.monotonic() - started > 1, "the links are down for a second")
        for relay in relays.of("sat"):
            relay.heal()
        wait_for(lambda: len(held_at(three, chain)) == 3, "all have it", 3)
        ends: dict[str, float] = {}

        def all_ended() -> bool:
            for name in three.keys() - ends.keys():
                if not three[name].held(chain):
                    ends[name] = time.monotonic() - started
            return len(ends) == 3

        wait_for(all_ended, "it has ended everywhere")
        assert min(ends.values()) > 3.9
        assert max(ends.values()) < 5.0
        assert max(ends.values()) - min(ends.values()) < 0.7

    def test_copies_are_deleted(self, three: Nodes, chain: str) -> None:
        """Whoever deletes a bundle, by whichever node, deletes its copies."""
        for holder, ack in (("sat", "local"), ("edge", "elected")):
            placed = put(three["sat"], f"{chain}:t1", ack=ack, destination="edge", replicate="true")
            assert placed["key"] == f"{chain}:{holder}:t1"
            wait_for(lambda: "cloud" in held_at(three, chain) and "edge" in held_at(three, chain), "copies are made")
            three["cloud"].client.delete_bundle(placed["key"])
            wait_for(lambda: held_at(three, chain) == [], "none is left")

    def test_copies_at_nodes_that_are_away(self, three: Nodes, relays: Relays, chain: str) -> None:
        """A copy whose node is away when the bundle is deleted is deleted when it is back."""
        placed = put(three["sat"], f"{chain}:t1", ack="local", destination="edge", replicate="true")
        wait_for(lambda: len(held_at(three, chain)) == 3, "copies are made")
        relays.between("sat", "edge").cut()
        three["sat"].client.delete_bundle(placed["key"])
        wait_for(lambda: held_at(three, chain) == ["edge"], "only the node that is away has it")
        put(three["sat"], f"{chain}:t2", ack="local", destination="edge")
        relays.between("sat", "edge").heal()
        wait_for(lambda: three["edge"].held(chain) == [f"{chain}:sat:t2"], "it is deleted, and its successor arrives")

    def test_the_copy_of_the_level_cloud(self, three: Nodes, chain: str) -> None:
        """A copy that was made before the answer is deleted as those that were made after it."""
        placed = put(three["sat"], f"{chain}:t1", ack="cloud", destination="edge")
        assert held_at(three, chain) == ["cloud", "edge"]
        three["sat"].client.delete_bundle(placed["key"])
        wait_for(lambda: held_at(three, chain) == [], "none is left", 3)

    def test_what_was_stored_since(self, three: Nodes, relays: Relays, chain: str) -> None:
        """The deletion of a copy that arrives late leaves what has been stored there since."""
        placed = put(three["sat"], f"{chain}:t1", ack="local", destination="sat", replicate="true")
        wait_for(lambda: "cloud" in held_at(three, chain), "a copy is made")
        for relay in relays.of("sat"):
            relay.cut()
        three["sat"].client.delete_bundle(placed["key"])
        put(three["edge"], f"{chain}:t1", {"f": b"since"}, ack="cloud", destination="edge")
        for relay in relays.of("sat"):
            relay.heal()
        wait_for(idle(three["sat"]), "the deletion has arrived")
        assert read(three["cloud"], f"{chain}:cloud:t1") == {"f": b"since"}
        assert three["cloud"].held(chain) == [f"{chain}:edge:t1"]

    def test_with_a_full_redis(self, three: Nodes, chain: str) -> None:
        """A Redis without memory takes the deletion of a bundle, and sees to its copies."""
        placed = put(three["sat"], f"{chain}:t1", {"f": noise(3_000_000)}, ack="local", destination="edge")
        wait_for(idle(three["sat"]), "its copy is made")
        assert held_at(three, chain) == ["edge", "sat"]
        with three["sat"].redis() as client:
            try:
                client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
                with pytest.raises(ProxyError, match="maxmemory"):
                    put(three["sat"], f"{chain}:sat:t2")
                three["sat"].client.delete_bundle(placed["key"])
            finally:
                client.config_set("maxmemory", 0)
        wait_for(lambda: held_at(three, chain) == [], "none is left")

    def test_deleted_again(self, three: Nodes, chain: str) -> None:
        """A bundle that is stored anew after it was deleted is not deleted with the copies of the first one."""
        for _ in range(3):
            placed = put(three["sat"], f"{chain}:t1", ack="local", destination="edge")
            three["sat"].client.delete_bundle(placed["key"])
        put(three["sat"], f"{chain}:t1", {"f": b"last"}, ack="local", destination="edge")
        wait_for(idle(three["sat"]), "the outbox is empty")
        assert read(three["edge"], f"{chain}:edge:t1") == {"f": b"last"}
