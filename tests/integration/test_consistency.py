"""What the consistency model promises, held on real nodes whose links are cut, stalled and healed.

sat, edge and cloud are three nodes, each pair with a link of its own. edge keeps what it fetches.
"""

import contextlib
import itertools
import json
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes
from relay import Relays, run_relayed
from servers import wait_for
from skylark import wire
from skylark_proxy import bundle_http
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.model import Metadata, StateKey
from skylark_proxy.target import Target
from wasi_http import serve_wasmtime

NAMES = ("sat", "edge", "cloud")
SETTINGS = {"SKYLARK_PEER_CONNECT_TIMEOUT_MS": "500", "SKYLARK_PEER_TIMEOUT_MS": "1500"}
KEEPS = {"edge": {"SKYLARK_KEEP_FETCHED": "true"}}
LARGE_BYTES = 12_000_000

SOURCE = textwrap.dedent(
    '''
    """A counter that several functions share: a bundle of its own, named by the body."""

    import json

    import skylark


    @skylark.function
    def bump(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        earlier = ctx.state.fetch(bytes(ctx.request.body).decode())
        number = str(int(bytes(earlier["f"])) + 1).encode()
        ctx.state.store({"f": number}, key=earlier.key, expected_version=earlier.version)
        return {"passed": number}


    @skylark.function
    def look(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
        found = ctx.state.fetch(bytes(ctx.request.body).decode())
        return skylark.Response(bytes(found["f"]), "text/plain")


    @skylark.function(needs=[])
    def glance(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
        return look(bundle, ctx)


    @skylark.function(needs=[])
    def rest(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"rested": b""}


    @skylark.function
    def drop(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"dropped": str(ctx.state.delete(bytes(ctx.request.body).decode())).encode()}


    @skylark.function
    def replace(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
        wanted = json.loads(bytes(ctx.request.body))
        earlier = ctx.state.fetch(wanted["key"])
        stored = ctx.state.store(
            {"f": wanted["text"].encode()}, key=earlier.key, expected_version=wanted["version"]
        )
        return skylark.Response(str(stored.version).encode(), "text/plain")
    '''
)


