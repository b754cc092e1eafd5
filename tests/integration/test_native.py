"""`python -m skylark.native` and `skylark run --native` as a developer starts them."""

import contextlib
import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from servers import wait_for
from skylark_proxy.client import ProxyClient, ProxyError

BIN = Path(sys.executable).parent
NOBODY = "http://127.0.0.1:1"

SOURCE = """
import skylark
import beside


@skylark.function
def hello(bundle, ctx):
    return skylark.Response(b"hello " + bytes(ctx.request.body) + beside.END)


@skylark.function
def keep(bundle, ctx):
    return {"keep": bytes(bundle.get("keep", b"")) + bytes(ctx.request.body)}


@skylark.function
def show(bundle, ctx):
    return skylark.Response(b",".join(bytes(value) for value in bundle.values()), "text/plain; x=" + ctx.node)


@skylark.function
def stop(bundle, ctx):
    answer = 41
    breakpoint()
    return skylark.Response(b"%d" % answer)


@skylark.function
def fail(bundle, ctx):
    raise ZeroDivisionError("on purpose")  # the line to be shown


@skylark.function
def wait(bundle, ctx):
    import time
    print("waiting", flush=True)
    time.sleep(60)
"""


@dataclass
class Native:
    """A running server, with what it has printed."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def client(self) -> ProxyClient:
        return ProxyClient(self.url, timeout_s=20)

    def printed(self) -> str:
        return self.log.read_text()

    def answer(self, function: str, body: bytes = b"") -> bytes:
        return self.client.invoke(function, body).body

    def fails(self, function: str, key: str | None = None) -> dict[str, Any]:
        """The error that an invocation is answered with."""
        with pytest.raises(ProxyError) as raised:
            self.client.invoke(function, key=key)
        assert raised.value.status == 422
        return raised.value.details


@contextlib.contextmanager
def started(command: Sequence[str | Path], ready: str, stdin: int = subprocess.DEVNULL) -> Iterator[Native]:
    """A process whose output names its URL once it is ready; killed in the end, if it still runs."""
    with tempfile.TemporaryDirectory(prefix="skylark-test-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=output, start_new_session=True)
        running = Native(process, log)

        def is_ready() -> bool:
            found = re.search(rf"{ready} (http://[\d.:]+)", running.printed())
            running.url = found[1] if found else ""
            return bool(running.url) or process.poll() is not None

        try:
            wait_for(is_ready, f"{command} is ready", 60)
            assert running.url, running.printed()
            yield running
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def native(source: Path, proxy: str = NOBODY, stdin: int = subprocess.DEVNULL) -> Any:
    """The SDK's own server on a free port."""
    command: list[str | Path] = [sys.executable, "-m", "skylark.native", source, "--port", "0", "--proxy", proxy]
    return started(command, rf"serving {re.escape(str(source))} at", stdin)


