"""State over HTTP, against a server that plays what a proxy, or what is not one, may answer."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from skylark import errors, wire
from skylark.http_backend import HttpBackend, Terms
from skylark.invocation_token import Credential
from skylark.state import Placement, Policy, Read, Staleness, Stored

OWNED = "Skylark-Owner: n\r\n"
HEADERS = 'Skylark-Key: c:n:t\r\nETag: "3"\r\nSkylark-Origin: n7\r\nSkylark-Hops: 2\r\n'


class Player:
    """A server that answers one request after the other as a test says; None: it closes the connection instead.

    `requests` has what it was sent: the first line, the headers in lower case, the body. `hang` keeps it silent.
    """

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.hang = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self.hang.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as incoming:
                while self._answer(connection, incoming):
                    pass

    def _answer(self, connection: socket.socket, incoming: Any) -> bool:
        first = incoming.readline().decode().strip()
        if not first:
            return False
        headers = dict[str, str]()
        while line := incoming.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        self.requests.append((first, headers, incoming.read(int(headers.get("content-length", 0)))))
        if not self.answers:
            self.hang.wait(20)
            return False
        answer = self.answers.pop(0)
        if answer is None:
            return False
        connection.sendall(answer)
        return True


@pytest.fixture
def player() -> Iterator[Player]:
    server = Player()
    yield server
    server.close()


@pytest.fixture
def backend(player: Player) -> Iterator[HttpBackend]:
    opened = HttpBackend(player.url, timeout_s=20)
    opened.begin("c", "own")
    yield opened
    opened.close()


def answer(body: bytes = b"", status: int = 200, headers: str = HEADERS) -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def refusal(status: int, **details: object) -> bytes:
    return answer(json.dumps({"error": details}).encode(), status, "")


def bundle(**fields: bytes) -> bytes:
    return b"".join(wire.encode(dict(fields)))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:1", "https://h:1", "http://", "ftp://h", "http://h:x", "http://h:70000"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """A mistake in the setting is an error at the start, and not at the first state call."""
    with pytest.raises(ValueError):
        HttpBackend(url)


def test_a_bundle_is_fetched(player: Player, backend: HttpBackend) -> None:
    """Fields are read-only views; key, version, origin and hops are those of the headers."""
    player.answers = [answer(bundle(a=b"1", b=b""))]
    found = backend.fetch("c:n:t", [])
    assert {name: bytes(value) for name, value in found.items()} == {"a": b"1", "b": b""}
    assert (found.key, found.version, found.origin, found.hops) == ("c:n:t", 3, "n7", 2)
    assert found["a"].readonly
    assert player.requests[0][0] == "GET /bundles/c%3An%3At HTTP/1.1"


def test_only_the_fields_that_are_wanted_are_fetched(player: Player, backend: HttpBackend) -> None:
    """They are a parameter of the request."""
    player.answers = [answer(bundle(a=b"1"))]
    backend.fetch("c:t", ["a", "b"])
    assert player.requests[0][0] == "GET /bundles/c%3At?fields=a%2Cb HTTP/1.1"


@pytest.mark.parametrize(
    ("read", "min_version", "query"),
    [
        (Read.NEAREST, 0, ""),
        (Read.LATEST, 0, "?read=latest"),
        (Read.OWNER, 2**53 - 1, "?read=owner&min_version=9007199254740991"),
    ],
)
def test_a_fetch_says_what_it_is_content_with(
    player: Player, backend: HttpBackend, read: Read, min_version: int, query: str
) -> None:
    """The choice and the version that was seen are parameters of the request."""
    player.answers = [answer(bundle())]
    backend.fetch("c:n:t", [], read, min_version)
    assert player.requests[0][0] == f"GET /bundles/c%3An%3At{query} HTTP/1.1"


@pytest.mark.parametrize(
    ("headers", "age_ms", "stale"),
    [
        ("", None, None),
        ("Skylark-Age-Ms: 1500\r\nAge: 1\r\n", 1500, None),
        ("Skylark-Age-Ms: 0\r\nSkylark-Stale: owner-unreachable\r\n", 0, Staleness.OWNER_UNREACHABLE),
        ("Skylark-Age-Ms: 7\r\nSkylark-Stale: owner-lost-it\r\n", 7, Staleness.OWNER_LOST_IT),
    ],
)
def test_a_copy_says_its_age_and_why_it_may_be_old(
    player: Player, backend: HttpBackend, headers: str, age_ms: int | None, stale: Staleness | None
) -> None:
    """Both are the proxy's words; the owner's own bundle has neither. The report has them too."""
    player.answers = [answer(bundle(), headers=HEADERS + OWNED + headers)]
    found = backend.fetch("c:n:t", [])
    assert (found.age_ms, found.stale) == (age_ms, stale)
    told = stale.value if stale is not None else None
    assert [(one["age_ms"], one["stale"]) for one in backend.ledger.fetches] == [(age_ms, told)]


class TestSessions:
    """What the functions of a chain have seen goes with its bundles, and none of them is given an older version."""

    def owned(self, key: str, version: int, extra: str = "") -> bytes:
        about = f'Skylark-Key: {key}\r\nETag: "{version}"\r\nSkylark-Origin: n7\r\nSkylark-Hops: 2\r\n'
        return answer(bundle(), headers=f"{about}Skylark-Owner: {key.split(':')[1]}\r\n{extra}")

    def told(self, player: Player, backend: HttpBackend, placement: Placement | None = None) -> str | None:
        """What a store tells the proxy that was seen."""
        player.answers.append(answer(b"{}"))
        backend.store({}, placement or Placement())
        return player.requests[-1][1].get("skylark-seen")

    def test_nothing_was_seen(self, player: Player, backend: HttpBackend) -> None:
        """The first function of a chain that reads nothing has nothing to tell."""
        assert self.told(player, backend) is None

    def test_what_was_read_and_what_came_with_it(self, player: Player, backend: HttpBackend) -> None:
        """A store tells the versions of bundles that were read, with those that their chain had seen before."""
        player.answers = [self.owned("c:n:t", 5, "Skylark-Seen: c:m:a=7,c:m:b=8\r\n"), self.owned("c:m:a", 9)]
        backend.fetch("c:n:t", [])
        backend.fetch("c:m:a", [])
        assert self.told(player, backend) == "c:m:b=8,c:n:t=5,c:m:a=9"

    def test_what_was_written(self, player: Player, backend: HttpBackend) -> None:
        """A bundle of another key than the own one may be read by the next function, which sees this version."""
        assert self.told(player, backend, Placement("c:n:t")) is None
        assert self.told(player, backend) == "c:n:t=3"

    def test_what_was_deleted(self, player: Player, backend: HttpBackend) -> None:
        """The next function is not given what this one has deleted, or was told that it is deleted."""
        gone = {"code": "not-found", "message": "m"}
        player.answers = [
            answer(status=204, headers="Skylark-Owner: n\r\nSkylark-Deleted-Version: 6\r\n"),
            refusal(404, **gone, deleted_version=7),
            refusal(404, **gone, deleted_version=8),
            refusal(404, **gone, deleted_version=0),
        ]
        assert [backend.delete("c:a"), backend.delete("c:n:b")] == [True, False]
        for key in ("c:n:c", "c:n:d"):
            with pytest.raises(errors.NotFound):
                backend.fetch(key, [])
        assert self.told(player, backend) == "c:n:a=6,c:n:b=7,c:n:c=8"

    def test_a_conflict(self, player: Player, backend: HttpBackend) -> None:
        """Who was told of a version that was not expected reads none before it."""
        player.answers = [refusal(409, code="conflict", message="m", expected=1, actual=4), self.owned("c:n:t", 4)]
        with pytest.raises(errors.Conflict):
            backend.store({}, Placement("c:n:t", expected_version=1))
        backend.fetch("c:n:t", [])
        assert player.requests[-1][0] == "GET /bundles/c%3An%3At?min_version=4 HTTP/1.1"

    def test_no_older_version_is_asked_for(self, player: Player, backend: HttpBackend) -> None:
        """The proxy may have forgotten, or be another one: it is told what the function has seen, or its caller."""
        player.answers = [self.owned("c:n:t", 5), self.owned("c:n:t", 6), self.owned("c:n:t", 9)]
        backend.fetch("c:n:t", [])
        backend.fetch("c:n:t", [], Read.NEAREST, 4)
        backend.fetch("c:n:t", [], Read.NEAREST, 8)
        assert [first.split()[1].partition("?")[2] for first, _, _ in player.requests] == [
            "", "min_version=5", "min_version=8",
        ]  # fmt: skip

    def test_a_key_without_the_owner(self, player: Player, backend: HttpBackend) -> None:
        """Where an older copy comes for it, its owner's key is asked for, with the version that was seen."""
        player.answers = [self.owned("c:n:t", 5), self.owned("c:n:t", 4), refusal(503, code="unavailable", message="m")]
        backend.fetch("c:n:t", ["f"])
        with pytest.raises(errors.Unavailable):
            backend.fetch("c:t", ["f"])
        assert player.requests[-1][0] == "GET /bundles/c%3An%3At?fields=f&min_version=5 HTTP/1.1"

    def test_the_predecessor(self, player: Player, backend: HttpBackend) -> None:
        """It is written once, and so is not told; what came with it is."""
        backend.begin("c", "own", Terms(state_key="c:n:t"))
        player.answers = [self.owned("c:n:t", 5, "Skylark-Seen: c:m:a=7\r\n")]
        backend.fetch("c:n:t", [])
        assert self.told(player, backend) == "c:m:a=7"
        assert len(player.requests) == 2

    def test_a_predecessor_that_was_not_fetched(self, player: Player, backend: HttpBackend) -> None:
        """A function that needs nothing of it passes on the plan and the versions; they are asked for once."""
        backend.begin("c", "own", Terms(state_key="c:n:t", function="f"))
        player.answers = [b"HTTP/1.1 200 X\r\n" + HEADERS.encode() + b"Skylark-Plan: f@n,g@m\r\n"
                          b"Skylark-Seen: c:m:a=7\r\nContent-Length: 0\r\n\r\n", answer(b"{}")]  # fmt: skip
        backend.store({}, Placement())
        assert self.told(player, backend) == "c:m:a=7"
        assert [first.split()[0] for first, _, _ in player.requests] == ["HEAD", "PUT", "PUT"]
        assert player.requests[1][0].endswith("?destination=m HTTP/1.1")

    def test_a_bundle_before_the_predecessor(self, player: Player, backend: HttpBackend) -> None:
        """A function that needs nothing of its predecessor reads no older version of another bundle for that."""
        backend.begin("c", "own", Terms(state_key="c:n:t"))
        known = HEADERS + "Skylark-Seen: c:m:a=7\r\nContent-Length: 0\r\n\r\n"
        player.answers = [f"HTTP/1.1 200 X\r\n{known}".encode(), self.owned("c:m:a", 8), self.owned("c:n:t", 5)]
        backend.fetch("c:m:a", [])
        backend.fetch("c:n:t", [])
        assert [first.rpartition(" ")[0] for first, _, _ in player.requests] == [
            "HEAD /bundles/c%3An%3At", "GET /bundles/c%3Am%3Aa?min_version=7", "GET /bundles/c%3An%3At",
        ]  # fmt: skip

    def test_a_predecessor_that_cannot_be_had(self, player: Player, backend: HttpBackend) -> None:
        """A store of a function that does not need it does not fail for it."""
        backend.begin("c", "own", Terms(state_key="c:n:t"))
        player.answers = [answer(status=404, headers="")]
        assert self.told(player, backend) is None

    @pytest.mark.parametrize(
        ("chains", "told"), [(None, "d:n:t=5,c:n:u=6"), ("any", "d:n:t=5,c:n:u=6"), ("own", "c:n:u=6")]
    )
    def test_chains_that_a_token_does_not_cover(self, player: Player, chains: str | None, told: str) -> None:
        """What came from another chain is not told with a token that is for the own one: the proxy would refuse it."""
        credential = Credential.make(b"k" * 32, "f", chains) if chains is not None else None
        backend = HttpBackend(player.url, 20, credential=credential)
        backend.begin("c", "own")
        player.answers = [self.owned("c:n:u", 6, "Skylark-Seen: d:n:t=5\r\n")]
        backend.fetch("c:n:u", [])
        assert self.told(player, backend) == told
        backend.close()

    def test_an_invocation_does_not_know_what_another_one_has_seen(self, player: Player, backend: HttpBackend) -> None:
        """A server runs invocations of many chains one after the other."""
        player.answers = [self.owned("c:n:t", 5)]
        backend.fetch("c:n:t", [])
        backend.begin("d", "own")
        assert self.told(player, backend) is None

    @pytest.mark.parametrize("header", ["Skylark-Seen: c:n:t\r\n", "Skylark-Seen: x=y\r\n"])
    def test_a_header_that_no_proxy_writes(self, player: Player, backend: HttpBackend, header: str) -> None:
        """Without what was seen a reader could be given an older version, so it is an error."""
        player.answers = [self.owned("c:n:t", 5, header)]
        with pytest.raises(errors.Internal, match="no proxy"):
            backend.fetch("c:n:t", [])


