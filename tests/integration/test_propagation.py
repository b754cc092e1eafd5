"""Bundles on their way between real nodes: the fetch ladder, elections carried out, and parts that fail."""

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from continuum import LiveNode, Nodes, check_error, line, processes_of, run_nodes, run_proxy
from servers import is_running, wait_for
from skylark import wire
from skylark_proxy.topology import Topology
from strangers import answering

FIELDS = {"f": bytes(range(256)) * 50}
BODY = b"".join(wire.encode(FIELDS))
IMPATIENT = {"SKYLARK_PEER_CONNECT_TIMEOUT_MS": "300", "SKYLARK_PEER_TIMEOUT_MS": "300"}


def put(node: LiveNode, key: str, **query: object) -> dict[str, Any]:
    return node.client.put_bundle(key, FIELDS, **query)


def hops(node: LiveNode, key: str) -> tuple[int, str]:
    """Fetches a bundle, checks its bytes, and returns how many nodes were asked before and who had it."""
    fields, headers = node.client.get_bundle(key)
    assert {name: bytes(value) for name, value in fields.items()} == FIELDS
    return int(headers["skylark-hops"]), headers["skylark-served-by"]


def failed_at(placed: dict[str, Any]) -> list[str]:
    return [attempt["node"] for attempt in placed["failed"]]


@pytest.fixture
def three() -> Iterator[Nodes]:
    """sat – edge – cloud, for one test that kills them."""
    with run_nodes(line("sat", "edge", "cloud")) as nodes:
        yield nodes


class TestFetchLadder:
    def test_local_then_the_node_of_the_key_then_the_cloud(self, nodes: Nodes, chain: str) -> None:
        """The nodes are asked in this order, and the hops are those that were asked in vain."""
        node = nodes["sat1"]
        for holder in ("sat1", "sat2", "cloud1"):
            put(node, f"{chain}:{holder}:on-{holder}")
        assert hops(node, f"{chain}:sat1:on-sat1") == (0, "sat1")
        assert hops(node, f"{chain}:sat2:on-sat2") == (1, "sat2")
        assert hops(node, f"{chain}:cloud1:on-cloud1") == (1, "cloud1")
        assert hops(nodes["cloud1"], f"{chain}:on-cloud1") == (0, "cloud1")
        put(node, f"{chain}:sat2:copied", replicate="true")
        wait_for(lambda: f"{chain}:sat2:copied" in nodes["cloud1"].held(chain), "the cloud has a copy")
        with nodes["sat2"].redis() as client:
            client.delete(*(f"skylark:{kind}:{{{chain}}}:sat2:copied" for kind in ("bundle", "ledger")))
        assert hops(node, f"{chain}:sat2:copied") == (2, "cloud1")

    def test_a_key_of_another_node(self, nodes: Nodes, chain: str) -> None:
        """A key that names a node means that node's bundle or a copy of it, and not another one of the same task."""
        put(nodes["sat1"], f"{chain}:sat1:t1")
        put(nodes["sat1"], f"{chain}:cloud1:t1")
        answer = nodes["sat1"].http.get(f"/bundles/{chain}:sat2:t1")
        assert check_error(answer, 404, "not-found")["looked_at"] == ["sat1", "sat2", "cloud1"]
        assert nodes["sat1"].http.head(f"/bundles/{chain}:sat2:t1").status_code == 404
        assert nodes["sat1"].http.head(f"/bundles/{chain}:t1").headers["skylark-served-by"] == "sat1"

    def test_a_node_that_is_not_asked(self, nodes: Nodes, chain: str) -> None:
        """A bundle at a node that neither the key names nor is the cloud is not found, and nobody is asked twice."""
        put(nodes["sat1"], f"{chain}:sat3:t1")
        error = check_error(nodes["sat1"].http.get(f"/bundles/{chain}:sat1:t1"), 404, "not-found")
        assert error["looked_at"] == ["sat1", "cloud1"]

    def test_a_node_that_is_away(self, three: Nodes, chain: str) -> None:
        """If the node of the key is away the cloud is asked; what may be at that node is unavailable, not missing."""
        put(three["sat"], f"{chain}:edge:t1", replicate="true")
        put(three["sat"], f"{chain}:edge:t2")
        wait_for(lambda: bool(three["cloud"].held(chain)), "the cloud has a copy")
        three["edge"].kill()
        assert hops(three["sat"], f"{chain}:edge:t1") == (2, "cloud")
        error = check_error(three["sat"].http.get(f"/bundles/{chain}:edge:t2"), 503, "unavailable", "edge")
        assert (error["node"], error["retryable"]) == ("edge", True)
        three["edge"].restart()
        assert hops(three["sat"], f"{chain}:edge:t2") == (1, "edge")

    def test_what_was_fetched_can_be_kept(self, chain: str) -> None:
        """A node with `keep_fetched` has a bundle itself after the first fetch, of the same version and origin."""
        with run_nodes(line("sat", "cloud"), of_node={"sat": {"SKYLARK_KEEP_FETCHED": "true"}}) as nodes:
            version = [put(nodes["cloud"], f"{chain}:t1")["version"] for _ in range(3)][-1]
            _, partial = nodes["sat"].client.get_bundle(f"{chain}:t1", ["f"])
            assert (partial["skylark-hops"], nodes["sat"].held(chain)) == ("1", [])
            assert [hops(nodes["sat"], f"{chain}:t1") for _ in range(2)] == [(1, "cloud"), (0, "sat")]
            kept, own = (nodes[name].http.get(f"/bundles/{chain}:t1").headers for name in ("sat", "cloud"))
            metadata = ("etag", "skylark-origin", "skylark-created-ms", "skylark-crc32")
            assert [kept[name] for name in metadata] == [own[name] for name in metadata]
            assert kept["etag"] == f'"{version}"'
            assert nodes["cloud"].held(chain) == [f"{chain}:cloud:t1"]

    def test_what_was_fetched_is_not_kept_by_default(self, nodes: Nodes, chain: str) -> None:
        """Without that setting each fetch goes to the node that has the bundle."""
        put(nodes["sat1"], f"{chain}:sat2:t1")
        assert [hops(nodes["sat1"], f"{chain}:sat2:t1") for _ in range(2)] == [(1, "sat2")] * 2
        assert nodes["sat1"].held(chain) == []

    def test_what_was_kept_expires_with_the_original(self, chain: str) -> None:
        """A kept copy lives no longer than the bundle that it is a copy of."""
        with run_nodes(line("sat", "cloud"), of_node={"sat": {"SKYLARK_KEEP_FETCHED": "true"}}) as nodes:
            put(nodes["cloud"], f"{chain}:t1", ttl_ms=60_000)
            assert [hops(nodes["sat"], f"{chain}:t1") for _ in range(2)] == [(1, "cloud"), (0, "sat")]
            kept, own = (nodes[name].http.get(f"/bundles/{chain}:t1").headers for name in ("sat", "cloud"))
            assert abs(int(kept["skylark-ttl-ms"]) - int(own["skylark-ttl-ms"])) < 1000


