"""The published interface to single states, on real nodes: `/state`, `/save`, and what goes with them."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, four_nodes, line, run_nodes, run_proxy
from servers import wait_for
from skylark import wire
from skylark_proxy.bench.election import NODES, PUBLISHED_MS
from skylark_proxy.continuum import with_free_ports
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.topology import Topology

JSON = {"accept": "application/json"}
VALUES: list[object] = [
    "",
    "V0.2.743S",
    "123",
    "null",
    '{"a": 1}',
    "Grüße 🛰 \u0000\n",
    None,
    True,
    0,
    -1.5e300,
    2**70,
    [],
    {},
    {"a": [1, {"b": None}], "": "ä"},
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """The four nodes of the examples without functions, which no state needs: sat1 – sat2 – sat3 – cloud1."""
    with run_nodes(four_nodes()) as running:
        yield running


def save(node: LiveNode, where: str, chain: str, value: object, task: str = "fn1", **query: str) -> str:
    """Saves a state; returns the key of the answer."""
    body = {"key": {"chain_id": chain, "task_id": task}, "value": value}
    answer = node.http.post(f"/save/{where}", json=body, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["skylark-key"] == answer.text
    return answer.text


def get(node: LiveNode, key: str) -> dict[str, Any]:
    answer = node.http.get("/state", params={"key": key})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def held(nodes: Nodes, chain: str) -> dict[str, list[str]]:
    """The keys of a chain's bundles at each node that has one."""
    return {name: keys for name, node in nodes.items() if (keys := node.held(chain))}


def contents(node: LiveNode, key: str) -> tuple[bytes, str, str, str]:
    """A bundle as a node itself holds it: its bytes, checksum, version and time."""
    answer = node.http.get(f"/bundles/{key}", params={"scope": "local"})
    assert answer.status_code == 200, answer.text
    headers = (answer.headers[name] for name in ("skylark-crc32", "etag", "skylark-created-ms"))
    crc32, version, created_ms = headers
    return answer.content, crc32, version, created_ms