def test_a_bundle_is_stored_under_the_own_task(player: Player, backend: HttpBackend) -> None:
    """Without a placement the key is that of the invocation; the body is the bundle."""
    player.answers = [answer(b"{}")]
    assert backend.store({"f": memoryview(b"1")}, Placement()) == Stored("c:n:t", 3)
    first, headers, body = player.requests[0]
    assert first == "PUT /bundles/c%3Aown HTTP/1.1"
    assert headers["content-type"] == wire.MEDIA_TYPE
    assert not {"if-match", "if-none-match"} & set(headers)
    assert body == bundle(f=b"1")


def test_a_placement_is_sent(player: Player, backend: HttpBackend) -> None:
    """Key, destination, policy and time to live go into the request; the invocation's are taken where none is given."""
    backend.begin("c", "own", Terms("cloud", Policy.RANDOM))
    player.answers = [answer(b"{}"), answer(b"{}")]
    backend.store({}, Placement("d:x", "n2", Policy.STATELESS, 5))
    backend.store({}, Placement())
    assert [first for first, _, _ in player.requests] == [
        "PUT /bundles/d%3Ax?destination=n2&policy=stateless&ttl_ms=5 HTTP/1.1",
        "PUT /bundles/c%3Aown?destination=cloud&policy=random HTTP/1.1",
    ]


