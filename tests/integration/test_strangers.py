"""Real nodes under clients and functions that take more than their due: everybody else is served, and it passes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes, run_proxy
from hostile_clients import MEGABYTE, Usage, at_once, connections, forget_peak, frozen, half_upload, many_descriptors
from node_infos import run_node_info
from servers import wait_for
from skylark import wire
from skylark_proxy.continuum import with_free_ports

SMALL = {"f": b"1"}


@pytest.fixture(scope="module")
def pair(components: Mapping[str, Path]) -> Iterator[Nodes]:
    """Two nodes of which the second can be frozen."""
    with run_nodes(line("sat", "cloud"), functions=components["stateful"].parent) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def node(pair: Nodes) -> LiveNode:
    return pair["sat"]


def serves(node: LiveNode, chain: str) -> None:
    """A client on this node stores, reads and deletes a bundle, and the node is healthy."""
    key = f"{chain}:{node.node.name}:mine"
    node.client.put_bundle(key, SMALL)
    assert dict(node.client.get_bundle(key)[0]) == SMALL
    node.client.delete_bundle(key)
    assert node.client.request("GET", "/health/readiness").status == 200


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    """The answer to a call, and how many seconds it took."""
    started = time.perf_counter()
    answer = call()
    return answer, time.perf_counter() - started


def settled(node: LiveNode, before: Usage, memory_bytes: int = 64 * MEGABYTE) -> None:
    """Threads, descriptors and memory of a node are what they were, or soon will be."""
    assert node.running is not None

    def is_so() -> bool:
        node.client.request("GET", "/health")  # idle threads end when the next call begins
        now = Usage.of(node.pid)
        return (
            now.threads <= before.threads + 8
            and now.descriptors <= before.descriptors + 48  # connections to other nodes and Redis are kept
            and now.memory_bytes <= before.memory_bytes + memory_bytes
        )

    try:
        wait_for(is_so, "it is as before", 60.0)
    except AssertionError:
        raise AssertionError(f"{Usage.of(node.pid)} is not {before} again") from None


class TestFunctions:
    def test_blocked_calls_leave_room_for_other_functions(self, node: LiveNode, chain: str) -> None:
        """While 64 calls of a function block in `select`, others are answered; the blocked ones end at their
        deadline, and nothing is left of them."""
        node.client.invoke("good", b"x")
        before = Usage.of(node.pid)
        with at_once(node, 64, lambda client: client.post("/functions/block_in_select", content=b"3600")) as blocked:
            wait_for(lambda: node.log().count("blocks now") >= 8, "calls are blocked")
            assert node.client.invoke("good", b"still here").body == b"still here"
            assert node.client.invoke("relay", b"and here").body == b"and here"
            assert not all(call.done() for call in blocked)
            serves(node, chain)
        codes = {call.result().json()["error"]["code"] for call in blocked}
        assert "function-timeout" in codes
        assert codes <= {"function-timeout", "overloaded", "too-many-requests"}
        assert node.client.request("GET", "/health/liveness").status == 200
        settled(node, before)

    def test_a_guest_that_computes_holds_up_nobody(self, node: LiveNode) -> None:
        """While guests compute, one after the other, not ten of 1,000 short calls take half as long as one of them."""
        ended = threading.Event()
        _, long_s = timed(lambda: node.http.post("/functions/loop_for_ever"))

        def compute() -> None:
            while not ended.is_set():
                check_error(node.http.post("/functions/loop_for_ever"), 504, "function-timeout")

        with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=node.url) as client:
            computing, slow = pool.submit(compute), 0
            try:
                for _ in range(1000):
                    answer, short_s = timed(lambda: client.post("/functions/good"))
                    assert answer.status_code == 200
                    slow += short_s > long_s / 2
                    assert slow < 10
            finally:
                ended.set()
            computing.result()

    def test_reports_keep_no_bundles(self, node: LiveNode, chain: str) -> None:
        """Reports of many invocations that fetch and leave two megabytes take no memory to speak of."""
        key = str(node.client.put_bundle(f"{chain}:sat:large", {"f": bytes(2 * MEGABYTE)})["key"])
        tasks = []
        for count in range(80):
            answer = node.client.invoke("relay", b"x", key=key)
            tasks.append(answer.headers["skylark-task"])
            if count == 20:
                before = Usage.of(node.pid)
        [fetch] = node.client.task(tasks[0])["fetches"]
        assert (fetch["size_bytes"], fetch["served_by"]) == (2 * MEGABYTE, "sat")
        settled(node, before, 60 * MEGABYTE)

    def test_what_a_guest_prints_is_no_command(self, node: LiveNode) -> None:
        """Carriage returns, escapes and the like of a guest come into the log as text, in its own line."""
        body = rb"print('begin\r2026 ERROR forged\x1b[2J\x9b1m\u2028end-of-it')"
        node.client.invoke("attack", body)
        wait_for(lambda: "end-of-it" in node.log(), "the line is in the log")
        [told] = [one for one in node.log().splitlines() if "end-of-it" in one]
        assert r"begin\r2026 ERROR forged\x1b[2J\x9b1m\u2028end-of-it" in told
        assert told.isprintable()


class TestRequests:
    def test_a_field_named_often_is_read_once(self, node: LiveNode, chain: str) -> None:
        """A field that is named a thousand times is read and sent once, for HTTP clients and for functions."""
        key = f"{chain}:sat:one"
        node.client.put_bundle(key, {"f": bytes(4 * MEGABYTE), "g": b"2"})
        forget_peak(node.pid)
        before = Usage.of(node.pid)
        answer = node.http.get(f"/bundles/{key}?fields={','.join(['f'] * 1000)},g")
        assert {name: len(part) for name, part in wire.decode(answer.content).items()} == {"f": 4 * MEGABYTE, "g": 1}
        act = f"bundles.fetch({key!r}, ['f'] * 1000, types.Read.NEAREST, 0); answer = skylark.Response(b'done')"
        answer = node.http.post(f"/functions/attack?chain={chain}", content=act.encode())
        assert (answer.status_code, answer.content) == (200, b"done")
        assert Usage.of(node.pid).most_memory_bytes < before.most_memory_bytes + 100 * MEGABYTE
        many = ",".join(f"f{number}" for number in range(1025))
        check_error(node.http.get(f"/bundles/{key}?fields={many}"), 400, "invalid-argument", "fields", "at most 1024")
        check_error(node.http.post(f"/functions/{'+'.join(['good'] * 65)}"), 400, "invalid-argument", "functions")

    @pytest.mark.parametrize(
        ("method", "path", "named"),
        [
            ("PUT", "/bundles/{chain}:t?akc=cloud", ("akc", "did you mean ack?")),
            ("PUT", "/bundles/{chain}:t?ack=local&ACK=cloud", ("ACK",)),
            ("PUT", "/bundles/{chain}:t?ack%20=cloud", ("ack ", "did you mean ack?")),
            ("DELETE", "/bundles/{chain}:t?scop=local", ("scop", "did you mean scope?")),
            ("GET", "/bundles/{chain}:t?field=f", ("field", "did you mean fields?")),
            ("HEAD", "/bundles/{chain}:t?asker=x&y=1", ()),
            ("POST", "/functions/good?destinaton=cloud", ("destinaton", "did you mean destination?")),
            ("POST", "/save/cloud?destination=cloud", ("destination",)),
            ("POST", "/bundles/{chain}:t/announcement?wait=1", ("wait", "did you mean wait_ms?")),
            ("POST", "/refresh?now=1", ("now", "no parameters")),
            ("GET", "/storage-node?sise=1", ("sise", "did you mean size?")),
        ],
    )
    def test_an_unknown_parameter_is_refused(
        self, node: LiveNode, chain: str, method: str, path: str, named: tuple[str, ...]
    ) -> None:
        """What a request asks for that is not known is not passed over: the error names it and what is near."""
        answer = node.http.request(method, path.format(chain=chain), content=b"")
        if method == "HEAD":
            assert answer.status_code == 400
        else:
            check_error(answer, 400, "invalid-argument", *named)
        assert node.held(chain) == []

    def test_an_unknown_condition_is_refused(self, node: LiveNode, chain: str) -> None:
        """A condition that an operation does not look at does not let it act."""
        for method, path, header in (
            ("PUT", f"/bundles/{chain}:t", "If-Unmodified-Since"),
            ("PUT", f"/bundles/{chain}:t", "Content-Range"),
            ("POST", "/functions/good", "If-Match"),
            ("POST", "/save/sat", "If-None-Match"),
            ("DELETE", f"/state?key={chain}:t", "If-Match"),
        ):
            answer = node.http.request(method, path, headers={header: '"1"'}, content=b"")
            check_error(answer, 400, "invalid-argument", header)
        assert node.held(chain) == []

    def test_a_reader_that_has_the_version_gets_no_body(self, node: LiveNode, chain: str) -> None:
        """`If-None-Match` with the version that is there is answered by 304, with another one by the bundle."""
        key = f"{chain}:sat:t"
        node.client.put_bundle(key, SMALL)
        tag = node.http.get(f"/bundles/{key}").headers["etag"]
        for method in ("GET", "HEAD"):
            for known, status in ((tag, 304), (f'"77", {tag}', 304), ("*", 304), (f"W/{tag}", 304), ('"77"', 200)):
                answer = node.http.request(method, f"/bundles/{key}", headers={"If-None-Match": known})
                assert (answer.status_code, answer.headers["etag"]) == (status, tag)

    def test_node_info_is_as_strict(self, tmp_path: Path) -> None:
        """The node-info service refuses unknown parameters and conditions too, and is not moved by deep JSON."""
        file = tmp_path / "topology.json"
        file.write_bytes(with_free_ports(line("a", "b")).to_json())
        with run_node_info("--provider", "static", "--topology", file) as service:
            check_error(service.http.get("/current-topology?afer=1"), 400, "invalid-argument", "did you mean after?")
            check_error(service.http.post("/objectives?x=1", content=b"{}"), 400, "invalid-argument", "x")
            for text in (b"[" * 100_000, b'{"max_latency":' * 20_000):
                check_error(service.http.post("/objectives", content=text[: 60 << 10]), 400, "invalid-argument")
            assert service.http.get("/health?cache=1").status_code == 200
            assert "Traceback" not in service.log()

    @pytest.mark.parametrize("depth", [300, 990, 100_000])
    def test_deep_json_is_no_defect(self, node: LiveNode, chain: str, depth: int) -> None:
        """JSON that is nested however deep, wherever it stands, is an answer in the one form of errors, or works."""
        deep, logged = b"[" * depth + b"]" * depth, len(node.log())
        for body in (
            deep,
            b'{"key":' + deep + b',"value":1}',
            b'{"key":{"chain_id":' + deep + b',"task_id":"t"},"value":1}',
            b'{"key":{"chain_id":"' + chain.encode() + b'","task_id":"t"},"value":' + deep + b"}",
        ):
            answer = node.http.post("/save/cloud", content=body)
            assert answer.status_code in (200, 400), answer.text
        event = {"content-type": "application/cloudevents+json"}
        assert node.http.post("/functions/good", content=deep, headers=event).status_code == 400
        node.http.put(f"/bundles/{chain}:sat:deep", content=b"".join(wire.encode({"v.json": deep})))
        assert node.http.get(f"/state?key={chain}:sat:deep").status_code in (200, 400)
        assert "Traceback" not in node.log()[logged:]


class TestPeers:
    def test_a_frozen_node_holds_nobody_up(self, pair: Nodes, node: LiveNode, chain: str) -> None:
        """While 60 clients ask for bundles of a frozen node, local state and health are served; those that find no
        place are told at once that the node cannot be reached, and when it is back all is as before."""
        pair["cloud"].client.put_bundle(f"{chain}:cloud:t", SMALL)
        serves(node, chain)
        before = Usage.of(node.pid)
        with contextlib.ExitStack() as stack:
            stack.enter_context(frozen(pair["cloud"].pid))
            asking = stack.enter_context(at_once(node, 60, lambda client: client.get(f"/bundles/{chain}:cloud:t")))
            wait_for(lambda: sum(call.done() for call in asking) >= 60 - 16, "all but some were told")
            for _ in range(20):
                serves(node, chain)
            assert node.client.invoke("good", b"x").body == b"x"
            waiting = [call for call in asking if not call.done()]
            assert len(waiting) == 16
            os.kill(pair["cloud"].pid, signal.SIGCONT)
        answers = [call.result() for call in asking]
        for answer in answers:
            if answer.status_code != 200:
                check_error(answer, 503, "unavailable", "cloud")
        assert sum(answer.status_code == 200 for answer in answers) == 16
        serves(node, chain)
        settled(node, before)


class TestSlowClients:
    def test_half_uploads_give_way_and_end(self, chain: str) -> None:
        """With a half upload on every place, local state is served, and a new upload as well. In the end the slow
        ones are told that they were too slow, and nothing is left of them."""
        with run_proxy(max_in_flight="64", body_timeout_s="3") as node:
            serves(node, chain)
            before = Usage.of(node.pid)
            with connections(node, 80, half_upload(chain)) as slow:
                begun_s = time.monotonic()
                wait_for(lambda: time.monotonic() > begun_s + 1.2, "they stall")
                for _ in range(10):
                    serves(node, chain)
                told = [connection.recv(4096) for connection in slow]
            assert {answer.split(b" ")[1] for answer in told} == {b"408", b"429", b"503"}
            assert node.held(chain) == []
            settled(node, before)

    def test_a_trickle_ends(self, chain: str) -> None:
        """A body that comes byte by byte is given up, however long it goes on."""
        with run_proxy(body_timeout_s="0.5") as node, connections(node, 1, half_upload(chain, 1_000_000)) as [slow]:
            slow.settimeout(0.05)
            answer = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(400):
                    slow.sendall(b"x")
                    with contextlib.suppress(TimeoutError):
                        answer += slow.recv(4096)
                    if answer:
                        break
            assert answer.startswith(b"HTTP/1.1 408 ")

    def test_an_answer_that_nobody_takes_ends(self, chain: str) -> None:
        """A client that asks for a large bundle and reads nothing of it loses its connection, and its memory is
        free again."""
        with run_proxy(body_timeout_s="0.5") as node:
            node.client.put_bundle(f"{chain}:alone:large", {"f": bytes(40 * MEGABYTE)})
            node.client.get_bundle(f"{chain}:alone:large")
            before = Usage.of(node.pid)
            get = f"GET /bundles/{chain}:alone:large HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            with connections(node, 4, get):
                wait_for(lambda: Usage.of(node.pid).descriptors > before.descriptors, "they are answered")
                settled(node, before, 30 * MEGABYTE)

    def test_many_strangers_at_once(self, pair: Nodes, node: LiveNode, chain: str) -> None:
        """With ten thousand idle connections, 1,024 half uploads and a frozen node at once, local state and health
        are served; afterwards the node's threads, descriptors and memory are what they were."""
        with many_descriptors(12_500) as allowed:
            if not allowed and not os.environ.get("CI"):
                pytest.skip("this system does not let a process have 12,500 open files")
            assert allowed
            serves(node, chain)
            before = Usage.of(node.pid)
            with contextlib.ExitStack() as stack:
                stack.enter_context(connections(node, 10_000))
                stack.enter_context(connections(node, 1_024, half_upload(chain)))
                stack.enter_context(frozen(pair["cloud"].pid))
                asking = stack.enter_context(at_once(node, 45, lambda client: client.get(f"/bundles/{chain}:cloud:t")))
                wait_for(lambda: any(call.done() for call in asking), "some were told that the node is away")
                for _ in range(20):
                    serves(node, chain)
                os.kill(pair["cloud"].pid, signal.SIGCONT)
            settled(node, before, 120 * MEGABYTE)

    def test_more_connections_than_may_be(self, chain: str) -> None:
        """Beyond the limit the longest idle connection makes room: a new client is always served."""
        with run_proxy(max_connections="50") as node, connections(node, 200):
            for _ in range(5):
                with httpx.Client(base_url=node.url) as client:
                    assert client.get("/health").status_code == 200
            serves(node, chain)