class TestSaving:
    def test_sat_is_here_at_the_elected_node_and_in_the_cloud(self, nodes: Nodes, chain: str) -> None:
        """The key names the elected node; the node itself and the cloud hold the same bytes under the same version."""
        value = random.Random(1).randbytes(100_000).hex()
        assert save(nodes["sat1"], "sat", chain, value) == f"{chain}:sat3:fn1"
        wait_for(lambda: "cloud1" in held(nodes, chain), "the cloud has its copy")
        assert held(nodes, chain) == {name: [f"{chain}:{name}:fn1"] for name in ("cloud1", "sat1", "sat3")}
        copies = [contents(nodes[name], f"{chain}:fn1") for name in ("cloud1", "sat1", "sat3")]
        assert copies[0] == copies[1] == copies[2]
        assert copies[0][0] == b"".join(wire.encode({"value": value.encode()}))

    def test_sat_with_the_cloud_acknowledged(self, nodes: Nodes, chain: str) -> None:
        """With `ack=cloud` the copy in the cloud is there when the answer comes."""
        key = save(nodes["sat1"], "sat", chain, {"a": 1}, ack="cloud")
        assert sorted(held(nodes, chain)) == ["cloud1", "sat1", "sat3"]
        assert contents(nodes["cloud1"], f"{chain}:fn1") == contents(nodes["sat3"], key)

    def test_edge_is_here_and_in_the_cloud(self, nodes: Nodes, chain: str) -> None:
        """There is no election: the node keeps the state and the cloud gets a copy."""
        assert save(nodes["sat2"], "edge", chain, "V0.2.743E") == f"{chain}:sat2:fn1"
        wait_for(lambda: "cloud1" in held(nodes, chain), "the cloud has its copy")
        assert sorted(held(nodes, chain)) == ["cloud1", "sat2"]
        assert contents(nodes["cloud1"], f"{chain}:fn1") == contents(nodes["sat2"], f"{chain}:fn1")

    def test_cloud_is_in_the_cloud_alone(self, nodes: Nodes, chain: str) -> None:
        """The state goes over the network to the cloud node, and the node itself keeps none."""
        assert save(nodes["sat1"], "cloud", chain, "V0.2.743C") == f"{chain}:cloud1:fn1"
        assert held(nodes, chain) == {"cloud1": [f"{chain}:cloud1:fn1"]}

    def test_the_cloud_itself_saves(self, nodes: Nodes, chain: str) -> None:
        """At the cloud node each way leaves one bundle, there."""
        for where in ("sat", "edge", "cloud"):
            assert save(nodes["cloud1"], where, chain, 1, task=where) == f"{chain}:cloud1:{where}"
        assert list(held(nodes, chain)) == ["cloud1"]

    def test_policy_and_destination(self, nodes: Nodes, chain: str) -> None:
        """They are those of the election, the policy as the published system writes it too."""
        assert save(nodes["sat1"], "sat", chain, 1, "t1", policy="Stateless") == f"{chain}:cloud1:t1"
        assert save(nodes["sat1"], "sat", chain, 1, "t2", policy="Skylark", destination="sat2") == f"{chain}:sat2:t2"

    def test_why_it_is_there(self, nodes: Nodes, chain: str) -> None:
        """Who accepts JSON gets the placement with its election, as from `/bundles`."""
        body = {"key": {"chain_id": chain, "fn_name": "fn1"}, "value": 1}
        answer = nodes["sat1"].http.post("/save/sat", json=body, headers=JSON)
        placed = answer.json()
        assert (placed["key"], placed["election"]["elected"], placed["objective_met"]) == (
            f"{chain}:sat3:fn1",
            "sat3",
            True,
        )
        assert answer.headers["etag"] == f'"{placed["version"]}"'

    def test_a_time_to_live(self, nodes: Nodes, chain: str) -> None:
        """It holds for every copy."""
        save(nodes["sat1"], "sat", chain, 1, ttl_ms="600000", ack="cloud")
        for name in ("sat1", "sat3", "cloud1"):
            [bundle] = nodes[name].client.list_bundles(chain)
            assert 0 < bundle["expires_ms"] - bundle["created_ms"] < 700_000

    def test_the_later_save_stays_everywhere(self, nodes: Nodes, chain: str) -> None:
        """A state is saved again, from another node and elected elsewhere: the cloud has the later one."""
        for node, value in (("sat1", "first"), ("sat2", "second"), ("sat1", "third"), ("cloud1", "fourth")):
            save(nodes[node], "sat", chain, value, ack="cloud")
            assert get(nodes["cloud1"], f"{chain}:fn1")["value"] == value
            assert get(nodes[node], f"{chain}:fn1")["value"] == value

    def test_saves_in_the_same_millisecond(self, nodes: Nodes, chain: str) -> None:
        """Two saves of one node never have the same version: the second is no conflict with the first."""
        versions = []
        for number in range(20):
            save(nodes["sat2"], "edge", chain, number)
            versions.append(int(contents(nodes["sat2"], f"{chain}:fn1")[2].strip('"')))
        assert versions == sorted(set(versions))

    def test_a_save_that_fails(self, nodes: Nodes, chain: str) -> None:
        """It hides nothing: what was saved before is read as before."""
        node, body = nodes["sat2"], {"key": {"chain_id": chain, "task_id": "fn1"}, "value": "new"}
        key = save(node, "edge", chain, "old")
        failed = node.http.post("/save/sat", json=body, params={"destination": "mars"})
        check_error(failed, 404, "unknown-node", "mars")
        assert get(node, f"{chain}:fn1")["value"] == get(node, key)["value"] == "old"

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_a_value_comes_back_as_it_was(self, nodes: Nodes, chain: str, value: object) -> None:
        """Any JSON value does, of the same type: a text of digits stays a text."""
        key = save(nodes["sat2"], "edge", chain, value)
        answer = nodes["sat2"].http.get("/state", params={"key": key})
        assert json.dumps(answer.json()["value"]) == json.dumps(value)
        assert answer.headers["content-type"] == "application/json"

    def test_the_json_of_a_value_is_kept(self, nodes: Nodes, chain: str) -> None:
        """Its text is not written anew: digits and spaces are those that were sent."""
        text = b'{ "a" :1.10,  "b": 12345678901234567890123 }'
        body = b'{"value": %s, "key": {"chain_id": "%s", "task_id": "t"}}' % (text, chain.encode())
        assert nodes["sat2"].http.post("/save/edge", content=body).status_code == 200
        assert text in nodes["sat2"].http.get(f"/state?key={chain}:t").content
        assert text in contents(nodes["sat2"], f"{chain}:t")[0]

    def test_an_answer_can_be_sent_back(self, nodes: Nodes, chain: str) -> None:
        """What `GET /state` gives is what `POST /save` takes; the node in the key is not looked at."""
        save(nodes["sat1"], "cloud", chain, [1])
        answer = nodes["sat1"].http.get(f"/state?key={chain}:fn1")
        assert nodes["sat1"].http.post("/save/edge", content=answer.content).text == f"{chain}:sat1:fn1"


