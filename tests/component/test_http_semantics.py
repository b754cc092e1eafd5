"""One source, run by a node's proxy and as a server of its own on other runtimes: a caller sees the same."""

import base64
import contextlib
import http.client
import json
import random
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud_events import (
    ATTRIBUTES,
    HEADERS,
    NO_EVENTS,
    OTHER_FORMATS,
    WRONG_HEADERS,
    WRONG_MEMBERS,
    WRONG_NUMBERS,
    with_data,
)
from continuum import LiveNode, Nodes, check_error, four_nodes, run_nodes
from skylark import wire
from skylark.session import parse_seen
from skylark_proxy import bundle_http
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.model import Metadata
from wasi_http import RUNTIMES

SOURCE = Path(__file__).parent / "functions" / "everything.py"
STRUCTURED = "application/cloudevents+json"
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Server:
    """Where the functions are called, `sat1`'s proxy, and the other nodes."""

    http: httpx.Client
    node: LiveNode
    nodes: Nodes

    def call(self, functions: str, body: bytes = b"", **query: str) -> httpx.Response:
        return self.http.post(f"/functions/{functions}", params=query, content=body)

    def ask(self, functions: str, body: object, chain: str | None = None) -> Any:
        """The JSON that a function answers with."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return own(self.call(functions, content, **({"chain": chain} if chain is not None else {}))).json()

    def event(self, functions: str, event: object, query: str = "") -> httpx.Response:
        """Sends a CloudEvent in structured mode."""
        content = event if isinstance(event, bytes) else json.dumps(event).encode()
        headers = {"Content-Type": f"{STRUCTURED}; charset=utf-8"}
        return self.http.post(f"/functions/{functions}{query}", content=content, headers=headers)

    def fields(self, key: str) -> dict[str, bytes]:
        fields, _ = self.node.client.get_bundle(key)
        return {name: bytes(value) for name, value in fields.items()}


def put_copy(node: LiveNode, key: str, version: int, content: bytes, age_ms: int) -> None:
    """Puts a copy at a node, of which its owner does not know."""
    chain, owner, task = key.split(":")
    meta = Metadata(owner, 1, bundle_http.checksum({"f": content}), "0123456789abcdef-1")
    said = {bundle_http.OWNER: owner, bundle_http.VERSION: str(version), bundle_http.AGE_MS: str(age_ms)}
    path = f"/bundles/{chain}:{node.node.name}:{task}?scope=local"
    headers = bundle_http.meta_headers(meta) | said
    own(node.http.put(path, content=b"".join(wire.encode({"f": content})), headers=headers))


def own(answer: httpx.Response) -> httpx.Response:
    """An answer that is none of an error."""
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The four nodes of the examples, which host the functions: sat1 – sat2 – sat3 – cloud1."""
    component = tmp_path_factory.mktemp("hosted") / "everything.wasm"
    build(SOURCE, component, Config.load({}).cache_dir / "components")
    with run_nodes(four_nodes(), functions=component.parent) as running:
        yield running