class TestElectedNodes:
    def test_the_elected_node_holds_the_bundle(self, nodes: Nodes, chain: str) -> None:
        """What an election says is carried out over sockets: the elected node's Redis has the bundle, no other one."""
        placed = put(nodes["sat1"], f"{chain}:t1")
        assert placed["election"]["elected"] == "sat3"
        with_keys = []
        for name, node in nodes.items():
            with node.redis() as client:
                with_keys += [name] if list(client.scan_iter(f"*{chain}*")) else []
        assert with_keys == ["sat3"]

    def test_the_next_candidates_of_a_node_that_was_killed(self, three: Nodes, chain: str) -> None:
        """Nodes that are away are passed over and reported in the order of the election; the local one is the last."""
        assert put(three["sat"], f"{chain}:t1")["key"] == f"{chain}:cloud:t1"
        three["cloud"].kill()
        placed = put(three["sat"], f"{chain}:t2")
        assert (placed["key"], failed_at(placed), placed["objective_met"]) == (f"{chain}:edge:t2", ["cloud"], True)
        assert "cloud" in placed["failed"][0]["error"]
        assert placed["election"]["elected"] == "cloud"
        three["edge"].kill()
        placed = put(three["sat"], f"{chain}:t3")
        assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t3", ["cloud", "edge"])
        three["cloud"].restart()
        assert put(three["sat"], f"{chain}:t4")["key"] == f"{chain}:cloud:t4"
        assert three["cloud"].held(chain) == [f"{chain}:cloud:t1", f"{chain}:cloud:t4"]

    def test_a_named_node_that_was_killed(self, three: Nodes, chain: str) -> None:
        """A key that names a node leaves no choice: where that node is away the caller is told to come again."""
        three["edge"].kill()
        error = check_error(
            three["sat"].http.put(f"/bundles/{chain}:edge:t1", content=BODY), 503, "unavailable", "edge"
        )
        assert error["retryable"] is True
        check_error(three["sat"].http.delete(f"/bundles/{chain}:edge:t1"), 503, "unavailable", "edge")
        assert three["sat"].held(chain) == three["cloud"].held(chain) == []

    def test_a_function_whose_elected_node_was_killed(self, components: dict[str, Path]) -> None:
        """A function does not notice: its bundle is at the next candidate, and the report has the failed one."""
        with run_nodes(line("sat", "edge", "cloud"), ("sat", "edge"), functions=components["stateful"]) as nodes:
            report = nodes["sat"].client.invoke("produce", b"100").json()
            assert report["key"].split(":")[1] == "edge"
            assert failed_at(report["placements"][0]) == ["cloud"]

    def test_a_bundle_that_every_candidate_refuses(self, chain: str) -> None:
        """An error that says the bundle itself is wrong is no reason to try the next candidate."""
        with run_nodes(line("sat", "cloud"), of_node={"cloud": {"SKYLARK_MAX_BUNDLE_BYTES": "1000"}}) as nodes:
            check_error(nodes["sat"].http.put(f"/bundles/{chain}:t1", content=BODY), 413, "too-large", "cloud", "1000")
            assert nodes["sat"].held(chain) == []