class TestBundles:
    def test_a_text_is_a_field_of_its_bytes(self, nodes: Nodes, chain: str) -> None:
        """`/bundles` has the field `value` with the text, without quotes."""
        fields, _ = nodes["sat2"].client.get_bundle(save(nodes["sat2"], "edge", chain, 'ä"'))
        assert {name: bytes(data) for name, data in fields.items()} == {"value": 'ä"'.encode()}

    def test_another_value_is_a_field_of_json(self, nodes: Nodes, chain: str) -> None:
        """`/bundles` has the field `value.json`."""
        fields, _ = nodes["sat2"].client.get_bundle(save(nodes["sat2"], "edge", chain, None))
        assert {name: bytes(data) for name, data in fields.items()} == {"value.json": b"null"}

    @pytest.mark.parametrize(
        ("fields", "value"),
        [
            ({"detect": b"3 spots"}, "3 spots"),
            ({"detect": b"3"}, "3"),
            ({"detect.json": b"[3]"}, [3]),
            ({"a": b"1", "b.json": b"2"}, {"a": "1", "b.json": 2}),
            ({}, {}),
        ],
        ids=repr,
    )
    def test_a_function_s_bundle_is_a_state(
        self, nodes: Nodes, chain: str, fields: dict[str, bytes], value: object
    ) -> None:
        """One field is the value, whatever its name; several are an object."""
        nodes["sat2"].client.put_bundle(f"{chain}:sat2:t1", fields)
        assert get(nodes["sat2"], f"{chain}:t1")["value"] == value

    @pytest.mark.parametrize("fields", [{"raster": b"\xff\xd8"}, {"a": b"1", "report.json": b"{"}])
    def test_bytes_that_are_no_text(self, nodes: Nodes, chain: str, fields: dict[str, bytes]) -> None:
        """They are no JSON; the error names the field, and where they can be had."""
        nodes["sat2"].client.put_bundle(f"{chain}:sat2:t1", fields)
        answer = nodes["sat2"].http.get(f"/state?key={chain}:sat2:t1")
        check_error(answer, 400, "invalid-argument", "key", list(fields)[-1], f"/bundles/{chain}:sat2:t1")


class TestFetching:
    def test_a_key_of_three_parts(self, nodes: Nodes, chain: str) -> None:
        """It is fetched from the node that the key names, and the answer says so."""
        key = save(nodes["sat1"], "edge", chain, "x")
        answer = nodes["sat3"].http.get(f"/state?key={key}")
        assert answer.json() == {"key": {"chain_id": chain, "node_id": "sat1", "task_id": "fn1"}, "value": "x"}
        assert (answer.headers["skylark-hops"], answer.headers["skylark-served-by"]) == ("1", "sat1")

    def test_a_key_of_two_parts(self, nodes: Nodes, chain: str) -> None:
        """It is looked up here, then in the cloud."""
        save(nodes["sat1"], "cloud", chain, "x")
        for node in nodes.values():
            assert get(node, f"{chain}:fn1")["key"]["node_id"] == "cloud1"

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_a_state_that_is_nowhere(self, nodes: Nodes, chain: str, method: str) -> None:
        """The error says where it was looked for."""
        for key in (f"{chain}:fn1", f"{chain}:sat2:fn1"):
            answer = nodes["sat1"].http.request(method, "/state", params={"key": key})
            error = check_error(answer, 404, "not-found", key)
            assert {"sat1", "cloud1"} <= set(error["looked_at"])


