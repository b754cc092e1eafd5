"""The connection to the node's proxy, against servers that behave as some do."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from skylark import errors
from skylark.http_transport import KeptConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def connected(*serve: Callable[[socket.socket], None], timeout_s: float = 20.0) -> Iterator[KeptConnection]:
    """A connection to a server that does these with the connections that it gets, in turn, and then ends them."""

    def run() -> None:
        for each in serve:
            accepted, _ = listener.accept()
            with accepted:
                each(accepted)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        port = listener.getsockname()[1]
        connection = KeptConnection(f"http://localhost:{port}", "localhost", port, timeout_s)
        try:
            yield connection
        finally:
            connection.close()
            thread.join(20)
            assert not thread.is_alive()


def answers(*replies: bytes) -> Callable[[socket.socket], None]:
    """Answers a request with each of these; a request is what one read gives."""

    def serve(accepted: socket.socket) -> None:
        for reply in replies:
            assert accepted.recv(1 << 16)
            accepted.sendall(reply)

    return serve


def test_a_small_request_is_one_write() -> None:
    """Head and body come together: in two writes the second would wait for an acknowledgement."""
    received = []

    def serve(accepted: socket.socket) -> None:
        for _ in range(50):
            received.append(accepted.recv(1 << 16))
            accepted.sendall(OK)

    with connected(serve) as connection:
        for _ in range(50):
            assert connection.exchange("PUT", "/x", {"Content-Length": "4"}, [b"bo", b"dy"]).body == b"ok"
    assert all(request.endswith(b"\r\n\r\nbody") for request in received)
    assert received[0].startswith(b"PUT /x HTTP/1.1\r\nHost: localhost:")


def test_a_connection_that_was_closed_meanwhile() -> None:
    """A request on a kept connection that its server has ended goes out again on a new one."""
    with connected(answers(OK), answers(OK, OK)) as connection:
        for _ in range(3):
            assert connection.exchange("GET", "/", {}, ()).status == 200


def test_a_server_that_says_that_it_closes() -> None:
    """After `Connection: close` the next request opens a new connection."""
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connected(answers(closing), answers(OK)) as connection:
        assert [connection.exchange("GET", "/", {}, ()).body for _ in range(2)] == [b"ok", b"ok"]


def test_a_new_connection_that_is_closed() -> None:
    """A server that ends a new connection is not asked again."""
    with connected(lambda accepted: None) as connection, pytest.raises(errors.Unavailable, match="closed"):
        connection.exchange("GET", "/", {}, ())


def test_an_answer_before_the_end_of_the_request() -> None:
    """A server that answers before it has the whole body has its reasons, which are not lost."""
    refusal = b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig"

    def serve(accepted: socket.socket) -> None:
        accepted.recv(1000)
        accepted.sendall(refusal)  # and what is unread at the end resets the connection

    with connected(serve) as connection:
        reply = connection.exchange("PUT", "/", {"Content-Length": "20000000"}, [bytes(20_000_000)])
        assert (reply.status, reply.body) == (413, b"big")


def test_a_server_that_says_nothing() -> None:
    """A server that does not answer in time is an error that says so."""
    ended = threading.Event()

    def serve(accepted: socket.socket) -> None:
        assert ended.wait(20)

    with connected(serve, timeout_s=0.05) as connection:
        with pytest.raises(errors.TimedOut, match="in time"):
            connection.exchange("GET", "/", {}, ())
        ended.set()
