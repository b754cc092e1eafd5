"""Nodes that share a key, callers that do not have it, chains that keep to themselves, and limits."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from continuum import LiveNode, Nodes, check_error, line, read_answer, run_nodes, run_proxy
from node_infos import LiveNodeInfo, run_node_info
from servers import wait_for
from skylark import wire
from skylark_proxy import bundle_http
from skylark_proxy.model import Metadata
from skylark_proxy.signatures import BOOT, Signer
from skylark_proxy.topology import Topology
from taps import Tap

KEY = "the key of this continuum, which nobody else has"
KEYED = {"SKYLARK_PEER_KEY": KEY}
FIELDS = {"f": b"A" * 12_800}
BODY = b"".join(wire.encode(FIELDS))
META = bundle_http.meta_headers(Metadata("sat", 1, bundle_http.checksum(FIELDS), "0123456789abcdef-1"))
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
"""Makes a request one of another machine: a reverse proxy on this node says so."""


@pytest.fixture(scope="module")
def trusting(functions: Path) -> Iterator[Nodes]:
    """sat and cloud, with the same key."""
    with run_nodes(line("sat", "cloud"), functions=functions, settings=KEYED) as nodes:
        yield nodes


def put(node: LiveNode, key: str, **query: object) -> dict[str, Any]:
    return node.client.put_bundle(key, FIELDS, **query)


def boot_of(node: LiveNode) -> str:
    """The id that requests to a node have to be signed for."""
    return str(node.http.get("/health/liveness").headers["skylark-boot"])


def signed(
    node: LiveNode,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    key: str = KEY,
    ahead_s: float = 0.0,
    boot: str | None = None,
) -> bytes:
    """A request as another node with a key would send it, which has asked for the boot id before."""
    own = {"Host": node.node.address, "Content-Length": str(len(body)), BOOT: boot or boot_of(node)}
    own |= META if body else {}
    headers = Signer(key.encode(), "sat").headers(method, target, own, [body], time.time() + ahead_s, os.urandom(16))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


def sent(node: LiveNode, request: bytes) -> tuple[int, dict[str, Any]]:
    """Sends a request as it is; returns the status and the error."""
    host, port = node.node.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        status, body = read_answer(connection)
        return status, json.loads(body)["error"] if status >= 400 else {}


def reasons(placed: Mapping[str, Any]) -> list[str]:
    return [attempt["error"] for attempt in placed["failed"]]


def put_in(recorded: bytes, chain: str) -> bytes:
    """The PUT of a chain's first bundle in what a tap has recorded, and what came after it."""
    begin = recorded.index(f"PUT /bundles/{chain}%3Acloud%3At1?scope=local".encode())
    return recorded[begin:]


@contextlib.contextmanager
def tapped(change: Callable[[bytes], bytes] = lambda data: data) -> Iterator[tuple[Nodes, Tap]]:
    """sat and cloud, with the same key, and a tap on the way from sat to cloud."""
    topology = line("sat", "cloud")
    tap = Tap(topology.node("cloud").address, change)
    accepting = threading.Thread(target=tap.run)
    with run_nodes(topology, ["cloud"], settings=KEYED) as cloud, tap.server:
        accepting.start()
        nodes = [
            replace(node, address=tap.address) if node.name == "cloud" else node for node in topology.nodes.values()
        ]
        seen = Topology.build(nodes, topology.links, topology.epoch)
        try:
            with run_nodes(seen, ["sat"], settings=KEYED) as sat:
                yield sat | cloud, tap
        finally:
            tap.server.shutdown(socket.SHUT_RDWR)
    for thread in (accepting, *tap.threads):
        thread.join(20)
        assert not thread.is_alive()


