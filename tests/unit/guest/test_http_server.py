"""The server of the SDK's own, over real connections."""

import asyncio
import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skylark
from http_servers import Client, Serving, serving
from servers import wait_for
from skylark.http_server import open_listeners

HELLO = b"POST /functions/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
HALF = HELLO[:-3]
LARGE = 50_000_000


@pytest.fixture(autouse=True, scope="module")
def functions() -> Iterator[threading.Event]:
    """Functions for the tests of this module. `waits` ends once the event is set."""
    goes_on = threading.Event()
    with patch.dict("skylark.functions.REGISTRY", clear=True), patch.dict("skylark.functions.NEEDS", clear=True):

        @skylark.function
        def echo(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
            return skylark.Response(ctx.request.body, ctx.request.content_type)

        @skylark.function
        def large(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
            return skylark.Response(bytes(LARGE))

        @skylark.function
        def waits(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
            assert goes_on.wait(20)
            return skylark.Response(b"waited")

        @skylark.function
        def runs_a_loop(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
            return skylark.Response(asyncio.run(asyncio.sleep(0.001, b"slept")))

        @skylark.function
        def raises(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
            raise ValueError("on purpose")

        yield goes_on


@pytest.fixture(scope="module")
def server(functions: threading.Event) -> Iterator[Serving]:
    with serving() as running:
        yield running


def post(function: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST /functions/{function} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class TestAConnection:
    def test_it_is_kept(self, server: Serving) -> None:
        """A connection is good for many requests, and each answer says how long it is, and when it was made."""
        with server.connect() as client:
            for number in range(20):
                client.send(post("echo", b"%d" % number, "Content-Type: a/b"))
                reply = client.reply()
                assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"%d" % number, "a/b")
                assert reply.headers["date"].endswith(" GMT")
                assert "connection" not in reply.headers

    def test_an_answer_is_one_write(self, server: Serving) -> None:
        """Head and body of a small answer come together: in two writes the second would wait for an acknowledgement."""
        with server.connect() as client:
            for _ in range(100):
                client.send(HELLO)
                assert client.socket.recv(65536).endswith(b"\r\n\r\nhello")

    def test_requests_that_do_not_wait_for_answers(self, server: Serving) -> None:
        """Requests that are sent at once are answered in their order, those that are wrong too."""
        with server.connect() as client:
            client.send(b"".join(post("echo", b"%d" % number * 1000) for number in range(200)))
            client.send(post("nothing") + b"GET /health/liveness HTTP/1.1\r\nHost: h\r\n\r\n")
            assert [client.reply().body for _ in range(200)] == [b"%d" % number * 1000 for number in range(200)]
            assert [client.reply().status for _ in range(2)] == [404, 200]

    def test_they_wait_at_the_client(self, server: Serving) -> None:
        """Of requests that are sent at once the server reads no more than it can answer."""
        with server.connect() as client:
            sender = threading.Thread(target=client.send, args=(HELLO * 6000,))
            sender.start()
            held = 0
            for _ in range(6000):
                assert client.reply().body == b"hello"
                held = max(held, *(len(each._received) for each in list(server.server._connections)))
            sender.join()
        assert held < 3 * len(server.server.scratch)

    def test_they_wait_for_whoever_takes_no_answers(self, server: Serving) -> None:
        """Of a client that does not take its answers no more requests are read."""
        with server.connect() as client:
            client.send(post("large") * 3)
            assert [len(client.reply().body) for _ in range(3)] == [LARGE] * 3

    @pytest.mark.parametrize(
        ("version", "header", "kept"),
        [("1.1", "Connection: close", None), ("1.0", "X: 1", None), ("1.0", "Connection: keep-alive", "keep-alive")],
    )
    def test_the_last_request(self, server: Serving, version: str, header: str, kept: str | None) -> None:
        """A connection ends where the client says so, and in HTTP/1.0 where it does not say otherwise."""
        request = post("echo", b"x", header).replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        with server.connect() as client:
            for _ in range(2 if kept else 1):
                client.send(request)
                reply = client.reply()
                assert (reply.body, reply.headers["connection"]) == (b"x", kept or "close")
            assert kept or client.ended()

    def test_head(self, server: Serving) -> None:
        """HEAD has the headers of GET, and no body."""
        with server.connect() as client:
            client.send(b"HEAD /health/liveness HTTP/1.1\r\nHost: h\r\n\r\n" + HELLO)
            assert int(client.reply(bodiless=True).headers["content-length"]) > 10
            assert client.reply().body == b"hello"

    def test_a_client_that_asks_first(self, server: Serving) -> None:
        """A client that waits before it sends its body is told to go on, or what is wrong with the request."""
        with server.connect() as client:
            request = post("echo", b"hello", "Expect: 100-continue")
            client.send(request[:-5])
            assert client.reply().status == 100
            client.send(b"hello" + HELLO)
            assert [client.reply().body for _ in range(2)] == [b"hello", b"hello"]
            client.send(request[:-5].replace(b"echo", b"nothing"))
            assert client.reply().status == 404

    def test_chunks(self, server: Serving) -> None:
        """A body may come in chunks, with a trailer, and the next request right behind it."""
        head = b"POST /functions/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        with server.connect() as client:
            client.send(head + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: 1\r\n\r\n" + HELLO)
            assert [client.reply().body for _ in range(2)] == [b"hello", b"hello"]

    def test_byte_by_byte(self, server: Serving) -> None:
        """A request may come in any pieces."""
        with server.connect() as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"\r\n" + HELLO:
                client.send(bytes([byte]))
            assert client.reply().body == b"hello"

    def test_a_function_with_an_event_loop(self, server: Serving) -> None:
        """A function may run an event loop, although the server has one."""
        for _ in range(2):
            assert server.ask(post("runs_a_loop")).body == b"slept"

    def test_an_exception(self, server: Serving, capfd: pytest.CaptureFixture[str]) -> None:
        """A function's traceback is in the answer and in the log, and the connection stays."""
        with server.connect() as client:
            client.send(post("raises") + HELLO)
            reply = client.reply()
            assert (reply.status, reply.error["cause"]) == (422, "ValueError")
            assert 'raise ValueError("on purpose")' in reply.error["traceback"]
            assert client.reply().body == b"hello"
        assert 'raise ValueError("on purpose")' in capfd.readouterr().err


class TestMany:
    def test_at_once(self, server: Serving) -> None:
        """Two hundred connections stay open, and each is answered, in whatever order they ask."""
        order = list(range(200)) * 2
        random.Random(1).shuffle(order)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(200)]
            for number in order:
                clients[number].send(post("echo", b"%d" % number))
            for number in order:
                assert clients[number].reply().body == b"%d" % number

    def test_beyond_the_limit(self) -> None:
        """At the limit the longest idle connection makes way; where all are busy, who comes is told so."""
        with serving(max_connections=3) as server, contextlib.ExitStack() as stack:
            first, *others = (stack.enter_context(server.connect()) for _ in range(3))
            for client in (first, *others):
                client.send(HELLO)
                client.reply()
            others.append(stack.enter_context(server.connect()))
            others[-1].send(HELLO)
            assert others[-1].reply().body == b"hello"
            assert first.ended()
            for client in others:
                client.send(HELLO + HALF)
                client.reply()
            reply = server.ask(b"")
            assert (reply.status, reply.error["code"], reply.error["retryable"]) == (503, "overloaded", True)
            assert "retry-after" in reply.headers
            others[-1].send(HELLO[-3:])
            assert others[-1].reply().body == b"hello"

    def test_far_beyond_the_limit(self, functions: threading.Event) -> None:
        """However many come too many, those that are told so are told so, and the others are just ended."""
        with serving(max_connections=1) as server, contextlib.ExitStack() as stack:
            first = stack.enter_context(server.connect())
            first.send(HALF)
            wait_for(lambda: server.server.allowance.held_bytes > 0, "the server has half a request")
            others = [stack.enter_context(server.connect()) for _ in range(100)]
            for other in others:
                with contextlib.suppress(ConnectionError):
                    other.send(HALF)
            assert [other.reply().status for other in others[:64]] == [503] * 64
            assert all(other.ended() for other in others[64:])
            first.send(HELLO[-3:])
            assert first.reply().body == b"hello"

    def test_the_memory_of_their_bodies(self) -> None:
        """Bodies that do not fit into memory together are refused, to be sent again later."""
        with serving(max_body_bytes=2_000_000, max_bodies_bytes=3_000_000) as server, server.connect() as client:
            client.send(post("echo", bytes(2_000_000))[:-1])
            wait_for(lambda: server.server.allowance.held_bytes == 2_000_000, "the first body is there")
            assert server.ask(post("echo", bytes(2_000_000))).status == 503
            client.send(b"\0")
            assert len(client.reply().body) == 2_000_000
            wait_for(lambda: server.server.allowance.held_bytes == 0, "nothing is held any more")
            assert server.ask(post("echo", bytes(2_000_000))).status == 200


class TestLargeBodies:
    @pytest.mark.parametrize("encoded", ["announced", "chunked"])
    def test_both_ways(self, server: Serving, encoded: str) -> None:
        """50 MB go both ways, and take the memory of one body and a third of one; of two, if no length is announced."""
        body = random.Random(1).randbytes(LARGE)
        request = post("echo", body)
        if encoded == "chunked":
            starts = range(0, LARGE, 10_000_000)
            chunks = b"".join(b"%x\r\n%b\r\n" % (10_000_000, body[start : start + 10_000_000]) for start in starts)
            request = post("echo").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"
        received = memoryview(bytearray(LARGE + 1000))
        with server.connect() as client:
            tracemalloc.start()
            try:
                client.send(request)
                count = client.socket.recv_into(received)
                start = bytes(received[:1000]).index(b"\r\n\r\n") + 4
                while count < start + LARGE:
                    count += client.socket.recv_into(received[count:])
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert received[start:count] == body
        assert peak < (1.5 if encoded == "announced" else 2.5) * LARGE

    def test_a_slow_reader_holds_up_nobody(self, server: Serving) -> None:
        """While a client takes its large answer slowly, others are served."""
        with server.connect() as slow:
            slow.send(post("large"))
            assert len(slow.socket.recv(1000)) == 1000
            assert server.ask(HELLO).body == b"hello"


class TestRefusals:
    @pytest.mark.parametrize(
        ("request_", "status", "code"),
        [
            (b"GET / HTTP/1.1\nHost: h\n\n", 400, "invalid-argument"),
            (b"\x16\x03\x01\x02\x00\x01", 400, "invalid-argument"),
            (b"GET /health HTTP/1.1\r\n\r\n", 400, "invalid-argument"),
            (post("echo", b"x", "Transfer-Encoding: chunked"), 400, "invalid-argument"),
            (post("echo", b"x", "Content-Length: 1"), 400, "invalid-argument"),
            (HELLO.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"\r\n", 400, "invalid-argument"),
            (b"POST / HTTP/1.0\r\n\r\n", 411, "length-required"),
            (post("echo", b"x").replace(b"h: 1", b"h: 1000001"), 413, "too-large"),
            (b"GET /" + b"a" * 40_000, 414, "target-too-long"),
            (post("echo", b"x", "Expect: a-miracle"), 417, "expectation-failed"),
            (post("echo", b"", "X: " + "a" * 40_000), 431, "headers-too-large"),
            (post("echo", b"", *(f"X{number}: 1" for number in range(100))), 431, "headers-too-large"),
            (HELLO.replace(b"Content-Length: 5", b"Transfer-Encoding: gzip"), 501, "not-implemented"),
            (b"PRI * HTTP/2.0\r\n\r\n", 505, "version-not-supported"),
        ],
    )
    def test_what_is_none(self, functions: threading.Event, request_: bytes, status: int, code: str) -> None:
        """A request that is none gets an error in the form of all errors, and is the connection's last."""
        with serving(max_body_bytes=1_000_000) as server, server.connect() as client:
            client.send(request_)
            reply = client.reply()
            assert (reply.status, reply.error["code"], reply.headers["connection"]) == (status, code, "close")
            assert set(reply.error) >= {"code", "message", "retryable"}
            client.socket.shutdown(socket.SHUT_WR)
            assert client.ended()

    def test_a_body_that_nobody_wants(self, server: Serving) -> None:
        """A client that sends a large body along with a wrong request gets its answer all the same."""
        reply = server.ask(post("nothing", bytes(20_000_000)))
        assert (reply.status, reply.headers["connection"]) == (404, "close")

    def test_chunks_beyond_the_limit(self, functions: threading.Event) -> None:
        """A body whose length is not announced is refused where it exceeds the limit."""
        chunk = b"%x\r\n%b\r\n" % (600_000, bytes(600_000))
        head = post("echo").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        with serving(max_body_bytes=1_000_000) as server:
            reply = server.ask(head + chunk * 2)
            assert (reply.status, reply.error["limit_bytes"]) == (413, 1_000_000)

    def test_it_is_kept_where_nothing_else_comes(self, server: Serving) -> None:
        """A request without a body that is refused is not the connection's last."""
        with server.connect() as client:
            client.send(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n" + HELLO)
            assert [client.reply().status for _ in range(2)] == [404, 200]


class TestSlowClients:
    @pytest.mark.parametrize("sent", [HELLO[:20], HALF, post("echo")[:-2]])
    def test_a_request_that_does_not_end(self, functions: threading.Event, sent: bytes) -> None:
        """Who begins a request and does not go on is told so, and the connection ends."""
        with serving(head_timeout_s=0.1, body_timeout_s=0.1) as server, server.connect() as client:
            client.send(sent)
            reply = client.reply()
            assert (reply.status, reply.error["code"]) == (408, "request-timeout")
            client.socket.shutdown(socket.SHUT_WR)
            assert client.ended()

    def test_a_head_byte_by_byte(self, functions: threading.Event) -> None:
        """A head has its time as a whole: a client that sends a byte now and then does not gain any."""
        with serving(head_timeout_s=0.2) as server, server.connect() as client:
            client.send(b"GET /")
            while not select.select([client.socket], [], [], 0.01)[0]:
                client.send(b"a")
            assert client.reply().status == 408

    @pytest.mark.parametrize("before", [b"", HELLO])
    def test_an_idle_connection(self, functions: threading.Event, before: bytes) -> None:
        """A connection without a request ends without a word, whether it had one before or not."""
        with serving(idle_timeout_s=0.1) as server, server.connect() as client:
            client.send(before)
            if before:
                client.reply()
            assert client.ended()

    def test_an_answer_that_is_not_taken(self, functions: threading.Event) -> None:
        """A client that does not take its answer loses it, and the server the connection."""
        with serving(body_timeout_s=0.1) as server, server.connect() as client:
            client.send(post("large"))
            assert client.socket.recv(1000)
            wait_for(lambda: not server.server._connections, "the server has given up the connection")

    def test_time_stands_still_while_a_function_runs(self, functions: threading.Event) -> None:
        """Nobody's time is over because the server was busy."""
        functions.clear()
        with serving(head_timeout_s=0.6, idle_timeout_s=0.6) as server, server.connect() as other:
            other.send(HELLO[:20])
            wait_for(lambda: len(server.server._connections) == 1, "the server has the connection")
            with server.connect() as client:
                client.send(post("waits"))
                timer = threading.Timer(1.0, functions.set)
                timer.start()
                assert client.reply().body == b"waited"
                timer.join()
                until = time.monotonic() + 0.25  # long enough to look for those whose time is over
                while time.monotonic() < until:
                    client.send(HELLO)
                    client.reply()
                other.send(HELLO[20:])
                assert other.reply().body == b"hello"


class TestEnds:
    def test_half_closed(self, server: Serving) -> None:
        """A client that has sent its request and says that it sends no more gets its answer."""
        for request, size in ((HELLO, 5), (post("large"), LARGE)):
            with server.connect() as client:
                client.send(request)
                client.socket.shutdown(socket.SHUT_WR)
                assert len(client.reply().body) == size
                assert client.ended()

    def test_half_a_request(self, server: Serving) -> None:
        """A client that ends in the midst of its request is told so."""
        for sent in (HELLO[:20], HALF):
            with server.connect() as client:
                client.send(sent)
                client.socket.shutdown(socket.SHUT_WR)
                assert client.reply().error["message"].startswith("request: ")
                assert client.ended()

    @pytest.mark.parametrize("sent", [b"", HELLO[:20], HALF, HELLO, post("large"), post("echo", bytes(1 << 20))[:-1]])
    def test_a_reset(self, functions: threading.Event, sent: bytes) -> None:
        """A client that is gone leaves nothing behind."""
        with serving() as server:
            client = server.connect()
            client.send(sent)
            wait_for(lambda: len(server.server._connections) == 1, "the server has the connection")
            client.reset()
            wait_for(lambda: not server.server._connections, "the server has forgotten it")
            assert server.server.allowance.held_bytes == 0
            assert server.ask(HELLO).body == b"hello"

    def test_stop(self, functions: threading.Event) -> None:
        """A server that stops ends idle connections, waits for open requests, and takes no new ones."""
        with serving() as server, server.connect() as idle, server.connect() as busy:
            idle.send(HELLO)
            idle.reply()
            busy.send(HELLO + HALF)
            busy.reply()
            wait_for(lambda: server.server.allowance.held_bytes > 0, "the server has half a request")
            server.begin_stop()
            assert idle.ended()
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            busy.send(HELLO[-3:])
            reply = busy.reply()
            assert (reply.body, reply.headers["connection"]) == (b"hello", "close")
            assert busy.ended()

    def test_stop_has_a_deadline(self, functions: threading.Event) -> None:
        """A request that does not end does not keep the server from ending."""
        with serving(stop_timeout_s=0.1) as server, server.connect() as client:
            client.send(HALF)
            wait_for(lambda: server.server.allowance.held_bytes > 0, "the server has half a request")
            server.stop()
            assert client.ended()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signals(self, number: int) -> None:
        """A process that serves ends by itself when it is told to."""
        source = (
            "import asyncio, skylark\n"
            "from skylark.functions import REGISTRY\n"
            "from skylark.http_application import Application\n"
            "from skylark.http_server import HttpServer, serve\n"
            "from skylark.http_settings import ServerSettings, Settings\n"
            "from skylark.http_transport import KeptConnection\n"
            "own = ServerSettings(hosts=('127.0.0.1',), port=0)\n"
            "server = HttpServer(Application(Settings.read({}, REGISTRY), KeptConnection, REGISTRY), own)\n"
            "asyncio.run(serve(server, lambda urls: print(urls[0], flush=True)))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, env=dict(os.environ))
        with process:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(b":")[2])
            with Client(port, 20.0) as client:
                client.send(b"GET /functions HTTP/1.1\r\nHost: h\r\n\r\n")
                assert client.reply().body == b'{"functions":[]}'
                process.send_signal(number)
                assert client.ended()
            assert process.wait(20) == 0


class TestListening:
    def test_all_addresses(self) -> None:
        """Without an address a server listens at all of them, of IPv4 and of IPv6 where there is such, at one port."""
        listeners = open_listeners((), 0)
        names = [listener.getsockname()[:2] for listener in listeners]
        for listener in listeners:
            listener.close()
        assert [name[0] for name in names] in (["0.0.0.0"], ["::", "0.0.0.0"])
        assert len({name[1] for name in names}) == 1

    @pytest.mark.parametrize("hosts", [(), ("127.0.0.1",)])
    def test_a_port_that_is_taken(self, hosts: tuple[str, ...]) -> None:
        """A port that somebody listens at is an error, and nothing stays open."""
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            open_listeners(hosts, taken.getsockname()[1])

    def test_the_log(self, functions: threading.Event) -> None:
        """Requests are logged where that was asked for, and only there."""
        for logs in (True, False):
            with serving(log_requests=logs) as server:
                server.ask(HELLO)
                assert [line.partition(" bytes")[0] for line in server.logged] == [
                    "POST '/functions/echo' 200 5"
                ] * logs


PIECES = st.sampled_from(
    [
        *(b"POST /functions/echo HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n", b"Content-Length: 3\r\n", b"abc", b"\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"GET ", b"\r", HELLO),
        b"Expect: 100-continue\r\n",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES | st.binary(max_size=20), max_size=12))
def test_any_bytes(server: Serving, pieces: list[bytes]) -> None:
    """Whatever a client sends, each answer is a whole one, the connection ends, and nothing is left of it."""
    with server.connect() as client:
        client.send(b"".join(pieces))
        client.socket.shutdown(socket.SHUT_WR)
        received = bytearray()
        while data := client.socket.recv(65536):
            received += data
    assert not received or received.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.1 100"))
    wait_for(lambda: not server.server._connections, "the connection is forgotten")
    assert server.server.allowance.held_bytes == 0
