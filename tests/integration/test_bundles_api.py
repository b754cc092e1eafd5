"""`/bundles` of real nodes: what is stored, where, under which conditions, and what is refused."""

import hashlib
import http.client
import random
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes, send_raw
from servers import wait_for
from skylark import wire
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.bundle_http import checksum
from skylark_proxy.client import ProxyError
from skylark_proxy.model import Metadata

FIELDS: Mapping[str, bytes] = {"zeta": bytes(range(256)) * 5, "alpha": b"", "b.c-d": b"\r\n\r\n"}
LIMIT_BYTES = 4000


def encoded(fields: Mapping[str, Buffer] = FIELDS) -> bytes:
    return b"".join(wire.encode(fields))


def plain(fields: Mapping[str, Buffer]) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in fields.items()}


def decoded(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    return plain(wire.decode(answer.content))


def put(node: LiveNode, key: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    """Stores a bundle; the names of headers have _ for -."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return node.http.put(f"/bundles/{key}", content=encoded() if body is None else body, headers=given)


def nowhere(nodes: Nodes, chain: str) -> bool:
    """Whether no node holds a bundle of the chain."""
    return all(node.held(chain) == [] for node in nodes.values())


class TestPlacement:
    def test_a_key_of_two_parts_is_placed_by_an_election(self, nodes: Nodes, chain: str) -> None:
        """From sat1 the cloud is too far: sat3 gets the bundle, alone, and the answer's key leads to it."""
        answer = put(nodes["sat1"], f"{chain}:t1")
        placed = answer.json()
        assert (answer.status_code, placed["key"]) == (200, f"{chain}:sat3:t1")
        assert (answer.headers["skylark-key"], answer.headers["etag"]) == (placed["key"], f'"{placed["version"]}"')
        assert placed["size_bytes"] == sum(map(len, FIELDS.values()))
        assert (placed["objective_met"], placed["failed"]) == (True, [])
        verdicts = [(candidate["node"], candidate["verdict"]) for candidate in placed["election"]["candidates"]]
        assert verdicts == [
            ("cloud1", "latency-exceeded"), ("sat3", "elected"), ("sat2", "not-needed"), ("sat1", "not-needed"),
        ]  # fmt: skip
        assert [name for name, node in nodes.items() if node.held(chain)] == ["sat3"]
        found = nodes["sat1"].http.get(f"/bundles/{placed['key']}")
        assert decoded(found) == FIELDS
        assert (found.headers["skylark-hops"], found.headers["skylark-served-by"]) == ("1", "sat3")

    def test_a_key_of_two_parts_is_looked_up_in_the_cloud(self, nodes: Nodes, chain: str) -> None:
        """A bundle that an election put into the cloud is found from everywhere by a key that names no node."""
        assert put(nodes["sat2"], f"{chain}:t1").json()["key"] == f"{chain}:cloud1:t1"
        for name in ("sat1", "sat2", "sat3"):
            found = nodes[name].http.get(f"/bundles/{chain}:t1")
            assert (decoded(found), found.headers["skylark-served-by"]) == (FIELDS, "cloud1")
            assert found.headers["skylark-key"] == f"{chain}:cloud1:t1"

    def test_a_key_of_three_parts_is_stored_where_it_says(self, nodes: Nodes, chain: str) -> None:
        """There is no election, and the bundle goes over a real socket to the node that the key names."""
        placed = put(nodes["sat1"], f"{chain}:cloud1:t1").json()
        assert (placed["key"], placed["election"], placed["objective_met"]) == (f"{chain}:cloud1:t1", None, None)
        assert [name for name, node in nodes.items() if node.held(chain)] == ["cloud1"]
        assert put(nodes["sat1"], f"{chain}:sat1:t2").json()["key"] == f"{chain}:sat1:t2"
        assert nodes["sat1"].held(chain) == [f"{chain}:sat1:t2"]

    def test_the_destination_and_the_policy_of_a_request(self, nodes: Nodes, chain: str) -> None:
        """`destination` is where the election leads to, and `policy=stateless` goes there whatever the objectives."""
        near = nodes["sat1"].http.put(f"/bundles/{chain}:t1?destination=sat2", content=encoded()).json()
        far = nodes["sat1"].http.put(f"/bundles/{chain}:t2?policy=stateless", content=encoded()).json()
        assert (near["key"], near["election"]["destination"]) == (f"{chain}:sat2:t1", "sat2")
        assert (far["key"], far["objective_met"]) == (f"{chain}:cloud1:t2", False)
        assert far["election"]["breach"] == "latency-exceeded"

    def test_the_maker_of_a_bundle_stays_its_origin(self, nodes: Nodes, chain: str) -> None:
        """Origin and time of making go with a bundle over every node; without them they are the node and the time."""
        before_ms = time.time_ns() // 1_000_000
        put(nodes["sat1"], f"{chain}:cloud1:t1", Skylark_Origin="camera-7", Skylark_Created_Ms="17")
        put(nodes["sat1"], f"{chain}:cloud1:t2")
        given, own = (nodes["sat3"].http.get(f"/bundles/{chain}:cloud1:{task}").headers for task in ("t1", "t2"))
        assert (given["skylark-origin"], given["skylark-created-ms"]) == ("camera-7", "17")
        assert own["skylark-origin"] == "sat1"
        assert before_ms <= int(own["skylark-created-ms"]) <= time.time_ns() // 1_000_000

    def test_twenty_megabytes_over_two_nodes(self, nodes: Nodes, chain: str) -> None:
        """20 MB put at one node into another and read at a third are the same bytes in the same order."""
        body = encoded({"picture": random.Random(7).randbytes(20_000_000), "note": b"end"})
        assert put(nodes["sat1"], f"{chain}:sat2:t1", body).json()["size_bytes"] == 20_000_003
        answer = nodes["sat3"].http.get(f"/bundles/{chain}:sat2:t1")
        assert (len(answer.content), answer.headers["content-length"]) == (len(body), str(len(body)))
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(body).digest()

    @pytest.mark.parametrize("fields", [{}, {"f": b""}, {f"f{number}": b"1" for number in range(5000)}], ids=len)
    def test_bundles_of_no_field_and_of_many(self, nodes: Nodes, chain: str, fields: dict[str, bytes]) -> None:
        """A bundle may have no field, an empty one or thousands, here and at another node."""
        for name in ("sat1", "sat2"):
            assert put(nodes["sat1"], f"{chain}:{name}:t1", encoded(fields)).status_code == 200
            assert decoded(nodes["sat1"].http.get(f"/bundles/{chain}:{name}:t1")) == fields


class TestConditions:
    @pytest.mark.parametrize("holder", ["sat1", "cloud1"])
    def test_a_chain_of_versions(self, nodes: Nodes, chain: str, holder: str) -> None:
        """`If-None-Match: *` creates, `If-Match` replaces that version; what comes too late changes nothing."""
        node, key = nodes["sat1"], f"{chain}:{holder}:t1"
        first = put(node, key, encoded({"f": b"1"}), If_None_Match="*").json()["version"]
        again = check_error(put(node, key, If_None_Match="*"), 409, "conflict", key)
        assert (again["expected"], again["actual"], again["retryable"]) == (0, first, False)
        replaced = put(node, key, encoded({"f": b"2"}), If_Match=f'"{first}"')
        second = replaced.json()["version"]
        assert replaced.headers["etag"] == f'"{second}"'
        assert second > first
        late = check_error(put(node, key, If_Match=f'"{first}"'), 409, "conflict", key)
        assert (late["expected"], late["actual"]) == (first, second)
        found = node.http.get(f"/bundles/{key}")
        assert (decoded(found), found.headers["etag"]) == ({"f": b"2"}, f'"{second}"')

    @pytest.mark.parametrize("holder", ["sat1", "cloud1"])
    def test_a_version_to_delete(self, nodes: Nodes, chain: str, holder: str) -> None:
        """`If-Match` deletes that version only; `If-None-Match` says nothing about a deletion, and is refused."""
        node, key = nodes["sat1"], f"{chain}:{holder}:t1"
        first, second = (put(node, key).json()["version"] for _ in range(2))
        path = f"/bundles/{key}"
        late = check_error(node.http.delete(path, headers={"If-Match": f'"{first}"'}), 409, "conflict", key)
        assert (late["expected"], late["actual"]) == (first, second)
        check_error(node.http.delete(path, headers={"If-None-Match": "*"}), 400, "invalid-argument", "If-None-Match")
        check_error(node.http.delete(path, headers={"If-Match": "*"}), 400, "invalid-argument", "If-Match")
        assert node.http.head(path).headers["etag"] == f'"{second}"'
        assert node.http.delete(path, headers={"If-Match": f'"{second}"'}).status_code == 204
        assert node.http.head(path).status_code == 404
        gone = node.http.delete(path, headers={"If-Match": f'"{second}"'})
        assert gone.status_code in (404, 409)

    def test_a_version_of_what_does_not_exist(self, nodes: Nodes, chain: str) -> None:
        """Replacing a version of a bundle that is not there is a conflict with version 0, and stores nothing."""
        error = check_error(put(nodes["sat1"], f"{chain}:sat1:t1", If_Match='"3"'), 409, "conflict")
        assert (error["expected"], error["actual"]) == (3, 0)
        assert nowhere(nodes, chain)

    def test_any_version_is_no_condition(self, nodes: Nodes, chain: str) -> None:
        """`If-Match: *` (RFC 9110, 13.1.1) is refused by its name and not passed over: nothing is stored."""
        check_error(put(nodes["sat1"], f"{chain}:sat1:t1", If_Match="*"), 400, "invalid-argument", "If-Match")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("If-Match", "one"),
            ("If-Match", '"0"'),
            ("If-Match", '"-1"'),
            ("If-Match", 'W/"1"'),
            ("If-Match", '"1", "2"'),
            ("If-Match", '"99999999999999999999"'),
            ("If-None-Match", '"1"'),
        ],
    )
    def test_conditions_that_make_no_sense(self, nodes: Nodes, chain: str, header: str, value: str) -> None:
        """A condition that is not understood is an error that names the header, never no condition."""
        answer = nodes["sat1"].http.put(f"/bundles/{chain}:t1", content=encoded(), headers={header: value})
        check_error(answer, 400, "invalid-argument", header)
        assert nowhere(nodes, chain)

    def test_two_conditions_at_once(self, nodes: Nodes, chain: str) -> None:
        """`If-Match` and `If-None-Match` contradict each other."""
        check_error(put(nodes["sat1"], f"{chain}:t1", If_Match='"1"', If_None_Match="*"), 400, "invalid-argument")
        assert nowhere(nodes, chain)