class TestNodesThatShareAKey:
    def test_forwarding_fetching_and_deleting(self, trusting: Nodes, chain: str) -> None:
        """Nodes with the same key work together as nodes without one, and refuse each other nothing."""
        placed = put(trusting["sat"], f"{chain}:t1")
        assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t1", [])
        fields, headers = trusting["sat"].client.get_bundle(placed["key"])
        assert (bytes(fields["f"]), headers["skylark-served-by"]) == (FIELDS["f"], "cloud")
        http = trusting["sat"].http
        assert http.head(f"/bundles/{placed['key']}").status_code == 200
        answer = http.put(f"/bundles/{placed['key']}", content=BODY, headers={"If-Match": f'"{placed["version"]}"'})
        assert (answer.status_code, answer.json()["version"] > placed["version"]) == (200, True)
        answer = http.put(f"/bundles/{placed['key']}", content=BODY, headers={"If-None-Match": "*"})
        check_error(answer, 409, "conflict")
        trusting["sat"].client.delete_bundle(placed["key"])
        assert trusting["cloud"].held(chain) == []
        assert not any("refused" in node.log() for node in trusting.values())

    def test_what_travels_afterwards(self, trusting: Nodes, chain: str) -> None:
        """Announcements and the transfers of the outbox are signed as well."""
        assert put(trusting["sat"], f"{chain}:t1", ack="local")["key"] == f"{chain}:sat:t1"
        wait_for(lambda: trusting["cloud"].held(chain) == [f"{chain}:sat:t1"], "the bundle was forwarded")
        assert not any("refused" in node.log() for node in trusting.values())

    def test_a_bundle_of_many_chunks(self, trusting: Nodes, chain: str) -> None:
        """A large bundle is signed and verified as a small one is."""
        data = os.urandom(9_000_000)
        placed = trusting["sat"].client.put_bundle(f"{chain}:t1", {"a": data, "b": b"", "c": data[:7]})
        assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t1", [])
        fields, _ = trusting["cloud"].client.get_bundle(placed["key"])
        assert {name: bytes(value) for name, value in fields.items()} == {"a": data, "b": b"", "c": data[:7]}

    def test_a_function_whose_state_is_elsewhere(self, trusting: Nodes, chain: str) -> None:
        """A function fetches and stores over nodes that share a key."""
        first = trusting["sat"].client.invoke("produce", b"100000", chain=chain).json()
        assert first["key"].split(":")[1] == "cloud"
        second = trusting["sat"].client.invoke("relay", b"on", key=first["key"])
        assert (second.body, second.headers["skylark-chain"]) == (b"on", chain)

    def test_a_clock_that_is_minutes_wrong(self, trusting: Nodes, chain: str) -> None:
        """A sender whose clock is wrong by less than the skew is understood."""
        for number, ahead_s in enumerate((-280, 280)):
            target = f"/bundles/{chain}%3Acloud%3At{number}?scope=local"
            assert sent(trusting["cloud"], signed(trusting["cloud"], "PUT", target, BODY, ahead_s=ahead_s))[0] == 200
        assert len(trusting["cloud"].held(chain)) == 2