@pytest.fixture(scope="module")
def counters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the functions that count."""
    folder = tmp_path_factory.mktemp("counters")
    (folder / "counters.py").write_text(SOURCE)
    build(folder / "counters.py", folder / "counters.wasm", Config.load({}).cache_dir / "components")
    return folder


@pytest.fixture(scope="module")
def running(counters: Path) -> Iterator[tuple[Nodes, Relays]]:
    """The nodes and their links, for all tests that leave the nodes alive."""
    topology = line(*NAMES)
    with run_relayed(topology, functions=counters, settings=SETTINGS, of_node=KEEPS) as nodes_and_relays:
        yield nodes_and_relays


@pytest.fixture
def trio(running: tuple[Nodes, Relays]) -> Iterator[Nodes]:
    """The nodes; their links work again afterwards."""
    yield running[0]
    heal(running[1])


@pytest.fixture
def links(running: tuple[Nodes, Relays]) -> Relays:
    """The links."""
    return running[1]


def heal(links: Relays) -> None:
    for relay in links.all():
        relay.heal()
        relay.set_speed(0.0, 10_000.0)


def body(text: str | bytes) -> bytes:
    return b"".join(wire.encode({"f": text if isinstance(text, bytes) else text.encode()}))


def put(
    node: LiveNode, key: str, text: str | bytes, *, over: int | None = None, status: int = 200, **query: Any
) -> httpx.Response:
    """Writes, if `over` is given over this version only (0: if there is none)."""
    condition = {} if over is None else {"If-Match": f'"{over}"'} if over else {"If-None-Match": "*"}
    answer = node.http.put(f"/bundles/{key}", content=body(text), params=query, headers=condition)
    assert answer.status_code == status, answer.text
    return answer


def get(node: LiveNode, key: str, status: int = 200, **query: str) -> httpx.Response:
    answer = node.http.get(f"/bundles/{key}", params=query)
    assert answer.status_code == status, answer.text
    return answer


def delete(node: LiveNode, key: str, status: int = 204) -> httpx.Response:
    answer = node.http.delete(f"/bundles/{key}")
    assert answer.status_code == status, answer.text
    return answer


def version(answer: httpx.Response) -> int:
    return int(answer.headers["etag"].strip('"'))


def text(answer: httpx.Response) -> str:
    return bytes(wire.decode(answer.content)["f"]).decode()


def held(node: LiveNode, key: str) -> str | None:
    """What a node itself has of the bundle of the owner that the key names."""
    fields = node.held_of(key)
    return None if fields is None else fields["f"].decode()


def settle(nodes: Nodes) -> None:
    """Returns once no node has anything left to tell another one."""
    wait_for(
        lambda: all(node.behind() == [] for node in nodes.values()),
        "every holder of a copy knows the present version",
        60,
    )


def peer_headers(owner: str, content: bytes, known: int) -> dict[str, str]:
    """The headers of a write as another node sends it, which knew of a version when it began."""
    meta = Metadata("sat", 1, bundle_http.checksum({"f": content}), "0123456789abcdef-1")
    return bundle_http.meta_headers(meta) | {bundle_http.OWNER: owner, bundle_http.KNOWN: str(known)}


def put_copy(node: LiveNode, key: str, version: int) -> None:
    """Put a copy at a node, of which the owner does not know."""
    owned, content = StateKey.parse(key), b"0"
    meta = Metadata(str(owned.node), 1, bundle_http.checksum({"f": content}), "0123456789abcdef-2")
    headers = {bundle_http.OWNER: str(owned.node), bundle_http.VERSION: str(version)} | bundle_http.meta_headers(meta)
    path = f"/bundles/{owned.at(node.node.name)}?scope=local"
    assert node.http.put(path, content=body(content), headers=headers).status_code == 200


class TestLateWrites:
    """What was held up on its way and given up does not come over what was acknowledged after that."""

    @pytest.mark.parametrize("late", ["PUT", "DELETE"])
    @pytest.mark.parametrize("then", ["PUT", "DELETE"])
    def test_over_a_stalled_link(self, trio: Nodes, links: Relays, chain: str, late: str, then: str) -> None:
        """A write or deletion that its sender gave up arrives when the link is healed, and changes nothing."""
        check_late(trio, links, chain, late, then)

    @pytest.mark.parametrize("late", ["PUT", "DELETE"])
    def test_right_after_the_start(self, chain: str, late: str) -> None:
        """Nodes that have never talked to each other, or were just started anew, are as safe as any."""
        with run_relayed(line(*NAMES), settings=SETTINGS) as (nodes, links):
            check_late(nodes, links, f"{chain}-new", late, "PUT", rounds=1)
            for node in nodes.values():
                node.kill()
            for node in nodes.values():
                node.restart()
            check_late(nodes, links, f"{chain}-again", late, "PUT", rounds=1)

    def test_a_request_that_arrives_late(self, trio: Nodes, chain: str) -> None:
        """A node's write that knows of an older version than there is is refused, whatever the clocks say."""
        cloud, key = trio["cloud"], f"{chain}:cloud:t1"
        path, local = f"/bundles/{key}", {"scope": "local"}
        first = version(put(cloud, key, "first"))
        second = version(put(cloud, key, "second"))
        for known in (0, first):
            given = peer_headers("cloud", b"late", known)
            late = cloud.http.put(path, params=local, content=body("late"), headers=given)
            assert check_error(late, 409, "superseded")["actual"] == second
            late = cloud.http.delete(path, params=local, headers={bundle_http.KNOWN: str(known)})
            check_error(late, 409, "superseded", str(second))
        delete(cloud, key)
        given = peer_headers("cloud", b"late", second)
        late = cloud.http.put(path, params=local, content=body("late"), headers=given)
        check_error(late, 409, "superseded")
        get(cloud, key, 404)

    def test_a_write_that_went_elsewhere(self, trio: Nodes, links: Relays, chain: str) -> None:
        """The elected node does not carry out a write that was stored elsewhere after it did not answer."""
        sat, edge = trio["sat"], trio["edge"]
        links.between("sat", "edge").black_hole()
        placed = put(sat, f"{chain}:t1", "1", destination="edge").json()
        assert (placed["key"], [one["node"] for one in placed["failed"]]) == (f"{chain}:sat:t1", ["edge"])
        links.between("sat", "edge").heal()
        settle(trio)
        assert edge.held(chain) == [f"{chain}:sat:t1"]
        delete(sat, placed["key"])
        settle(trio)
        assert [node.held(chain) for node in trio.values()] == [[], [], []]