class TestReading:
    def test_some_fields(self, nodes: Nodes, chain: str) -> None:
        """`fields` gives only those, in the order asked for, here and from afar; one that is missing is left out."""
        put(nodes["sat2"], f"{chain}:sat2:t1")
        for name in ("sat2", "sat1"):
            found = nodes[name].http.get(f"/bundles/{chain}:sat2:t1?fields=b.c-d,nothing,alpha")
            assert decoded(found) == {"b.c-d": FIELDS["b.c-d"], "alpha": b""}

    @pytest.mark.parametrize("holder", ["sat1", "sat2"])
    @pytest.mark.parametrize("scope", ["", "?scope=local"])
    def test_head_is_get_without_the_body(self, nodes: Nodes, chain: str, holder: str, scope: str) -> None:
        """HEAD has the metadata of GET and no body; 404 has no body either."""
        put(nodes["sat1"], f"{chain}:{holder}:t1")
        node = nodes[holder if scope else "sat1"]
        head, get = (node.http.request(method, f"/bundles/{chain}:{holder}:t1{scope}") for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (200, b"")
        metadata = ("etag", "skylark-key", "skylark-origin", "skylark-created-ms", "skylark-crc32", "content-type")
        assert [head.headers[name] for name in metadata] == [get.headers[name] for name in metadata]
        missing = node.http.head(f"/bundles/{chain}:{holder}:t2{scope}")
        assert (missing.status_code, missing.content) == (404, b"")

    def test_metadata(self, nodes: Nodes, chain: str) -> None:
        """The checksum in the headers is that of the fields, in their order."""
        stored = put(nodes["sat1"], f"{chain}:sat1:t1")
        found = nodes["sat1"].http.get(f"/bundles/{chain}:sat1:t1")
        assert int(found.headers["skylark-crc32"]) == checksum(FIELDS)
        assert found.headers["content-type"] == wire.MEDIA_TYPE
        assert (found.headers["etag"], found.headers["skylark-hops"]) == (stored.headers["etag"], "0")
        assert (found.headers["skylark-owner"], found.headers["skylark-served-by"]) == ("sat1", "sat1")
        assert {"age", "skylark-age-ms", "skylark-stale"}.isdisjoint(found.headers)
        assert "skylark-ttl-ms" not in found.headers

    def test_what_is_nowhere(self, nodes: Nodes, chain: str) -> None:
        """A bundle that nobody has is 404, and the error says who was asked."""
        answer = nodes["sat1"].http.get(f"/bundles/{chain}:sat2:t1")
        error = check_error(answer, 404, "not-found", f"{chain}:sat2:t1", "sat1", "sat2", "cloud1")
        assert error["looked_at"] == ["sat1", "sat2", "cloud1"]

    def test_the_bundles_of_a_chain(self, nodes: Nodes, chain: str) -> None:
        """The list has the bundles of that chain that the node itself holds, with their metadata."""
        node = nodes["sat1"]
        for key in (f"{chain}:sat1:t1", f"{chain}:sat1:t2", f"{chain}:sat2:t3", f"{chain}x:sat1:t4"):
            put(node, key, Skylark_Created_Ms="5")
        version = int(node.http.head(f"/bundles/{chain}:sat1:t1").headers["etag"].strip('"'))
        answer = node.http.get("/bundles", params={"chain": chain}).json()
        listed = {bundle["key"]: bundle for bundle in answer["bundles"]}
        assert sorted(listed) == [f"{chain}:sat1:t1", f"{chain}:sat1:t2"]
        crc32 = checksum(FIELDS)
        assert listed[f"{chain}:sat1:t1"] == {
            "key": f"{chain}:sat1:t1", "held_by": "sat1", "version": version, "age_ms": None,
            "size_bytes": 1284, "origin": "sat1", "created_ms": 5,
            "fields": {"zeta": 1280, "alpha": 0, "b.c-d": 4}, "expires_ms": None, "crc32": crc32,
        }  # fmt: skip

    def test_a_list_of_no_chain(self, nodes: Nodes) -> None:
        """A list without a chain, or of what is no chain, is an error."""
        for query in ("", "?chain=", "?chain=a*", "?chain=a&chain=b"):
            check_error(nodes["sat1"].http.get(f"/bundles{query}"), 400, "invalid-argument", "chain")


class TestLifetime:
    @pytest.mark.parametrize("holder", ["sat1", "sat2"])
    def test_time_to_live(self, nodes: Nodes, chain: str, holder: str) -> None:
        """`ttl_ms` counts from the storing, at whichever node; then the bundle is gone."""
        node, key = nodes["sat1"], f"{chain}:{holder}:t1"
        before_s = time.monotonic()
        assert node.http.put(f"/bundles/{key}?ttl_ms=60000", content=encoded()).status_code == 200
        left_ms = int(node.http.get(f"/bundles/{key}").headers["skylark-ttl-ms"])
        assert 60_000 - 1000 * (time.monotonic() - before_s) - 1 <= left_ms <= 60_000
        assert node.http.put(f"/bundles/{key}?ttl_ms=20", content=encoded()).status_code == 200
        wait_for(lambda: node.http.get(f"/bundles/{key}").status_code == 404, "the bundle has expired")

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "1e3", "999999999999999", ""])
    def test_times_to_live_that_make_no_sense(self, nodes: Nodes, chain: str, value: str) -> None:
        """A time to live that is no whole number from 1 on is an error."""
        answer = nodes["sat1"].http.put(f"/bundles/{chain}:t1?ttl_ms={value}", content=encoded())
        check_error(answer, 400, "invalid-argument", "ttl_ms")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize("holder", ["sat1", "sat2"])
    def test_deleting(self, nodes: Nodes, chain: str, holder: str) -> None:
        """A bundle is deleted where its key says; then it is not found, nor deleted again."""
        node, key = nodes["sat1"], f"{chain}:{holder}:t1"
        put(node, key)
        deleted = node.http.delete(f"/bundles/{key}")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert nowhere(nodes, chain)
        check_error(node.http.delete(f"/bundles/{key}"), 404, "not-found", key, holder)

    def test_deleting_without_a_node(self, nodes: Nodes, chain: str) -> None:
        """A key without a node deletes at the asked node, not at another one."""
        put(nodes["sat1"], f"{chain}:cloud1:t1")
        check_error(nodes["sat1"].http.delete(f"/bundles/{chain}:t1"), 404, "not-found", "sat1")
        assert nodes["cloud1"].held(chain) == [f"{chain}:cloud1:t1"]
        assert nodes["cloud1"].http.delete(f"/bundles/{chain}:t1").status_code == 204