class TestStrangers:
    @pytest.mark.parametrize(
        ("key", "reason"),
        [("another key, which is as long as the one of the others", "another key"), ("", "are signed")],
    )
    def test_a_node_with_another_key(self, key: str, reason: str, chain: str) -> None:
        """A node with another key, or none, is no peer: its bundles stay with it, and what it fetches is unavailable,
        with the reason; the other node stores nothing."""
        settings = {"sat": {"SKYLARK_PEER_KEY": key}, "cloud": KEYED}
        with run_nodes(line("sat", "cloud"), of_node=settings) as nodes:
            placed = put(nodes["sat"], f"{chain}:t1")
            assert placed["key"] == f"{chain}:sat:t1"
            assert reason in reasons(placed)[0]
            put(nodes["cloud"], f"{chain}:t2")
            error = check_error(nodes["sat"].http.get(f"/bundles/{chain}:cloud:t2"), 503, "unavailable", reason)
            assert error["node"] == "cloud"
            check_error(nodes["sat"].http.delete(f"/bundles/{chain}:cloud:t2"), 503, "unavailable", reason)
            assert nodes["cloud"].held(chain) == [f"{chain}:cloud:t2"]
            assert reason in nodes["cloud"].log()
            assert key not in nodes["sat"].log() or not key
            assert KEY not in nodes["cloud"].log()

    def test_a_large_bundle_of_a_stranger(self, chain: str) -> None:
        """The reason reaches the sender also while it still sends."""
        with run_nodes(line("sat", "cloud"), of_node={"cloud": KEYED}) as nodes:
            placed = nodes["sat"].client.put_bundle(f"{chain}:t1", {"f": bytes(9_000_000)})
            assert placed["key"] == f"{chain}:sat:t1"
            assert "are signed" in reasons(placed)[0]

    def test_a_request_that_was_recorded(self, chain: str) -> None:
        """What was sent before is refused when it is sent again, and changes nothing."""
        with tapped() as (nodes, tap):
            assert put(nodes["sat"], f"{chain}:t1")["key"] == f"{chain}:cloud:t1"
            recorded = put_in(tap.recorded, chain)
            nodes["cloud"].client.delete_bundle(f"{chain}:cloud:t1")
            status, error = sent(nodes["cloud"], recorded)
            assert (status, error["code"]) == (401, "unauthorized")
            assert "sent before" in error["message"]
            assert nodes["cloud"].held(chain) == []

    def test_a_request_that_was_recorded_before_a_restart(self, chain: str) -> None:
        """What was sent before a restart, crash or not, is refused after it, and does not put back old content; the
        nodes work on together, and the sender signs anew for the node's new start."""
        with tapped() as (nodes, tap):
            assert put(nodes["sat"], f"{chain}:t1")["key"] == f"{chain}:cloud:t1"
            recorded, cloud = put_in(tap.recorded, chain), nodes["cloud"]
            for end in (cloud.kill, cloud.end):
                before = boot_of(cloud)
                end()
                cloud.restart()
                assert boot_of(cloud) != before
                cloud.client.put_bundle(f"{chain}:t1", {"f": b"new"})
                status, error = sent(cloud, recorded)
                assert (status, error["code"]) == (401, "unauthorized")
                assert "this start of the receiver" in error["message"]
                assert bytes(cloud.client.get_bundle(f"{chain}:cloud:t1")[0]["f"]) == b"new"
                placed = put(nodes["sat"], f"{chain}:t2")
                assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t2", [])

    def test_one_more_round_trip(self, chain: str) -> None:
        """A node is asked for its boot id at first contact, and not again."""
        with tapped() as (nodes, tap):
            for number in range(3):
                put(nodes["sat"], f"{chain}:t{number}")
            assert tap.recorded.count(b"GET /health/liveness HTTP/1.1") == 1
            assert tap.recorded.count(b"PUT /bundles/") == 3

    def test_a_request_that_was_recorded_at_another_node(self, trusting: Nodes, chain: str) -> None:
        """What was signed for one node is of no use at another, which has not seen it."""
        target = f"/bundles/{chain}%3Acloud%3At1?scope=local"
        status, error = sent(trusting["sat"], signed(trusting["cloud"], "PUT", target, BODY))
        assert (status, error["code"]) == (401, "unauthorized")
        with_its_id = signed(trusting["cloud"], "PUT", target, BODY, boot=boot_of(trusting["sat"]))
        status, error = sent(trusting["sat"], with_its_id)
        assert (status, error["code"]) == (400, "invalid-argument")
        assert trusting["sat"].held(chain) == []

    def test_a_body_that_was_changed(self, chain: str) -> None:
        """A byte that changes on the way is noticed before anything is stored, and the next candidate is taken."""
        with tapped(lambda data: data.replace(b"AAAA", b"AAAB", 1)) as (nodes, _):
            placed = put(nodes["sat"], f"{chain}:t1")
            assert placed["key"] == f"{chain}:sat:t1"
            assert "its body is not the one that was signed" in reasons(placed)[0]
            assert nodes["cloud"].held(chain) == []

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"scope=local", b"scope=local&ttl_ms=1"),
            (b"Skylark-Origin: sat", b"Skylark-Origin: cat"),
            (b"\r\n", b'\r\nIf-Match: "1"\r\n'),
            (b"\r\n", b"\r\nSkylark-Owner: sat\r\n"),
            (b"\r\n", b"\r\nSkylark-Version: 5\r\n"),
            (b"\r\n", b"\r\nSkylark-Known-Version: 5\r\n"),
        ],
    )
    def test_a_head_that_was_changed(self, trusting: Nodes, chain: str, old: bytes, new: bytes) -> None:
        """Neither the query nor a header that counts can be changed or added."""
        own = {"Host": "x", "Content-Length": str(len(BODY))} | META
        own[BOOT] = boot_of(trusting["cloud"])
        target = f"/bundles/{chain}%3Acloud%3At1?scope=local"
        headers = Signer(KEY.encode(), "sat").headers("PUT", target, own, [BODY], time.time(), os.urandom(16))
        head = f"PUT {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        changed = head.encode().replace(old, new, 1)
        assert changed != head.encode()
        status, error = sent(trusting["cloud"], changed + b"\r\n" + BODY)
        assert (status, error["code"]) == (401, "unauthorized")
        assert trusting["cloud"].held(chain) == []
        assert sent(trusting["cloud"], head.encode() + b"\r\n" + BODY)[0] == 200

    @pytest.mark.parametrize(("ahead_s", "words"), [(-400, "s before the time of"), (400, "s after the time of")])
    def test_a_time_that_is_stale(self, trusting: Nodes, chain: str, ahead_s: float, words: str) -> None:
        """A request that is too old, or from the future, is refused with the difference of the clocks."""
        target = f"/bundles/{chain}%3Acloud%3At1?scope=local"
        status, error = sent(trusting["cloud"], signed(trusting["cloud"], "PUT", target, BODY, ahead_s=ahead_s))
        assert (status, error["code"]) == (401, "unauthorized")
        assert words in error["message"] and "300 s are allowed" in error["message"]
        assert abs(error["skew_s"] - ahead_s) < 20
        assert trusting["cloud"].held(chain) == []

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
    def test_requests_that_are_not_signed(self, trusting: Nodes, chain: str, method: str) -> None:
        """With a key nobody asks a node alone without a signature, not even from the node itself."""
        put(trusting["cloud"], f"{chain}:t1")
        answer = trusting["cloud"].http.request(method, f"/bundles/{chain}:cloud:t1?scope=local", content=BODY)
        assert answer.status_code == 401
        if method != "HEAD":
            check_error(answer, 401, "unauthorized", "signed")
        check_error(trusting["cloud"].http.post(f"/bundles/{chain}:cloud:t1/announcement"), 401, "unauthorized")
        assert trusting["cloud"].held(chain) == [f"{chain}:cloud:t1"]