class TestMemory:
    def test_large_bodies_at_once(self, chain: str) -> None:
        """Twenty large uploads, and as many reads, at the same time take no more memory than the budget and one of
        them; those that find no room are told to come again, and small ones are served meanwhile."""
        size_bytes = 24 * MEGABYTE
        most, budget = str(32 * MEGABYTE), str(48 * MEGABYTE)
        with run_proxy(redis_fsync="everysec", max_bundle_bytes=most, max_bodies_bytes=budget) as node:
            serves(node, chain)
            before = Usage.of(node.pid)
            body = b"".join(wire.encode({"f": bytes(size_bytes)}))
            with at_once(node, 20, lambda client: client.put(f"/bundles/{chain}:alone:t", content=body)) as sent:
                serves(node, chain)
            with at_once(node, 20, lambda client: client.get(f"/bundles/{chain}:alone:t").status_code) as read:
                serves(node, chain)
            answers = [call.result() for call in sent]
            assert {answer.status_code for answer in answers} <= {200, 409, 503}  # 409: a later one was there already
            assert sum(answer.status_code == 200 for answer in answers) >= 2
            assert {call.result() for call in read} <= {200, 503}
            most_bytes = Usage.of(node.pid).most_memory_bytes - before.memory_bytes
            assert most_bytes < 2 * (48 + 32) * MEGABYTE + 100 * MEGABYTE  # a read value is there twice for a moment
            settled(node, before, 150 * MEGABYTE)


