"""Raw requests, as clients of every kind send them: all servers of a function read them alike."""

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from continuum import LiveNode, run_proxy
from http_servers import Client, Reply
from node_infos import run_node_info
from servers import free_port, wait_for
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasi_http import serve_command, serve_wasmtime, wasmtime_run

SOURCE = Path(__file__).parent / "functions" / "everything.py"
TOPOLOGY = Path(__file__).parents[2] / "examples" / "topologies" / "four-nodes.json"
CHUNKED = b"3\r\nyou\r\n0\r\n\r\n"

Serve = Callable[[LiveNode, Path], AbstractContextManager[int]]
"""Serves the functions with their state at a node; gives the port."""


def built(folder: Path, target: Target) -> Path:
    path = folder / f"everything.{target}.wasm"
    return build(SOURCE, path, Config.load({}).cache_dir / "components", target=target).component


@contextlib.contextmanager
def hosted(node: LiveNode, _folder: Path) -> Iterator[int]:
    yield node.http.base_url.port or 0


@contextlib.contextmanager
def native(node: LiveNode, folder: Path) -> Iterator[int]:
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "skylark.native", str(SOURCE), "--proxy", node.url, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(lambda: process.poll() is not None or "serving" in log.read_text(), "the native server serves")
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.kill()
        process.wait(20)


@contextlib.contextmanager
def command(node: LiveNode, folder: Path) -> Iterator[int]:
    settings = {"SKYLARK_PROXY_URL": node.url}
    with serve_command(wasmtime_run)(built(folder, Target.COMMAND), settings) as running:
        yield running.http.base_url.port or 0


@contextlib.contextmanager
def http(node: LiveNode, folder: Path) -> Iterator[int]:
    with serve_wasmtime(built(folder, Target.HTTP), {"SKYLARK_PROXY_URL": node.url}) as running:
        yield running.http.base_url.port or 0


OWN: dict[str, Serve] = {"hosted": hosted, "native": native, "command": command}
"""Servers whose heads Skylark reads itself. Those of `http` are read by the runtime before the component runs."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("hosted")
    built(folder, Target.HOSTED)
    with run_proxy(folder, node="n1", allowed_hosts="x,y,h") as running:
        yield running


@pytest.fixture(scope="module", params=[*OWN, "http"])
def anywhere(request: pytest.FixtureRequest, node: LiveNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of each server of functions."""
    serve = (OWN | {"http": http})[request.param]
    with serve(node, tmp_path_factory.mktemp(request.param)) as port:
        yield port