class TestOtherMachines:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/bundles?chain={chain}"),
            ("GET", "/bundles/{chain}:t1"),
            ("PUT", "/bundles/{chain}:t2"),
            ("DELETE", "/bundles/{chain}:cloud:t1"),
            ("GET", "/state?key={chain}:t1"),
            ("POST", "/save/sat"),
            ("POST", "/refresh"),
        ],
    )
    def test_what_is_for_this_node(self, trusting: Nodes, chain: str, method: str, path: str) -> None:
        """The state of functions is for those that run on this node; the error says what others may."""
        put(trusting["cloud"], f"{chain}:t1")
        address = path.format(chain=chain)
        answer = trusting["cloud"].http.request(method, address, content=BODY, headers=ELSEWHERE)
        check_error(answer, 403, "forbidden", "203.0.113.7", "/functions")
        assert trusting["cloud"].held(chain) == [f"{chain}:cloud:t1"]

    def test_what_is_for_everybody(self, trusting: Nodes) -> None:
        """Functions and what tells about the node are for whoever reaches it."""
        http = trusting["sat"].http
        invoked = http.post("/functions/relay", content=b"on", headers=ELSEWHERE)
        assert (invoked.status_code, invoked.content) == (200, b"on")
        paths = (f"/tasks/{invoked.headers['skylark-task']}", "/functions", "/health/readiness", "/openapi.json")
        for path in (*paths, "/neighbors", "/storage-node?size=1"):
            assert http.get(path, headers=ELSEWHERE).status_code == 200

    def test_a_signed_request_from_elsewhere(self, trusting: Nodes, chain: str) -> None:
        """A peer is known by its signature and not by its address."""
        request = signed(trusting["cloud"], "PUT", f"/bundles/{chain}%3Acloud%3At1?scope=local", BODY)
        assert sent(trusting["cloud"], request.replace(b"Host:", b"X-Forwarded-For: 203.0.113.7\r\nHost:", 1))[0] == 200

    def test_networks_of_this_node(self, chain: str) -> None:
        """Addresses that the operator counts to this node, such as those of its containers, are let in."""
        networks = "203.0.113.0/29, 2001:db8::/64"
        with run_proxy(peer_key=KEY, local_networks=networks, trusted_proxies="127.0.0.1") as node:
            for address, status in (("203.0.113.7", 200), ("203.0.113.8", 403), ("2001:db8::7", 200)):
                answer = node.http.get(f"/bundles?chain={chain}", headers={"X-Forwarded-For": address})
                assert answer.status_code == status

    def test_behind_a_reverse_proxy(self, chain: str) -> None:
        """A reverse proxy on the node forwards for strangers: they get no state, whatever they write themselves into
        the header; those on the node do, once the proxy is trusted."""
        with run_proxy(peer_key=KEY, host="0.0.0.0") as distrusting:
            assert distrusting.http.get(f"/bundles?chain={chain}").status_code == 200
            for headers in (ELSEWHERE, {"Forwarded": "for=127.0.0.1"}, {"X-Forwarded-For": "127.0.0.5"}):
                answer = distrusting.http.get(f"/bundles?chain={chain}", headers=headers)
                check_error(answer, 403, "forbidden", next(iter(headers.values())), "forwards")
        with run_proxy(peer_key=KEY, trusted_proxies="127.0.0.0/8") as node:
            for value, status in (("127.0.0.1, 203.0.113.7", 403), ("127.0.0.1", 200), ("203.0.113.7, 127.0.0.9", 403)):
                answer = node.http.get(f"/bundles?chain={chain}", headers={"X-Forwarded-For": value})
                assert answer.status_code == status

    def test_a_page_in_a_browser(self, chain: str) -> None:
        """A page of another origin can send what needs no preflight, and does nothing at the node, with a key or
        without; one whose name was rebound to the node's address reads nothing either."""
        with run_proxy() as open_node, run_proxy(peer_key=KEY) as keyed:
            for node in (open_node, keyed):
                page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
                for method, path in (("POST", "/save/cloud"), ("PUT", f"/bundles/{chain}:t1"), ("POST", "/refresh")):
                    check_error(node.http.request(method, path, content=BODY, headers=page), 403, "forbidden", "origin")
                check_error(node.http.post("/functions/any", headers=page), 403, "forbidden", "origin")
                rebound = {"Host": "evil.example:30002", "Origin": "http://evil.example:30002"}
                answer = node.http.get(f"/bundles?chain={chain}", headers=rebound)
                check_error(answer, 403, "forbidden", "evil.example", "SKYLARK_ALLOWED_HOSTS")
                own = {"Origin": f"http://{node.node.address}", "Sec-Fetch-Site": "same-origin"}
                assert node.http.put(f"/bundles/{chain}:t2", content=BODY, headers=own).status_code == 200
                assert node.held(chain) == [f"{chain}:alone:t2"]

    def test_names_of_a_node(self, chain: str) -> None:
        """A node answers to its own name in the topology, and to those that the operator allows."""
        with run_proxy(allowed_hosts="node.lan,.skylark.svc") as node:
            for host, status in (("alone:1", 200), ("NODE.lan", 200), ("a.skylark.svc:2", 200), ("skylark.svc", 403)):
                assert node.http.get(f"/bundles?chain={chain}", headers={"Host": host}).status_code == status

    def test_a_node_without_a_key(self, chain: str) -> None:
        """Without a key all is open, as the log says once where others can reach the node."""
        with run_proxy() as loopback, run_proxy(host="0.0.0.0") as reachable:
            for node in (loopback, reachable):
                assert node.http.get(f"/bundles?chain={chain}", headers=ELSEWHERE).status_code == 200
                answer = node.http.put(f"/bundles/{chain}:t1?scope=local", content=BODY, headers=META)
                assert answer.status_code == 200
            assert loopback.log().count("SKYLARK_PEER_KEY is not set") == 0
            assert reachable.log().count("SKYLARK_PEER_KEY is not set") == 1