class TestPermissions:
    def test_nothing_is_open_to_others(self, components: Mapping[str, Path], tmp_path: Path) -> None:
        """Whatever the umask is, the folders and files of cache and data, and those above them that had to be made,
        are for their owner only."""
        with umask(0):
            settings = {"cache_dir": str(tmp_path / "a" / "cache"), "data_dir": str(tmp_path / "b" / "data")}
            with run_proxy(components["stateful"], **settings) as node:
                serves(node, "c")
                found = [path for path in tmp_path.rglob("*") if not path.is_socket()]
                assert {"cache", "data", "compiled", "server.json"} <= {path.name for path in found}
                assert [str(path) for path in found if path.stat().st_mode & 0o077] == []

    @pytest.mark.parametrize("open_", [".", "cache", "cache/compiled"])
    def test_a_cache_that_others_can_write_to_is_not_used(
        self, components: Mapping[str, Path], tmp_path: Path, open_: str
    ) -> None:
        """Native code is not loaded from a folder that others can write to, or swap: the start says which it is."""
        (tmp_path / "shared" / "cache" / "compiled").mkdir(parents=True, mode=0o700)
        opened = tmp_path / "shared" / open_
        opened.chmod(0o777)
        environment = {
            "SKYLARK_CACHE_DIR": str(tmp_path / "shared" / "cache"),
            "SKYLARK_DATA_DIR": str(tmp_path / "data"),
            "SKYLARK_PORT": "0",
            "SKYLARK_FUNCTIONS": str(components["stateful"]),
        }
        command = [sys.executable, "-m", "skylark_proxy", "serve"]
        run = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 1
        assert "SKYLARK_CACHE_DIR" in run.stderr
        assert str(opened.resolve()) in run.stderr
        assert "Traceback" not in run.stderr


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The umask of this process and those that it starts."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