class TestDeleting:
    @pytest.mark.parametrize("named", [True, False])
    def test_it_is_gone_everywhere(self, nodes: Nodes, chain: str, named: bool) -> None:
        """The copies here, at the elected node and in the cloud go, by the answered key and by one without a node."""
        key = save(nodes["sat1"], "sat", chain, "x", ack="cloud")
        answer = nodes["sat1"].http.delete("/state", params={"key": key if named else f"{chain}:fn1"})
        assert answer.status_code == 200
        assert sorted(answer.json()["nodes"]) == ["cloud1", "sat1", "sat3"]
        assert answer.json()["key"]["chain_id"] == chain
        assert held(nodes, chain) == {}
        check_error(nodes["sat1"].http.delete("/state", params={"key": key}), 404, "not-found")

    def test_a_copy_that_is_on_its_way(self, nodes: Nodes, chain: str) -> None:
        """A state that is deleted at once does not stay in the cloud, and holds up nothing that is saved later."""
        for number in range(10):
            save(nodes["sat1"], "edge", chain, "x", f"t{number}")
            nodes["sat1"].http.delete(f"/state?key={chain}:t{number}")
        save(nodes["sat1"], "edge", chain, "x", "last")
        wait_for(lambda: held(nodes, chain).get("cloud1") == [f"{chain}:cloud1:last"], "the last one alone is there")


BAD_BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b'"text"', "body"),
    (b'{"value": 1}', "key"),
    (b'{"key": 1, "value": 1}', "key"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}}', "value"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}, "value": 1, "values": 2}', "values"),
    (b'{"key": {"task_id": "t"}, "value": 1}', "key.chain_id"),
    (b'{"key": {"chain_id": 7, "task_id": "t"}, "value": 1}', "key.chain_id"),
    (b'{"key": {"chain_id": "", "task_id": "t"}, "value": 1}', "key.chain_id"),
    (b'{"key": {"chain_id": "a:b", "task_id": "t"}, "value": 1}', "key.chain_id"),
    (b'{"key": {"chain_id": "c"}, "value": 1}', "key.task_id"),
    (b'{"key": {"chain_id": "c", "task_id": "*"}, "value": 1}', "key.task_id"),
    (b'{"key": {"chain_id": "c", "task_id": null}, "value": 1}', "key.task_id"),
    (b'{"key": {"chain_id": "c", "fn_name": "a b"}, "value": 1}', "key.fn_name"),
    (b'{"key": {"chain_id": "c", "fn_name": "f", "task_id": "f"}, "value": 1}', "key.fn_name"),
    (b'{"key": {"chain_id": "c", "task_id": "t", "node_id": 1}, "value": 1}', "key.node_id"),
    (b'{"key": {"chain_id": "c", "task_id": "t", "node": "n"}, "value": 1}', "key.node"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}, "value": NaN}', "body"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}, "value": "\xff"}', "value"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}, "value": "\\ud800"}', "body"),
    (b'{"key": {"chain_id": "c", "task_id": "t"}, "value": %s}' % (b"[" * 9999 + b"]" * 9999), "body"),
]