def connected(running: Native) -> http.client.HTTPConnection:
    """A connection that is kept as long as the server keeps it."""
    connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=20)
    connection.connect()
    return connection


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(SOURCE)
    (tmp_path / "beside.py").write_text("END = b'!'\n")
    return path


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    """A proxy with a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="skylark-test-") as folder:
        command: list[str | Path] = [BIN / "skylark", "serve", "--node", "n1", "--port", "0", "--data-dir", folder]
        with started(command, "node n1 serves") as running:
            yield running.url
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(20)


def test_a_function_answers_without_a_proxy(source: Path) -> None:
    """Functions without state need nothing else; the start says that state will fail."""
    with native(source) as running:
        assert "functions that use state will fail" in running.printed()
        assert running.answer("hello", b"you") == b"hello you!"
        assert running.client.request("GET", "/health/liveness").json() == {"node": "native", "status": "alive"}
        names = [function["name"] for function in running.client.request("GET", "/functions").json()["functions"]]
        assert names == ["hello", "keep", "show", "stop", "fail", "wait"]


def test_an_exception_is_answered_with_its_traceback(source: Path) -> None:
    """The caller and the terminal both see the line that raised, and the server serves on."""
    with native(source) as running:
        details = running.fails("fail")
        assert details["message"] == "function 'fail' failed (ZeroDivisionError): on purpose"
        assert f'File "{source}"' in details["traceback"]
        assert "# the line to be shown" in details["traceback"]
        assert "# the line to be shown" in running.printed()
        assert running.answer("hello") == b"hello !"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "no path '/'"),
        ("POST", "/functions/", 404, "no path"),
        ("POST", "/functions/hello?policy=fastest", 400, "policy: 'fastest'"),
        ("POST", "/functions/missing", 422, "no function 'missing' in this component; it has: hello"),
    ],
)
def test_a_request_that_is_wrong_is_named(source: Path, method: str, path: str, status: int, message: str) -> None:
    """Each answer says what is wrong and what there is."""
    with native(source) as running, pytest.raises(ProxyError, match=re.escape(message)) as raised:
        running.client.request(method, path)
    assert raised.value.status == status


def test_a_saved_file_is_loaded_again(source: Path) -> None:
    """The next call runs what was saved: the source, and a module beside it; what was removed is gone."""
    with native(source) as running:
        assert running.answer("hello", b"you") == b"hello you!"
        source.write_text(SOURCE.replace("hello ", "goodbye "))
        assert running.answer("hello", b"you") == b"goodbye you!"
        (source.parent / "beside.py").write_text("END = b'?'\n")
        assert running.answer("hello", b"you") == b"goodbye you?"
        source.write_text(SOURCE.replace("def hello(", "def hi("))
        assert running.answer("hi", b"you") == b"hello you?"
        assert "no function 'hello'" in running.fails("hello")["message"]


def test_a_file_that_was_not_saved_is_not_loaded_again(source: Path) -> None:
    """The module's globals stay from call to call as long as nothing changes."""
    source.write_text(SOURCE + "\nCALLS = []\n@skylark.function\ndef count(bundle, ctx):\n    CALLS.append(1)\n")
    source.write_text(source.read_text() + "    return skylark.Response(b'%d' % len(CALLS))\n")
    with native(source) as running:
        assert [running.answer("count") for _ in range(3)] == [b"1", b"2", b"3"]
        assert running.printed().count("loaded hello") == 1


@pytest.mark.parametrize("broken", ["def hello(:\n", "raise ValueError('no')\n", "import missing_module\n"])
@pytest.mark.parametrize("file", ["app.py", "beside.py"])
def test_a_broken_file_is_an_error_until_it_is_healed(source: Path, file: str, broken: str) -> None:
    """What is wrong with the file is the answer, not the old function; the next save heals it."""
    path = source.parent / file
    good = path.read_text()
    with native(source) as running:
        assert running.answer("hello") == b"hello !"
        path.write_text(broken)
        for _ in range(2):
            details = running.fails("hello")
            assert details["message"].startswith("the source cannot be loaded: ")
            assert file in details["traceback"]
        path.write_text(good)
        assert running.answer("hello") == b"hello !"


def test_a_file_that_is_broken_at_the_start_is_served_once_it_is_healed(source: Path) -> None:
    """The server starts with a broken file: its author sees why in the answer, and repairs it."""
    source.write_text("def hello(:\n")
    with native(source) as running:
        assert "SyntaxError" in running.fails("hello")["traceback"]
        source.write_text(SOURCE)
        assert running.answer("hello") == b"hello !"


@pytest.mark.parametrize("during", ["idle", "call"])
def test_ctrl_c_ends_it(source: Path, during: str) -> None:
    """While it waits or runs a function: a status for the shell, and no traceback."""
    with native(source) as running:
        if during == "call":
            with contextlib.closing(connected(running)) as connection:
                connection.request("POST", "/functions/wait", body=b"")
                wait_for(lambda: "waiting" in running.printed(), "the function runs")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) in (0, 130)
        assert "ended" in running.printed()
        assert "Traceback" not in running.printed()


