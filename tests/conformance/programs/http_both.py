"""`http.server` and `http.client` of the standard library, with the test's client and server."""

import encodings.idna  # noqa: F401  # the host's name in a request is encoded with it, and nothing else imports it
import hashlib
import http.client
import http.server
import json
import socketserver
import urllib.request

from conformance.programs.record import say, tell


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers with what was asked."""
        self._answer(json.dumps({"path": self.path, "own": self.headers.get("X-Own")}).encode())

    def do_POST(self) -> None:
        """Answers with the digest of the body."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(hashlib.sha256(content).hexdigest().encode())

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Is silent."""


class _Server(socketserver.TCPServer):
    allow_reuse_address = True


def main(arguments: list[str]) -> None:
    """`server ADDRESS REQUESTS` or `client HOST PORT`."""
    if arguments[0] == "server":
        _serve(arguments[1], int(arguments[2]))
    else:
        _ask(arguments[1], int(arguments[2]))


def _serve(host: str, connections: int) -> None:
    with _Server((host, 0), _Handler) as server:
        tell("port", server.server_address[1])
        for _ in range(connections):
            server.handle_request()
        say("served", connections)


def _ask(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    for path in ("/", "/path?query=1", "/%C3%BC"):
        connection.request("GET", path, headers={"X-Own": "value"})
        answer = connection.getresponse()
        say(f"GET {path}", [answer.status, answer.reason, json.loads(answer.read())])
    body = bytes(range(256)) * 8000
    connection.request("POST", "/", body)
    say("POST", connection.getresponse().read().decode() == hashlib.sha256(body).hexdigest())
    connection.request("GET", "/missing")
    answer = connection.getresponse()
    say("404", [answer.status, answer.read()])
    connection.close()
    with urllib.request.urlopen(f"http://{host}:{port}/by-url", timeout=30) as answer:
        say("urlopen", [answer.status, json.load(answer)["path"]])