@pytest.fixture(scope="module", params=[*OWN, "node-info"])
def strict(request: pytest.FixtureRequest, node: LiveNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of each server that reads heads by itself."""
    if request.param == "node-info":
        with run_node_info(
            "--topology", TOPOLOGY, "--node", "sat1", environment={"SKYLARK_ALLOWED_HOSTS": "x,y,h"}
        ) as running:
            yield running.port
    else:
        with OWN[request.param](node, tmp_path_factory.mktemp(request.param)) as port:
            yield port


def ask(port: int, request: bytes) -> Reply:
    with Client(port, 30.0) as client:
        client.send(request)
        return client.reply(request.startswith(b"HEAD"))


def post(*fields: bytes, body: bytes = b"you", target: bytes = b"/functions/hello", host: bytes = b"Host: x") -> bytes:
    """A POST; without fields of its own its body has a length."""
    return b"\r\n".join([b"POST " + target + b" HTTP/1.1", *filter(None, [host]), *fields, b"", body])


SIZED = b"Content-Length: 3"
CODED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("framing", [(SIZED, b"you"), (CODED, CHUNKED)], ids=["sized", "chunked"])
@pytest.mark.parametrize("upgrade", [b"h2c", b"TLS/1.0", b"websocket", b"WebSocket, h2c"])
@pytest.mark.parametrize("connection", [b"Upgrade", b"Upgrade, HTTP2-Settings", b"keep-alive, upgrade"])
def test_an_upgrade_is_ignored(anywhere: int, framing: tuple[bytes, bytes], upgrade: bytes, connection: bytes) -> None:
    """A request that offers another protocol is one of HTTP/1.1, and its body arrives whole."""
    field, body = framing
    fields = (b"Connection: " + connection, b"Upgrade: " + upgrade, b"HTTP2-Settings: AAMAAABkAAQAAP__", field)
    reply = ask(anywhere, post(*fields, body=body))
    assert (reply.status, reply.body) == (200, b"hello you")


DEEP = {
    "arrays": (b"[" * 3_000 + b"]" * 3_000, True),
    "objects": (b'{"a":' * 3_000 + b"1" + b"}" * 3_000, True),
    "both": (b'[{"a":' * 2_000 + b"1" + b"}]" * 2_000, True),
    "unended": (b"[" * 100_000, True),
    "most": (b"[" * 200 + b"]" * 200, False),
    "in a string": (b'["' + b"[" * 3_000 + b'"]', False),
}
"""Bodies, and whether they are nested too deep."""


@pytest.mark.parametrize("function", ["reads_json", "loads_json"])
@pytest.mark.parametrize("kind", DEEP)
def test_deeply_nested_json_ends_no_server(anywhere: int, function: str, kind: str) -> None:
    """A function that reads a deeply nested body gets its value or an error of Python; the next one is answered.

    `ctx.request.json()` has the same limit everywhere. How much more `json.loads` takes depends on the stack.
    """
    body, too_deep = DEEP[kind]
    target = f"/functions/{function}".encode()
    reply = ask(anywhere, post(b"Content-Length: %d" % len(body), body=body, target=target))
    if too_deep and (function == "reads_json" or reply.status != 200):
        assert reply.status == 422
        assert re.search("nested more than 200 deep|RecursionError", reply.error["message"])
    else:
        assert (reply.status, reply.body) == (200, b"dict" if body.startswith(b"{") else b"list")
    assert ask(anywhere, post(SIZED)).body == b"hello you"


def test_a_body_comes_in_pieces(anywhere: int) -> None:
    """A chunked body is whole wherever the network cuts it."""
    request = post(CODED, body=b'1;a="b"\r\ny\r\n2\r\nou\r\n0\r\nTrailer: 1\r\n\r\n')
    with Client(anywhere, 30.0) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            client.send(request[at : at + 1])
        assert client.reply().body == b"hello you"


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: 10", body=b"abc", target=b"/functions/produce?chain=short"),
        post(CODED, body=b"a\r\nabc", target=b"/functions/produce?chain=short"),
        post(CODED, body=b"3\r\nabc\r\n", target=b"/functions/produce?chain=short"),
    ],
)
def test_a_body_that_ends_early_stores_nothing(anywhere: int, node: LiveNode, request_: bytes) -> None:
    """A request whose sender goes away before its body is whole is dropped."""
    with Client(anywhere, 30.0) as client:
        client.send(request_)
        client.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert b" 200 " not in client.socket.recv(1 << 16)
    assert ask(anywhere, post(SIZED)).body == b"hello you"
    assert node.held("short") == []


def test_a_trailing_slash_is_another_path(anywhere: int) -> None:
    """A path with a slash at its end is not found; nobody is sent elsewhere."""
    reply = ask(anywhere, post(SIZED, target=b"/functions/hello/"))
    assert (reply.status, reply.error["code"], "location" in reply.headers) == (404, "not-found", False)


@pytest.mark.parametrize("coding", [b"gzip", b"x-gzip", b"identity, br", b"GZIP"])
def test_a_coded_body_is_refused(anywhere: int, coding: bytes) -> None:
    """A body with a coding is refused with the one that is taken."""
    reply = ask(anywhere, post(b"Content-Encoding: " + coding, SIZED))
    assert (reply.status, reply.headers["accept-encoding"]) == (415, "identity")
    assert reply.error["code"] == "coding-not-supported"
    assert ask(anywhere, post(b"Content-Encoding: Identity", SIZED)).body == b"hello you"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"PATCH", b"DELETE"])
def test_another_method_is_refused(anywhere: int, method: bytes) -> None:
    """A method that is not taken is answered with those that are."""
    reply = ask(anywhere, method + b" /functions/hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    if method != b"HEAD":
        assert reply.error["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/functions/h%65llo", 200),
        (b"/functions/hello?&&chain=%zz", 400),
        (b"/functions/hello?&ch%61in=c&&", 200),
        (b"/functions/hello?akc=cloud", 400),
        (b"/functions/hello?%00=%zz&&=", 400),
        (b"//functions/hello", 404),
    ],
)
def test_odd_targets(anywhere: int, target: bytes, status: int) -> None:
    """Paths are decoded once, doubled slashes are not dropped, and a query that is not known is refused."""
    assert ask(anywhere, post(SIZED, target=target)).status == status


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET HTTP://x:80/health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"\r\nGET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (HEALTH + b"Host: y\r\n\r\n", 400),
        (HEALTH + b"host: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET /health HTTP/1.0\r\nHost: x@y\r\n\r\n", 400),
        (HEALTH + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (HEALTH + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (HEALTH + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (HEALTH + b"Content-Length: +3\r\n\r\n", 400),
        (HEALTH + b"Expect: 200-ok\r\n\r\n", 417),
        (HEALTH + b"Folded: a\r\n b\r\n\r\n", 400),
        (HEALTH + b"Blank : a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 400),
        (b"FETCH /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (HEALTH + b"X: 1\r\n" * 120 + b"\r\n", 431),
        (HEALTH + b"X: " + b"1" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ],
)
def test_heads(strict: int, request_: bytes, status: int) -> None:
    """A head is taken or refused alike by every server, and what is refused is told in JSON."""
    reply = ask(strict, request_)
    assert reply.status == status
    if status >= 400:
        assert isinstance(reply.error["message"], str)


@pytest.mark.parametrize("begin", [HEALTH, b"GET /"], ids=["headers", "target"])
def test_a_head_without_an_end(strict: int, begin: bytes) -> None:
    """A head that goes on and on is refused long before it has come."""
    with Client(strict, 30.0) as client, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        client.send(begin)
        for _ in range(64):
            client.send((b"X: 1\r\n" if begin is HEALTH else b"xxxxxx") * 10_000)
        assert client.reply().status == (431 if begin is HEALTH else 414)


@pytest.mark.parametrize("body", [b"x\r\n", b"3\r\nyou!\r\n", b"1;" + b"e" * 2000, b"0\r\n" + b"T: 1\r\n" * 30])
def test_chunks_that_are_none(anywhere: int, body: bytes, request: pytest.FixtureRequest) -> None:
    """Chunks that are broken, or have too much beside the data, end the request."""
    if request.node.callspec.params["anywhere"] == "http":
        pytest.skip("the runtime reads the chunks")
    reply = ask(anywhere, post(CODED, body=body))
    assert reply.status in (400, 431)
    assert "message" in reply.error


def test_requests_at_once(strict: int) -> None:
    """Requests that are sent at once are answered in their order, the one that is refused last."""
    with Client(strict, 30.0) as client:
        client.send((HEALTH + b"\r\n") * 3 + b"GET /health HTTP/1.1\r\n\r\n" + HEALTH)
        assert [client.reply().status for _ in range(4)] == [200, 200, 200, 400]
        assert client.ended()


def test_a_client_that_asks_first(anywhere: int) -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    with Client(anywhere, 30.0) as client:
        client.send(post(SIZED, b"Expect: 100-continue", body=b""))
        assert client.reply().status == 100
        client.send(b"you")
        assert client.reply().body == b"hello you"


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_an_upgrade_at_node_info(upgrade: bytes) -> None:
    """The objectives of a client that offers another protocol are set."""
    body = json.dumps({"max_latency": 250, "min_bandwidth": 10}).encode()
    fields = (b"Connection: Upgrade", b"Upgrade: " + upgrade, b"Content-Length: %d" % len(body))
    with run_node_info(
        "--topology", TOPOLOGY, "--node", "sat1", environment={"SKYLARK_ALLOWED_HOSTS": "x,y,h"}
    ) as running:
        assert ask(running.port, post(*fields, body=body, target=b"/objectives")).status == 200
        assert re.search(r"250", json.dumps(running.get("/objectives")))