@pytest.mark.parametrize(("version", "header"), [(0, ("if-none-match", "*")), (7, ("if-match", '"7"'))])
def test_an_expected_version_is_a_condition(
    player: Player, backend: HttpBackend, version: int, header: tuple[str, str]
) -> None:
    """0 means that there must be no bundle yet."""
    player.answers = [answer(b"{}")]
    backend.store({}, Placement(expected_version=version))
    sent = {name: value for name, value in player.requests[0][1].items() if name in ("if-match", "if-none-match")}
    assert sent == dict([header])


def test_delete_says_whether_there_was_a_bundle(player: Player, backend: HttpBackend) -> None:
    """Nothing to delete is no error."""
    player.answers = [answer(status=204), refusal(404, code="not-found", message="no bundle")]
    assert [backend.delete("c:t"), backend.delete("c:t")] == [True, False]


@pytest.mark.parametrize("status", [200, 202, 302])
def test_a_deletion_that_no_proxy_has_done(player: Player, backend: HttpBackend, status: int) -> None:
    """A page at the proxy's address has deleted nothing."""
    player.answers = [answer(b"<html>", status=status)]
    with pytest.raises(errors.Internal, match="no proxy"):
        backend.delete("c:t")


@pytest.mark.parametrize(
    ("status", "details", "raised"),
    [
        (404, {"code": "not-found", "message": "m"}, errors.NotFound),
        (400, {"code": "invalid-key", "message": "m"}, errors.InvalidKey),
        (400, {"code": "invalid-argument", "message": "m"}, errors.InvalidArgument),
        (404, {"code": "unknown-node", "message": "m", "retryable": False}, errors.InvalidArgument),
        (503, {"code": "unavailable", "message": "m"}, errors.Unavailable),
        (503, {"code": "no-route", "message": "m", "retryable": True}, errors.Unavailable),
        (503, {"code": "overloaded", "message": "m", "retryable": True}, errors.Unavailable),
        (403, {"code": "forbidden", "message": "m"}, errors.Forbidden),
        (429, {"code": "too-many-bundles", "message": "m", "retryable": True}, errors.Unavailable),
        (429, {"code": "too-many-requests", "message": "m", "retryable": True}, errors.Unavailable),
        (504, {"code": "timed-out", "message": "m"}, errors.TimedOut),
        (500, {"code": "internal", "message": "m"}, errors.Internal),
        (500, {"code": "something-new", "message": "m"}, errors.Internal),
    ],
)
def test_an_error_has_its_class(
    player: Player, backend: HttpBackend, status: int, details: dict[str, object], raised: type[errors.SkylarkError]
) -> None:
    """Every code of the HTTP API is the class that a sandbox would raise, with its sentence."""
    player.answers = [refusal(status, **details)]
    with pytest.raises(errors.SkylarkError) as error:
        backend.fetch("c:t", [])
    assert type(error.value) is raised
    assert str(error.value) == "m"