def index(*fields: tuple[bytes, int], count: int | None = None, magic: bytes = b"SKYB", version: int = 1) -> bytes:
    """The index of a bundle, right or wrong."""
    entries = b"".join(struct.pack("<HQ", len(name), size_bytes) + name for name, size_bytes in fields)
    return struct.pack("<4sHH", magic, version, len(fields) if count is None else count) + entries


BAD_BODIES = {
    "empty": b"",
    "truncated in the head": encoded()[:5],
    "truncated in the index": encoded()[:20],
    "truncated in the fields": encoded()[:-1],
    "shorter than its index says": index((b"f", 10)) + b"123",
    "longer than its index says": encoded() + b"\0",
    "a size that no machine has": index((b"f", 2**64 - 1)) + b"123",
    "wrong magic": index((b"f", 1), magic=b"SKYA") + b"1",
    "wrong version": index((b"f", 1), version=2) + b"1",
    "more fields than it has": index((b"f", 1), count=65535) + b"1",
    "a field twice": index((b"f", 1), (b"f", 1)) + b"12",
    "a name that is not UTF-8": index((b"\xff", 1)) + b"1",
    "a name with a colon": index((b"a:b", 1)) + b"1",
    "a name that is empty": index((b"", 1)) + b"1",
    "a name that is too long": index((b"n" * 129, 1)) + b"1",
    "JSON": b'{"f": "1"}',
}


