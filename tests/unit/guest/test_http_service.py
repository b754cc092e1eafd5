"""Running the calls of a server of functions, with a proxy that is played."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import pytest

import skylark
from skylark import errors, wire
from skylark.execution import Execution
from skylark.functions import REGISTRY
from skylark.http_answers import Answer
from skylark.http_backend import HttpBackend
from skylark.http_routes import Call, Head, Page
from skylark.http_service import Service
from skylark.http_transport import Reply
from skylark.plan import Plan
from skylark.state import Ack, Policy
from skylark.wire import Buffer

HEADERS = {"skylark-key": "c:n1:t1", "etag": '"1"', "skylark-origin": "n0", "skylark-hops": "0"}


class PlayedProxy:
    """A transport that keeps what it was sent. `bundle` is what it has; without one, nothing is found."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.bundle: dict[str, bytes] | None = None
        self.headers: dict[str, str] = {}
        self.away = False
        self.parts: Sequence[Buffer] = ()

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        self.parts = body
        self.sent.append((method, path, headers, b"".join(body)))
        if self.away:
            raise errors.Unavailable("the proxy is away")
        if path == "/health/readiness":
            return Reply(200, {}, b'{"node": "n1"}')
        if method == "PUT":
            key = path.partition("?")[0].removeprefix("/bundles/").replace("%3A", ":").replace(":", ":n2:", 1)
            return Reply(200, HEADERS | {"skylark-key": key}, json.dumps({"key": key}).encode())
        if self.bundle is None:
            error = {"code": "not-found", "message": "no bundle 'c:t1'", "retryable": False, "looked_at": ["n1"]}
            return Reply(404, {}, json.dumps({"error": error}).encode())
        return Reply(200, HEADERS | self.headers, b"".join(wire.encode(dict(self.bundle))))

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    """Three functions, for the time of a test."""
    with patch.dict("skylark.functions.REGISTRY", clear=True), patch.dict("skylark.functions.NEEDS", clear=True):

        @skylark.function
        def keep(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
            return {"kept": bytes(ctx.request.body) + b",".join(name.encode() for name in bundle)}

        @skylark.function
        def tell(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
            return skylark.Response(b"told", "text/plain", 201)

        @skylark.function
        def fail(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
            raise ValueError("on purpose")

        yield


@pytest.fixture
def proxy() -> PlayedProxy:
    return PlayedProxy()


def invoke(proxy: PlayedProxy, *names: str, node: str | None = None, body: bytes = b"", **call: Any) -> Answer:
    service = Service(HttpBackend("http://proxy:1", transport=proxy), node)
    asked = Call(names, **call)
    return service.invoke(Head.of("POST", "/", {}), asked, memoryview(body), REGISTRY)


def content(answer: Answer) -> Any:
    return json.loads(bytes(answer.body))


def stored(proxy: PlayedProxy) -> tuple[str, Mapping[str, str]]:
    """The target and the headers of the one store."""
    [(path, headers)] = [(path, headers) for method, path, headers, _ in proxy.sent if method == "PUT"]
    return path, headers


def test_a_report(proxy: PlayedProxy) -> None:
    """A function that has no answer of its own is answered with what happened, in the form of the proxy's reports."""
    answer = invoke(proxy, "keep", body=b"1", chain_id="c")
    report = content(answer)
    assert list(report) == [
        *("functions", "node", "chain_id", "task_id", "key", "started_ms", "timings_ms"),
        *("fetches", "placements", "error"),
    ]
    assert (report["functions"], report["node"], report["chain_id"]) == (["keep"], "n1", "c")
    assert report["key"] == answer.headers["Skylark-Key"] == f"c:n2:{report['task_id']}"
    assert report["placements"] == [{"key": report["key"]}]
    assert set(report["timings_ms"]) == {"f", "ex", "dr", "dm"}


def test_an_own_answer(proxy: PlayedProxy) -> None:
    """A function's own answer is passed on, and nobody was asked for anything."""
    answer = invoke(proxy, "tell")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (201, b"told", "text/plain")
    assert proxy.sent == []


def test_what_the_call_says_is_sent_with_the_store(proxy: PlayedProxy) -> None:
    """Destination, policy, time to live and acknowledgement are parameters of the store."""
    invoke(proxy, "keep", destination="n9", policy=Policy.RANDOM, ttl_ms=5, ack=Ack.LOCAL)
    path, _ = stored(proxy)
    assert path.endswith("?destination=n9&policy=random&ttl_ms=5&ack=local")


def test_a_large_field_is_not_copied(proxy: PlayedProxy) -> None:
    """A bundle's bytes go to the transport as the function returned them, after the index."""
    large = bytes(1_000_000)
    REGISTRY["large"] = lambda bundle, ctx: {"a": large, "b": b"1"}
    invoke(proxy, "large", node="n1")
    assert [len(part) for part in proxy.parts] == [wire.index(proxy.sent[0][3])[0], 1_000_000, 1]
    assert proxy.parts[1] is large


def test_the_plan_says_where_the_chain_goes_on(proxy: PlayedProxy) -> None:
    """It wins over the call's destination, and travels with the bundle."""
    invoke(proxy, "keep", destination="n9", plan=Plan.parse("keep@n1,next@n3"))
    path, headers = stored(proxy)
    assert path.endswith("?destination=n3")
    assert headers["Skylark-Plan"] == "keep@n1,next@n3"


def test_the_plan_of_the_predecessor(proxy: PlayedProxy) -> None:
    """Where the call says none, that of the bundle that it names counts."""
    proxy.bundle, proxy.headers = {"a": b"1"}, {"skylark-plan": "keep@n1,next@n4"}
    invoke(proxy, "keep", state_key="c:t1")
    assert stored(proxy)[0].endswith("?destination=n4")


@pytest.mark.parametrize(
    ("plan", "fuse", "ran"),
    [
        ("keep@n1,tell@n1,fail@n2", True, ["keep", "tell"]),
        ("keep@n1,tell@n1,fail@n2", False, ["keep"]),
        ("keep@n1,tell@n2", True, ["keep"]),
        ("keep@n1,elsewhere@n1,tell@n1", True, ["keep"]),
        ("keep@n1,tell", True, ["keep"]),
    ],
)
def test_fusion_by_the_plan(proxy: PlayedProxy, plan: str, fuse: bool, ran: list[str]) -> None:
    """Functions of this component that follow on this node run too."""
    answer = invoke(proxy, "keep", node="n1", plan=Plan.parse(plan), fuse=fuse)
    assert (answer.status == 201) is (ran == ["keep", "tell"])
    assert "Skylark-Key" in answer.headers


def test_an_exception(proxy: PlayedProxy, capsys: pytest.CaptureFixture[str]) -> None:
    """It is 422 with its traceback, which the log has as well."""
    answer = invoke(proxy, "fail", chain_id="c")
    error = content(answer)["error"]
    assert (answer.status, error["code"], error["cause"], error["chain_id"]) == (
        422,
        "function-failed",
        "ValueError",
        "c",
    )
    assert 'raise ValueError("on purpose")' in error["traceback"]
    assert 'raise ValueError("on purpose")' in capsys.readouterr().err


def test_an_error_of_the_proxy(proxy: PlayedProxy) -> None:
    """Where it ended the function it is passed on, with its status and members, and the names of the invocation."""
    answer = invoke(proxy, "keep", state_key="c:t1")
    error = content(answer)["error"]
    assert (answer.status, error["code"], error["looked_at"], error["chain_id"]) == (404, "not-found", ["n1"], "c")
    assert "traceback" not in error


def test_an_error_after_one_of_the_proxy(proxy: PlayedProxy) -> None:
    """An error that a function caught is not blamed for the one that it raised."""

    @skylark.function
    def stumbles(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
        try:
            ctx.state.fetch("c:t1")
        except skylark.NotFound as error:
            raise ValueError("its own") from error

    answer = invoke(proxy, "stumbles")
    assert (answer.status, content(answer)["error"]["detail"]) == (422, "its own")


def test_a_proxy_that_is_away(proxy: PlayedProxy) -> None:
    """A store that fails is 503 with the time to wait; a function without state runs, its node untold."""
    proxy.away = True
    answer = invoke(proxy, "keep")
    assert (answer.status, content(answer)["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    REGISTRY["idle"] = lambda bundle, ctx: None
    assert content(invoke(proxy, "idle"))["node"] is None


def test_the_node_is_asked_for_once(proxy: PlayedProxy) -> None:
    """A function may ask for its node as often as it likes; one that is told costs no request."""
    REGISTRY["ask"] = lambda bundle, ctx: skylark.Response(f"{ctx.node} {ctx.node}".encode())
    assert invoke(proxy, "ask").body == b"n1 n1"
    assert len(proxy.sent) == 1
    assert invoke(proxy, "ask", node="told").body == b"told told"
    assert len(proxy.sent) == 1


def test_pages(proxy: PlayedProxy) -> None:
    """The list, liveness without a request, and readiness with one."""
    service = Service(HttpBackend("http://proxy:1", transport=proxy), "n7")
    assert content(service.page(Page.FUNCTIONS, REGISTRY)) == {"functions": [{"name": name} for name in REGISTRY]}
    assert content(service.page(Page.LIVENESS, REGISTRY)) == {"node": "n7", "status": "alive"}
    assert proxy.sent == []
    assert content(service.page(Page.READINESS, REGISTRY)) == {"node": "n1", "status": "ready"}
    proxy.away = True
    assert service.page(Page.READINESS, REGISTRY).status == 503


@pytest.mark.parametrize("code", Execution)
@pytest.mark.parametrize("away", [False, True])
def test_health_says_how_the_code_is_run(proxy: PlayedProxy, code: Execution, away: bool) -> None:
    """A server that knows whether it is interpreted says so on its health pages, whether it is ready or not."""
    proxy.away = away
    service = Service(HttpBackend("http://proxy:1", transport=proxy), "n7", code=code)
    for page in (Page.LIVENESS, Page.READINESS):
        assert content(service.page(page, REGISTRY))["code"] == code.value