class TestBadInput:
    @pytest.mark.parametrize("where", ["sat", "edge", "cloud"])
    @pytest.mark.parametrize(
        ("body", "field"), BAD_BODIES, ids=[body[:60].decode(errors="replace") for body, _ in BAD_BODIES]
    )
    def test_bodies(self, nodes: Nodes, where: str, body: bytes, field: str) -> None:
        """The error names the member that is wrong."""
        error = check_error(nodes["sat1"].http.post(f"/save/{where}", content=body), 400, "invalid-argument", field)
        assert error["field"] == field

    def test_a_name_that_is_long(self, nodes: Nodes) -> None:
        """The error quotes its beginning only."""
        body = {"key": {"chain_id": "c", "task_id": "t" * 100_000}, "value": 1}
        answer = nodes["sat1"].http.post("/save/edge", json=body)
        check_error(answer, 400, "invalid-argument", "key.task_id")
        assert len(answer.content) < 2000

    @pytest.mark.parametrize(
        ("query", "status", "code", "named"),
        [
            ("policy=best", 400, "invalid-argument", ("policy", "best", "skylark, random, stateless")),
            ("destination=nowhere", 404, "unknown-node", ("nowhere", "sat1")),
            ("destination=*", 400, "invalid-argument", ("destination",)),
            ("ttl_ms=0", 400, "invalid-argument", ("ttl_ms",)),
            ("ack=never", 400, "invalid-argument", ("ack", "local, elected, cloud")),
        ],
    )
    def test_parameters(
        self, nodes: Nodes, chain: str, query: str, status: int, code: str, named: tuple[str, ...]
    ) -> None:
        """They are refused as everywhere, and nothing is stored."""
        body = {"key": {"chain_id": chain, "task_id": "t"}, "value": 1}
        check_error(nodes["sat1"].http.post(f"/save/sat?{query}", json=body), status, code, *named)
        assert held(nodes, chain) == {}

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    @pytest.mark.parametrize("query", ["", "key=", "key=a", "key=a:b:c:d", "key=a:*", "key=a:b&key=a:b"])
    def test_keys(self, nodes: Nodes, method: str, query: str) -> None:
        """A key is needed, once, of two or three parts."""
        answer = nodes["sat1"].http.request(method, f"/state?{query}")
        check_error(answer, 400, answer.json()["error"]["code"], "key")
        assert answer.json()["error"]["field"] == "key"

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_a_node_that_is_none(self, nodes: Nodes, chain: str, method: str) -> None:
        """A key may name a node that has left: its state is nowhere, or it is unknown."""
        answer = nodes["sat1"].http.request(method, f"/state?key={chain}:gone:t")
        assert answer.status_code == 404

    @pytest.mark.parametrize(("method", "path"), [("PUT", "/state"), ("GET", "/save/sat"), ("DELETE", "/benchmark")])
    def test_methods(self, nodes: Nodes, method: str, path: str) -> None:
        """Another method is 405."""
        check_error(nodes["sat1"].http.request(method, path), 405, "method-not-allowed")

    def test_a_value_that_is_too_large(self) -> None:
        """One over the node's limit is refused, whether the body or the value exceeds it."""
        with run_proxy(max_bundle_bytes="1000") as node:
            for size in (1001, 100_000):
                body = {"key": {"chain_id": "c", "task_id": "t"}, "value": "x" * size}
                check_error(node.http.post("/save/edge", json=body), 413, "too-large", "1000")
            save(node, "edge", "c", "x" * 1000)


@pytest.fixture
def two() -> Iterator[Nodes]:
    """Two nodes that a test may harm: sat – cloud."""
    with run_nodes(line("sat", "cloud")) as nodes:
        yield nodes


class TestOutages:
    def test_a_cloud_that_is_away(self, two: Nodes, chain: str) -> None:
        """What was acknowledged is in the cloud once it is back; what had to be there at once is refused with 503."""
        two["cloud"].kill()
        key = save(two["sat"], "edge", chain, "kept", "t1")
        assert get(two["sat"], key)["value"] == "kept"
        assert save(two["sat"], "sat", chain, "kept too", "t2") == f"{chain}:sat:t2"
        body = {"key": {"chain_id": chain, "task_id": "t3"}, "value": "at once"}
        for path in ("/save/sat?ack=cloud", "/save/edge?ack=cloud", "/save/cloud"):
            check_error(two["sat"].http.post(path, json=body), 503, "unavailable", "cloud")
        check_error(two["sat"].http.get(f"/state?key={chain}:t9"), 503, "unavailable", "cloud")
        two["cloud"].restart()
        wait_for(lambda: len(two["cloud"].held(chain)) >= 2, "the cloud has caught up", 60.0)
        assert {f"{chain}:cloud:t1", f"{chain}:cloud:t2"} <= set(two["cloud"].held(chain))
        assert get(two["cloud"], f"{chain}:t2")["value"] == "kept too"

    def test_deleting_what_cannot_be_reached(self, two: Nodes, chain: str) -> None:
        """It is an error, since the cloud may hold a copy; it can be repeated."""
        save(two["sat"], "edge", chain, "x", ack="cloud")
        two["cloud"].kill()
        check_error(two["sat"].http.delete(f"/state?key={chain}:fn1"), 503, "unavailable", "cloud")
        assert two["sat"].held(chain) == []
        two["cloud"].restart()
        wait_for(lambda: two["sat"].http.delete(f"/state?key={chain}:fn1").status_code in (200, 404), "it is deleted")
        assert held(two, chain) == {}

    def test_a_topology_without_a_cloud(self, chain: str) -> None:
        """Nothing can be replicated there: every way to save says so, and nothing is stored."""
        nodes = [Node(name, "127.0.0.1", Tier.EDGE) for name in ("a", "b")]
        topology = Topology.build(nodes, [Link("a", "b", 1.0, 100.0)], epoch=1)
        with run_nodes(with_free_ports(topology), ["a"]) as running:
            body = {"key": {"chain_id": chain, "task_id": "t"}, "value": 1}
            for where in ("sat", "edge", "cloud"):
                check_error(running["a"].http.post(f"/save/{where}", json=body), 404, "not-found", "Cloud")
            assert held(running, chain) == {}


