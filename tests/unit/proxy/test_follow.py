"""What counts as an answer of the node-info service."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from skylark_proxy.follow import FollowedTopology, NodeInfoUnavailable
from skylark_proxy.model import Node, Tier
from skylark_proxy.topology_source import Alone

LOCAL = Node("here", "127.0.0.1:30002", Tier.EDGE)


def topology(name: str, address: str) -> bytes:
    node = {"node_name": name, "node_ip": address, "node_type": "Cloud"}
    return json.dumps({"epoch": 5, "edges": [], "nodes": [node]}).encode()


@contextlib.contextmanager
def answering(status: int, body: bytes, folder: Path) -> Iterator[FollowedTopology]:
    """A follower of something that gives everybody the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 304:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        followed = FollowedTopology(url, LOCAL, Alone(LOCAL), folder / "saved.json")
        try:
            yield followed
        finally:
            followed.close()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>Please log in</html>"),
        (200, b""),
        (200, b"[" * 100_000),
        (200, topology("x", "10.0.0.1")[:-5]),
        (200, topology("other", "127.0.0.1")),  # this node's address, under another name
        (204, b""),
        (302, b""),
        (304, b""),  # which is an answer to those only who have named an epoch
        (404, b"{}"),
    ],
)
def test_a_stranger_tells_no_topology(tmp_path: Path, status: int, body: bytes) -> None:
    """What is known stays in force, and the service counts as away."""
    with answering(status, body, tmp_path) as followed:
        before = followed.current(0.0)
        with pytest.raises(NodeInfoUnavailable):
            followed.refresh()
        assert followed.current(0.0) is before
        assert not (tmp_path / "saved.json").exists()


def test_the_service_itself(tmp_path: Path) -> None:
    """A topology that does not know this node is taken, with this node beside it."""
    with answering(200, topology("other", "10.0.0.1"), tmp_path) as followed:
        followed.refresh()
        assert list(followed.current(0.0).nodes) == ["here", "other"]
