"""`/functions` and `/tasks` of real nodes, with real components: calls, answers, reports, failures, CloudEvents."""

import base64
import json
import random
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from cloud_events import ATTRIBUTES
from continuum import LiveNode, Nodes, check_error, run_proxy, send_raw
from skylark_proxy.client import ProxyClient, ProxyError

STRUCTURED = "application/cloudevents+json"
MEBIBYTE = 1 << 20


@pytest.fixture
def node(nodes: Nodes) -> LiveNode:
    return nodes["sat1"]


def call(node: LiveNode, functions: str, body: bytes = b"", **query: str) -> httpx.Response:
    return node.http.post(f"/functions/{functions}", params=query, content=body)


def own(answer: httpx.Response) -> httpx.Response:
    """A function's own answer."""
    assert answer.status_code == 200, answer.text
    return answer


def report_of(node: LiveNode, answer: httpx.Response) -> dict[str, Any]:
    """The report that `/tasks` has of the invocation that an answer came from."""
    found: dict[str, Any] = own(node.http.get(f"/tasks/{answer.headers['skylark-task']}")).json()
    return found


def fields_of(node: LiveNode, key: str) -> dict[str, bytes]:
    fields, _ = node.client.get_bundle(key)
    return {name: bytes(value) for name, value in fields.items()}