class TestElections:
    def test_storage_node_as_published(self, nodes: Nodes) -> None:
        """Text with the address, the time in a header, and the published parameters and policy names."""
        query = {"size": "1902847", "time": "57", "policy": "Skylark", "destination": "cloud1"}
        answer = nodes["sat1"].http.get("/storage-node", params=query)
        assert (answer.status_code, answer.text) == (200, nodes["sat1"].node.address)
        assert answer.headers["content-type"].startswith("text/plain")
        assert float(answer.headers["policy-execution-time"]) >= 0
        for policy in ("Stateless", "STATELESS", "stateless"):
            address = nodes["sat1"].http.get("/storage-node", params=query | {"policy": policy}).text
            assert address == nodes["cloud1"].node.address
        check_error(nodes["sat1"].http.get("/storage-node?policy=Best"), 400, "invalid-argument", "policy", "Best")

    def test_how_long_a_function_ran_is_no_date(self, nodes: Nodes) -> None:
        """`time` is the published run time in ms, on which nothing depends; `at` is when the election is."""
        election = nodes["sat1"].http.get("/storage-node?time=57", headers=JSON).json()
        assert election["at_s"] > 1e9
        assert nodes["sat1"].http.get("/storage-node?at=57", headers=JSON).json()["at_s"] == 57

    @pytest.mark.parametrize("query", ["time=-1", "time=1.5", "time=soon", "at=nan", "at=-1", "at=soon", "size=x"])
    def test_numbers_that_are_none(self, nodes: Nodes, query: str) -> None:
        """The error names the parameter."""
        answer = nodes["sat1"].http.get(f"/storage-node?{query}")
        check_error(answer, 400, "invalid-argument", query.partition("=")[0])

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_refresh(self, chain: str, method: str) -> None:
        """The file is read again: with a link that is up now, the election goes to the other end."""
        topology = line("sat", "cloud", latency_ms=1000.0)
        with run_nodes(topology, ["sat"]) as nodes:
            node = nodes["sat"]
            assert node.http.get("/storage-node").text == node.node.address
            links = [Link("sat", "cloud", 1.0, 1000.0)]
            Path(node.topology).write_bytes(Topology.build(topology.nodes.values(), links, epoch=1).to_json())
            assert node.http.get("/storage-node").text == node.node.address
            answer = node.http.request(method, "/refresh")
            assert (answer.status_code, answer.json()["epoch"], answer.json()["source"]) == (200, 2, "file")
            assert node.http.get("/storage-node").text == topology.nodes["cloud"].address
            Path(node.topology).write_text("{")
            check_error(node.http.request(method, "/refresh"), 400, "invalid-argument", node.topology.name)
            assert node.http.get("/storage-node").text == topology.nodes["cloud"].address

    def test_benchmark(self, nodes: Nodes) -> None:
        """Elections over the published sizes, with the published figures beside them."""
        answer = nodes["sat1"].http.get("/benchmark?size=1000000")
        measured = answer.json()
        assert answer.status_code == 200
        assert [(row["nodes"], row["published_ms"]) for row in measured["results"]] == list(PUBLISHED_MS.items())
        assert [row["nodes"] for row in measured["results"]] == list(NODES)
        assert all(row["first_ms"] > row["further_ms"] > 0 for row in measured["results"])
        assert "other hardware" in measured["note"]
        check_error(nodes["sat1"].http.get("/benchmark?size=big"), 400, "invalid-argument", "size")

    def test_benchmarks_at_once(self, nodes: Nodes) -> None:
        """A node does one at a time; it answers the others that it is busy, and goes on serving."""

        def measure(_number: int) -> httpx.Response:
            return httpx.get(f"{nodes['sat1'].url}/benchmark", timeout=60.0)

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(measure, range(4)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert 503 in statuses
        for answer in answers:
            if answer.status_code != 200:
                check_error(answer, 503, "overloaded", "benchmark")

    def test_health(self, nodes: Nodes) -> None:
        """`/health` says what `/health/readiness` says."""
        answer = nodes["sat1"].http.get("/health")
        assert (answer.status_code, answer.json()["node"], answer.json()["status"]) == (200, "sat1", "ready")
