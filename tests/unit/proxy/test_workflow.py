"""The workflow driver, against nodes that a test plays: what it does when a node is away or a bundle is lost."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from servers import free_port
from skylark.plan import Step
from skylark_proxy.client import ProxyError
from skylark_proxy.workflow import Workflow, WorkflowFailed

PLAN = (Step("one", "a"), Step("two", "b"), Step("three", "c"))

Script = dict[tuple[str, str], list[tuple[int, str]]]
"""What a node answers to a function, at each call in turn: a status and an error's code; then it succeeds."""


class Played:
    """Nodes whose functions succeed unless the script says otherwise.

    `calls` has each call: node, function, query and body.
    """

    def __init__(self, script: Script) -> None:
        self.script = {call: list(answers) for call, answers in script.items()}
        self.calls: list[tuple[str, str, dict[str, str], bytes]] = []
        self.reports: dict[str, dict[str, Any]] = {}

    def invoke(self, node: str, function: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        self.calls.append((node, function, query, body))
        answers = self.script.get((node, function))
        status, code = answers.pop(0) if answers else (200, "")
        if status >= 400:
            return status, {"error": {"code": code, "message": f"{function} at {node}: {code}"}}
        task = f"task-{len(self.calls)}"
        made = {"key": f"chain:{node}:{task}", "chain_id": "chain", "task_id": task, "functions": [function]}
        self.reports[task] = made
        return 200, self.reports[task]

    def ran(self) -> list[str]:
        return [f"{function}@{node}" for node, function, _, _ in self.calls]


@contextlib.contextmanager
def played(script: Script, nodes: str = "abc") -> Iterator[tuple[Played, Mapping[str, str]]]:
    """The played nodes, and the URLs of `a`, `b` and `c`; those that are not in `nodes` refuse connections."""
    state = Played(script)
    with contextlib.ExitStack() as stack:
        urls = {name: f"http://127.0.0.1:{free_port()}" for name in "abc"}
        for name in nodes:
            urls[name] = stack.enter_context(serving(name, state))
        yield state, urls


@contextlib.contextmanager
def serving(name: str, state: Played) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*state.invoke(name, parts.path.rpartition("/")[2], query, body))

        def do_GET(self) -> None:
            self.answer(200, state.reports[self.path.rpartition("/")[2]])

        def answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Skylark-Task", content.get("task_id", ""))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_every_step_runs_where_the_plan_says() -> None:
    """The body goes to the first step, each key to the next one, and the whole plan to all of them."""
    told: list[str] = []
    with played({}) as (nodes, urls):
        run = Workflow(urls, PLAN, lambda step, node: told.append(f"{step.function}@{node}")).run(
            b"body", "a/b", "random"
        )
    assert nodes.ran() == told == ["one@a", "two@b", "three@c"]
    assert [body for *_, body in nodes.calls] == [b"body", b"", b""]
    queries = [query for _, _, query, _ in nodes.calls]
    assert [query.get("key") for query in queries] == [None, "chain:a:task-1", "chain:b:task-2"]
    assert [query["plan"] for query in queries] == ["one@a,two@b,three@c"] * 3
    assert {query["policy"] for query in queries} == {"random"}
    assert (run.chain_id, run.key, run.events) == ("chain", "chain:c:task-3", [])
    assert run.duration_ms > 0


def test_a_node_that_is_away() -> None:
    """Its step runs at the nearest node of the plan, the plan that goes on names that one, and the run says so."""
    with played({}, nodes="ac") as (nodes, urls):
        run = Workflow(urls, PLAN).run(b"", "a/b")
    assert nodes.ran() == ["one@a", "two@a", "three@c"]
    assert [query["plan"] for _, _, query, _ in nodes.calls][1:] == ["one@a,two@a,three@c"] * 2
    assert run.events == ["b is away (two was to run there)", "two ran at a instead of b"]
    assert [step.node for step in run.steps] == ["a", "a", "c"]


@pytest.mark.parametrize(("status", "code"), [(404, "not-found"), (503, "unavailable"), (504, "timed-out")])
def test_a_bundle_that_is_lost(status: int, code: str) -> None:
    """The step that made it runs again, with its own predecessor's bundle, and only the last run of a step counts."""
    with played({("c", "three"): [(status, code)]}) as (nodes, urls):
        run = Workflow(urls, PLAN).run(b"body", "a/b")
    assert nodes.ran() == ["one@a", "two@b", "three@c", "two@b", "three@c"]
    assert nodes.calls[3][2]["key"] == "chain:a:task-1"
    assert run.events == ["the bundle chain:b:task-2 is lost; two runs again"]
    assert [step.report["task_id"] for step in run.steps] == ["task-1", "task-4", "task-5"]


def test_several_bundles_that_are_lost() -> None:
    """Where that predecessor's bundle is lost too, it goes back further, to the body at last."""
    script: Script = {("c", "three"): [(404, "not-found")], ("b", "two"): [(200, ""), (404, "not-found")]}
    with played(script) as (nodes, urls):
        run = Workflow(urls, PLAN).run(b"body", "a/b")
    assert nodes.ran() == ["one@a", "two@b", "three@c", "two@b", "one@a", "two@b", "three@c"]
    assert [body for _, function, _, body in nodes.calls if function == "one"] == [b"body", b"body"]
    assert [step.report["task_id"] for step in run.steps] == ["task-5", "task-6", "task-7"]


def test_a_function_that_fails() -> None:
    """A failure of the function itself is the caller's to see, and nothing is run again."""
    with played({("b", "two"): [(422, "function-failed")]}) as (nodes, urls):
        with pytest.raises(ProxyError, match="two at b: function-failed") as caught:
            Workflow(urls, PLAN).run(b"", "a/b")
        assert caught.value.status == 422
    assert nodes.ran() == ["one@a", "two@b"]


def test_a_first_function_without_a_store() -> None:
    """Where the first step cannot store there is no bundle to make again, and the error goes to the caller."""
    with played({("a", "one"): [(503, "unavailable")]}) as (_, urls), pytest.raises(ProxyError, match="unavailable"):
        Workflow(urls, PLAN).run(b"", "a/b")


def test_no_node_that_is_left() -> None:
    """Without any node the workflow fails, and names the function that nobody could run."""
    with played({}, nodes="") as (_, urls), pytest.raises(WorkflowFailed, match="one"):
        Workflow(urls, PLAN).run(b"", "a/b")


def test_a_bundle_that_is_lost_for_ever() -> None:
    """A workflow that goes back again and again ends after a bounded number of attempts."""
    with played({("b", "two"): [(404, "not-found")] * 100}) as (nodes, urls):
        with pytest.raises(WorkflowFailed, match="did not end after 20 attempts"):
            Workflow(urls, PLAN).run(b"", "a/b")
        assert len(nodes.calls) == 20
