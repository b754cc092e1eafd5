"""Other nodes' answers, and what something else may answer at their addresses."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from skylark import wire
from skylark_proxy import bundle_http
from skylark_proxy.errors import Conflict, NotFound, PeerUnreachable
from skylark_proxy.model import Node, StateKey, Tier
from skylark_proxy.peers import Peers
from strangers import answering

KEY = StateKey("c", "t", "far")
BODY = b"".join(wire.encode({"f": b"1234"}))
INFO = {
    "Skylark-Key": "c:far:t",
    "ETag": '"3"',
    "Skylark-Origin": "far",
    "Skylark-Created-Ms": "7",
    "Skylark-Crc32": str(bundle_http.checksum({"f": b"1234"})),
}
NODE = {"Skylark-Node": "far"}
PAGE = b"<html><body>Please log in</body></html>"

OPERATIONS: dict[str, Callable[[Peers, Node], object]] = {
    "get": lambda peers, node: peers.get(node, KEY),
    "get that can wait": lambda peers, node: peers.get(node, KEY, asker="here"),
    "head": lambda peers, node: peers.head(node, KEY),
    "put": lambda peers, node: peers.put(node, KEY, {"f": b"1"}, origin="o", created_ms=1, crc32=1),
    "announce": lambda peers, node: peers.announce(node, KEY, 1.0),
    "delete": lambda peers, node: peers.delete(node, KEY),
}


def answer(status: int, content: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    if "Content-Length" not in headers:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + content


@contextlib.contextmanager
def far(raw: bytes) -> Iterator[tuple[Node, list[bytes]]]:
    """Give a node at whose address everything is answered in the same way, and what it was asked."""
    with answering(raw) as (address, asked):
        yield Node("far", address, Tier.SAT), asked


@pytest.fixture
def peers() -> Iterator[Peers]:
    opened = Peers(1000, 5000)
    yield opened
    opened.close()


STRANGERS = {
    "a page": answer(200, PAGE, **{"Content-Type": "text/html"}),
    "nothing": answer(200),
    "no content": answer(204),
    "created": answer(201, b"{}", **{"Content-Type": "application/json"}),
    "accepted": answer(202),
    "a redirect": answer(307, b"", Location="http://127.0.0.1:1/login"),
    "a redirect without a place": answer(302),
    "not modified": answer(304),
    "not found": answer(404),
    "not found as a page": answer(404, PAGE),
    "not found as another service says it": answer(404, b'{"error": {"code": "not-found", "message": "no"}}'),
    "a conflict": answer(409, b'{"error": {"code": "conflict", "message": "no", "expected": 1, "actual": 2}}'),
    "gone": answer(410, PAGE),
    "an entity tag of its own": answer(200, PAGE, ETag='"5"'),
    "a whole bundle": answer(200, BODY, **INFO),
    "another node": answer(200, BODY, **INFO, **{"Skylark-Node": "near"}),
    "another node without the bundle": answer(404, b"", **{"Skylark-Node": "near"}),
    "another node that stored it": answer(200, b"{}", ETag='"1"', **{"Skylark-Node": "near"}),
    "a name that only begins so": answer(204, b"", **{"Skylark-Node": "far2"}),
    "garbage": b"\x00\x01\x02 what?\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "silence": b"",
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("raw", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_at_the_address_is_a_node_that_cannot_be_reached(
    peers: Peers, operation: Callable[[Peers, Node], object], raw: bytes
) -> None:
    """Whatever answers without the node's own name has stored, deleted and found nothing."""
    with far(raw) as (node, _), pytest.raises(PeerUnreachable):
        operation(peers, node)


def test_the_error_says_who_answered(peers: Peers) -> None:
    """The error tells the name that something else gives itself, or that it has none."""
    with (
        far(STRANGERS["a page"]) as (node, _),
        pytest.raises(PeerUnreachable, match="no Skylark proxy answers at"),
    ):
        peers.head(node, KEY)
    with (
        far(STRANGERS["another node"]) as (node, _),
        pytest.raises(PeerUnreachable, match="proxy of node 'near'"),
    ):
        peers.head(node, KEY)


def test_redirects_are_not_followed(peers: Peers) -> None:
    """A bundle is never sent to where a redirect points."""
    with far(answer(200, b"{}", ETag='"1"', **NODE)) as (target, asked):
        redirect = answer(307, b"", Location=f"http://{target.address}/bundles/c:far:t", **NODE)
        with far(redirect) as (node, _):
            for operation in OPERATIONS.values():
                with pytest.raises(PeerUnreachable, match="status 307"):
                    operation(peers, node)
        assert asked == []


BROKEN = {
    "put without a version": ("put", answer(200, b"{}", **NODE)),
    "put with a weak version": ("put", answer(200, b"{}", ETag='W/"3"', **NODE)),
    "put with a word for a version": ("put", answer(200, b"{}", ETag='"abc"', **NODE)),
    "put with a version without an end": ("put", answer(200, b"{}", ETag="9" * 5000, **NODE)),
    "put that is only accepted": ("put", answer(202, b"", ETag='"3"', **NODE)),
    "announcement that is a page": ("announce", answer(200, PAGE, **NODE)),
    "deletion that is a page": ("delete", answer(200, PAGE, **NODE)),
    "head without metadata": ("head", answer(200, b"", **NODE)),
    "head with half of it": ("head", answer(200, b"", **NODE, **{"Skylark-Key": "c:far:t", "ETag": '"1"'})),
    "get of a page": ("get", answer(200, PAGE, **INFO, **NODE)),
    "get without metadata": ("get", answer(200, BODY, **NODE)),
    "get of half a bundle": ("get", answer(200, BODY[: len(BODY) // 2], **INFO, **NODE)),
    "get that is cut": ("get", answer(200, BODY[:-2], **INFO, **NODE, **{"Content-Length": str(len(BODY))})),
    "get without a length": ("get", answer(200, BODY, **INFO, **NODE, **{"Content-Length": "x"})),
    "get beyond all memory": ("get", answer(200, BODY, **INFO, **NODE, **{"Content-Length": "9" * 18})),
    "get of other bytes": ("get", answer(200, BODY.replace(b"1234", b"1235"), **INFO, **NODE)),
    "on its way to nobody": ("get", answer(202, b"", **NODE)),
    "error as a page": ("get", answer(404, PAGE, **NODE)),
    "conflict without numbers": ("put", answer(409, b'{"error": {"code": "conflict", "message": ""}}', **NODE)[:-1]),
    "conflict with words": (
        "put",
        answer(409, b'{"error": {"code": "conflict", "message": "", "expected": "a", "actual": "b"}}', **NODE),
    ),
}


@pytest.mark.parametrize(("operation", "raw"), BROKEN.values(), ids=BROKEN)
def test_an_answer_outside_the_protocol_acknowledges_nothing(peers: Peers, operation: str, raw: bytes) -> None:
    """An answer under the node's name that is cut, or lacks what the protocol wants, is no answer."""
    with far(raw) as (node, _), pytest.raises(PeerUnreachable):
        OPERATIONS[operation](peers, node)


def test_answers_of_the_node_itself(peers: Peers) -> None:
    """What the node says in the protocol's words counts."""
    with far(answer(200, b"{}", ETag='"4"', **NODE)) as (node, _):
        assert OPERATIONS["put"](peers, node) == 4
    with far(answer(200, BODY, **INFO, **NODE)) as (node, _):
        bundle = peers.get(node, KEY)
        assert bundle is not None
        assert ({name: bytes(value) for name, value in bundle.fields.items()}, bundle.info.version) == (
            {"f": b"1234"},
            3,
        )
    with far(answer(202, b"", **NODE)) as (node, _):
        assert peers.get(node, KEY, asker="here") is None
    with far(answer(204, b"", **NODE)) as (node, _):
        assert peers.delete(node, KEY)
    with far(answer(404, b'{"error": {"code": "not-found", "message": ""}}', **NODE)) as (node, _):
        assert not peers.delete(node, KEY)
        with pytest.raises(NotFound):
            peers.get(node, KEY)
    conflict = b'{"error": {"code": "conflict", "message": "", "expected": 1, "actual": 2}}'
    with far(answer(409, conflict, **NODE)) as (node, _), pytest.raises(Conflict, match="version 2"):
        OPERATIONS["put"](peers, node)
