"""What a component that is a server has beside `/functions`: root, probes, settings, and a proxy that is away."""

import contextlib
import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from continuum import LiveNode, check_error, run_proxy
from servers import free_port, wait_for
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import Engine, Functions
from skylark_proxy.target import Target
from wasi_http import RUNTIMES, Runtime, Serve, WasiServer, serve_wasmtime

SOURCE = Path(__file__).parent / "functions" / "everything.py"


@pytest.fixture(scope="module", params=list(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return RUNTIMES[request.param]


@pytest.fixture(scope="module")
def component(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(runtime.target, tmp_path_factory)


@pytest.fixture(scope="module")
def http_component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(Target.HTTP, tmp_path_factory)


def built(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(target) / f"everything.{target}.wasm"
    return build(SOURCE, path, Config.load({}).cache_dir / "components", target=target).component


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    """A node that hosts nothing itself."""
    with run_proxy(node="n1") as running:
        yield running


@pytest.fixture(scope="module")
def serve(runtime: Runtime) -> Serve:
    return runtime.serve


@pytest.fixture(scope="module")
def server(serve: Serve, component: Path, node: LiveNode) -> Iterator[WasiServer]:
    with serve(component, {"SKYLARK_PROXY_URL": node.url}) as running:
        yield running


@pytest.fixture
def chain() -> str:
    return f"chain-{uuid.uuid4().hex}"


class TestRoot:
    @pytest.mark.parametrize("path", ["/", "/process"])
    def test_the_first_function(self, server: WasiServer, chain: str, path: str) -> None:
        """`POST /` and `POST /process` run the first function of the source, with the same parameters."""
        report = server.http.post(path, params={"chain": chain}, content=b"7").json()
        assert (report["functions"], report["chain_id"], report["node"]) == (["produce"], chain, "n1")

    def test_a_get_with_the_predecessors_key(self, component: Path, serve: Serve, node: LiveNode, chain: str) -> None:
        """`GET /?key=` runs it with the predecessor's bundle, as the published functions did; a HEAD runs nothing."""
        placed = node.client.put_bundle(f"{chain}:t1", {"a": b"1"})
        with serve(component, {"SKYLARK_PROXY_URL": node.url, "SKYLARK_FUNCTION": "looks_around"}) as server:
            answer = server.http.get("/", params={"key": placed["key"]})
            assert answer.json()["bundle"][0] == placed["key"]
            check_error(server.http.get("/"), 400, "invalid-argument", "key", "<chain_id>:<node>:<task_id>")
            assert server.http.head("/", params={"key": placed["key"]}).status_code == 405

    def test_an_event(self, server: WasiServer) -> None:
        """An event that comes to `/`, as a Knative trigger sends it, is unwrapped."""
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-chainid": "by-event"}
        assert server.http.post("/", content=b"3", headers=headers).json()["chain_id"] == "by-event"

    def test_methods(self, server: WasiServer) -> None:
        """Other methods are refused, with those that are taken."""
        answer = server.http.put("/", content=b"")
        check_error(answer, 405, "method-not-allowed", "PUT")
        assert answer.headers["allow"] == "GET, POST"
        assert server.http.get("/process").headers["allow"] == "POST"


class TestProbes:
    def test_health(self, server: WasiServer) -> None:
        """Ready is who reaches the proxy; alive is who answers, with the node's name if it was asked for before."""
        for path in ("/health", "/health/readiness"):
            ready = server.http.get(path).json()
            assert (ready["node"], ready["status"]) == ("n1", "ready")
        alive = server.http.get("/health/liveness").json()
        assert alive["status"] == "alive"
        assert alive["node"] in (None, "n1")

    def test_how_the_code_is_run(self, runtime: Runtime, server: WasiServer) -> None:
        """A server of its own finds out whether it is interpreted: its pages and the first line of its log say so."""
        for path in ("/health", "/health/liveness"):
            assert server.http.get(path).json().get("code") == runtime.code
        if runtime.code is not None:
            line = next(line for line in server.log().splitlines() if line.startswith("serving "))
            assert line.endswith(f", code: {runtime.code}")

    def test_head(self, server: WasiServer) -> None:
        """A probe need not read a body."""
        answer = server.http.head("/health")
        assert (answer.status_code, answer.content) == (200, b"")

    def test_the_functions(self, server: WasiServer) -> None:
        """The list names every function, in the order of the source."""
        names = [function["name"] for function in server.http.get("/functions").json()["functions"]]
        assert names[:2] == ["produce", "relay"]
        assert {"hello", "publishes"} <= set(names)


class TestLimits:
    def test_too_many_headers(self, server: WasiServer) -> None:
        """Headers are keys of a dict that a stranger chooses: beyond a hundred a request is refused."""
        for count, status in ((80, 200), (120, 431)):
            headers = {f"X-{number}": "1" for number in range(count)}
            assert server.http.post("/functions/hello", content=b"you", headers=headers).status_code == status

    def test_too_many_names(self, server: WasiServer) -> None:
        """An event whose JSON has more names than may become keys is refused before it is read."""
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
        for count, status in ((9_000, 200), (11_000, 400)):
            content = json.dumps(event | {"data": {str(number): 0 for number in range(count)}})
            headers = {"Content-Type": "application/cloudevents+json"}
            assert server.http.post("/functions/hello", content=content, headers=headers).status_code == status


class TestSettings:
    def test_functions_of_the_root(self, component: Path, serve: Serve, node: LiveNode) -> None:
        """`SKYLARK_FUNCTION` names what `/` runs, also several; `SKYLARK_NODE` spares asking the proxy."""
        settings = {"SKYLARK_FUNCTION": "first+third", "SKYLARK_NODE": "told", "SKYLARK_PROXY_URL": node.url}
        with serve(component, settings) as server:
            answer = server.http.post("/", params={"chain": "two"})
            assert answer.content == b"third of two"
            assert server.http.post("/functions/reports_node").content == b"told told"
            assert server.http.get("/health/liveness").json()["node"] == "told"

    def test_a_limit(self, component: Path, serve: Serve, node: LiveNode) -> None:
        """A body beyond `SKYLARK_MAX_BUNDLE_BYTES` is refused, whether its length is announced or not."""
        with serve(component, {"SKYLARK_MAX_BUNDLE_BYTES": "100000", "SKYLARK_PROXY_URL": node.url}) as server:
            chunks = [bytes(60_000)] * 2
            for content in (b"".join(chunks), iter(chunks)):
                error = check_error(server.http.post("/functions/relay", content=content), 413, "too-large", "100000")
                assert error["limit_bytes"] == 100_000
            assert server.http.post("/functions/relay", content=bytes(100_000)).status_code == 200

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("SKYLARK_PROXY_URL", "127.0.0.1:30002", "http://192.0.2.7:30002"),
            ("SKYLARK_FUNCTION", "relay+nothing", "produce, relay"),
            ("SKYLARK_MAX_BUNDLE_BYTES", "many", "a number of bytes above 0"),
        ],
    )
    def test_a_wrong_one(self, http_component: Path, name: str, value: str, expected: str) -> None:
        """A value that is not valid is named with what was expected, by each request."""
        with serve_wasmtime(http_component, {name: value}) as server:
            error = check_error(server.http.post("/functions/hello"), 500, "config", name, value, expected)
            assert (error["key"], error["value"]) == (name, value)


@pytest.fixture(scope="module")
def alone(serve: Serve, component: Path) -> Iterator[WasiServer]:
    """A server whose proxy does not run."""
    with serve(component, {"SKYLARK_PROXY_URL": f"http://127.0.0.1:{free_port()}"}) as running:
        yield running


class TestAProxyThatIsAway:
    def test_functions_without_state(self, alone: WasiServer) -> None:
        """What needs no state runs; a report says that nobody could tell the node."""
        assert alone.http.post("/functions/hello", content=b"you").content == b"hello you"
        assert alone.http.post("/functions/does_nothing").json()["node"] is None

    @pytest.mark.parametrize("call", ["produce", "relay?key=c:t", "looks_around", "fetches"])
    def test_functions_with_state(self, alone: WasiServer, call: str) -> None:
        """What needs it is 503, says which proxy it was, and when to try again."""
        check_error(alone.http.post(f"/functions/{call}", content=b"1"), 503, "unavailable", "http://127.0.0.1:")

    def test_readiness(self, alone: WasiServer) -> None:
        """Alive, but not ready: an orchestrator sends no requests, and does not start it anew."""
        answer = alone.http.get("/health/readiness")
        assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
        assert "cannot be reached" in answer.json()["reason"]
        assert alone.http.get("/health/liveness").status_code == 200

    def test_it_comes_back(self, component: Path, serve: Serve) -> None:
        """The next request after the proxy has come back is answered: nothing is remembered of its absence."""
        with run_proxy(node="n1") as node, serve(component, {"SKYLARK_PROXY_URL": node.url}) as server:
            assert server.http.post("/functions/produce", content=b"1").status_code == 200
            node.kill()
            assert server.http.post("/functions/produce", content=b"1").status_code == 503
            node.restart()
            assert server.http.post("/functions/produce", content=b"1").status_code == 200

    def test_somebody_else_answers(self, component: Path, serve: Serve, server: WasiServer) -> None:
        """A server that is no proxy is an error that names its URL."""
        with serve(component, {"SKYLARK_PROXY_URL": server.url}) as mistaken:
            error = check_error(mistaken.http.post("/functions/produce", content=b"1"), 404, "not-found")
            assert "no path" in error["message"]


class TestStreams:
    def test_a_caller_that_goes_away(self, server: WasiServer) -> None:
        """A caller that leaves in the midst of its body harms nobody: the next one is served."""
        host, port = server.http.base_url.host, server.http.base_url.port
        for _ in range(3):
            with socket.create_connection((host, port or 0), timeout=20) as connection:
                connection.sendall(b"POST /functions/relay HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
        assert server.http.post("/functions/relay", content=b"here").content == b"here"

    def test_a_caller_that_does_not_take_its_answer(self, server: WasiServer) -> None:
        """A caller that leaves in the midst of its answer harms nobody; jco learns it from 30 s of silence only."""
        body = bytes(20_000_000)
        with (
            httpx.Client(base_url=server.url, timeout=60) as caller,
            caller.stream("POST", "/functions/relay", content=body) as answer,
        ):
            assert len(next(answer.iter_bytes(1000))) == 1000
        assert server.http.post("/functions/relay", content=b"here").content == b"here"

    def test_what_a_function_prints(self, server: WasiServer) -> None:
        """stdout and stderr are the runtime's, and an exception's traceback is among it."""
        word = uuid.uuid4().hex
        server.http.post("/functions/prints", content=word.encode())
        server.http.post("/functions/raises")
        for text in (f"said on stdout {word}", f"said on stderr {word}", "# the line that the traceback has to show"):
            wait_for(lambda text=text: text in server.log(), f"the log has {text!r}")  # type: ignore[misc]


def test_a_node_refuses_it(http_component: Path) -> None:
    """A proxy that is given such a component says what it was built for, and how to build the right one."""
    with (
        contextlib.closing(Engine(Config.load({}).cache_dir / "compiled")) as engine,
        contextlib.closing(Functions(engine)) as functions,
        pytest.raises(
            InvalidArgument, match=r"built for the target http; skylark build SOURCE --target hosted"
        ) as raised,
    ):
        functions.load(http_component)
    assert str(http_component) in raised.value.message


def test_the_command(tmp_path: Path, http_component: Path) -> None:
    """`skylark build --target http` writes beside the source what `build` makes, under a name of its own."""
    for path in SOURCE.parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "skylark_proxy",
        "build",
        tmp_path / SOURCE.name,
        "--target",
        "http",
        "--json",
    ]
    built = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert (built["target"], built["cached"]) == ("http", True)
    assert built["component"] == str(tmp_path / "everything.http.wasm")
    assert (tmp_path / "everything.http.wasm").read_bytes() == http_component.read_bytes()


def test_the_size_of_a_component(component: Path) -> None:
    """A component is as large as a hosted one, whoever has the server in it; 3 MB are the standard library's code."""
    assert component.stat().st_size < 26_000_000