def called(node: LiveNode, chain: str, call: str, key: str) -> Any:
    """The result, or the error, of a state call of a function in a chain."""
    body = json.dumps({"call": call, "key": key, "arguments": {"key": key} if call == "store" else {}}).encode()
    return node.client.invoke("calls_state", body, chain=chain).json()


class TestChains:
    def test_the_bundles_of_another_chain(self, trusting: Nodes, chain: str) -> None:
        """A function may neither read nor change what is of another chain, whether or not it exists."""
        node, other = trusting["sat"], f"other-{chain}"
        put(node, f"{other}:sat:t1")
        for key in (f"{other}:sat:t1", f"{other}:t1", f"{other}:cloud:none"):
            for result in (
                called(node, chain, "fetch", key),
                called(node, chain, "delete", key),
                called(node, chain, "store", key),
            ):
                assert result["raised"] == "Forbidden"
                assert f"bundle {key!r} of another chain" in result["message"]
                assert 'chains = "any"' in result["message"]
        assert node.held(other) == [f"{other}:sat:t1"]

    def test_the_bundles_of_its_own_chain(self, trusting: Nodes, chain: str) -> None:
        """What is of its own chain, it may, at every node."""
        node = trusting["sat"]
        stored = called(node, chain, "store", f"{chain}:cloud:t1")
        assert stored["key"] == f"{chain}:cloud:t1"
        assert called(node, chain, "fetch", stored["key"])["fields"] == {"f": "stored"}
        assert called(node, chain, "delete", stored["key"]) is True

    def test_an_error_that_ends_the_function(self, trusting: Nodes, chain: str) -> None:
        """Where the function does not catch it, its caller gets the error."""
        program = f"ctx.state.fetch('other-{chain}:t1')".encode()
        answer = trusting["sat"].http.post("/functions/attack", params={"chain": chain}, content=program)
        check_error(answer, 403, "forbidden", f"other-{chain}:t1", chain)

    def test_a_manifest_that_allows_any(self, components: dict[str, Path], chain: str, tmp_path: Path) -> None:
        """With `chains = "any"` a function may, as the operator says."""
        shutil.copy(components["stateful"], tmp_path / "stateful.wasm")
        (tmp_path / "stateful.toml").write_text('ready = 0\nchains = "any"\n')
        with run_proxy(tmp_path) as node:
            stored = called(node, chain, "store", f"other-{chain}:t1")
            assert called(node, chain, "fetch", stored["key"])["fields"] == {"f": "stored"}
            assert called(node, chain, "delete", stored["key"]) is True