class TestInvoking:
    def test_the_first_function_of_a_chain(self, nodes: Nodes, node: LiveNode) -> None:
        """Without a key a new chain begins; the bundle goes where the election says, and the answer is the report."""
        answer = own(call(node, "produce", b"100000"))
        report = answer.json()
        assert re.fullmatch("[0-9a-f]{32}", report["chain_id"])
        assert (report["functions"], report["node"], report["error"]) == (["produce"], "sat1", None)
        assert report["key"] == f"{report['chain_id']}:sat3:{report['task_id']}"
        assert (report["fetches"], len(report["placements"])) == ([], 1)
        placement = report["placements"][0]
        assert (placement["key"], placement["size_bytes"]) == (report["key"], 100_000)
        assert placement["election"]["elected"] == "sat3"
        assert nodes["sat3"].held(report["chain_id"]) == [report["key"]]

    def test_the_headers_of_an_answer(self, node: LiveNode) -> None:
        """Key, task and chain stand in headers, and `Server-Timing` has the four timings of the report."""
        answer = own(call(node, "produce", b"10"))
        report = answer.json()
        named = {name: answer.headers[f"skylark-{name}"] for name in ("key", "task", "chain")}
        assert named == {"key": report["key"], "task": report["task_id"], "chain": report["chain_id"]}
        timings = dict(re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["server-timing"]))
        assert {name: float(value) for name, value in timings.items()} == report["timings_ms"]
        assert set(timings) == {"f", "ex", "dr", "dm"}
        assert report["timings_ms"]["f"] >= report["timings_ms"]["ex"] + report["timings_ms"]["dm"] > 0

    def test_a_function_that_is_given_a_bundle(self, nodes: Nodes, node: LiveNode) -> None:
        """The next function gets the predecessor's bundle from the node that has it, and stays in its chain."""
        first = own(call(node, "produce", b"70000")).json()
        answer = own(call(nodes["sat2"], "relay", b"the body", key=first["key"]))
        report = report_of(nodes["sat2"], answer)
        assert (answer.content, report["chain_id"]) == (b"the body", first["chain_id"])
        (fetch,) = report["fetches"]
        assert (fetch["key"], fetch["served_by"], fetch["hops"]) == (first["key"], "sat3", 1)
        assert fetch["size_bytes"] == 70_000
        assert fields_of(node, report["key"]) == fields_of(node, first["key"])
        assert report["timings_ms"]["dr"] > 0

    def test_the_context_of_a_function(self, node: LiveNode, chain: str) -> None:
        """A function is told its chain, task, node and content type, and what it was given."""
        placed = node.client.put_bundle(f"{chain}:cloud1:t1", {"a": b"1"})
        answer = own(
            node.http.post("/functions/looks_around", params={"key": placed["key"]}, headers={"Content-Type": "a/b"})
        )
        assert answer.headers["content-type"] == "application/json"
        task = answer.headers["skylark-task"]
        assert answer.json()["context"] == ["looks_around", chain, task, "sat1", "a/b"]
        assert answer.json()["bundle"] == [placed["key"], placed["version"], "sat1", 1, ["a"]]

    def test_an_answer_of_the_functions_own(self, node: LiveNode) -> None:
        """A function's own answer is passed on as it is, without a key where it stored nothing; `/tasks` has more."""
        body = random.Random(1).randbytes(5000)
        answer = own(node.http.post("/functions/relay", content=body, headers={"Content-Type": "image/x-own; q=1"}))
        assert (answer.content, answer.headers["content-type"]) == (body, "image/x-own; q=1")
        assert "skylark-key" not in answer.headers
        report = report_of(node, answer)
        assert (report["key"], report["placements"], report["functions"]) == (None, [], ["relay"])

    def test_a_chain_of_the_callers_choice(self, node: LiveNode, chain: str) -> None:
        """`chain` names the chain; it may be said beside a key of the same chain, and not of another one."""
        first = own(call(node, "produce", b"1", chain=chain)).json()
        assert first["chain_id"] == chain
        assert own(call(node, "relay", key=first["key"], chain=chain)).headers["skylark-chain"] == chain
        check_error(call(node, "relay", key=first["key"], chain="other"), 400, "invalid-argument", "chain", chain)

    def test_what_a_call_says_of_the_election(self, node: LiveNode) -> None:
        """`destination`, `policy` and `ttl_ms` hold for what the function stores."""
        near = own(call(node, "produce", b"1", destination="sat2")).json()
        far = own(call(node, "produce", b"1", policy="stateless", ttl_ms="60000")).json()
        assert [report["key"].split(":")[1] for report in (near, far)] == ["sat2", "cloud1"]
        assert far["placements"][0]["objective_met"] is False
        assert "skylark-ttl-ms" in node.http.get(f"/bundles/{far['key']}").headers
        assert "skylark-ttl-ms" not in node.http.get(f"/bundles/{near['key']}").headers

    def test_fused_functions(self, nodes: Nodes, node: LiveNode) -> None:
        """Functions joined by + share a sandbox: one fetch, one bundle with the fields of all, one report."""
        before = own(call(node, "produce", b"5")).json()
        answer = own(call(nodes["sat2"], "first+second+third", key=before["key"]))
        assert answer.content == f"third of {before['chain_id']}".encode()
        report = report_of(nodes["sat2"], answer)
        assert report["functions"] == ["first", "second", "third"]
        assert (len(report["fetches"]), len(report["placements"])) == (1, 1)
        assert fields_of(node, report["key"]) == {
            "first": b"1 after produce",
            "second": b"2 after produce,first",
            "shared": b"1 after produce",
            "third": b"3 after produce,first,second,shared",
        }

    def test_the_functions_of_a_node(self, node: LiveNode) -> None:
        """The list names every function with its component and limits."""
        listed = {entry["name"]: entry for entry in own(node.http.get("/functions")).json()["functions"]}
        assert {"preprocess", "detect", "alarm", "produce", "relay", "raises", "loop_for_ever"} <= set(listed)
        assert listed["loop_for_ever"]["component"] == "hostile.wasm"
        assert listed["loop_for_ever"]["limits"]["deadline_ms"] == 700
        assert list(listed) == sorted(listed)

    def test_many_calls_at_once(self, node: LiveNode) -> None:
        """Each of many callers gets its own answer, and each call is a task of its own."""
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda number: call(node, "relay", str(number).encode()), range(60)))
        assert [own(answer).content for answer in answers] == [str(number).encode() for number in range(60)]
        assert len({answer.headers["skylark-task"] for answer in answers}) == 60