@contextlib.contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Takes connections, as the kernel does for whoever listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address_of(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"{host}:{port}"


def moved(topology: Topology, name: str, address: str) -> Topology:
    """The topology as one sees it for whom a node is elsewhere."""
    nodes = (replace(node, address=address) if node.name == name else node for node in topology.nodes.values())
    return Topology.build(nodes, topology.links, topology.epoch)


class TestStrangers:
    """Something else answers at a node's address."""

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 2\r\n\r\n{}',
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b'HTTP/1.1 200 OK\r\nSkylark-Node: other\r\nETag: "1"\r\nContent-Length: 2\r\n\r\n{}',
        ],
        ids=["a page", "a page with an entity tag", "a redirect", "not found", "another node"],
    )
    def test_it_is_passed_over(self, chain: str, raw: bytes) -> None:
        """The bundle stays here and waits for the node itself; what may be at the node is not said to be missing."""
        with answering(raw) as (address, _):
            topology = moved(line("sat", "cloud"), "cloud", address)
            with run_nodes(topology, ["sat"], settings=IMPATIENT) as nodes:
                placed = put(nodes["sat"], f"{chain}:t1")
                assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t1", ["cloud"])
                assert hops(nodes["sat"], f"{chain}:sat:t1") == (0, "sat")
                answer = nodes["sat"].http.get(f"/bundles/{chain}:cloud:t2")
                assert "answers at" in check_error(answer, 503, "unavailable", "cloud")["reason"]
                put(nodes["sat"], f"{chain}:t3", ack="local")
                wait_for(lambda: "is tried again" in nodes["sat"].log(), "the outbox has tried")
                assert nodes["sat"].held(chain) == [f"{chain}:sat:t1", f"{chain}:sat:t3"]

    def test_every_answer_names_its_node(self, nodes: Nodes) -> None:
        """Good answers and errors, also those of the server below the application, have the node's name."""
        for path in ("/health", "/bundles/a:nowhere", "/nothing", "/bundles"):
            assert nodes["sat2"].http.get(path).headers["skylark-node"] == "sat2"


class TestSilentPeers:
    def test_a_node_that_takes_a_bundle_and_never_answers(self, chain: str) -> None:
        """After the timeout the next candidate is taken; a request that may have been carried out is not repeated."""
        with silent_server() as server:
            topology = moved(line("sat", "cloud"), "cloud", address_of(server))
            with run_nodes(topology, ["sat"], settings=IMPATIENT) as nodes:
                placed = put(nodes["sat"], f"{chain}:t1")
                assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t1", ["cloud"])
                assert 300 <= placed["duration_ms"] < 600
                error = check_error(nodes["sat"].http.get(f"/bundles/{chain}:cloud:t2"), 504, "timed-out", "cloud")
                assert error["retryable"] is True
                server.settimeout(5)
                received = server.accept()[0]
                with received:
                    assert received.recv(100).startswith(f"PUT /bundles/{chain}%3Acloud%3At1?scope=local".encode())

    def test_a_node_without_a_way_to_it(self, chain: str) -> None:
        """A node whose connection is never made costs no more than the timeout of connections."""
        with contextlib.ExitStack() as stack:
            full = stack.enter_context(silent_server())
            full.listen(0)
            while fills(stack, full):
                pass
            topology = moved(line("sat", "cloud"), "cloud", address_of(full))
            with run_nodes(topology, ["sat"], settings={"SKYLARK_PEER_CONNECT_TIMEOUT_MS": "300"}) as nodes:
                placed = put(nodes["sat"], f"{chain}:t1")
                assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t1", ["cloud"])
                assert 300 <= placed["duration_ms"] < 1500