def test_errors_have_their_numbers(player: Player, backend: HttpBackend) -> None:
    """A conflict and a size beyond the limit carry what a function can decide by."""
    player.answers = [
        refusal(409, code="conflict", message="m", expected=1, actual=2),
        refusal(413, code="too-large", message="m", size_bytes=10, limit_bytes=9),
    ]
    with pytest.raises(errors.Conflict) as conflict:
        backend.store({}, Placement(expected_version=1))
    assert (conflict.value.expected, conflict.value.actual) == (1, 2)
    with pytest.raises(errors.TooLarge) as too_large:
        backend.store({}, Placement())
    assert (too_large.value.size_bytes, too_large.value.limit_bytes) == (10, 9)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 3}', b'{"error": {"code": "not-found"}}'])
def test_an_error_that_is_not_the_proxys_is_internal(player: Player, backend: HttpBackend, body: bytes) -> None:
    """What something in between answers is an error that has the status."""
    player.answers = [answer(body, 502, "")]
    with pytest.raises(errors.Internal, match="the proxy answered with status 502"):
        backend.fetch("c:t", [])


@pytest.mark.parametrize(("headers", "body"), [("", bundle()), (HEADERS, b"<html>")])
def test_a_success_that_is_not_the_proxys_is_internal(
    player: Player, backend: HttpBackend, headers: str, body: bytes
) -> None:
    """Where another server listens at the URL, the function gets an error of the SDK that says so."""
    player.answers = [answer(body, headers=headers)]
    with pytest.raises(errors.Internal):
        backend.fetch("c:t", [])