@pytest.fixture(scope="module", params=["hosted", *(name for name in RUNTIMES if name != "flat")])
def server(request: pytest.FixtureRequest, nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The functions hosted by `sat1`, and as servers of their own on the same node.

    The flat module has the command's server in it, over a layer that other suites hold. A real WasmEdge, where there
    is one, is held to this one.
    """
    node = nodes["sat1"]
    with contextlib.ExitStack() as stack:
        called = node.http
        if runtime := RUNTIMES.get(request.param):
            component = tmp_path_factory.mktemp(runtime.target) / f"everything.{runtime.target}.wasm"
            build(SOURCE, component, Config.load({}).cache_dir / "components", target=runtime.target)
            served = runtime.serve(component, {"SKYLARK_PROXY_URL": node.url})
            called = stack.enter_context(served).http
        yield Server(called, node, nodes)


@pytest.fixture
def chain() -> str:
    """The id of a chain that nobody else has."""
    return f"chain-{uuid.uuid4().hex}"


class TestInvoking:
    def test_the_first_function_of_a_chain(self, server: Server) -> None:
        """Without a key a new chain begins; the bundle goes where the election says, and the answer is the report."""
        report = own(server.call("produce", b"100000")).json()
        assert re.fullmatch("[0-9a-f]{32}", report["chain_id"])
        assert (report["functions"], report["node"], report["error"]) == (["produce"], "sat1", None)
        assert report["key"] == f"{report['chain_id']}:sat3:{report['task_id']}"
        assert (report["fetches"], len(report["placements"])) == ([], 1)
        placement = report["placements"][0]
        assert (placement["key"], placement["size_bytes"]) == (report["key"], 100_000)
        assert placement["election"]["elected"] == "sat3"
        assert server.nodes["sat3"].held(report["chain_id"]) == [report["key"]]

    def test_the_headers_of_an_answer(self, server: Server) -> None:
        """Key, task and chain stand in headers, and `Server-Timing` has the four timings of the report."""
        answer = own(server.call("produce", b"10"))
        report = answer.json()
        named = {name: answer.headers[f"skylark-{name}"] for name in ("key", "task", "chain")}
        assert named == {"key": report["key"], "task": report["task_id"], "chain": report["chain_id"]}
        timings = dict(re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["server-timing"]))
        assert {name: float(value) for name, value in timings.items()} == report["timings_ms"]
        assert set(timings) == {"f", "ex", "dr", "dm"}
        assert report["timings_ms"]["f"] >= report["timings_ms"]["dm"] > 0

    def test_a_function_that_is_given_a_bundle(self, server: Server) -> None:
        """The next function gets the predecessor's bundle, wherever it is, and stays in its chain."""
        first = own(server.call("produce", b"70000")).json()
        answer = own(server.call("relay", b"the body", key=first["key"]))
        assert (answer.content, answer.headers["skylark-chain"]) == (b"the body", first["chain_id"])
        assert answer.headers["skylark-key"] != first["key"]
        assert server.fields(answer.headers["skylark-key"]) == server.fields(first["key"])
        assert float(re.findall(r"dr;dur=([0-9.]+)", answer.headers["server-timing"])[0]) > 0

    def test_what_was_fetched_is_reported(self, server: Server, chain: str) -> None:
        """A report has the bundles that were fetched: from where, over how many hops, and how large they were."""
        placed = server.node.client.put_bundle(f"{chain}:cloud1:t1", {"first": b"12345"})
        (fetched,) = own(server.call("second", key=placed["key"])).json()["fetches"]
        assert fetched.pop("duration_ms") > 0
        assert fetched == {
            "key": placed["key"], "version": placed["version"], "served_by": "cloud1", "age_ms": None, "stale": None,
            "hops": 1, "size_bytes": 5,
        }  # fmt: skip

    def test_the_context_of_a_function(self, server: Server, chain: str) -> None:
        """A function is told its chain, task, node and content type, and what it was given."""
        placed = server.node.client.put_bundle(f"{chain}:cloud1:t1", {"a": b"1"})
        request = {"params": {"key": placed["key"]}, "headers": {"Content-Type": "a/b"}}
        answer = own(server.http.post("/functions/looks_around", **request))  # type: ignore[arg-type]
        task = answer.headers["skylark-task"]
        assert answer.json()["context"] == ["looks_around", chain, task, "sat1", "a/b"]
        assert answer.json()["bundle"] == [placed["key"], placed["version"], "sat1", 1, ["a"]]

    def test_a_function_knows_its_node(self, server: Server) -> None:
        """`ctx.node` is the node's name, as often as it is asked for."""
        assert own(server.call("reports_node")).content == b"sat1 sat1"

    def test_only_the_fields_that_are_needed(self, server: Server, chain: str) -> None:
        """`needs` restricts what is fetched."""
        placed = server.node.client.put_bundle(f"{chain}:sat1:t1", {"first": b"1", "second": b"2"})
        assert own(server.call("needy", key=placed["key"])).json() == ["first"]

    def test_fused_functions(self, server: Server) -> None:
        """Functions joined by + see what those before them returned, and leave one bundle with the fields of all."""
        before = own(server.call("produce", b"5")).json()
        answer = own(server.call("first+second+third", key=before["key"]))
        assert answer.content == f"third of {before['chain_id']}".encode()
        assert server.fields(answer.headers["skylark-key"]) == {
            "first": b"1 after produce",
            "second": b"2 after produce,first",
            "shared": b"1 after produce",
            "third": b"3 after produce,first,second,shared",
        }

    def test_what_a_call_says_of_the_election(self, server: Server, chain: str) -> None:
        """`destination`, `policy`, `ttl_ms` and `ack` hold for what the function stores."""
        near = own(server.call("produce", b"1", destination="sat2", ack="local", chain=chain)).json()
        far = own(server.call("produce", b"1", policy="Stateless", ttl_ms="60000")).json()
        assert near["key"].startswith(f"{chain}:sat1:")
        assert near["placements"][0]["on_the_way_to"] == ["sat2"]
        assert far["key"].split(":")[1] == "cloud1"
        assert "skylark-ttl-ms" in server.node.http.get(f"/bundles/{far['key']}").headers

    def test_a_plan(self, server: Server, chain: str) -> None:
        """The next step of the plan is the destination; the plan travels with the bundle; what is here is fused."""
        plan = "first@sat1,second@sat1,third@sat2"
        report = own(server.call("first", plan=plan, chain=chain)).json()
        assert (report["functions"], report["key"].split(":")[1]) == (["first", "second"], "sat2")
        assert set(server.fields(report["key"])) == {"first", "second", "shared"}
        assert server.node.http.get(f"/bundles/{report['key']}").headers["skylark-plan"] == plan
        apart = own(server.call("first", plan=plan, chain=chain, fuse="false")).json()
        assert (apart["functions"], apart["key"].split(":")[1]) == (["first"], "sat1")

    def test_a_plan_that_came_with_the_bundle(self, server: Server, chain: str) -> None:
        """A chain's plan need be said once: what follows goes where it says."""
        plan = "first@sat1,second@sat2,third@sat3"
        first = own(server.call("first", plan=plan, chain=chain)).json()
        second = own(server.call("second", key=first["key"], destination="cloud1")).json()
        assert [report["key"].split(":")[1] for report in (first, second)] == ["sat2", "sat3"]

    def test_neither_state_nor_answer(self, server: Server) -> None:
        """A function that returns nothing is answered with a report without a key."""
        answer = own(server.call("does_nothing"))
        assert (answer.json()["key"], answer.json()["placements"]) == (None, [])
        assert "skylark-key" not in answer.headers

    def test_many_at_once(self, server: Server) -> None:
        """Eight callers get each its own answer, and its own chain."""
        with ThreadPoolExecutor(8) as pool:
            bodies = [random.Random(number).randbytes(3000) for number in range(32)]
            answers = list(pool.map(lambda body: own(server.call("relay", body)), bodies))
        assert [answer.content for answer in answers] == bodies
        assert len({answer.headers["skylark-chain"] for answer in answers}) == 32

    def test_waiting(self, server: Server) -> None:
        """`asyncio.run` and `time.sleep` work, and take the time that they say."""
        assert 100 <= float(own(server.call("waits")).content) < 10_000


class TestResponses:
    def test_an_answer_of_the_functions_own(self, server: Server) -> None:
        """A function's own answer is passed on as it is, with the key of what it stored beside it."""
        said = {"status": 201, "content_type": "image/x-own; q=1", "body": "größer", "state": {"a": "1"}}
        answer = server.call("answers", json.dumps(said).encode())
        assert (answer.status_code, answer.content) == (201, "größer".encode())
        assert answer.headers["content-type"] == "image/x-own; q=1"
        assert server.fields(answer.headers["skylark-key"]) == {"a": b"1"}

    @pytest.mark.parametrize("status", [204, 299, 304, 404, 503])
    def test_any_status(self, server: Server, status: int) -> None:
        """A status is the function's to choose; those that have no body have none."""
        answer = server.call("answers", json.dumps({"status": status, "body": "text"}).encode())
        assert (answer.status_code, answer.content) == (status, b"" if status in (204, 304) else b"text")
        assert "skylark-task" in answer.headers

    @pytest.mark.parametrize("content_type", ["text/ü", "a\nb", "a\x00b"])
    def test_a_content_type_that_is_none(self, server: Server, content_type: str) -> None:
        """What cannot stand in a header is the function's error."""
        answer = server.call("answers", json.dumps({"content_type": content_type}).encode())
        check_error(answer, 422, "function-failed", "content type", "answers")

    def test_an_answer_without_a_media_type(self, server: Server) -> None:
        """A function that was told no media type and passes that on answers without an empty header."""
        answer = own(server.call("relay", b"1"))
        assert answer.headers.get("content-type") != ""

    def test_every_byte(self, server: Server) -> None:
        """Bodies are bytes, whatever they are."""
        body = bytes(range(256)) * 5
        assert own(server.call("relay", body)).content == body


class TestLargeBodies:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 3 * MEBIBYTE + 1, 50_000_000])
    def test_both_ways(self, server: Server, size: int) -> None:
        """A body of any size comes as it was sent, and the answer goes as the function made it."""
        body = random.Random(size).randbytes(size)
        assert own(server.call("relay", body)).content == body

    def test_a_body_of_unknown_length(self, server: Server) -> None:
        """A body that is sent in chunks is read to its end."""
        chunks = [random.Random(number).randbytes(50_000) for number in range(40)]
        answer = own(server.http.post("/functions/relay", content=iter(chunks)))
        assert answer.content == b"".join(chunks)

    @pytest.mark.parametrize("size", [1_000_000, 50_000_000])
    def test_a_large_bundle(self, server: Server, size: int) -> None:
        """A bundle of any size is stored, fetched and passed on unchanged."""
        first = own(server.call("produce", str(size).encode(), destination="sat1")).json()
        second = own(server.call("relay", b"", key=first["key"], destination="sat1"))
        assert server.fields(second.headers["skylark-key"]) == server.fields(first["key"])
        assert len(server.fields(first["key"])["produce"]) == size

    def test_a_body_that_is_too_large(self, server: Server) -> None:
        """A body beyond the limit is refused by its announced size."""
        with contextlib.closing(http.client.HTTPConnection(server.http.base_url.netloc.decode(), timeout=60)) as caller:
            caller.putrequest("POST", "/functions/relay")
            caller.putheader("Content-Length", "134217729")
            caller.endheaders()
            answer = caller.getresponse()
            error = json.loads(answer.read())["error"]
        assert (answer.status, error["code"]) == (413, "too-large")
        assert (error["what"], error["size_bytes"], error["limit_bytes"]) == ("body", 134_217_729, 134_217_728)


