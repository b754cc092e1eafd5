"""A small Kubernetes API server for the tests: nodes only, with list and watch over HTTPS, as a real client sees it.

It is no Kubernetes: it knows the one label selector that is asked, bearer tokens, resource versions and 410 Gone.
"""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

TOKEN = "token-of-the-service-account"
SELECTOR = "node-type in (Cloud,Edge,Sat)"

Json = dict[str, Any]


def node(name: str, tier: str | None, address: str | None = "10.0.0.1", ready: str = "True") -> Json:
    """A node as the API describes it."""
    addresses = [{"type": "Hostname", "address": name}]
    if address is not None:
        addresses.append({"type": "InternalIP", "address": address})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"node-type": tier} if tier is not None else {}},
        "spec": {},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


class KubernetesApi:
    """The state of the server, which a test changes. `lists` counts lists, `watched_from` has each watch's version."""

    def __init__(self) -> None:
        self.url = ""
        self.lists = 0
        self.watched_from: list[int] = []
        self.refusing: int | None = None
        self._changed = threading.Condition()
        self._version = 100
        self._oldest = 100
        self._nodes: dict[str, Json] = {}
        self._events: list[tuple[int, str, Json]] = []
        self._generation = 0

    def put(self, described: Json) -> None:
        """Adds a node, or changes the one of that name."""
        name = described["metadata"]["name"]
        with self._changed:
            before = self._nodes.get(name)
            self._nodes[name] = described
            self._emit(described, was=before is not None and _selected(before), is_now=_selected(described))

    def delete(self, name: str) -> None:
        """Removes a node."""
        with self._changed:
            described = self._nodes.pop(name)
            self._emit(described, was=_selected(described), is_now=False)

    def expire_versions(self) -> None:
        """Forgets all events, as a compaction does: whoever watches from an older version gets 410 Gone."""
        with self._changed:
            self._oldest = self._version = self._version + 10
            self._events.clear()
            self.break_watches()

    def break_watches(self) -> None:
        """Ends all watches that run."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def listed(self) -> Json:
        """The answer to a list."""
        with self._changed:
            self.lists += 1
            items = [described for described in self._nodes.values() if _selected(described)]
            version = str(self._version)
        return {"apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": version}, "items": items}

    def events(self, since: int) -> Iterator[Json]:
        """The events of a watch, until it is broken."""
        with self._changed:
            self.watched_from.append(since)
            generation = self._generation
        while True:
            with self._changed:
                if since < self._oldest:
                    yield {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
                    return
                while self._version <= since and self._generation == generation:
                    self._changed.wait()
                if self._generation != generation:
                    return
                fresh = [(kind, described) for version, kind, described in self._events if version > since]
                since = self._version
            for kind, described in fresh:
                yield {"type": kind, "object": described}

    def _emit(self, described: Json, was: bool, is_now: bool) -> None:
        self._version += 1
        described["metadata"]["resourceVersion"] = str(self._version)
        if was or is_now:
            kind = "DELETED" if not is_now else "MODIFIED" if was else "ADDED"
            self._events.append((self._version, kind, json.loads(json.dumps(described))))
        self._changed.notify_all()


@contextlib.contextmanager
def run_kubernetes_api(folder: Path) -> Iterator[tuple[KubernetesApi, Path]]:
    """Runs the server over HTTPS; hands out its state, and a kubeconfig that leads to it."""
    api = KubernetesApi()

    class Handler(_Handler):
        state = api

    with serving(Handler, folder) as (api.url, kubeconfig):
        try:
            yield api, kubeconfig
        finally:
            api.break_watches()


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], folder: Path) -> Iterator[tuple[str, Path]]:
    """Serves over HTTPS; hands out the address, and a kubeconfig that leads to it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    authority.cert_pem.write_to_path(folder / "ca.pem")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(kubeconfig_of(url, folder / "ca.pem")))
    try:
        yield url, kubeconfig
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: KubernetesApi

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, status(401, "Unauthorized", "no token"))
        elif self.state.refusing is not None:
            self._answer(self.state.refusing, status(self.state.refusing, "Refused", "as the test wants"))
        elif url.path != "/api/v1/nodes" or query.get("labelSelector") != SELECTOR:
            self._answer(404, status(404, "NotFound", self.path))
        elif "watch" in query:
            self._stream(int(query["resourceVersion"]))
        else:
            self._answer(200, self.state.listed())

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _answer(self, status: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, since: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            for event in self.state.events(since):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")


def _selected(described: Json) -> bool:
    return described["metadata"]["labels"].get("node-type") in ("Cloud", "Edge", "Sat")


def status(code: int, reason: str, message: str) -> Json:
    """The API's form of an error."""
    fields = {"status": "Failure", "code": code, "reason": reason, "message": message, "metadata": {}}
    return {"kind": "Status", "apiVersion": "v1"} | fields


def kubeconfig_of(url: str, authority: Path) -> Json:
    """A kubeconfig that leads to a server, in JSON."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