class TestRefusals:
    @pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
    @pytest.mark.parametrize("node", ["", "sat2:"])
    def test_bodies_that_are_no_bundle(self, nodes: Nodes, chain: str, body: bytes, node: str) -> None:
        """A body that is not exactly one bundle is refused with its reason, and nothing of it is stored anywhere."""
        error = check_error(put(nodes["sat1"], f"{chain}:{node}t1", body), 400, "invalid-argument", "body")
        assert error["field"].startswith("body")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize("framing", ["Content-Length: {more}", "Transfer-Encoding: chunked"])
    def test_a_body_that_breaks_off(self, nodes: Nodes, chain: str, framing: str) -> None:
        """A connection that ends before its body does stores nothing, and the server goes on."""
        node, body = nodes["sat1"], encoded()
        head = f"PUT /bundles/{chain}:sat1:t1 HTTP/1.1\r\nHost: sat1\r\n{framing.format(more=len(body) + 1)}\r\n\r\n"
        chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n" if "chunked" in framing else body
        send_raw(node.url, head.encode() + chunk)
        assert nowhere(nodes, chain)
        assert put(node, f"{chain}:sat1:t1").status_code == 200
        assert "Traceback" not in node.log()

    @pytest.mark.parametrize("length", ["-1", "one", "1, 2", "0x10"])
    def test_a_length_that_is_no_length(self, nodes: Nodes, chain: str, length: str) -> None:
        """A nonsensical Content-Length is the sender's mistake, not a failure of the server."""
        head = f"PUT /bundles/{chain}:sat1:t1 HTTP/1.1\r\nHost: sat1\r\nContent-Length: {length}\r\n\r\n"
        assert send_raw(nodes["sat1"].url, head.encode() + encoded()).startswith(b"HTTP/1.1 400 ")
        assert nowhere(nodes, chain)

    def test_a_body_in_chunks(self, nodes: Nodes, chain: str) -> None:
        """A body of unknown length is stored as any other."""
        body = encoded()
        pieces = (body[start : start + 100] for start in range(0, len(body), 100))
        assert nodes["sat1"].http.put(f"/bundles/{chain}:sat1:t1", content=pieces).status_code == 200
        assert decoded(nodes["sat1"].http.get(f"/bundles/{chain}:sat1:t1")) == FIELDS

    @pytest.mark.parametrize(
        "key", ["one", "a:b:c:d", "a::c", ":b", "a:", ".a:b", "-a:b", "a*:b", "a b:c", "ä:b", "{a}:b", "n" * 129 + ":b"]
    )
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_keys_that_are_none(self, nodes: Nodes, method: str, key: str) -> None:
        """What is no state key is refused by its own error code, with the form that a key has."""
        answer = nodes["sat1"].http.request(method, f"/bundles/{key}", content=encoded() if method == "PUT" else None)
        assert check_error(answer, 400, "invalid-key", "key", "<chain_id>:<node>:<task_id>")["field"] == "key"

    def test_nodes_that_are_unknown(self, nodes: Nodes, chain: str) -> None:
        """A node that the topology does not have is an error of its own, with the nodes that there are."""
        node = nodes["sat1"]
        for answer in (
            put(node, f"{chain}:mars:t1"),
            node.http.put(f"/bundles/{chain}:t1?destination=mars", content=encoded()),
            node.http.delete(f"/bundles/{chain}:mars:t1"),
        ):
            check_error(answer, 404, "unknown-node", "mars", "cloud1", "sat1")
        check_error(node.http.get(f"/bundles/{chain}:mars:t1"), 404, "not-found", "mars")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ("policy=fastest", ("policy", "fastest", "skylark", "random", "stateless")),
            ("policy=SKYLARK2", ("policy", "SKYLARK2")),
            ("policy=", ("policy",)),
            ("policy=skylark&policy=random", ("policy",)),
            ("destination=a:b", ("destination", "a:b")),
            ("destination=sat2&destination=sat3", ("destination",)),
            ("ttl_ms=1&ttl_ms=1", ("ttl_ms",)),
            ("scope=global", ("scope", "global", "local")),
            ("scope=local&scope=local", ("scope",)),
        ],
    )
    def test_parameters(self, nodes: Nodes, chain: str, query: str, named: tuple[str, ...]) -> None:
        """A parameter that is wrong, empty or given twice is refused by its name."""
        answer = nodes["sat1"].http.put(f"/bundles/{chain}:t1?{query}", content=encoded())
        assert check_error(answer, 400, "invalid-argument", *named)["field"] == named[0]
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize("query", ["fields=", "fields=a,,b", "fields=a:b", "fields=a&fields=b", "scope=here"])
    def test_parameters_of_reading(self, nodes: Nodes, chain: str, query: str) -> None:
        """The same holds for reading."""
        answer = nodes["sat1"].http.get(f"/bundles/{chain}:t1?{query}")
        check_error(answer, 400, "invalid-argument", query.partition("=")[0])

    @pytest.mark.parametrize("node", ["sat1", "sat2"])
    def test_a_checksum_that_does_not_match(self, nodes: Nodes, chain: str, node: str) -> None:
        """Bytes that are not those of the checksum sent with them are not stored."""
        answer = put(nodes["sat1"], f"{chain}:{node}:t1", Skylark_Crc32="17")
        check_error(answer, 400, "invalid-argument", "Skylark-Crc32", "17")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("Skylark-Crc32", "x"),
            ("Skylark-Crc32", "-1"),
            ("Skylark-Crc32", str(2**32)),
            ("Skylark-Created-Ms", "now"),
            ("Skylark-Created-Ms", str(2**60)),
            ("Skylark-Origin", "a:b"),
            ("Skylark-Origin", ""),
        ],
    )
    def test_headers_of_metadata(self, nodes: Nodes, chain: str, header: str, value: str) -> None:
        """Metadata that is none is refused by the header's name."""
        answer = nodes["sat1"].http.put(f"/bundles/{chain}:t1", content=encoded(), headers={header: value})
        check_error(answer, 400, "invalid-argument", header)
        assert nowhere(nodes, chain)

    def test_what_a_chain_has_seen(self, nodes: Nodes, chain: str) -> None:
        """It travels with the bundle; at the node where that is read, no older version of the others is given."""
        key, seen = f"{chain}:sat2:seen", nodes["sat2"]
        version = put(seen, key).headers["etag"].strip('"')
        known = f"{key}={version},{chain}:cloud1:other=5"
        path, header = f"/bundles/{chain}:cloud1:t1", {"Skylark-Seen": known}
        placed = nodes["sat1"].http.put(path, content=encoded(), headers=header).headers["skylark-key"]
        meta, older = Metadata("sat2", 5, checksum(FIELDS), "0123456789abcdef-1"), str(int(version) - 1)
        said = {"Skylark-Owner": "sat2", "Skylark-Version": older} | bundle_http.meta_headers(meta)
        copy = nodes["sat3"].http.put(f"/bundles/{chain}:sat3:seen?scope=local", content=encoded(), headers=said)
        assert copy.status_code == 200, copy.text
        assert nodes["sat3"].http.get(f"/bundles/{placed}").headers["skylark-seen"] == known
        assert nodes["sat3"].http.get(f"/bundles/{key}").headers["etag"] == f'"{version}"'

    @pytest.mark.parametrize("value", ["", "c:n:t", "c:t=5", "c:n:t=x", ",".join(f"c:n:t{i}=5" for i in range(17))])
    def test_what_no_chain_has_seen(self, nodes: Nodes, chain: str, value: str) -> None:
        """What cannot be read, names no owner, or is more than travels with a bundle, is refused by name."""
        answer = nodes["sat1"].http.put(f"/bundles/{chain}:t1", content=encoded(), headers={"Skylark-Seen": value})
        assert (answer.status_code, "Skylark-Seen" in answer.json()["error"]["message"]) == (400, True)
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
    def test_a_request_that_went_to_the_wrong_node(self, nodes: Nodes, chain: str, method: str) -> None:
        """With `scope=local` a key of another node is refused: a sender's topology is wrong, and must not go on so."""
        content = encoded() if method == "PUT" else None
        answer = nodes["sat1"].http.request(method, f"/bundles/{chain}:sat2:t1?scope=local", content=content)
        if method == "HEAD":
            assert answer.status_code == 400
        else:
            check_error(answer, 400, "invalid-argument", "key", "sat1", "sat2")
        assert nowhere(nodes, chain)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    @pytest.mark.parametrize(
        "name", ["asker", "keeper", "copy_at", "below", "write", "Skylark-Owner", "Skylark-Version"]
    )
    def test_what_only_nodes_say(self, nodes: Nodes, chain: str, method: str, name: str) -> None:
        """What nodes tell each other is refused without `scope=local`, and not left undone in silence."""
        content = encoded() if method == "PUT" else None
        said: dict[str, Any] = {"headers": {name: "5"}} if name.startswith("Skylark") else {"params": {name: "5"}}
        answer = nodes["sat1"].http.request(method, f"/bundles/{chain}:sat1:t1", content=content, **said)
        check_error(answer, 400, "invalid-argument", name)
        assert nowhere(nodes, chain)

    def test_local_only(self, nodes: Nodes, chain: str) -> None:
        """With `scope=local` nobody else is asked, and what is put stays here."""
        node = nodes["sat1"]
        put(node, f"{chain}:cloud1:t1")
        check_error(node.http.get(f"/bundles/{chain}:t1?scope=local"), 404, "not-found", f"{chain}:t1")
        meta = Metadata("sat2", 5, checksum(FIELDS), "0123456789abcdef-1")
        path, given = f"/bundles/{chain}:t1?scope=local", bundle_http.meta_headers(meta)
        answer = node.http.put(path, content=encoded(), headers=given)
        assert answer.headers["skylark-key"] == f"{chain}:sat1:t1"
        assert node.http.put(path, content=encoded(), headers=given).json() == answer.json()
        assert decoded(node.http.get(f"/bundles/{chain}:t1?scope=local")) == FIELDS

    def test_paths_and_methods_that_do_not_exist(self, nodes: Nodes) -> None:
        """Unknown paths and methods are errors of the same form as all others."""
        http = nodes["sat1"].http
        check_error(http.get("/"), 404, "not-found")
        check_error(http.get("/bundles/a/b"), 404, "not-found")
        refused = http.post("/bundles/a:b")
        check_error(refused, 405, "method-not-allowed")
        assert {"GET", "PUT", "DELETE"} <= set(refused.headers["allow"].split(", "))