def fills(stack: contextlib.ExitStack, server: socket.socket) -> bool:
    """Makes one more connection that the server never takes; False once its queue is full."""
    connection = stack.enter_context(socket.socket())
    connection.settimeout(0.2)
    try:
        connection.connect(server.getsockname())
    except TimeoutError:
        return False
    return True


@dataclass
class Relay:
    """Stands between a node and a peer and passes on requests, one connection at a time, as a test tells it to.

    Attributes:
        decide: For the number of a request, from 0: `pass` it on; `drop` the connection before the request is passed
            on; `swallow` the answer and drop the connection; `close` the connection after the answer, unannounced.
        seen: The methods of the requests that arrived, with what was done.
        etags: Those of the answers, also of those that were swallowed.
    """

    target: str
    decide: Callable[[int], str]
    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    seen: list[tuple[str, str]] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)
    connections: int = 0

    def run(self) -> None:
        """Serves until the server socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections += 1
                with connection, contextlib.suppress(OSError):
                    while self._relay_one(connection):
                        pass

    def _relay_one(self, connection: socket.socket) -> bool:
        with connection.makefile("rb") as stream:
            request = message(stream)
            if not request:
                return False
            action = self.decide(len(self.seen))
            self.seen.append((request.split(b" ", 1)[0].decode(), action))
            if action == "drop":
                return False
            host, port = self.target.split(":")
            with socket.create_connection((host, int(port))) as peer, peer.makefile("rb") as answers:
                peer.sendall(request)
                answer = message(answers, without_body=request.startswith(b"HEAD"))
        self.etags += re.findall(r"\r\netag: (.*)\r\n", answer.decode("latin-1"), re.IGNORECASE)
        if action != "swallow":
            connection.sendall(answer)
        return action == "pass"


def message(stream: Any, without_body: bool = False) -> bytes:
    """An HTTP message with its body, by its Content-Length; empty at the end of the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head_line = stream.readline()
        if not head_line:
            return b""
        head += head_line
    lengths = [row.split(b":")[1] for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")]
    return head + (stream.read(int(lengths[0])) if lengths and not without_body else b"")


@contextlib.contextmanager
def relayed(decide: Callable[[int], str]) -> Iterator[tuple[Nodes, Relay]]:
    """sat and cloud, each a node, with a relay on the way from sat to cloud."""
    topology = line("sat", "cloud")
    relay = Relay(topology.node("cloud").address, decide)
    thread = threading.Thread(target=relay.run)
    with run_nodes(topology, ["cloud"]) as cloud, relay.server:
        thread.start()
        seen = moved(topology, "cloud", address_of(relay.server))
        try:
            with run_nodes(seen, ["sat"], settings=IMPATIENT) as sat:
                yield sat | cloud, relay
        finally:
            relay.server.shutdown(socket.SHUT_RDWR)
            thread.join(20)
    assert not thread.is_alive()


class TestBrokenConnections:
    def test_connections_are_kept(self, chain: str) -> None:
        """Many requests to a peer go over one connection."""
        with relayed(lambda _: "pass") as (nodes, relay):
            for number in range(5):
                put(nodes["sat"], f"{chain}:t{number}")
            assert (relay.connections, relay.seen) == (1, [("PUT", "pass")] * 5)
            assert len(nodes["cloud"].held(chain)) == 5

    def test_a_kept_connection_that_the_peer_closed(self, chain: str) -> None:
        """A connection that was closed while idle is replaced; nothing is sent twice and nobody is passed over."""
        with relayed(lambda _: "close") as (nodes, relay):
            placed = [put(nodes["sat"], f"{chain}:t1") for _ in range(4)]
            versions = [one["version"] for one in placed]
            assert versions == sorted(set(versions))
            assert all(one["failed"] == [] for one in placed)
            assert [entry for entry in relay.seen if entry[0] != "PUT"] == []

    def test_a_kept_connection_that_breaks_before_the_request_is_done(self, chain: str) -> None:
        """The request is sent again on a new connection, and the bundle is stored exactly once."""
        with relayed(lambda number: "drop" if number == 1 else "pass") as (nodes, relay):
            put(nodes["sat"], f"{chain}:t0")
            placed = put(nodes["sat"], f"{chain}:t1")
            assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t1", [])
            assert relay.seen == [("PUT", "pass"), ("PUT", "drop"), ("PUT", "pass")]
            assert hops(nodes["sat"], placed["key"]) == (1, "cloud")

    def test_an_answer_that_is_lost(self, chain: str) -> None:
        """A request that was done but whose answer is lost is repeated, and the bundle is stored exactly once."""
        with relayed(lambda number: "swallow" if number == 0 else "pass") as (nodes, relay):
            placed = put(nodes["sat"], f"{chain}:t1")
            assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t1", [])
            assert relay.seen == [("PUT", "swallow"), ("PUT", "pass")]
            [held] = nodes["cloud"].client.list_bundles(chain)
            assert (held["key"], held["version"]) == (placed["key"], placed["version"])
            assert relay.etags == [f'"{placed["version"]}"'] * 2

    def test_a_lost_answer_to_a_condition(self, chain: str) -> None:
        """A repeated request that expects the version before its own first attempt is known, and no conflict."""
        with relayed(lambda number: "swallow" if number == 0 else "pass") as (nodes, relay):
            http, path = nodes["sat"].http, f"/bundles/{chain}:cloud:t1"
            answer = http.put(path, content=BODY, headers={"If-None-Match": "*"})
            assert (answer.status_code, answer.json()["failed"]) == (200, [])
            assert relay.etags == [f'"{answer.json()["version"]}"'] * 2
            assert relay.seen == [("PUT", "swallow"), ("PUT", "pass")]
            check_error(http.put(path, content=BODY, headers={"If-None-Match": "*"}), 409, "conflict")

    def test_a_connection_that_always_breaks(self, chain: str) -> None:
        """A request is repeated once, then the next candidate is taken."""
        with relayed(lambda _: "drop") as (nodes, relay):
            placed = put(nodes["sat"], f"{chain}:t1")
            assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t1", ["cloud"])
            assert relay.seen == [("PUT", "drop")] * 2

    def test_a_fetch_over_a_broken_connection(self, chain: str) -> None:
        """Fetching and deleting are repeated as well."""
        with relayed(lambda number: "drop" if number in (0, 2) else "pass") as (nodes, relay):
            put(nodes["cloud"], f"{chain}:t1")
            assert hops(nodes["sat"], f"{chain}:t1") == (1, "cloud")
            nodes["sat"].client.delete_bundle(f"{chain}:cloud:t1")
            assert [method for method, _ in relay.seen] == ["GET", "GET", "DELETE", "DELETE"]
            assert nodes["cloud"].held(chain) == []


class TestRedisThatDies:
    def test_the_redis_of_a_node_is_killed(self, chain: str) -> None:
        """While Redis is away requests are 503 and may be repeated; it is started again, and what was acknowledged
        is there."""
        with run_proxy() as node:
            acknowledged = {put(node, f"{chain}:t{number}")["key"] for number in range(20)}
            killed = node.redis_pid()
            os.kill(killed, signal.SIGKILL)
            statuses = []
            for number in range(20, 40):
                answer = node.http.put(f"/bundles/{chain}:t{number}", content=BODY)
                statuses.append(answer.status_code)
                if answer.status_code == 200:
                    acknowledged.add(answer.json()["key"])
                else:
                    assert check_error(answer, 503, "unavailable")["retryable"] is True
            assert len(acknowledged) == 20 + statuses.count(200)
            node.wait_until_ready()
            assert node.redis_pid() != killed
            assert not is_running(killed)
            for key in acknowledged:
                assert hops(node, key) == (0, "alone")
            put(node, f"{chain}:after")

    def test_readiness_while_redis_is_away(self, chain: str) -> None:
        """A node that cannot store is not ready but alive, and says that a request may be repeated."""
        with run_proxy() as node:
            stopped = node.redis_pid()
            os.kill(stopped, signal.SIGKILL)
            answers = []

            def away() -> bool:
                answers.append(node.http.get("/health/readiness"))
                return answers[-1].status_code == 503

            wait_for(lambda: away() or node.redis_pid() != stopped, "the node is not ready, or Redis runs again")
            assert {answer.json()["status"] for answer in answers} <= {"ready", "not-ready"}
            assert node.http.get("/health/liveness").json() == {"node": "alone", "status": "alive"}
            node.wait_until_ready()

    def test_readiness_while_redis_takes_no_writes(self, chain: str) -> None:
        """A node whose Redis is a replica, or full, is not ready and refuses stores, with the reason."""
        with run_proxy() as node, node.redis() as client:
            put(node, f"{chain}:t1")
            client.replicaof("127.0.0.1", 9)
            for path in ("/health", "/health/readiness"):
                answer = node.http.get(path)
                assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
                assert "read only replica" in answer.json()["reason"]
            refused = node.http.put(f"/bundles/{chain}:t2", content=BODY)
            assert "read only replica" in check_error(refused, 503, "unavailable")["message"]
            assert int(refused.headers["retry-after"]) > 0
            assert hops(node, f"{chain}:t1") == (0, "alone")
            client.replicaof("NO", "ONE")
            assert node.http.get("/health").status_code == 200
            client.config_set("maxmemory", 1)
            assert "maxmemory" in node.http.get("/health").json()["reason"]
            assert node.http.put(f"/bundles/{chain}:t2", content=BODY).status_code == 503
            assert node.http.delete(f"/bundles/{chain}:t1").status_code == 204
            client.config_set("maxmemory", 0)
            assert node.http.get("/health").status_code == 200
            put(node, f"{chain}:t2")

    def test_the_redis_of_the_elected_node_hangs(self, chain: str) -> None:
        """A peer whose Redis does not answer in time is passed over like one that is away."""
        with run_nodes(line("sat", "cloud"), of_node={"sat": IMPATIENT}) as nodes:
            hanging = nodes["cloud"].redis_pid()
            os.kill(hanging, signal.SIGSTOP)
            try:
                placed = put(nodes["sat"], f"{chain}:t1")
            finally:
                os.kill(hanging, signal.SIGCONT)
            assert (placed["key"], failed_at(placed)) == (f"{chain}:sat:t1", ["cloud"])


class TestTheEndOfANode:
    @pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    def test_a_node_that_is_told_to_end(self, components: dict[str, Path], chain: str, signal_number: int) -> None:
        """It ends with status 0 and leaves no process and no socket; its data stays."""
        with run_proxy(components["stateful"]) as node:
            put(node, f"{chain}:t1")
            own = node.client.invoke("produce", b"9", chain=chain).json()["key"]
            redis_pid, socket_file = node.redis_pid(), node.data / "redis.sock"
            assert socket_file.exists()
            assert node.end(signal_number) == 0
            assert not is_running(redis_pid)
            assert not socket_file.exists()
            assert processes_of(str(node.folder)) == []
            assert "Traceback" not in node.log()
            node.restart()
            assert node.held(chain) == sorted([f"{chain}:alone:t1", own])

    def test_a_request_that_runs_when_the_node_is_told_to_end(self, components: dict[str, Path]) -> None:
        """A request that runs is answered before the node ends, and what it stored is there afterwards."""
        with run_proxy(components["hostile"]) as node:
            program = b"import time\nprint('it runs')\ntime.sleep(0.5)\nanswer = {'f': b'late'}"
            answers: list[Any] = []

            def ask() -> None:
                answers.append(node.http.post("/functions/attack", content=program))

            thread = threading.Thread(target=ask)
            thread.start()
            wait_for(lambda: "it runs" in node.log(), "the function runs")
            assert node.end() == 0
            thread.join(20)
            assert answers[0].status_code == 200
            node.restart()
            assert bytes(node.client.get_bundle(answers[0].json()["key"])[0]["f"]) == b"late"

    def test_a_node_that_is_killed(self, components: dict[str, Path], chain: str) -> None:
        """Its Redis does not outlive it; started again it has what it acknowledged."""
        with run_proxy(components["stateful"]) as node:
            keys = {put(node, f"{chain}:t{number}")["key"] for number in range(10)}
            redis_pid = node.redis_pid()
            node.kill()
            wait_for(lambda: not is_running(redis_pid), "the Redis of the killed proxy has ended")
            assert processes_of(str(node.folder)) == []
            node.restart()
            assert set(node.held(chain)) == keys
            assert node.client.invoke("relay", b"on").body == b"on"

    def test_a_node_that_is_killed_again_and_again(self, chain: str) -> None:
        """What was acknowledged is there after every crash, however soon it comes."""
        with run_proxy() as node:
            keys: set[str] = set()
            for number in range(3):
                keys.add(put(node, f"{chain}:t{number}")["key"])
                node.kill()
                node.restart()
                assert set(node.held(chain)) == keys