class TestLargeBodies:
    @pytest.mark.parametrize("size_bytes", [MEBIBYTE, MEBIBYTE + 1, 20 * MEBIBYTE])
    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_a_large_body(self, node: LiveNode, size_bytes: int, chunked: bool) -> None:
        """A body beyond a mebibyte goes in and out byte for byte, whole."""
        body = random.Random(size_bytes).randbytes(size_bytes)
        answer = node.http.post("/functions/relay", content=iter([body]) if chunked else body)
        assert own(answer).content == body

    def test_a_large_body_for_a_function_that_fails(self, node: LiveNode) -> None:
        """The error is that of the function, or of the call."""
        body = bytes(2 * MEBIBYTE)
        check_error(call(node, "raises", body), 422, "function-failed")
        check_error(call(node, "relay", body, destination="mars"), 404, "unknown-node")
        check_error(call(node, "relay", body, key="gone:t1"), 404, "not-found")
        check_error(structured(node, "relay", body), 400, "invalid-argument", "body")

    def test_a_large_body_that_breaks_off(self, node: LiveNode) -> None:
        """The server goes on."""
        head = f"POST /functions/relay HTTP/1.1\r\nHost: sat1\r\nContent-Length: {3 * MEBIBYTE}\r\n\r\n"
        send_raw(node.url, head.encode() + bytes(2 * MEBIBYTE))
        assert own(call(node, "relay", b"on")).content == b"on"

    def test_a_body_above_the_limit(self, functions_of_one: LiveNode) -> None:
        """A body above the limit is refused with both numbers, whether its length was told or not."""
        http = functions_of_one.http
        for content in (bytes(2 * MEBIBYTE), iter([bytes(MEBIBYTE)] * 2)):
            error = check_error(http.post("/functions/relay", content=content), 413, "too-large", str(MEBIBYTE))
            assert error["limit_bytes"] == MEBIBYTE < error["size_bytes"]


@pytest.fixture(scope="module")
def functions_of_one(components: dict[str, Any]) -> Any:
    """A node whose bodies and bundles are small, with one component."""
    with run_proxy(components["stateful"], max_bundle_bytes=str(MEBIBYTE)) as node:
        yield node