@pytest.fixture(scope="module")
def small() -> Iterator[Nodes]:
    """Two nodes, of which the cloud takes bundles of a few kilobytes only."""
    with run_nodes(line("edge", "cloud"), of_node={"cloud": {"SKYLARK_MAX_BUNDLE_BYTES": str(LIMIT_BYTES)}}) as nodes:
        yield nodes


class TestTooLarge:
    def test_the_largest_bundle(self, small: Nodes, chain: str) -> None:
        """A bundle of just the limit is stored; the index around it does not count."""
        fields = {"f": bytes(LIMIT_BYTES)}
        assert put(small["cloud"], f"{chain}:t1", encoded(fields)).status_code == 200
        assert decoded(small["cloud"].http.get(f"/bundles/{chain}:t1")) == fields

    @pytest.mark.parametrize("size_bytes", [LIMIT_BYTES + 1, 5_000_000])
    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_a_bundle_above_the_limit(self, small: Nodes, chain: str, size_bytes: int, chunked: bool) -> None:
        """A body above the limit is refused, whether its length was told or not, with both numbers."""
        body = encoded({"f": bytes(size_bytes)})
        content = iter([body[:100], body[100:]]) if chunked else body
        answer = small["cloud"].http.put(f"/bundles/{chain}:t1", content=content)
        error = check_error(answer, 413, "too-large", str(LIMIT_BYTES))
        assert error["limit_bytes"] == LIMIT_BYTES < error["size_bytes"]
        assert nowhere(small, chain)

    def test_a_length_above_the_limit_is_refused_unread(self, small: Nodes, chain: str) -> None:
        """Who announces too much is told so before a byte of it has arrived."""
        connection = http.client.HTTPConnection(small["cloud"].node.address, timeout=20)
        connection.putrequest("PUT", f"/bundles/{chain}:t1")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

    def test_a_bundle_above_the_limit_of_another_node(self, small: Nodes, chain: str) -> None:
        """The limit that counts is that of the node that is to hold the bundle, and the error names it."""
        fields = {"f": bytes(2 * LIMIT_BYTES)}
        for key in (f"{chain}:t1", f"{chain}:cloud:t1"):
            check_error(put(small["edge"], key, encoded(fields)), 413, "too-large", "cloud", str(LIMIT_BYTES))
        assert nowhere(small, chain)

    def test_the_client_raises_what_the_proxy_says(self, small: Nodes, chain: str) -> None:
        """The product's client passes an error on with its status, code and numbers."""
        with pytest.raises(ProxyError) as caught:
            small["cloud"].client.put_bundle(f"{chain}:t1", {"f": bytes(2 * LIMIT_BYTES)})
        assert (caught.value.status, caught.value.details["code"]) == (413, "too-large")
        assert caught.value.details["limit_bytes"] == LIMIT_BYTES