class TestState:
    def test_store_fetch_and_delete(self, server: Server, chain: str) -> None:
        """What is stored is there, in its version, until it is deleted."""
        key = f"{chain}:sat1:t1"
        store = {"call": "store", "arguments": {"key": key}}
        stored = own(server.call("calls_state", json.dumps(store).encode(), chain=chain)).json()
        etag = server.node.http.head(f"/bundles/{key}").headers["etag"]
        assert stored == {"key": key, "version": int(etag.strip('"'))}
        about = stored | {"age_ms": None, "stale": None}
        for call, expected in (
            ({"call": "fetch", "key": key, "arguments": {}}, {"fields": {"f": "stored"}} | about),
            ({"call": "fetch", "key": key, "arguments": {"fields": ["g"]}}, {"fields": {}} | about),
            ({"call": "delete", "key": key, "arguments": {}}, True),
            ({"call": "delete", "key": key, "arguments": {}}, False),
        ):
            assert own(server.call("calls_state", json.dumps(call).encode(), chain=chain)).json() == expected

    def test_an_expected_version(self, server: Server, chain: str) -> None:
        """A store over another version than the expected one stores nothing, and the function has both numbers."""
        key = f"{chain}:sat1:t1"

        def store(expected: int) -> dict[str, Any]:
            call = {"call": "store", "arguments": {"key": key, "expected_version": expected}}
            outcome: dict[str, Any] = own(server.call("calls_state", json.dumps(call).encode(), chain=chain)).json()
            return outcome

        first = store(0)["version"]
        assert store(0)["numbers"] == {"expected": 0, "actual": first}
        second = store(first)["version"]
        assert second > first
        refused = store(7)
        assert (refused["raised"], refused["numbers"]) == ("Conflict", {"expected": 7, "actual": second})

    @pytest.mark.parametrize(
        ("call", "raised"),
        [
            ({"call": "fetch", "key": "%s:gone", "arguments": {}}, "NotFound"),
            ({"call": "fetch", "key": "no key", "arguments": {}}, "InvalidKey"),
            ({"call": "store", "arguments": {"destination": "mars"}}, "InvalidArgument"),
        ],
    )
    def test_the_class_of_an_error(self, server: Server, chain: str, call: dict[str, Any], raised: str) -> None:
        """A function catches the same classes, whatever brings its calls to the proxy."""
        body = json.dumps(call).replace("%s", chain).encode()
        assert own(server.call("calls_state", body, chain=chain)).json()["raised"] == raised

    def fetched(self, server: Server, key: str, **arguments: object) -> Any:
        """What a fetch gives a function, or the error that it gets."""
        return server.ask("calls_state", {"call": "fetch", "key": key, "arguments": arguments}, key.split(":")[0])

    def test_what_a_fetch_is_content_with(self, server: Server, chain: str) -> None:
        """A copy says its age; a function that wants the owner's bundle, or has seen a later one, gets that."""
        key, owner = f"{chain}:sat2:t1", server.nodes["sat2"]
        first = owner.client.put_bundle(key, {"f": b"1"})["version"]
        put_copy(server.node, key, first, b"1", age_ms=5000)
        confirmed = self.fetched(server, key, read="latest")
        assert (confirmed["fields"], confirmed["age_ms"], confirmed["stale"]) == ({"f": "1"}, 0, None)
        second = owner.client.put_bundle(key, {"f": b"2"})["version"]
        nearest = self.fetched(server, key, read="nearest")
        assert (nearest["version"], nearest["key"], nearest["stale"]) == (first, key, None)
        assert nearest["age_ms"] >= 5000
        present = {"fields": {"f": "2"}, "key": key, "version": second, "age_ms": None, "stale": None}
        assert self.fetched(server, key, min_version=second) == present
        assert self.fetched(server, key, read="owner") == self.fetched(server, key, read="latest") == present

    @pytest.mark.parametrize(("owner", "stale"), [("gone", "owner-unreachable"), ("sat2", "owner-lost-it")])
    def test_a_copy_whose_owner_does_not_have_it(self, server: Server, chain: str, owner: str, stale: str) -> None:
        """It will do, with the reason, unless the function wants the owner's or has seen a later version."""
        key = f"{chain}:{owner}:t1"
        put_copy(server.node, key, 1000, b"1", age_ms=7)
        for read, reason in (("nearest", None), ("latest", stale)):
            found = self.fetched(server, key, read=read)
            assert (found["fields"], found["version"], found["stale"]) == ({"f": "1"}, 1000, reason)
            assert found["age_ms"] >= 7
        assert self.fetched(server, key, read="owner")["raised"] == "NotFound"
        older = self.fetched(server, key, min_version=1001)
        assert (older["raised"], "1000" in older["message"], "1001" in older["message"]) == ("Unavailable", True, True)

    @pytest.mark.parametrize(
        ("arguments", "named"), [({"read": "newest"}, "one of nearest, latest, owner"), ({"min_version": -1}, "or 0")]
    )
    def test_a_choice_that_there_is_not(
        self, server: Server, chain: str, arguments: dict[str, object], named: str
    ) -> None:
        """It is refused and not taken for the default."""
        refused = self.fetched(server, f"{chain}:sat2:t1", **arguments)
        assert (refused["raised"], named in refused["message"]) == ("InvalidArgument", True)

    def test_what_a_chain_has_seen_goes_on(self, server: Server, chain: str) -> None:
        """A function has what its chain has seen, and passes it on with what it has read, written and deleted itself,
        also if it does not look at the predecessor's bundle."""
        keys = [f"{chain}:sat2:{name}" for name in ("a", "b", "c")]
        client = server.nodes["sat2"].client
        first, *_ = (client.put_bundle(key, {"f": b"1"})["version"] for key in keys)
        put_copy(server.node, keys[0], first, b"1", age_ms=0)
        second = client.put_bundle(keys[0], {"f": b"2"})["version"]
        path, seen = f"/bundles/{chain}:cloud1:before", {"Skylark-Seen": f"{keys[0]}={second}"}
        before = server.node.http.put(path, content=b"".join(wire.encode({"first": b""})), headers=seen)
        looked = own(server.call("looks", f"{keys[0]} {keys[1]}".encode(), key=before.headers["skylark-key"]))
        versions = json.loads(server.fields(looked.headers["skylark-key"])["versions"])
        assert versions[0] == second
        deleted = own(server.call("deletes", keys[2].encode(), key=looked.headers["skylark-key"]))
        last = own(server.call("needs_nothing", key=deleted.headers["skylark-key"])).headers["skylark-key"]
        given = server.node.http.head(f"/bundles/{last}").headers["skylark-seen"]
        gone = server.nodes["sat2"].http.get(f"/bundles/{keys[2]}").headers["skylark-deleted-version"]
        expected = dict(zip(keys, [*versions, int(gone)], strict=True))
        assert {key: parse_seen(given).get(key) for key in keys} == expected

    def test_the_published_library(self, server: Server, chain: str) -> None:
        """`skylark.compat` stores and reads."""
        key, text = own(server.call("publishes", "größer".encode(), chain=chain)).json()
        assert (key.split(":")[0], text) == (chain, "größer")
        assert server.fields(key) == {"value": "größer".encode()}


