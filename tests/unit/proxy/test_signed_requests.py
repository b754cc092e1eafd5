"""For which start of its receiver a request is signed, and how often it is sent."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

import pytest
from urllib3.exceptions import HTTPError

from skylark_proxy.connections import open_pool
from skylark_proxy.errors import Unauthorized
from skylark_proxy.signatures import BOOT, RequestHead, Signer, Verifier
from skylark_proxy.signed_requests import SignedRequests
from skylark_proxy.tls import TlsFiles

KEY = b"k" * 32
NOW_S = 1_760_000_000.0


class Receiver(http.server.BaseHTTPRequestHandler):
    """A receiver that can be restarted; `asked` has what came and what it answered."""

    protocol_version = "HTTP/1.1"
    verifier: Verifier | None
    lies = False
    asked: list[tuple[str, int]]

    def do_GET(self) -> None:
        self._answer(200)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = 200
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            if self.verifier is not None:
                self.verifier.verify(RequestHead("PUT", self.path, headers), NOW_S)
        except Unauthorized:
            status = 401
        self._answer(401 if self.lies else status)

    def _answer(self, status: int) -> None:
        type(self).asked.append((self.command, status))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if self.verifier is not None:
            boot = f"{len(self.asked):032x}" if self.lies else self.verifier.boot
            self.send_header(BOOT, boot)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving(verifier: Verifier | None) -> Iterator[tuple[str, type[Receiver]]]:
    handler = type("Handler", (Receiver,), {"verifier": verifier, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", handler
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedRequests]:
    monkeypatch.setattr("time.time", lambda: NOW_S)
    with open_pool(TlsFiles(), timeout=20.0, retries=False) as pool:
        yield SignedRequests(pool, Signer(KEY, "sat"))


def put(requests: SignedRequests, base: str) -> int:
    response = requests.send(base, "PUT", "/x?a=1", {"Content-Length": "4"}, [b"bo", b"dy"])
    response.drain_conn()
    response.release_conn()
    return response.status


class TestSending:
    def test_first_contact(self, requests: SignedRequests) -> None:
        """A receiver is asked for its id before anything is sent to it, and once only."""
        with receiving(Verifier(KEY, 300)) as (base, receiver):
            assert [put(requests, base) for _ in range(3)] == [200, 200, 200]
            assert receiver.asked == [("GET", 200), ("PUT", 200), ("PUT", 200), ("PUT", 200)]

    def test_a_restart(self, requests: SignedRequests) -> None:
        """What was signed for another start of the receiver is signed anew, and sent once more."""
        with receiving(Verifier(KEY, 300)) as (base, receiver):
            put(requests, base)
            receiver.verifier = Verifier(KEY, 300)
            assert [put(requests, base) for _ in range(2)] == [200, 200]
            assert receiver.asked[2:] == [("PUT", 401), ("PUT", 200), ("PUT", 200)]

    def test_another_key(self, requests: SignedRequests) -> None:
        """What another start does not explain is not repeated."""
        with receiving(Verifier(b"x" * 32, 300)) as (base, receiver):
            assert put(requests, base) == 401
            assert receiver.asked == [("GET", 200), ("PUT", 401)]

    def test_a_receiver_that_lies(self, requests: SignedRequests) -> None:
        """One that names another id each time gets each request twice, and not for ever."""
        with receiving(Verifier(KEY, 300)) as (base, receiver):
            receiver.lies = True
            assert put(requests, base) == 401
            assert receiver.asked == [("GET", 200), ("PUT", 401), ("PUT", 401)]

    def test_a_receiver_without_a_key(self, requests: SignedRequests) -> None:
        """One that has no id is sent requests without one, and is not asked again."""
        with receiving(None) as (base, receiver):
            assert [put(requests, base) for _ in range(2)] == [200, 200]
            assert receiver.asked == [("GET", 200), ("PUT", 200), ("PUT", 200)]

    def test_a_receiver_that_is_away(self, requests: SignedRequests) -> None:
        """One that was away is asked for its id again: a large body would be sent to another start in vain."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        requests._boots[base] = "b" * 32
        with pytest.raises(HTTPError):
            put(requests, base)
        assert requests._boots == {}

    def test_a_sender_without_a_key(self) -> None:
        """Who signs nothing asks nobody."""
        with receiving(None) as (base, receiver), open_pool(TlsFiles(), timeout=20.0, retries=False) as pool:
            assert put(SignedRequests(pool, None), base) == 200
            assert receiver.asked == [("PUT", 200)]