def check_late(nodes: Nodes, links: Relays, chain: str, late: str, then: str, rounds: int = 3) -> None:
    """Has sat send something to cloud that is held up, and edge something after that."""
    relay, content = links.between("sat", "cloud"), body("old" * 1000)
    for number in range(rounds):
        key = f"{chain}:cloud:t{number}"
        put(nodes["edge"], key, "first")
        relay.black_hole()
        before = relay.carried_bytes("cloud")
        given_up = nodes["sat"].http.request(late, f"/bundles/{key}", content=content if late == "PUT" else None)
        check_error(given_up, 504, "timed-out", "cloud")
        if then == "PUT":
            put(nodes["edge"], key, "new")
        else:
            delete(nodes["edge"], key)
        relay.heal()
        expected = len(content) if late == "PUT" else 1
        wait_for(lambda: relay.carried_bytes("cloud") >= before + expected, "what was held up has arrived")  # noqa: B023
        for name, _ in itertools.product(NAMES, range(5)):
            answer = nodes[name].http.get(f"/bundles/{key}")
            assert (answer.status_code, answer.content) in ((200, body("new")), (404, answer.content))
            assert (answer.status_code == 200) == (then == "PUT")


WAYS = ("ack=local", "replicate", "keep_fetched", "keep_fetched of any owner")


def spread(nodes: Nodes, chain: str, way: str) -> tuple[str, int, LiveNode, LiveNode]:
    """Makes a bundle of which another node has a copy; returns its key, its version, its owner and that node."""
    if way == "ack=local":
        owner, holder = nodes["sat"], nodes["edge"]
        made = put(owner, f"{chain}:t1", "1", ack="local", destination="edge", policy="stateless")
    elif way == "replicate":
        owner, holder = nodes["sat"], nodes["cloud"]
        made = put(owner, f"{chain}:sat:t1", "1", replicate="true")
    else:
        owner, holder = nodes["cloud"], nodes["edge"]
        made = put(owner, f"{chain}:cloud:t1", "1")
        get(holder, f"{chain}:t1" if "any owner" in way else f"{chain}:cloud:t1")
    key: str = made.json()["key"]
    wait_for(lambda: held(holder, key) == "1", "the copy is there")
    return key, version(made), owner, holder


