"""The command's client, and what it says where something else answers."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from skylark_proxy.client import ProxyClient, ProxyError

OPERATIONS: dict[str, Callable[[ProxyClient], object]] = {
    "get": lambda client: client.get_bundle("c:t"),
    "put": lambda client: client.put_bundle("c:t", {"f": b"1"}),
    "delete": lambda client: client.delete_bundle("c:t"),
    "list": lambda client: client.list_bundles("c"),
}


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[ProxyClient]:
    """A client of something that answers everything in the same way, redirects to itself included."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", "/bundles/c:t")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield ProxyClient(f"http://127.0.0.1:{server.server_port}", 5.0)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>hello</html>"), (200, b""), (200, b"[]"), (200, b"{}"), (200, b"\xff"), (302, b""), (307, b"{}")],
)
def test_a_stranger_is_one_sentence(operation: Callable[[ProxyClient], object], status: int, body: bytes) -> None:
    """What is no proxy stores, deletes and has nothing, and the error says who answers where."""
    with answering(status, body) as client, pytest.raises(ProxyError, match=r"what answers at http://127\.0\.0\.1:"):
        operation(client)


def test_a_deletion_that_a_proxy_has_done() -> None:
    """The status of a deletion is 204."""
    with answering(204, b"") as client:
        client.delete_bundle("c:t")