class TestFailures:
    def test_a_function_that_raises(self, node: LiveNode) -> None:
        """An exception is 422 with its type, message and traceback, down to the line of the source."""
        error = check_error(call(node, "raises"), 422, "function-failed", "raises", "ZeroDivisionError", "größer als ∞")
        assert (error["function"], error["cause"], error["retryable"]) == ("raises", "ZeroDivisionError", False)
        assert 'raise ZeroDivisionError("on purpose: größer als ∞")' in error["traceback"]
        assert "stateful.py" in error["traceback"]

    def test_the_report_of_a_function_that_raised(self, node: LiveNode, chain: str) -> None:
        """What failed was a task too: its answer names the task, and the report says what went wrong."""
        placed = node.client.put_bundle(f"{chain}:sat1:t1", {"a": b"1"})
        answer = call(node, "raises", key=placed["key"])
        check_error(answer, 422, "function-failed")
        report = report_of(node, answer)
        assert (report["chain_id"], report["error"]["code"], report["key"]) == (chain, "function-failed", None)
        assert [fetch["key"] for fetch in report["fetches"]] == [placed["key"]]

    def test_a_function_that_does_not_end(self, node: LiveNode) -> None:
        """After its deadline a function is 504, and the node serves on."""
        error = check_error(call(node, "loop_for_ever"), 504, "function-timeout", "loop_for_ever", "700 ms")
        assert error["cause"] == "deadline"
        assert own(call(node, "relay", b"on")).content == b"on"

    def test_a_predecessor_that_is_nowhere(self, node: LiveNode, chain: str) -> None:
        """A bundle that no node has is 404 of the bundle, not a failure of the function, and says who was asked."""
        error = check_error(call(node, "relay", key=f"{chain}:sat2:t1"), 404, "not-found", f"{chain}:sat2:t1")
        assert (error["what"], error["looked_at"]) == ("bundle", ["sat1", "sat2", "cloud1"])

    def test_a_function_that_does_not_exist(self, node: LiveNode) -> None:
        """An unknown function is 404, alone and beside others, and the error names it."""
        for functions in ("nothing", "relay+nothing"):
            error = check_error(call(node, functions), 404, "not-found", "nothing")
            assert (error["what"], error["name"]) == ("function", "nothing")

    def test_functions_of_two_components(self, node: LiveNode) -> None:
        """Only functions of one component can share a sandbox."""
        check_error(call(node, "relay+alarm"), 400, "invalid-argument", "relay+alarm", "same component")

    @pytest.mark.parametrize("names", ["+", "relay+", "a:b", "relay relay", "-relay", "n" * 129])
    def test_names_that_are_none(self, node: LiveNode, names: str) -> None:
        """What can be no function's name is refused, with what a name looks like."""
        check_error(call(node, names), 400, "invalid-argument", "functions", "A-Z a-z 0-9")

    @pytest.mark.parametrize(
        ("query", "status", "code", "named"),
        [
            ("destination=mars", 404, "unknown-node", ("mars", "cloud1")),
            ("destination=a:b", 400, "invalid-argument", ("destination",)),
            ("policy=best", 400, "invalid-argument", ("policy", "best", "stateless")),
            ("ttl_ms=0", 400, "invalid-argument", ("ttl_ms",)),
            ("key=one", 400, "invalid-key", ("key", "one")),
            ("key=a:b&key=a:b", 400, "invalid-argument", ("key",)),
            ("chain=a:b", 400, "invalid-argument", ("chain",)),
            ("chain=", 400, "invalid-argument", ("chain",)),
        ],
    )
    def test_parameters(self, node: LiveNode, query: str, status: int, code: str, named: tuple[str, ...]) -> None:
        """A wrong parameter is refused by its name, and the function does not run."""
        check_error(node.http.post(f"/functions/produce?{query}", content=b"1"), status, code, *named)

    def test_a_bundle_that_is_too_large(self, functions_of_one: LiveNode) -> None:
        """What a function makes beyond the limit is 413 with both numbers, and nothing is stored."""
        chain = uuid.uuid4().hex
        error = check_error(call(functions_of_one, "produce", b"2000000", chain=chain), 413, "too-large")
        assert (error["size_bytes"], error["limit_bytes"]) == (2_000_000, MEBIBYTE)
        assert functions_of_one.held(chain) == []

    def test_a_conflict_of_versions(self, node: LiveNode, chain: str) -> None:
        """A function that stores over another version than it expected, and lets the error pass, is 409 with both."""
        program = f"ctx.state.store({{'f': b'1'}}, key='{chain}:sat1:t1', expected_version=5)"
        error = check_error(call(node, "attack", program.encode(), chain=chain), 409, "conflict", f"{chain}:sat1:t1")
        assert (error["expected"], error["actual"]) == (5, 0)
        assert node.held(chain) == []

    def test_a_task_that_never_was(self, node: LiveNode) -> None:
        """An unknown task is 404, and what can be no task's name is 400."""
        check_error(node.http.get("/tasks/never"), 404, "not-found", "task", "never")
        check_error(node.http.get("/tasks/a:b"), 400, "invalid-argument", "task_id", "a:b")

    def test_the_client_raises_what_the_proxy_says(self, node: LiveNode) -> None:
        """The product's client has the status and the traceback of a function that raised."""
        with pytest.raises(ProxyError, match="ZeroDivisionError") as caught:
            ProxyClient(node.url).invoke("raises")
        assert (caught.value.status, caught.value.details["cause"]) == (422, "ZeroDivisionError")
        assert "Traceback (most recent call last)" in caught.value.details["traceback"]


def structured(node: LiveNode, functions: str, event: object, query: str = "") -> httpx.Response:
    content = event if isinstance(event, bytes) else json.dumps(event).encode()
    headers = {"Content-Type": f"{STRUCTURED}; charset=utf-8"}
    return node.http.post(f"/functions/{functions}{query}", content=content, headers=headers)


def binary(node: LiveNode, functions: str, body: bytes, **attributes: str) -> httpx.Response:
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return node.http.post(f"/functions/{functions}", content=body, headers=headers | {"Content-Type": "image/png"})