@contextlib.contextmanager
def half_sent(node: LiveNode, chain: str) -> Iterator[socket.socket]:
    """A request whose body has not come yet."""
    host, port = node.node.address.split(":")
    head = f"PUT /bundles/{chain}:half HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(BODY)}"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        yield connection


class TestLimits:
    def test_a_body_that_is_too_large(self, chain: str) -> None:
        """A signed body over the limit is refused as any other one."""
        with run_proxy(peer_key=KEY, max_bundle_bytes="1000") as node:
            request = signed(node, "PUT", f"/bundles/{chain}%3Aalone%3At1?scope=local", BODY)
            status, error = sent(node, request)
            assert (status, error["code"], error["limit_bytes"]) == (413, "too-large", 1000)

    def test_requests_in_flight(self, chain: str) -> None:
        """One request more than the limit is told to come again; health is answered; afterwards all is as before."""
        with run_proxy(max_in_flight="1") as node:
            with half_sent(node, chain) as connection:
                wait_for(lambda: node.http.get("/functions").status_code == 429, "the half-sent request is in flight")
                answer = node.http.get("/functions")
                error = check_error(answer, 429, "too-many-requests", "the limit is 1")
                assert (error["in_flight"], error["limit"], error["retryable"]) == (1, 1, True)
                assert int(answer.headers["retry-after"]) > 0
                assert node.http.get("/health/readiness").status_code == 200
                connection.sendall(BODY)
                assert read_answer(connection)[0] == 200
            wait_for(lambda: node.http.get("/functions").status_code == 200, "the request has ended")
            assert node.held(chain) == [f"{chain}:alone:half"]

    def test_bundles_of_a_chain(self, chain: str) -> None:
        """A chain gets no more bundles than the limit; others do, what is there can be replaced, and room made."""
        with run_proxy(max_bundles_per_chain="2") as node:
            for task in ("t1", "t2", "t1"):
                put(node, f"{chain}:{task}")
            answer = node.http.put(f"/bundles/{chain}:t3", content=BODY)
            error = check_error(answer, 429, "too-many-bundles", chain, "alone", "2")
            assert (error["limit"], error["retryable"]) == (2, True)
            assert int(answer.headers["retry-after"]) > 0
            put(node, f"other-{chain}:t3")
            node.client.delete_bundle(f"{chain}:t1")
            put(node, f"{chain}:t3")
            assert node.held(chain) == [f"{chain}:alone:t2", f"{chain}:alone:t3"]

    def test_bundles_of_a_chain_at_another_node(self, components: dict[str, Path], chain: str) -> None:
        """The limit of the elected node is the caller's to know, and a function is told that it may try again."""
        settings = {"cloud": {"SKYLARK_MAX_BUNDLES_PER_CHAIN": "1"}}
        with run_nodes(line("sat", "cloud"), functions=components["stateful"], of_node=settings) as nodes:
            put(nodes["sat"], f"{chain}:t1")
            error = check_error(
                nodes["sat"].http.put(f"/bundles/{chain}:t2", content=BODY), 429, "too-many-bundles", "cloud"
            )
            assert (error["node"], error["limit"]) == ("cloud", 1)
            assert nodes["sat"].held(chain) == []
            assert called(nodes["sat"], chain, "store", f"{chain}:cloud:t2")["raised"] == "Unavailable"


