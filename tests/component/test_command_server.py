"""What a component of the target `command` has beyond the suites that hold all targets: it is the server itself."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from continuum import LiveNode, run_proxy
from http_servers import Client
from servers import free_port, wait_for
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasi_http import WasiServer, serve_command, wasmtime_run

SOURCE = Path(__file__).parent / "functions" / "everything.py"
SERVE = serve_command(wasmtime_run)
DEEP_STACK = ("-W", "max-wasm-stack=67108864")
HELLO = b"POST /functions/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nyou"


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command") / "everything.command.wasm"
    return build(SOURCE, path, Config.load({}).cache_dir / "components", target=Target.COMMAND).component


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    with run_proxy(node="n1") as running:
        yield running


@pytest.fixture(scope="module")
def server(component: Path, node: LiveNode) -> Iterator[WasiServer]:
    settings = {"SKYLARK_PROXY_URL": node.url.replace("127.0.0.1", "localhost"), "SKYLARK_BODY_TIMEOUT_S": "1"}
    with SERVE(component, settings) as running:
        yield running


def connect(server: WasiServer) -> Client:
    return Client(server.http.base_url.port or 0, 20.0)


def run(component: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs a component that is to end by itself."""
    return subprocess.run(wasmtime_run(component, environment), capture_output=True, text=True, timeout=60, check=False)


def test_a_deep_stack_turns_traps_into_errors(component: Path, node: LiveNode) -> None:
    """With the option that the documentation names, what is nested too deep raises, and the server lives."""

    def line(component: Path, environment: Mapping[str, str]) -> list[str]:
        wasmtime, *rest = wasmtime_run(component, environment)
        return [wasmtime, rest[0], *DEEP_STACK, *rest[1:]]

    with serve_command(line)(component, {"SKYLARK_PROXY_URL": node.url}) as running:
        assert running.http.post("/functions/shows_nested", content=b"5000").text == "10000"
        failed = running.http.post("/functions/shows_nested", content=b"60000")
        assert (failed.status_code, failed.json()["error"]["cause"]) == (422, "RecursionError")
        assert running.http.post("/functions/hello", content=b"you").text == "hello you"