class TestCloudEvents:
    def test_binary_mode(self, node: LiveNode, chain: str) -> None:
        """The body of an event in binary mode is the function's body, its extensions are the call's parameters."""
        placed = node.client.put_bundle(f"{chain}:cloud1:t1", {"a": b"1"})
        answer = own(binary(node, "relay", b"\x89PNG\xff", **ATTRIBUTES, statekey=placed["key"], destination="sat2"))
        assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG\xff", "image/png")
        report = report_of(node, answer)
        assert (report["chain_id"], report["key"].split(":")[1]) == (chain, "sat2")
        assert [fetch["key"] for fetch in report["fetches"]] == [placed["key"]]

    @pytest.mark.parametrize(
        ("members", "body", "content_type"),
        [
            ({"data": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
            ({"data": [True]}, b"[true]", "application/json"),
            ({"data": "größe", "datacontenttype": "text/plain"}, "größe".encode(), "text/plain"),
            ({"data_base64": "iVBOR/8=", "datacontenttype": "image/png"}, b"\x89PNG\xff", "image/png"),
            ({}, b"", "application/json"),
        ],
        ids=["object", "array", "text", "base64", "none"],
    )
    def test_structured_mode(self, node: LiveNode, members: dict[str, Any], body: bytes, content_type: str) -> None:
        """The data of an event in structured mode is the function's body, of the type that the event says."""
        answer = own(structured(node, "relay", ATTRIBUTES | members))
        assert (answer.content, answer.headers["content-type"]) == (body, content_type)

    def test_a_text_as_json(self, node: LiveNode) -> None:
        """A JSON string stays JSON where the event's content is JSON (JSON event format 3.1.1)."""
        for members in ({}, {"datacontenttype": "application/json"}, {"datacontenttype": "application/x+json"}):
            answer = own(structured(node, "relay", ATTRIBUTES | members | {"data": "text"}))
            assert answer.content == b'"text"'

    def test_extensions_in_structured_mode(self, node: LiveNode, chain: str) -> None:
        """`chainid` and `destination` count; a parameter of the query wins over the extension."""
        event = ATTRIBUTES | {"chainid": chain, "destination": "sat2", "data": 3}
        report = own(structured(node, "produce", event)).json()
        assert report["key"] == f"{chain}:sat2:{report['task_id']}"
        assert own(structured(node, "produce", event, "?destination=sat3")).json()["key"].split(":")[1] == "sat3"

    def test_the_answer_to_an_event_is_the_next_one(self, nodes: Nodes, node: LiveNode, chain: str) -> None:
        """The answer is an event by itself: what a broker delivers of it to the next function brings the state."""
        answer = own(binary(node, "produce", b"100", **ATTRIBUTES, chainid=chain, destination="sat2"))
        event = {name.removeprefix("ce-"): value for name, value in answer.headers.items() if name.startswith("ce-")}
        key = answer.json()["key"]
        assert (event["specversion"], event["type"]) == ("1.0", "io.skylark.function.produce")
        assert (event["statekey"], event["chainid"], event["source"]) == (key, chain, "/skylark/sat1")
        assert event["id"] == f"{chain}:{answer.json()['task_id']}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
        following = report_of(nodes["sat2"], own(binary(nodes["sat2"], "relay", answer.content, **event)))
        assert (following["chain_id"], [fetch["key"] for fetch in following["fetches"]]) == (chain, [key])

    def test_the_own_answer_of_a_function_to_an_event(self, node: LiveNode) -> None:
        """A function's own answer keeps its body and type, and becomes an event."""
        answer = own(binary(node, "relay", b"\x89PNG", **ATTRIBUTES))
        assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")
        assert answer.headers["ce-type"] == "io.skylark.function.relay"

    def test_a_function_that_answers_with_an_event(self, node: LiveNode, chain: str) -> None:
        """An event that a function makes itself is the answer, and no second one is put around it."""
        spots = {"version": 1, "image": {"width": 1, "height": 1}, "spots": [{"score": 0.9}]}
        placed = node.client.put_bundle(f"{chain}:sat1:t1", {"detect": json.dumps(spots).encode()})
        answer = own(binary(node, "alarm", b"", **ATTRIBUTES, statekey=placed["key"]))
        assert answer.headers["content-type"] == STRUCTURED
        assert answer.json()["type"] == "io.skylark.fire.alarm"
        assert not [name for name in answer.headers if name.startswith("ce-")]

    def test_whoever_sends_no_event_gets_none(self, node: LiveNode) -> None:
        """An answer to a plain request has nothing of an event."""
        assert not [name for name in own(call(node, "produce", b"1")).headers if name.startswith("ce-")]

    def test_a_large_event(self, node: LiveNode) -> None:
        """An event beyond a mebibyte is read like a small one, whole."""
        data = random.Random(3).randbytes(2 * MEBIBYTE)
        event = ATTRIBUTES | {"data_base64": base64.b64encode(data).decode()}
        assert own(structured(node, "relay", event)).content == data
        assert own(binary(node, "relay", data, **ATTRIBUTES)).content == data

    @pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
    @pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
    def test_missing_attributes(self, node: LiveNode, name: str, value: str | None) -> None:
        """An event without a required attribute is refused by the attribute's name, in both modes."""
        attributes = {key: text for key, text in ATTRIBUTES.items() if key != name}
        attributes |= {} if value is None else {name: value}
        check_error(structured(node, "relay", attributes), 400, "invalid-argument", name)
        if name != "specversion" or value is not None:
            check_error(binary(node, "relay", b"", **attributes), 400, "invalid-argument", name)

    def test_a_destination_that_does_not_exist(self, node: LiveNode) -> None:
        """An event that names a node of no topology is refused by the node's name."""
        check_error(structured(node, "relay", ATTRIBUTES | {"destination": "mars"}), 404, "unknown-node", "mars")

    def test_an_answer_without_a_media_type(self, node: LiveNode) -> None:
        """A function that was told no media type and passes that on answers without an empty header."""
        answer = own(node.http.post("/functions/relay", content=b"1"))
        assert answer.content == b"1"
        assert answer.headers.get("content-type") != ""

    def test_a_key_and_a_chain_that_disagree(self, node: LiveNode, chain: str) -> None:
        """The key of one chain and the id of another one contradict each other, wherever they come from."""
        placed = node.client.put_bundle(f"{chain}:sat1:t1", {"a": b"1"})
        event = ATTRIBUTES | {"statekey": placed["key"], "chainid": "other"}
        check_error(structured(node, "relay", event), 400, "invalid-argument", "chain")

    def test_the_answer_of_the_fire_alarm_is_an_event(self, node: LiveNode, chain: str) -> None:
        """A function may answer with an event, which the next call takes as its body."""
        report = {"version": 1, "image": {"width": 1, "height": 1}, "spots": []}
        placed = node.client.put_bundle(f"{chain}:sat1:t1", {"detect": json.dumps(report).encode()})
        answer = own(call(node, "alarm", key=placed["key"]))
        assert answer.headers["content-type"] == STRUCTURED
        assert own(structured(node, "relay", answer.content)).json() == answer.json()["data"]
        assert fields_of(node, answer.headers["skylark-key"]) == {"alarm": answer.content}


class TestElections:
    def test_the_address_of_the_elected_node(self, nodes: Nodes, node: LiveNode) -> None:
        """As text the answer is the elected node's address, as JSON the whole election; nothing is moved."""
        query = {"size": "1000", "destination": "cloud1"}
        text = own(node.http.get("/storage-node", params=query))
        assert (text.text, text.headers["content-type"]) == (nodes["sat3"].node.address, "text/plain; charset=utf-8")
        assert float(text.headers["policy-execution-time"]) > 0
        whole = own(node.http.get("/storage-node", params=query, headers={"Accept": "application/json"})).json()
        assert (whole["elected"], whole["size_bytes"], whole["source"]) == ("sat3", 1000, "sat1")
        assert whole["objectives"] == {"max_latency_ms": 150.0, "min_bandwidth_mbps": 0.0}

    @pytest.mark.parametrize(
        "query", ["size=-1", "size=1.5", "size=many", "time=nan", "time=-1", "time=soon", "policy=x"]
    )
    def test_parameters_of_elections(self, node: LiveNode, query: str) -> None:
        """A wrong number is refused by its parameter's name."""
        check_error(node.http.get(f"/storage-node?{query}"), 400, "invalid-argument", query.partition("=")[0])

    def test_an_unknown_destination(self, node: LiveNode) -> None:
        """An election cannot lead to a node that is not in the topology."""
        check_error(node.http.get("/storage-node?destination=mars"), 404, "unknown-node", "mars")

    def test_neighbors(self, nodes: Nodes) -> None:
        """A node's neighbours are those at the other ends of its links, with the links' numbers."""
        answer = own(nodes["sat3"].http.get("/neighbors")).json()
        assert (answer["node"], answer["epoch"]) == ("sat3", 1)
        found = {one["node"]: (one["latency_ms"], one["bandwidth_mbps"], one["tier"]) for one in answer["neighbors"]}
        assert found == {"cloud1": (60.0, 90.0, "Cloud"), "sat2": (10.0, 40.0, "Sat")}
        assert answer["neighbors"][0]["address"] == nodes["cloud1"].node.address