@pytest.mark.parametrize("way", WAYS)
class TestCopies:
    """Copies are renewed or dropped by their owner, and decide nothing."""

    def test_the_owner_has_a_new_version(self, trio: Nodes, chain: str, way: str) -> None:
        """A copy is renewed, or dropped, when its owner's bundle is changed, and dropped when that is deleted."""
        key, first, owner, holder = spread(trio, chain, way)
        second = version(put(owner, key, "2", over=first))
        wait_for(lambda: held(holder, key) == (None if "keep_fetched" in way else "2"), "the copy is of now")
        assert (text(get(holder, key)), version(get(holder, key))) == ("2", second)
        delete(owner, key)
        settle(trio)
        assert held(holder, key) is None
        for node in trio.values():
            get(node, key, 404)

    def test_the_owner_cannot_reach_the_copy(self, trio: Nodes, links: Relays, chain: str, way: str) -> None:
        """A copy that its owner cannot renew says how old it is, and is renewed or dropped once the link is back."""
        key, first, owner, holder = spread(trio, chain, way)
        link = links.between(owner.node.name, holder.node.name)
        link.cut()
        put(owner, key, "2")
        old = get(holder, key)
        assert (text(old), version(old), old.headers["skylark-key"]) == ("1", first, key)
        assert old.headers["skylark-owner"] == owner.node.name
        assert int(old.headers["skylark-age-ms"]) >= 1000 * int(old.headers["age"])
        link.heal()
        wait_for(lambda: held(holder, key) in (None, "2"), "the copy is of now")
        assert text(get(holder, key)) == "2"

    @pytest.mark.parametrize("then", ["PUT", "DELETE"])
    def test_the_owner_was_killed(self, trio: Nodes, links: Relays, chain: str, way: str, then: str) -> None:
        """An owner that is killed before it could renew or drop a copy does so after its next start."""
        key, _, owner, holder = spread(trio, chain, way)
        link = links.between(owner.node.name, holder.node.name)
        link.cut()
        if then == "PUT":
            put(owner, key, "2")
        else:
            delete(owner, key)
        owner.kill()
        link.heal()
        owner.restart()
        settle(trio)
        assert held(holder, key) in ((None, "2") if then == "PUT" else (None,))
        found = get(holder, key, 200 if then == "PUT" else 404)
        assert then == "DELETE" or text(found) == "2"

    def test_a_deletion_by_a_node_with_a_copy(self, trio: Nodes, chain: str, way: str) -> None:
        """A deletion at a node with a copy, of a key without a node, is one of the owner's bundle."""
        key, _, owner, holder = spread(trio, chain, way)
        delete(holder, f"{chain}:t1")
        for node in (holder, owner):
            get(node, key, 404)
            get(node, f"{chain}:t1", 404)
        settle(trio)
        assert [node.held(chain) for node in trio.values()] == [[], [], []]

    def test_a_condition_through_a_node_with_a_copy(self, trio: Nodes, chain: str, way: str) -> None:
        """The owner decides a conditional write that comes by way of a copy, where the new version is read then."""
        key, first, owner, holder = spread(trio, chain, way)
        second = version(put(holder, key, "2", over=first))
        assert second > first
        found = get(holder, key)
        assert (text(found), version(found)) == ("2", second)
        assert text(get(owner, key)) == "2"
        for node in trio.values():
            assert check_error(put(node, key, "3", over=first, status=409), 409, "conflict")["actual"] == second
        assert text(get(holder, key)) == "2"

    def test_two_conditions_at_once(self, trio: Nodes, chain: str, way: str) -> None:
        """Of two writers over the same version, at the owner and at a copy, exactly one succeeds."""
        key, known, owner, holder = spread(trio, chain, way)
        for _ in range(5):
            condition = {"If-Match": f'"{known}"'}
            answers = at_once(
                lambda: owner.http.put(f"/bundles/{key}", content=body("2"), headers=condition),  # noqa: B023
                lambda: holder.http.put(f"/bundles/{key}", content=body("2"), headers=condition),  # noqa: B023
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            known = next(version(answer) for answer in answers if answer.status_code == 200)

    def test_a_loop_of_reading_and_writing(self, trio: Nodes, chain: str, way: str) -> None:
        """Increments at a copy and at the owner, each repeated until it succeeds, end, and each of them counts."""
        key, _, owner, holder = spread(trio, chain, way)

        def increment(node: LiveNode) -> int:
            tries = 0
            for _ in range(10):
                while True:
                    tries += 1
                    assert tries < 500, "the loop does not end"
                    found = get(node, key)
                    condition = {"If-Match": found.headers["etag"]}
                    content = body(str(int(text(found)) + 1))
                    answer = node.http.put(f"/bundles/{key}", content=content, headers=condition)
                    if answer.status_code == 200:
                        break
                    check_error(answer, 409, "conflict")
            return tries

        at_once(lambda: increment(owner), lambda: increment(holder))
        assert [text(get(node, key)) for node in (owner, holder)] == ["21", "21"]

    def test_a_loop_after_a_change_elsewhere(self, trio: Nodes, chain: str, way: str) -> None:
        """A writer at a copy that was refused reads the version that its refusal named, at the next try."""
        key, first, owner, holder = spread(trio, chain, way)
        for number in range(5):
            latest = version(put(owner, key, str(10 * number)))
            check_error(put(holder, key, "0", over=first, status=409), 409, "conflict")
            found = get(holder, key)
            assert (text(found), version(found)) == (str(10 * number), latest)
            first = version(put(holder, key, "1", over=latest))

    def test_functions_over_one_version(self, trio: Nodes, chain: str, way: str) -> None:
        """Of two functions at a copy that replace the version they fetched, exactly one is acknowledged."""
        key, first, owner, holder = spread(trio, chain, way)
        order = json.dumps({"key": key, "version": first, "text": "2"}).encode()
        answers = [holder.http.post("/functions/replace", params={"chain": chain}, content=order) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 409]
        check_error(answers[1], 409, "conflict")
        assert version(get(owner, key)) == int(answers[0].text)

    def test_functions_that_count(self, trio: Nodes, chain: str, way: str) -> None:
        """As many increments of functions at a copy and at the owner are acknowledged as the counter shows."""
        key, _, owner, holder = spread(trio, chain, way)

        def count(node: LiveNode) -> int:
            answers = [
                node.http.post("/functions/bump", params={"chain": chain}, content=key.encode()) for _ in range(6)
            ]
            assert {answer.status_code for answer in answers} <= {200, 409}
            return sum(answer.status_code == 200 for answer in answers)

        acknowledged = sum(at_once(lambda: count(owner), lambda: count(holder)))
        assert acknowledged >= 1
        assert [text(get(node, key)) for node in (owner, holder)] == [str(1 + acknowledged)] * 2


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Makes calls in threads, begun together, and returns what they return."""
    barrier = threading.Barrier(len(calls))

    def call(number: int) -> Any:
        barrier.wait(20)
        return calls[number]()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, range(len(calls))))


class TestDeletions:
    """What was deleted does not come back."""

    @pytest.mark.parametrize("by", NAMES)
    def test_a_bundle_with_an_older_copy(self, trio: Nodes, chain: str, by: str) -> None:
        """A bundle whose first version was copied, and whose second was not asked to be, is gone at every node."""
        key = f"{chain}:sat:t1"
        put(trio["sat"], key, "1", replicate="true")
        settle(trio)
        put(trio["sat"], key, "2")
        delete(trio[by], key)
        get(trio[by], key, 404)
        settle(trio)
        for node in trio.values():
            get(node, key, 404)
            get(node, f"{chain}:t1", 404)
            assert held(node, key) is None

    def test_while_the_copy_cannot_be_reached(self, trio: Nodes, links: Relays, chain: str) -> None:
        """Who can ask the owner is given no copy of what it has deleted; the copy goes once the link is back."""
        key = f"{chain}:sat:t1"
        put(trio["sat"], key, "1", replicate="true")
        settle(trio)
        links.between("sat", "cloud").cut()
        put(trio["sat"], key, "2")
        delete(trio["edge"], key)
        for name in ("sat", "edge"):
            get(trio[name], key, 404)
        links.between("sat", "edge").cut()
        assert check_error(get(trio["edge"], key, 503), 503, "unavailable")["retryable"] is True
        heal(links)
        settle(trio)
        for node in trio.values():
            get(node, key, 404)
            assert held(node, key) is None

    @pytest.mark.parametrize("then", ["PUT", "DELETE"])
    def test_a_late_copy(self, trio: Nodes, chain: str, then: str) -> None:
        """A copy that arrives after its bundle was replaced or deleted is not taken."""
        key = f"{chain}:sat:t1"
        first = version(put(trio["sat"], key, "1", replicate="true"))
        settle(trio)
        if then == "PUT":
            put(trio["sat"], key, "2")
        else:
            delete(trio["sat"], key)
        settle(trio)
        given = peer_headers("sat", b"1", 0) | {bundle_http.VERSION: str(first)}
        path = f"/bundles/{chain}:cloud:t1"
        late = trio["cloud"].http.put(path, params={"scope": "local"}, content=body("1"), headers=given)
        check_error(late, 409, "superseded")
        assert held(trio["cloud"], key) == ("2" if then == "PUT" else None)

    def test_a_large_bundle_that_is_under_way(self, trio: Nodes, links: Relays, chain: str) -> None:
        """Twelve megabytes that are deleted while they travel, under other traffic, are nowhere afterwards."""
        for name in ("edge", "cloud"):
            links.between("sat", name).set_speed(1.0, 100.0)
        ended = threading.Event()

        def traffic() -> int:
            for number in itertools.count():
                if ended.is_set():
                    return number
                put(trio["sat"], f"{chain}:o{number}", "other", ack="local", destination="edge", replicate="true")
            return 0

        with ThreadPoolExecutor(2) as pool:
            others = [pool.submit(traffic), pool.submit(traffic)]
            try:
                for number in range(3):
                    reached = {name: links.between("sat", name).carried_bytes(name) for name in ("edge", "cloud")}
                    query: dict[str, Any] = {
                        "ack": "local",
                        "replicate": "true",
                        "destination": "edge",
                        "policy": "stateless",
                    }
                    key = put(trio["sat"], f"{chain}:large{number}", bytes(LARGE_BYTES), **query).json()["key"]

                    def is_under_way() -> bool:
                        return any(
                            links.between("sat", name).carried_bytes(name) > before + LARGE_BYTES // 4
                            for name, before in reached.items()  # noqa: B023
                        )

                    wait_for(is_under_way, "a good part has been sent")
                    delete(trio["sat"], key)
            finally:
                ended.set()
            assert all(other.result(60) > 0 for other in others)
        heal(links)
        settle(trio)
        for node, number in itertools.product(trio.values(), range(3)):
            get(node, f"{chain}:sat:large{number}", 404)
            assert held(node, f"{chain}:sat:large{number}") is None


@pytest.mark.parametrize("by", ["DELETE", "expiry", "expiry of a copied one"])
class TestVersions:
    """Versions rise for ever."""

    def end(self, nodes: Nodes, key: str, by: str) -> int:
        """Makes a bundle, has it end, and returns its version."""
        ttl: dict[str, Any] = {} if by == "DELETE" else {"ttl_ms": "300"}
        copied: dict[str, Any] = {"replicate": "true"} if "copied" in by else {}
        first = version(put(nodes["sat"], key, "1", **ttl, **copied))
        if by == "DELETE":
            delete(nodes["sat"], key)
        wait_for(lambda: nodes["sat"].http.head(f"/bundles/{key}").status_code == 404, "it has ended")
        return first

    def test_after_its_end(self, trio: Nodes, chain: str, by: str) -> None:
        """A bundle that is made again has a higher version and another ETag, and no condition on the old one holds."""
        key = f"{chain}:sat:t1"
        first = self.end(trio, key, by)
        for node in trio.values():
            put(node, key, "over the old one", over=first, status=409)
        again = version(put(trio["sat"], key, "2", over=0))
        assert again > first
        for node in trio.values():
            check_error(put(node, key, "over the old one", over=first, status=409), 409, "conflict", str(again))
            stale = node.http.delete(f"/bundles/{key}", headers={"If-Match": f'"{first}"'})
            check_error(stale, 409, "conflict", str(again))
        assert (text(get(trio["edge"], key)), version(get(trio["edge"], key))) == ("2", again)

    def test_a_copy_of_what_was_made_again(self, trio: Nodes, chain: str, by: str) -> None:
        """The copy of a bundle that is made again is taken, and not held for an older one."""
        key = f"{chain}:sat:t1"
        self.end(trio, key, by)
        again = version(put(trio["sat"], key, "2", replicate="true"))
        settle(trio)
        assert held(trio["cloud"], key) == "2"
        assert version(get(trio["cloud"], key)) == again

    def test_after_a_crash(self, chain: str, by: str) -> None:
        """A node that was killed in between gives higher versions still."""
        with run_nodes(line(*NAMES[:1], "cloud"), settings=SETTINGS) as nodes:
            key = f"{chain}:sat:t1"
            first = self.end(nodes, key, by)
            nodes["sat"].kill()
            nodes["sat"].restart()
            put(nodes["sat"], key, "over the old one", over=first, status=409)
            assert version(put(nodes["sat"], key, "2")) > first


class TestSessions:
    """Whoever has seen a version is never given an older one."""

    @pytest.fixture
    def behind(self, trio: Nodes, links: Relays, chain: str) -> tuple[str, int, int]:
        """A bundle of sat, of which cloud has the first version only, until its link to sat is healed; edge has
        seen nothing."""
        key = f"{chain}:sat:t1"
        first = version(put(trio["sat"], key, "1", replicate="true"))
        settle(trio)
        links.between("sat", "cloud").cut()
        return key, first, version(put(trio["sat"], key, "2"))

    @pytest.mark.parametrize("seen_by", ["PUT", "PUT If-Match", "GET", "HEAD", "DELETE", "409"])
    def test_through_one_node(self, trio: Nodes, links: Relays, behind: tuple[str, int, int], seen_by: str) -> None:
        """A node through which a version was read or written answers 503 rather than give an older copy."""
        (key, first, latest), edge = behind, trio["edge"]
        condition = {"PUT If-Match": {"If-Match": f'"{latest}"'}, "409": {"If-Match": f'"{first}"'}}.get(seen_by, {})
        method = {"PUT If-Match": "PUT", "409": "PUT"}.get(seen_by, seen_by)
        content = body("3") if method == "PUT" else None
        query = {"fields": "f"} if seen_by == "GET" else {}  # a part is not kept here
        answer = edge.http.request(method, f"/bundles/{key}", params=query, headers=condition, content=content)
        assert answer.status_code == {"DELETE": 204, "409": 409}.get(seen_by, 200), answer.text
        links.between("sat", "edge").cut()
        for read in ("nearest", "latest", "owner"):
            error = check_error(get(edge, key, 503, read=read), 503, "unavailable")
            assert error["retryable"] is True
            assert edge.http.head(f"/bundles/{key}", params={"read": read}).status_code == 503
        assert text(get(trio["cloud"], key)) == "1"
        heal(links)
        expected = {"GET": "2", "HEAD": "2", "409": "2", "DELETE": None}.get(seen_by, "3")
        found = get(edge, key, 404 if expected is None else 200)
        assert expected is None or (text(found), version(found) >= latest) == (expected, True)

    def test_who_has_seen_nothing(self, trio: Nodes, links: Relays, behind: tuple[str, int, int]) -> None:
        """A reader that has seen nothing is given the copy that can be reached, with its owner and its age."""
        key, first, _ = behind
        links.between("sat", "edge").cut()
        found = get(trio["edge"], key)
        assert (text(found), version(found), found.headers["skylark-served-by"]) == ("1", first, "cloud")
        assert found.headers["skylark-owner"] == "sat"
        assert int(found.headers["skylark-age-ms"]) > 0

    def test_the_version_that_a_reader_brings(self, trio: Nodes, links: Relays, behind: tuple[str, int, int]) -> None:
        """With `min_version` no node gives an older version than that, whatever it has itself seen."""
        key, first, latest = behind
        cloud = trio["cloud"]
        check_error(get(cloud, key, 503, min_version=str(latest)), 503, "unavailable", str(first), str(latest))
        assert cloud.http.head(f"/bundles/{key}", params={"min_version": str(latest)}).status_code == 503
        assert text(get(cloud, key, min_version=str(first))) == "1"
        assert text(get(trio["edge"], key, min_version=str(latest))) == "2"
        links.between("sat", "cloud").heal()
        assert text(get(cloud, key, min_version=str(latest))) == "2"

    def test_the_version_of_a_deletion(self, trio: Nodes, links: Relays, behind: tuple[str, int, int]) -> None:
        """A deletion has a version too: who brings it is not given the copy of what was deleted."""
        key, _, latest = behind
        deleted = int(delete(trio["edge"], key).headers["skylark-deleted-version"])
        assert deleted > latest
        assert text(get(trio["cloud"], key)) == "1"
        check_error(get(trio["cloud"], key, 503, min_version=str(deleted)), 503, "unavailable")
        links.between("sat", "cloud").heal()
        get(trio["cloud"], key, 404, min_version=str(deleted))
        again = delete(trio["edge"], key, 404)
        assert int(again.headers["skylark-deleted-version"]) == deleted

    @pytest.mark.parametrize("reader", ["edge", "cloud"])
    def test_the_latest_while_the_owner_is_away(
        self, trio: Nodes, links: Relays, behind: tuple[str, int, int], reader: str
    ) -> None:
        """A copy in place of the owner's bundle says that its owner could not be asked, and how old it is."""
        key, _, latest = behind
        if reader == "edge":
            fresh = get(trio[reader], key, read="latest", fields="f")
            assert (text(fresh), "skylark-stale" in fresh.headers) == ("2", False)
            links.between("sat", "cloud").heal()
            settle(trio)
        links.between("sat", reader).cut()
        found = get(trio[reader], key, read="latest")
        assert found.headers["skylark-stale"] == "owner-unreachable"
        assert text(found) == ("2" if reader == "edge" else "1")
        assert int(found.headers["skylark-age-ms"]) >= 0
        assert "age" in found.headers
        head = trio[reader].http.head(f"/bundles/{key}", params={"read": "latest"})
        assert (head.status_code, head.headers["skylark-stale"]) == (200, "owner-unreachable")
        check_error(get(trio[reader], key, 503, read="owner"), 503, "unavailable", "sat")
        heal(links)
        for read in ("latest", "owner"):
            found = get(trio[reader], key, read=read)
            assert (version(found), "skylark-stale" in found.headers) == (latest, False)

    def test_functions_at_one_node(self, trio: Nodes, links: Relays, chain: str, behind: tuple[str, int, int]) -> None:
        """A function is not given an older version than clients and functions have seen at its node."""
        (key, *_), edge = behind, trio["edge"]

        def look() -> httpx.Response:
            return edge.http.post("/functions/look", params={"chain": chain}, content=key.encode())

        assert edge.http.head(f"/bundles/{key}").status_code == 200
        links.between("sat", "edge").cut()
        check_error(look(), 503, "unavailable")
        heal(links)
        assert look().text == "2"


Step = Callable[..., httpx.Response]
"""Runs a function at a node: `step("sat", "bump", "c:cloud:counter", chain="c")`."""


@pytest.fixture(scope="module", params=["hosted", "http"])
def step(
    request: pytest.FixtureRequest,
    running: tuple[Nodes, Relays],
    counters: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Step]:
    """The functions as nodes run them, and as servers of their own whose state is at these nodes."""
    nodes, _ = running
    with contextlib.ExitStack() as stack:
        called = {name: nodes[name].http for name in ("sat", "edge")}
        if request.param == "http":
            component = tmp_path_factory.mktemp("served") / "counters.wasm"
            cache = Config.load({}).cache_dir / "components"
            build(counters / "counters.py", component, cache, target=Target.HTTP)
            for name in called:
                served = serve_wasmtime(component, {"SKYLARK_PROXY_URL": nodes[name].url})
                called[name] = stack.enter_context(served).http

        def run(node: str, function: str, counter: str, **query: str) -> httpx.Response:
            return called[node].post(f"/functions/{function}", params=query, content=counter.encode())

        yield run


class TestChains:
    """The next function of a chain sees what the ones before it have seen, however they are run."""

    @pytest.mark.parametrize("destination", ["edge", "sat"])
    def test_a_counter_at_the_next_node(self, trio: Nodes, step: Step, chain: str, destination: str) -> None:
        """A counter that one step increments at sat is seen by the next step at edge, which has an older copy."""
        counter = f"{chain}:cloud:counter"
        put(trio["cloud"], counter, "0")
        query: dict[str, str] = {"chain": chain}
        for number in range(1, 6):
            assert int(text(get(trio["edge"], counter))) == number - 1
            made = step("sat", "bump", counter, **query, destination=destination)
            assert made.status_code == 200, made.text
            query = {"key": made.json()["key"]}
            assert step("edge", "look", counter, **query).text == str(number)

    def test_after_a_step_that_does_not_look(self, trio: Nodes, links: Relays, step: Step, chain: str) -> None:
        """A step that needs nothing of its predecessor is held to what the chain has seen, and passes it on."""
        counter = f"{chain}:cloud:counter"
        put(trio["cloud"], counter, "0")
        assert text(get(trio["edge"], counter)) == "0"
        links.between("edge", "cloud").cut()
        key = step("sat", "bump", counter, chain=chain, destination="sat").json()["key"]
        rested = step("sat", "rest", "", key=key, destination="edge").json()["key"]
        assert held(trio["edge"], counter) == "0"
        check_error(step("edge", "glance", counter, key=rested), 503, "unavailable")
        links.between("edge", "cloud").heal()
        assert step("edge", "glance", counter, key=rested).text == "1"

    @pytest.mark.parametrize("named", ["{}:cloud:counter", "{}:counter"])
    def test_a_deletion(self, trio: Nodes, links: Relays, step: Step, chain: str, named: str) -> None:
        """What a step has deleted, by whichever key, no later step is given, although a copy is at its node."""
        counter = f"{chain}:cloud:counter"
        put(trio["cloud"], counter, "0")
        assert text(get(trio["edge"], counter)) == "0"
        put_copy(trio["sat"], counter, version(get(trio["cloud"], counter)))
        links.between("edge", "cloud").cut()
        key = step("sat", "drop", named.format(chain), chain=chain, destination="edge").json()["key"]
        assert held(trio["edge"], counter) == "0"
        check_error(step("edge", "look", counter, key=key), 503, "unavailable")
        links.between("edge", "cloud").heal()
        check_error(step("edge", "look", counter, key=key), 404, "not-found")

    def test_while_the_owner_is_away(self, trio: Nodes, links: Relays, step: Step, chain: str) -> None:
        """The next step fails, and may be tried again, where only an older version of the counter can be had."""
        counter = f"{chain}:cloud:counter"
        put(trio["cloud"], counter, "0")
        assert text(get(trio["edge"], counter)) == "0"
        links.between("edge", "cloud").cut()
        assert held(trio["edge"], counter) == "0"
        made = step("sat", "bump", counter, chain=chain, destination="edge")
        key = StateKey.parse(made.json()["key"])
        failed = step("edge", "look", counter, key=str(key))
        assert check_error(failed, 503, "unavailable")["retryable"] is True
        links.between("edge", "cloud").heal()
        assert step("edge", "look", counter, key=str(key)).text == "1"