@contextlib.contextmanager
def keyed_node_info(tmp_path: Path) -> Iterator[LiveNodeInfo]:
    """A node-info service that shares the key."""
    topology = tmp_path / "topology.json"
    topology.write_bytes(line("sat", "cloud").to_json())
    with run_node_info("--topology", topology, "--node", "sat", environment=KEYED) as service:
        yield service


def objectives(service: LiveNodeInfo) -> Any:
    return service.get("/objectives")


class TestNodeInfo:
    CHANGES = (
        ("/objectives", b'{"max_latency": 7}'),
        ("/refresh", b""),
        ("/measurements", b'{"source": "sat", "target": "cloud", "latency_ms": 9, "bandwidth_mbps": 1, "at_s": 1}'),
        ("/sim-settings", b"{}"),
    )

    def test_without_a_signature(self, tmp_path: Path) -> None:
        """With a key nobody changes anything without a signature, not even from the node itself; all may read."""
        with keyed_node_info(tmp_path) as service:
            before, epoch = objectives(service), service.epoch()
            for path, body in self.CHANGES:
                check_error(service.http.post(path, content=body), 401, "unauthorized", "signed")
            assert (objectives(service), service.epoch()) == (before, epoch)

    def test_from_a_page(self, tmp_path: Path) -> None:
        """A page in a browser changes nothing, also where there is no key."""
        topology = tmp_path / "topology.json"
        topology.write_bytes(line("sat", "cloud").to_json())
        with run_node_info("--topology", topology, "--node", "sat") as service:
            for path, body in self.CHANGES:
                page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
                check_error(service.http.post(path, content=body, headers=page), 403, "forbidden", "origin")
            check_error(service.http.get("/objectives", headers={"Host": "evil.example"}), 403, "forbidden", "Host")
            assert service.http.post("/objectives", content=self.CHANGES[0][1]).status_code == 200

    def test_signed_and_replayed(self, tmp_path: Path) -> None:
        """Who has the key changes what it tells; the same request is good for once, also over a restart."""
        with keyed_node_info(tmp_path) as service:
            signer, body = Signer(KEY.encode(), "sat"), b'{"max_latency": 7}'
            boot = service.http.get("/health").headers["skylark-boot"]
            headers = signer.headers("POST", "/objectives", {BOOT: boot}, [body], time.time(), os.urandom(16))
            assert service.http.post("/objectives", content=body[:-2] + b"8}", headers=headers).status_code == 401
            boot = service.http.get("/health").headers["skylark-boot"]
            headers = signer.headers("POST", "/objectives", {BOOT: boot}, [body], time.time(), os.urandom(16))
            assert service.http.post("/objectives", content=body, headers=headers).json()["max_latency"] == 7
            answer = service.http.post("/objectives", content=body, headers=headers)
            check_error(answer, 401, "unauthorized", "sent before")
            service.kill()
            service.start()
            answer = service.http.post("/objectives", content=body, headers=headers)
            check_error(answer, 401, "unauthorized", "this start of the receiver")
            assert answer.headers["skylark-boot"] != boot
            assert objectives(service)["max_latency"] != 7

    def test_the_command(self, tmp_path: Path) -> None:
        """`skylark objectives` signs with the key of the environment; without it the service refuses."""
        with keyed_node_info(tmp_path) as service:
            command = [
                sys.executable,
                "-m",
                "skylark_proxy",
                "objectives",
                "--url",
                service.url,
                "--max-latency-ms",
                "9",
            ]
            refused = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
            assert (refused.returncode, "are signed" in refused.stderr) == (1, True)
            assert objectives(service)["max_latency"] != 9
            subprocess.run(command, env=KEYED, capture_output=True, check=True)
            assert objectives(service)["max_latency"] == 9

    def test_reports_of_links(self, tmp_path: Path, chain: str) -> None:
        """What proxies report of their links is signed, and goes on when node-info was restarted."""
        topology = line("sat", "cloud", latency_ms=40.0)
        file = tmp_path / "topology.json"
        file.write_bytes(topology.to_json())
        with run_node_info("--topology", file, "--node", "sat", environment=KEYED) as service:
            settings = KEYED | {"SKYLARK_NODE_INFO_URL": service.url, "SKYLARK_REPORT_LINKS": "true"}
            with run_nodes(topology, settings=settings) as nodes:
                for restarted in (False, True):
                    if restarted:
                        service.kill()
                        service.start()
                    nodes["sat"].client.put_bundle(f"{chain}:t{restarted:d}", {"f": b"small"})
                    wait_for(lambda: service.get("/node-graph")[0]["latency"] < 40, "a measured link is told", 60)