def test_a_breakpoint_stops_at_the_terminal(source: Path) -> None:
    """pdb has the developer's terminal: a value can be changed, and the function goes on with it."""
    terminal, stdin = pty.openpty()
    try:
        with native(source, stdin=stdin) as running, contextlib.closing(connected(running)) as connection:
            connection.request("POST", "/functions/stop", body=b"")
            wait_for(lambda: "(Pdb)" in running.printed(), "the debugger stops")
            os.write(terminal, b"answer = answer + 1\nc\n")
            assert connection.getresponse().read() == b"42"
    finally:
        os.close(terminal)
        os.close(stdin)


def test_a_breakpoint_can_be_steered_by_a_pipe(source: Path) -> None:
    """A script, too, can hold the debugger's end."""
    reading, writing = os.pipe()
    try:
        with native(source, stdin=reading) as running:
            os.write(writing, b"c\n")
            assert running.answer("stop") == b"41"
            assert "-> return skylark.Response" in running.printed() or "-> breakpoint()" in running.printed()
    finally:
        os.close(reading)
        os.close(writing)


def test_a_client_that_keeps_its_connection_does_not_shut_others_out(source: Path) -> None:
    """One request at a time, and still one client after the other: a kept connection blocks nobody."""
    with (
        native(source) as running,
        contextlib.closing(connected(running)) as first,
        contextlib.closing(connected(running)) as second,
    ):
        for connection, body in ((first, b"1"), (second, b"2"), (first, b"3")):
            connection.request("POST", "/functions/hello", body=body)
            assert connection.getresponse().read() == b"hello " + body + b"!"


def test_state_goes_to_the_proxy(source: Path, proxy: str) -> None:
    """A chain of native functions passes its bundle through the proxy, where every other client sees it."""
    with native(source, proxy) as running:
        first = running.client.invoke("keep", b"one", chain="c1")
        key = first.headers["skylark-key"]
        assert key == f"c1:n1:{first.headers['skylark-task']}"
        second = running.client.invoke("keep", b" two", key=key)
        fields, headers = ProxyClient(proxy).get_bundle(second.headers["skylark-key"])
        assert {name: bytes(value) for name, value in fields.items()} == {"keep": b"one two"}
        assert headers["skylark-origin"] == "n1"
        shown = running.client.invoke("show", key=second.headers["skylark-key"])
        assert (shown.body, shown.headers["content-type"]) == (b"one two", "text/plain; x=n1")


def test_fused_functions_share_a_request(source: Path, proxy: str) -> None:
    """`keep+show` runs both, as hosted functions do."""
    with native(source, proxy) as running:
        answer = running.client.invoke("keep+show", b"x", chain="c2")
        assert answer.body == b"x"
        assert answer.headers["skylark-key"].startswith("c2:n1:")


def test_a_bundle_that_is_nowhere_is_not_found(source: Path, proxy: str) -> None:
    """The proxy's error reaches the caller with its code."""
    with native(source, proxy) as running:
        details = running.fails("keep", key="c3:n1:missing")
        assert details["code"] == "not-found"
        assert "NotFound" in details["message"]


def test_the_command_hands_over_to_it(source: Path, proxy: str) -> None:
    """`skylark run --native` is the same server; Ctrl-C at the terminal reaches both and leaves no traceback."""
    command: list[str | Path] = [BIN / "skylark", "run", "--native", source, "--port", "0", "--url", proxy]
    with started(command, rf"serving {re.escape(str(source))} at") as running:
        assert running.answer("hello", b"you") == b"hello you!"
        assert json.loads(running.answer("keep", b"x"))["node"] == "n1"
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(20) in (0, 130)
        assert "Traceback" not in running.printed()