class TestFailures:
    def test_an_exception(self, server: Server) -> None:
        """A function that raises is 422 with the function, the class, the message and the line of its source."""
        error = check_error(
            server.call("raises"), 422, "function-failed", "raises", "ZeroDivisionError", "größer als ∞"
        )
        assert (error["function"], error["cause"]) == ("raises", "ZeroDivisionError")
        assert error["detail"] == "on purpose: größer als ∞"
        assert "# the line that the traceback has to show" in error["traceback"]

    def test_the_headers_of_a_failure(self, server: Server) -> None:
        """An invocation that failed has its task and chain in the headers and in the error."""
        answer = server.call("raises", chain="a-chain")
        error = answer.json()["error"]
        assert answer.headers["skylark-chain"] == error["chain_id"] == "a-chain"
        assert answer.headers["skylark-task"] == error["task_id"]

    @pytest.mark.parametrize(
        ("function", "cause", "detail"),
        [
            ("exits", "SystemExit", "3"),
            ("interrupts", "KeyboardInterrupt", "not an Exception"),
            ("raises_unprintable", "Unprintable", "(its __str__ raised ValueError)"),
            ("returns_nonsense", "TypeError", "function 'returns_nonsense' returned int; expected a dict"),
            ("raises_surrogates", "ValueError", "the file \\udcff xxx"),
            ("raises_from_state", "RuntimeError", "made of another one"),
        ],
    )
    def test_whatever_it_raises(self, server: Server, function: str, cause: str, detail: str) -> None:
        """Each way to fail is an answer, and the next call works."""
        error = check_error(server.call(function), 422, "function-failed")
        assert (error["function"], error["cause"]) == (function, cause)
        assert error["detail"].startswith(detail)
        assert len(error["detail"]) < 10_000
        assert own(server.call("hello", b"you")).content == b"hello you"

    def test_one_of_several(self, server: Server) -> None:
        """Of fused functions the error names the one that failed, and nothing is stored."""
        error = check_error(server.call("first+raises+third", chain="of-several"), 422, "function-failed")
        assert error["function"] == "raises"
        assert server.node.held("of-several") == []

    def test_a_bundle_that_is_nowhere(self, server: Server, chain: str) -> None:
        """A predecessor that no node has is 404, with the nodes that were asked."""
        error = check_error(server.call("relay", key=f"{chain}:t1"), 404, "not-found", f"{chain}:t1")
        assert error["looked_at"] == ["sat1", "cloud1"]

    def test_a_state_error_that_passes(self, server: Server, chain: str) -> None:
        """Where a state call's error ends a function, the caller gets that error, with its own status and numbers."""
        check_error(server.call("fetches", f"{chain}:gone".encode(), chain=chain), 404, "not-found", f"{chain}:gone")
        check_error(server.call("fetches", b"no key"), 400, "invalid-key", "no key")
        stores = json.dumps({"key": f"{chain}:sat1:t1", "expected_version": 5}).encode()
        error = check_error(server.call("stores", stores, chain=chain), 409, "conflict")
        assert (error["expected"], error["actual"]) == (5, 0)
        check_error(server.call("produce", b"1", destination="mars"), 404, "unknown-node", "mars", "cloud1")

    @pytest.mark.parametrize(
        ("query", "status", "code", "named"),
        [
            ("destination=a:b", 400, "invalid-argument", ("destination",)),
            ("policy=best", 400, "invalid-argument", ("policy", "best", "stateless")),
            ("ttl_ms=0", 400, "invalid-argument", ("ttl_ms", "1 to 315360000000")),
            ("ttl_ms=%C2%B2", 400, "invalid-argument", ("ttl_ms",)),
            ("ack=soon", 400, "invalid-argument", ("ack", "elected")),
            ("plan=a@b@c", 400, "invalid-argument", ("plan", "FUNCTION@NODE")),
            ("plan=a,a", 400, "invalid-argument", ("plan",)),
            ("fuse=perhaps", 400, "invalid-argument", ("fuse", "true or false")),
            ("key=one", 400, "invalid-key", ("key", "one")),
            ("key=a:b&key=a:b", 400, "invalid-argument", ("key", "one value")),
            ("key=a:b&chain=c", 400, "invalid-argument", ("chain", "the chain of the key, a")),
            ("chain=a:b", 400, "invalid-argument", ("chain",)),
            ("chain=", 400, "invalid-argument", ("chain",)),
        ],
    )
    def test_parameters(self, server: Server, query: str, status: int, code: str, named: tuple[str, ...]) -> None:
        """A wrong parameter is refused by its name, and the function does not run."""
        check_error(server.http.post(f"/functions/produce?{query}", content=b"1"), status, code, *named)

    def test_an_unknown_function(self, server: Server) -> None:
        """An unknown function is 404, alone and beside others, and the error names it."""
        for functions in ("nothing", "relay+nothing"):
            error = check_error(server.call(functions), 404, "not-found", "nothing")
            assert (error["what"], error["name"]) == ("function", "nothing")

    @pytest.mark.parametrize("names", ["+", "relay+", "a:b", "relay relay", "-relay", "n" * 129])
    def test_names_that_are_none(self, server: Server, names: str) -> None:
        """What can be no function's name is refused, with what a name looks like."""
        check_error(server.call(names), 400, "invalid-argument", "functions", "A-Z a-z 0-9")

    def test_methods_and_paths(self, server: Server) -> None:
        """What does not exist is 404, a method that is not taken 405 with those that are."""
        check_error(server.http.get("/nowhere"), 404, "not-found")
        answer = server.http.delete("/functions/relay")
        check_error(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "POST"


class TestCloudEvents:
    def test_binary_mode(self, server: Server, chain: str) -> None:
        """The body of an event in binary mode is the function's body, its extensions are the call's parameters."""
        placed = server.node.client.put_bundle(f"{chain}:cloud1:t1", {"a": b"1"})
        attributes = ATTRIBUTES | {"statekey": placed["key"], "destination": "sat2"}
        headers = {f"ce-{name}": value for name, value in attributes.items()} | {"Content-Type": "image/png"}
        answer = own(server.http.post("/functions/relay", content=b"\x89PNG\xff", headers=headers))
        assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG\xff", "image/png")
        assert answer.headers["skylark-key"].split(":")[:2] == [chain, "sat2"]

    @pytest.mark.parametrize(
        ("members", "body", "content_type"),
        [
            ({"data": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
            ({"data": "größe", "datacontenttype": "text/plain"}, "größe".encode(), "text/plain"),
            ({"data": "text"}, b'"text"', "application/json"),
            ({"data": "text", "datacontenttype": "application/x+json"}, b'"text"', "application/x+json"),
            ({"data_base64": "iVBOR/8=", "datacontenttype": "image/png"}, b"\x89PNG\xff", "image/png"),
            ({}, b"", "application/json"),
        ],
        ids=["object", "text", "json-text", "x-json-text", "base64", "none"],
    )
    def test_structured_mode(self, server: Server, members: dict[str, Any], body: bytes, content_type: str) -> None:
        """The data of an event in structured mode is the function's body, of the type that the event says."""
        answer = own(server.event("relay", ATTRIBUTES | members))
        assert (answer.content, answer.headers["content-type"]) == (body, content_type)

    def test_extensions_in_structured_mode(self, server: Server, chain: str) -> None:
        """`chainid` and `destination` count; a parameter of the query wins over the extension."""
        event = ATTRIBUTES | {"chainid": chain, "destination": "sat2", "data": 3}
        report = own(server.event("produce", event)).json()
        assert report["key"] == f"{chain}:sat2:{report['task_id']}"
        assert own(server.event("produce", event, "?destination=sat3")).json()["key"].split(":")[1] == "sat3"

    def test_an_event_is_answered_with_one(self, server: Server, chain: str) -> None:
        """Who calls with an event gets an event of the function's own type, which leads on to the bundle it left."""
        answer = own(server.event("produce", ATTRIBUTES | {"chainid": chain, "data": 3}))
        assert answer.headers["ce-specversion"] == "1.0"
        assert answer.headers["ce-type"] == "io.skylark.function.produce"
        assert answer.headers["ce-id"] == f"{chain}:{answer.headers['skylark-task']}"
        assert (answer.headers["ce-chainid"], answer.headers["ce-statekey"]) == (chain, answer.headers["skylark-key"])
        assert answer.headers["ce-source"] == "/skylark/sat1"
        called = {name: value for name, value in answer.headers.items() if name.startswith("ce-")}
        following = server.http.post("/functions/relay", content=b"x", headers=called)
        assert following.headers["ce-chainid"] == chain
        assert "ce-type" not in server.http.post("/functions/produce").headers

    def test_a_large_event(self, server: Server) -> None:
        """An event beyond a mebibyte is read like a small one."""
        data = random.Random(3).randbytes(2 * MEBIBYTE)
        event = ATTRIBUTES | {"data_base64": base64.b64encode(data).decode()}
        assert own(server.event("relay", event)).content == data

    @pytest.mark.parametrize(("members", "status", "code", "named"), WRONG_MEMBERS)
    def test_wrong_members(self, server: Server, members: dict[str, Any], status: int, code: str, named: str) -> None:
        """A member of an event that is wrong is refused by its name."""
        check_error(server.event("relay", ATTRIBUTES | members), status, code, named)

    @pytest.mark.parametrize("event", NO_EVENTS)
    def test_what_is_no_event(self, server: Server, event: bytes) -> None:
        """A body that says it is an event and is none is refused."""
        check_error(server.event("relay", event), 400, "invalid-argument", "body")
        assert own(server.call("hello", b"you")).content == b"hello you"

    @pytest.mark.parametrize(("data", "place"), WRONG_NUMBERS.items())
    def test_numbers_that_are_none(self, server: Server, data: str, place: str) -> None:
        """A number that JSON does not have is refused by the name of its place, and never passed on as another one."""
        answer = server.event("relay", with_data(data))
        check_error(answer, 400, "invalid-argument", place)
        assert answer.json()["error"]["field"] == place

    @pytest.mark.parametrize("content_type", OTHER_FORMATS)
    def test_batches_and_other_formats(self, server: Server, content_type: str) -> None:
        """An event in a format that is not read is refused, with the format that is; it is no body of the function."""
        answer = server.http.post("/functions/relay", content=b"[]", headers={"Content-Type": content_type})
        check_error(answer, 415, "unsupported-media-type", STRUCTURED)

    @pytest.mark.parametrize(("value", "stands_for"), HEADERS.items())
    def test_values_of_headers(self, server: Server, value: str, stands_for: str) -> None:
        """Headers of binary mode are unquoted and then percent-decoded once."""
        quoted = {f"ce-{name}": f'"{text}"' for name, text in ATTRIBUTES.items()}
        answer = own(server.http.post("/functions/relay", headers=quoted | {"ce-chainid": value}))
        assert (answer.headers["skylark-chain"], answer.headers["ce-chainid"]) == (stands_for, stands_for)

    @pytest.mark.parametrize("value", WRONG_HEADERS)
    def test_wrong_values_of_headers(self, server: Server, value: str) -> None:
        """A value that stands for no name is refused by its header's name."""
        headers = {f"ce-{name}": text for name, text in ATTRIBUTES.items()} | {"ce-chainid": value}
        check_error(server.http.post("/functions/relay", headers=headers), 400, "invalid-argument", "chainid")