def test_a_connection_is_kept(player: Player, backend: HttpBackend) -> None:
    """One request after the other goes over the same connection, errors among them."""
    player.answers = [answer(bundle()), refusal(404, code="not-found", message="m"), answer(bundle())]
    backend.fetch("c:t", [])
    assert backend.delete("c:t") is False
    backend.fetch("c:t", [])
    assert player.connections == 1


def test_a_kept_connection_that_was_closed_is_opened_anew(player: Player, backend: HttpBackend) -> None:
    """A proxy closes connections that were idle: the next request does not fail for it."""
    player.answers = [answer(bundle()), None, answer(bundle(a=b"1"))]
    backend.fetch("c:t", [])
    assert list(backend.fetch("c:t", [])) == ["a"]
    assert (player.connections, len(player.requests)) == (2, 3)


def test_a_fresh_connection_that_is_closed_is_not_tried_again(player: Player, backend: HttpBackend) -> None:
    """A proxy that closes on a first request has a reason: the function is told, and nothing is sent twice."""
    player.answers = [None, answer(b"{}")]
    with pytest.raises(errors.Unavailable, match="closed the connection"):
        backend.store({}, Placement())
    assert len(player.requests) == 1
    assert backend.store({}, Placement()).version == 3


def test_a_silent_proxy_is_timed_out(player: Player) -> None:
    """After the time that was given the function is told; a write may have happened, so it is not repeated."""
    backend = HttpBackend(player.url, timeout_s=0.1)
    backend.begin("c", "own")
    with pytest.raises(errors.TimedOut, match="does not answer in time"):
        backend.store({}, Placement())
    assert len(player.requests) == 1


@pytest.mark.parametrize("broken", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
def test_an_answer_that_is_no_http_is_unavailable(player: Player, broken: bytes) -> None:
    """Half an answer, or none of HTTP, is not taken for a bundle."""
    backend = HttpBackend(player.url, timeout_s=0.5)
    player.answers = [broken, None]
    with pytest.raises((errors.Unavailable, errors.TimedOut)):
        backend.fetch("c:t", [])


def test_nobody_listens() -> None:
    """A proxy that does not run is unavailable: trying again can help."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(errors.Unavailable, match="cannot be reached") as raised:
        HttpBackend(url).fetch("c:t", [])
    assert raised.value.retryable


def test_the_node_is_asked_for_its_name(player: Player, backend: HttpBackend) -> None:
    """`ctx.node` is the name of the proxy's node."""
    player.answers = [answer(b'{"node": "sat-7", "status": "ready"}')]
    assert backend.node() == "sat-7"