class TestConnections:
    def test_many_at_once(self, server: WasiServer) -> None:
        """A hundred and more connections stay open, and each is answered however many others are idle."""
        clients = [connect(server) for _ in range(150)]
        try:
            for _ in range(2):
                for client in clients:
                    client.send(HELLO)
                assert all(client.reply().body == b"hello you" for client in clients)
        finally:
            for client in clients:
                client.socket.close()

    def test_requests_that_do_not_wait(self, server: WasiServer) -> None:
        """Requests that are sent at once, of any framing, are answered in their order."""
        chunked = HELLO.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked").replace(
            b"you", b"3\r\nyou\r\n0\r\n\r\n"
        )
        with connect(server) as client:
            client.send((HELLO + chunked) * 20)
            assert [client.reply().body for _ in range(40)] == [b"hello you"] * 40

    def test_a_client_that_asks_first(self, server: WasiServer) -> None:
        """`Expect: 100-continue` is answered before the body comes."""
        with connect(server) as client:
            client.send(HELLO[:-3].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            assert client.reply().status == 100
            client.send(b"you")
            assert client.reply().body == b"hello you"

    def test_the_last_request(self, server: WasiServer) -> None:
        """A connection ends where its client says so, whether by a header or by its end."""
        with connect(server) as client:
            client.send(HELLO.replace(b"Host: h", b"Host: h\r\nConnection: close"))
            assert client.reply().body == b"hello you"
            assert client.ended()
        with connect(server) as client:
            client.send(HELLO)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.reply().body == b"hello you"
            assert client.ended()

    def test_what_is_no_request(self, server: WasiServer) -> None:
        """An error in the form of all errors, which is not lost by what the client goes on sending."""
        with connect(server) as client:
            client.send(HELLO.replace(b"Content-Length", b"Content-Length : 3\r\nContent-Length") + bytes(500_000))
            assert (reply := client.reply()).status == 400
            assert reply.error["code"] == "invalid-argument"

    def test_a_slow_client(self, server: WasiServer) -> None:
        """Who does not go on with a body is told so; who is gone in the midst of it leaves the others alone."""
        with connect(server) as slow:
            slow.send(HELLO[:-1])
            with connect(server) as gone:
                gone.send(HELLO + HELLO[:-1])
                gone.reply()  # wasi-libc's accept aborts where the client is gone before
                gone.reset()
            with connect(server) as other:
                other.send(HELLO)
                assert other.reply().body == b"hello you"
            assert slow.reply().status == 408


class TestState:
    def test_a_name_that_is_looked_up(self, server: WasiServer, node: LiveNode) -> None:
        """The proxy may be named, and a bundle that is larger than any buffer comes and goes."""
        report = server.http.post("/functions/produce", content=b"3000000").json()
        assert (report["node"], report["placements"][0]["size_bytes"]) == ("n1", 3_000_000)
        assert server.http.post("/functions/relay", params={"key": report["key"]}).status_code == 200

    def test_a_proxy_that_does_not_answer(self, component: Path) -> None:
        """A proxy that takes a connection and ends it, and a host that nobody knows, are errors that name them."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with (
                serve_command(wasmtime_run)(component, {"SKYLARK_PROXY_URL": url}) as server,
                connect(server) as client,
            ):
                client.send(b"POST /functions/produce HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1")
                silent.accept()[0].close()
                error = client.reply().error
                assert (error["code"], url in error["message"]) == ("unavailable", True)
        with SERVE(component, {"SKYLARK_PROXY_URL": "http://nobody.invalid:1"}) as server:
            error = server.http.post("/functions/produce", content=b"1").json()["error"]
            assert (error["code"], "nobody.invalid" in error["message"]) == ("unavailable", True)


class TestStart:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("PORT", "http", "a port from 0 to 65535"),
            ("SKYLARK_HOST", "localhost", "an address"),
            ("SKYLARK_PROXY_URL", "127.0.0.1:30002", "http://192.0.2.7:30002"),
            ("SKYLARK_FUNCTION", "nothing", "produce, relay"),
            ("SKYLARK_IDLE_TIMEOUT_S", "never", "seconds"),
        ],
    )
    def test_a_wrong_setting(self, component: Path, name: str, value: str, expected: str) -> None:
        """A value that is not valid ends the start with one line that names it, and exit code 1."""
        ended = run(component, {name: value})
        [line] = ended.stderr.splitlines()
        assert ended.returncode == 1
        assert line.startswith(f"skylark: {name}={value!r} is not valid; expected ")
        assert expected in line

    def test_a_port_that_is_taken(self, component: Path) -> None:
        """A port that somebody listens at ends the start with one line."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ended = run(component, {"PORT": str(taken.getsockname()[1]), "SKYLARK_HOST": "127.0.0.1"})
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert "in use" in ended.stderr
        assert "PORT=" in ended.stderr

    def test_what_it_says(self, component: Path) -> None:
        """It says what it serves and where; requests are in the log where that was asked for."""
        settings = {"SKYLARK_PROXY_URL": f"http://127.0.0.1:{free_port()}", "SKYLARK_LOG_REQUESTS": "true"}
        with SERVE(component, settings) as server:
            assert f"on {server.url}, state at {settings['SKYLARK_PROXY_URL']}" in server.log()
            server.http.post("/functions/hello", content=b"you")
            wait_for(lambda: "POST '/functions/hello' 200 9 bytes" in server.log(), "the request is logged")

    def test_it_ends_with_its_runtime(self, component: Path) -> None:
        """A runtime that is told to end ends the server, at once."""
        environment = {"PORT": str(free_port()), "SKYLARK_HOST": "127.0.0.1"}
        process = subprocess.Popen(wasmtime_run(component, environment), stderr=subprocess.PIPE)
        with process:
            assert process.stderr is not None
            assert b"serving" in process.stderr.readline()
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM
