"""Other nodes' answers, and what something else may answer at their addresses."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from skylark import wire
from skylark_proxy import bundle_http
from skylark_proxy.errors import Conflict, NotFound, Overloaded, PeerUnreachable, Superseded
from skylark_proxy.model import Metadata, Node, Sealed, StateKey, Tier
from skylark_proxy.peers import Peers
from skylark_proxy.propagation import OnItsWay, Terms, Unchanged
from skylark_proxy.store import Removed
from strangers import answering

KEY = StateKey("c", "t", "far")
BODY = b"".join(wire.encode({"f": b"1234"}))
INFO = {
    "Skylark-Key": "c:far:t",
    "ETag": '"3"',
    "Skylark-Origin": "far",
    "Skylark-Created-Ms": "7",
    "Skylark-Crc32": str(bundle_http.checksum({"f": b"1234"})),
    "Skylark-Write": f"{'a' * 16}-1",
    "Skylark-Served-By": "far",
    "Skylark-Owner": "far",
}
SEALED = Sealed({"f": b"1"}, Metadata("o", 1, 1, f"{'b' * 16}-1"))
NODE = {"Skylark-Node": "far"}
PAGE = b"<html><body>Please log in</body></html>"

OPERATIONS: dict[str, Callable[[Peers, Node], object]] = {
    "get": lambda peers, node: peers.get(node, KEY),
    "get that can wait": lambda peers, node: peers.get(node, KEY, asker="here"),
    "head": lambda peers, node: peers.head(node, KEY),
    "get that compares": lambda peers, node: peers.get(node, KEY, newer_than=2),
    "put": lambda peers, node: peers.put(node, KEY, SEALED, Terms()),
    "copy": lambda peers, node: peers.put_copy(node, KEY.at("here"), SEALED, 7),
    "announce": lambda peers, node: peers.announce(node, KEY, 1.0),
    "delete": lambda peers, node: peers.delete(node, KEY),
    "forget": lambda peers, node: peers.forget(node, KEY.at("here"), 7, deleted=True),
    "refuse": lambda peers, node: peers.refuse(node, KEY, f"{'b' * 16}-1"),
}


def answer(status: int, content: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    if "Content-Length" not in headers:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + content


@contextlib.contextmanager
def far(*answers: bytes) -> Iterator[tuple[Node, list[bytes]]]:
    """Give a node at whose address these answers are given, the last one for ever, and what it was asked."""
    with answering(*answers) as (address, asked):
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
    "copy that is only accepted": ("copy", answer(202, b"", **NODE)),
    "refusal that is a page": ("refuse", answer(200, PAGE, **NODE)),
    "old copy that is a page": ("forget", answer(200, PAGE, **NODE)),
    "deletion without a version": ("delete", answer(204, b"", **NODE)),
    "unchanged to who has nothing": ("get", answer(304, b"", **NODE)),
    "superseded without a number": (
        "put",
        answer(409, b'{"error": {"code": "superseded", "message": "", "actual": "b"}}', **NODE),
    ),
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
        found = peers.get(node, KEY)
        assert isinstance(found, tuple)
        info, fields = found
        assert ({name: bytes(value) for name, value in fields.items()}, info.version, info.key) == (
            {"f": b"1234"},
            3,
            KEY,
        )
    with far(answer(202, b"", **NODE)) as (node, _):
        assert isinstance(peers.get(node, KEY, asker="here"), OnItsWay)
    with far(answer(304, b"", **NODE)) as (node, _):
        assert isinstance(peers.get(node, KEY, newer_than=3), Unchanged)
    with far(answer(204, b"", **NODE, **{"Skylark-Deleted-Version": "9"})) as (node, _):
        assert peers.delete(node, KEY) == Removed(True, 9)
        assert peers.forget(node, KEY.at("here"), 7, deleted=True)
        OPERATIONS["refuse"](peers, node)
    missing = b'{"error": {"code": "not-found", "message": ""}}'
    with far(answer(404, missing, **NODE, **{"Skylark-Deleted-Version": "9"})) as (node, _):
        assert peers.delete(node, KEY) == Removed(False, 9)
        assert not peers.forget(node, KEY.at("here"), 7, deleted=True)
        for operation in ("get", "head"):
            with pytest.raises(NotFound) as caught:
                OPERATIONS[operation](peers, node)
            assert caught.value.deleted_version == 9
    conflict = b'{"error": {"code": "conflict", "message": "", "expected": 1, "actual": 2}}'
    with far(answer(409, conflict, **NODE)) as (node, _), pytest.raises(Conflict, match="version 2"):
        OPERATIONS["put"](peers, node)
    superseded = b'{"error": {"code": "superseded", "message": "", "actual": 2}}'
    with far(answer(409, superseded, **NODE)) as (node, _):
        for operation in ("put", "copy", "delete"):
            with pytest.raises(Superseded) as newer:
                OPERATIONS[operation](peers, node)
            assert newer.value.actual == 2


def test_what_a_node_is_asked(peers: Peers) -> None:
    """The path names the node that is asked, a header whose bundle is meant, and others on which terms."""
    asked: dict[str, tuple[Callable[[Node], object], str, dict[str, str]]] = {
        "a write": (lambda node: peers.put(node, KEY, SEALED, Terms(3, 5, True, "cloud")), "PUT", {"if-match": '"3"'}),
        "a first write": (lambda node: peers.put(node, KEY, SEALED, Terms(0)), "PUT", {"if-none-match": "*"}),
        "a copy": (lambda node: peers.put_copy(node, KEY.at("here"), SEALED, 7), "PUT", {"skylark-version": "7"}),
        "a fetch": (lambda node: peers.get(node, KEY, keeper="here"), "GET", {}),
        "a comparison": (lambda node: peers.get(node, KEY, newer_than=2), "GET", {"if-none-match": '"2"'}),
        "a deletion": (lambda node: peers.delete(node, KEY, known_version=5), "DELETE", {"skylark-known-version": "5"}),
        "an old copy": (
            lambda node: peers.forget(node, KEY.at("here"), 7, deleted=False),
            "DELETE",
            {"skylark-version": "7"},
        ),
    }
    queries = {
        "a write": {"scope=local", "replicate=true", "copy_at=cloud"},
        "a fetch": {"scope=local", "keeper=here"},
        "an old copy": {"scope=local", "below=newer"},
    }
    for what, (ask, method, expected) in asked.items():
        with far(answer(500, b"", **NODE)) as (node, heads), pytest.raises(PeerUnreachable):
            ask(node)
        first, *lines = heads[0].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        path, _, query = first.split(" ")[1].partition("?")
        assert (first.split(" ")[0], path) == (method, "/bundles/c%3Afar%3At"), what
        assert set(query.split("&")) == queries.get(what, {"scope=local"})
        assert headers["skylark-owner"] == ("here" if "copy" in what else "far")
        assert expected.items() <= headers.items()


LOST = b""
"""An answer that does not come: the connection ends instead."""


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_a_write_that_may_have_happened_is_in_doubt(peers: Peers, operation: str) -> None:
    """Where the answer is lost and the next attempt finds a newer version, nobody knows if the first one happened."""
    superseded = answer(409, b'{"error": {"code": "superseded", "message": "", "actual": 2}}', **NODE)
    with far(LOST, superseded) as (node, asked):
        with pytest.raises(PeerUnreachable, match="it is not known whether") as caught:
            OPERATIONS[operation](peers, node)
        assert caught.value.in_doubt
        assert len(asked) == 2


def test_a_deletion_whose_answer_was_lost(peers: Peers) -> None:
    """The next attempt finds the bundle deleted: it was, by the first one."""
    gone = answer(404, b"", **NODE, **{"Skylark-Deleted-Version": "9"})
    with far(LOST, gone) as (node, _):
        assert peers.delete(node, KEY) == Removed(True, 9)


def test_a_node_that_nobody_reaches_is_not_in_doubt() -> None:
    """What was never sent has not happened."""
    with contextlib.closing(Peers(500, 500)) as peers:
        with far(LOST) as (node, _):
            pass
        with pytest.raises(PeerUnreachable) as caught:
            OPERATIONS["put"](peers, node)
        assert not caught.value.in_doubt


class TestBounds:
    """Calls that keep within bounds, over the connections of others."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_every_exchange_keeps_within_them(self, peers: Peers, name: str) -> None:
        """Each attempt at an operation enters the bounds of its node, and nothing is sent where they refuse."""
        entered: list[str] = []

        @contextlib.contextmanager
        def refuse(node: str) -> Iterator[Callable[[int], None]]:
            entered.append(node)
            raise PeerUnreachable(node, "too many calls")
            yield

        with far(answer(500, b"", **NODE)) as (node, asked):
            with pytest.raises(PeerUnreachable, match="too many calls"):
                OPERATIONS[name](peers.within(refuse), node)
            assert (entered, asked) == (["far"], [])
            with contextlib.suppress(PeerUnreachable):
                OPERATIONS[name](peers, node)
            assert (entered, bool(asked)) == (["far"], True)

    def test_the_size_of_an_answer(self, peers: Peers) -> None:
        """The size is told before the answer is read, and what is raised then ends the call."""
        told: list[int] = []
        left: list[str] = []

        @contextlib.contextmanager
        def bounds(node: str) -> Iterator[Callable[[int], None]]:
            def expect(size_bytes: int) -> None:
                told.append(size_bytes)
                raise Overloaded("no room")

            try:
                yield expect
            finally:
                left.append(node)

        with far(answer(200, bytes(1000), **NODE)) as (node, _), pytest.raises(Overloaded):
            peers.within(bounds).get(node, KEY)
        assert (told, left) == ([1000], ["far"])
