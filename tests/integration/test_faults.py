"""The fault suite: chains run while parts of the continuum fail at random, and nothing acknowledged is ever lost.

`SKYLARK_FAULT_SECONDS` says for how long (35 if absent), `SKYLARK_FAULT_SEED` repeats the choices of a run.
"""

import binascii
import itertools
import json
import os
import random
import signal
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from continuum import LiveNode, Nodes, line, run_nodes
from relay import Relay, Relays, run_relayed
from schedules.checker import Checker, Violation
from servers import wait_for
from skylark import wire
from skylark_proxy.build import build
from skylark_proxy.client import Answer, ProxyClient, ProxyError
from skylark_proxy.config import Config
from skylark_proxy.model import Ack, Read, StateKey

SECONDS = float(os.environ.get("SKYLARK_FAULT_SECONDS", "35"))
SEED = int(os.environ.get("SKYLARK_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
NODES = ("sat1", "sat2", "edge", "cloud")
SETTINGS = {
    "SKYLARK_PEER_CONNECT_TIMEOUT_MS": "500",
    "SKYLARK_PEER_TIMEOUT_MS": "1500",
    "SKYLARK_ARRIVAL_WAIT_MS": "2000",
}
SHIFTED = Path(__file__).parents[1] / "shifted_clock"
CLOCKS_S = {"sat1": "-300", "edge": "420"}
"""Nodes whose clocks are wrong."""

WORKERS = 4
ROVERS = 2
INJECTORS = 3
ATTEMPTS = 8
LARGEST_BYTES = 2 << 20
DRAIN_S = 90.0

SOURCE = textwrap.dedent(
    '''
    """A function whose state can be foretold, and one that fills its memory."""

    import binascii
    import json
    import random

    import skylark


    @skylark.function
    def grow(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        wanted = json.loads(bytes(ctx.request.body))
        before = 0
        for name in sorted(bundle):
            before = binascii.crc32(bytes(bundle[name]), binascii.crc32(name.encode(), before))
        return {"f": random.Random(wanted["seed"]).randbytes(wanted["size"]), "before": str(before).encode()}


    @skylark.function
    def fill(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    '''
)
MANIFEST = "ready = 1\n[limits]\ndeadline_ms = 15000\nmemory_bytes = 128000000\n"


@dataclass(frozen=True)
class Contents:
    """A bundle's fields, by what they are made from."""

    seed: int
    size_bytes: int
    before: int
    """The checksum of the bundle before it in the chain."""

    @property
    def fields(self) -> dict[str, bytes]:
        return {"f": random.Random(self.seed).randbytes(self.size_bytes), "before": str(self.before).encode()}

    @property
    def checksum(self) -> int:
        value = 0
        for name, data in sorted(self.fields.items()):
            value = binascii.crc32(data, binascii.crc32(name.encode(), value))
        return value


@dataclass(frozen=True)
class Acknowledged:
    """A bundle that was acknowledged, and the nodes that were promised to get a copy."""

    key: str
    contents: Contents
    copies: tuple[str, ...]
    ack: str
    how: str


@dataclass
class Ledger:
    """What was acknowledged, and what happened. Safe for threads."""

    kept: list[Acknowledged] = field(default_factory=list)
    deleted: list[Acknowledged] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, kind: str, number: int = 1) -> None:
        with self.lock:
            self.counts.setdefault(what, Counter())[kind] += number

    def add(self, done: Acknowledged) -> None:
        with self.lock:
            self.kept.append(done)
        self.count("acknowledged", f"{done.how} {done.ack}")

    def found(self, what: str) -> None:
        """Something that must not be."""
        with self.lock:
            self.wrong.append(what)

    def lines(self) -> Iterator[str]:
        for what, counter in sorted(self.counts.items()):
            kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(counter.items()))
            yield f"  {what}: {sum(counter.values())} ({kinds})"


@dataclass
class Worker:
    """Runs one chain after the other: each task at a random node, stored with a random level, read by the next."""

    urls: Mapping[str, str]
    ledger: Ledger
    rng: random.Random
    stop: threading.Event

    def __post_init__(self) -> None:
        self.clients = {name: ProxyClient(url, 20.0) for name, url in self.urls.items()}

    def run(self) -> None:
        while not self.stop.is_set():
            self.chain(f"chain-{self.rng.getrandbits(64):016x}")

    def chain(self, chain: str) -> None:
        before: Acknowledged | None = None
        done = []
        for number in range(self.rng.randint(3, 5)):
            act = self.function if self.rng.random() < 0.3 else self.put
            after = self.attempt(lambda: act(chain, f"t{number}", before))  # noqa: B023
            if after is None:
                self.ledger.count("chains", "given up")
                return
            self.ledger.add(after)
            self.read(after)
            done.append(after)
            before = after
        self.ledger.count("chains", "done")
        if self.rng.random() < 0.3:
            self.delete(self.rng.choice(done[:-1]))

    def attempt(self, act: Callable[[], Acknowledged]) -> Acknowledged | None:
        self.failures = 0
        while self.failures < ATTEMPTS and not self.stop.is_set():
            try:
                return act()
            except ProxyError as error:
                self.refused("store", error)
                self.failures += 1
                self.stop.wait(self.rng.uniform(0.1, 0.6))
        return None

    def refused(self, what: str, error: ProxyError) -> None:
        code = str(error.details.get("code", error.status or "no answer"))
        self.ledger.count(f"refused: {what}", code)
        if code == "internal" or (error.status is not None and not error.details):
            self.ledger.found(f"{what}: {error.status} {error}")

    def contents(self, before: Acknowledged | None) -> Contents:
        size_bytes = int(1000 * (LARGEST_BYTES / 1000) ** self.rng.random())
        return Contents(self.rng.getrandbits(32), size_bytes, before.contents.checksum if before else 0)

    def choices(self) -> dict[str, str]:
        return {
            "ack": self.rng.choice(list(Ack)),
            "destination": self.rng.choice(NODES),
            "policy": self.rng.choice(["skylark", "skylark", "stateless", "random"]),
        }

    def put(self, chain: str, task: str, before: Acknowledged | None) -> Acknowledged:
        contents, query = self.contents(before), self.choices()
        query["replicate"] = self.rng.choice(["true", "false"])
        node = self.rng.choice(NODES)
        key = f"{chain}:{task}.{contents.seed}"  # another one at each attempt, as its contents are others
        placed = self.clients[node].put_bundle(key, contents.fields, **query)
        return self.acknowledged(placed, contents, query, "put")

    def function(self, chain: str, _task: str, before: Acknowledged | None) -> Acknowledged:
        contents, query = self.contents(before), self.choices()
        node = self.rng.choice(NODES)
        body = json.dumps({"seed": contents.seed, "size": contents.size_bytes}).encode()
        given = query | ({"key": before.key} if before else {"chain": chain})
        report = self.clients[node].request("POST", "/functions/grow", given, {}, body).json()
        return self.acknowledged(report["placements"][-1], contents, query, "function")

    def acknowledged(self, placed: dict[str, Any], contents: Contents, query: dict[str, str], how: str) -> Acknowledged:
        copies = set(placed["on_the_way_to"])
        if query["ack"] == "cloud" or query.get("replicate") == "true":
            copies.add("cloud")
        self.ledger.count("megabytes", "acknowledged", contents.size_bytes)
        if placed["failed"]:
            self.ledger.count("placed elsewhere", str(len(placed["failed"])))
        others = tuple(sorted(copies - {placed["key"].split(":")[1]}))
        return Acknowledged(placed["key"], contents, others, query["ack"], how)

    def read(self, expected: Acknowledged) -> None:
        """Reads a bundle at some node in the midst of it all. It may be out of reach, but never missing or another."""
        node = self.rng.choice(NODES)
        try:
            fields, headers = self.clients[node].get_bundle(expected.key)
        except ProxyError as error:
            self.refused("fetch", error)
            if error.status == 404:
                self.ledger.found(f"{expected.key} is said not to exist, asked at {node}: {error}")
            return
        self.ledger.count("fetched meanwhile", f"{headers['skylark-hops']} hops")
        if {name: bytes(value) for name, value in fields.items()} != expected.contents.fields:
            self.ledger.found(f"{expected.key} has other contents, asked at {node}")

    def delete(self, what: Acknowledged) -> None:
        with self.ledger.lock:
            self.ledger.kept.remove(what)
        try:
            self.clients[self.rng.choice(NODES)].delete_bundle(what.key)
        except ProxyError as error:
            self.refused("delete", error)
            if error.status == 404:
                self.ledger.found(f"{what.key} is said not to exist, when it was to be deleted: {error}")
            return
        self.ledger.count("deleted", "acknowledged")
        with self.ledger.lock:
            self.ledger.deleted.append(what)


@dataclass
class Contest:
    """Two writers who want to replace the same version of a bundle at the same moment, by way of different nodes."""

    urls: Mapping[str, str]
    ledger: Ledger
    rng: random.Random
    stop: threading.Event

    def run(self) -> None:
        while not self.stop.is_set():
            home = self.rng.choice(NODES)
            self.rounds(f"contest-{self.rng.getrandbits(64):016x}:{home}:t1", home)

    def rounds(self, key: str, home: str) -> None:
        version = 0
        for _ in range(5):
            data = [self.rng.randbytes(self.rng.randint(1000, 100_000)) for _ in range(2)]
            nodes = self.rng.sample(NODES, 2)
            answers: list[int | None] = [None, None]
            threads = [
                threading.Thread(target=self.write, args=[answers, number, nodes[number], key, version, data[number]])
                for number in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            won = [number for number in range(2) if answers[number] is not None]
            self.ledger.count("contests", f"{len(won)} won")
            if len(won) == 2:
                self.ledger.found(f"both writers replaced version {version} of {key}")
                return
            found = self.current(key, home)
            if found is None:
                return
            if won and (found[1] != data[won[0]] or found[0] != answers[won[0]]):
                self.ledger.found(f"{key} was written as version {answers[won[0]]} and now has {found[0]}")
                return
            if found[0] < version or (found[0] > version and found[1] not in data):
                self.ledger.found(f"{key} went from version {version} to {found[0]}")
                return
            version = found[0]

    def write(self, answers: list[int | None], number: int, node: str, key: str, version: int, data: bytes) -> None:
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        body = b"".join(wire.encode({"f": data}))
        try:
            answer = ProxyClient(self.urls[node], 20.0).request("PUT", f"/bundles/{key}", {}, condition, body)
            answers[number] = int(answer.headers["etag"].strip('"'))
        except ProxyError as error:
            self.ledger.count("refused: contest", str(error.details.get("code", error.status or "no answer")))

    def current(self, key: str, home: str) -> tuple[int, bytes] | None:
        """The version and contents now; None if the node cannot be asked for too long."""
        for _ in range(40):
            with suppress(ProxyError):
                try:
                    fields, headers = ProxyClient(self.urls[home], 20.0).get_bundle(key)
                except ProxyError as error:
                    if error.status == 404:
                        return 0, b""
                    raise
                return int(headers["etag"].strip('"')), bytes(fields["f"])
            if self.stop.wait(0.25):
                break
        return None


@dataclass
class Sessions:
    """What clients that rove about the nodes ask and are told, all of it checked as the simulation checks it."""

    seed: int
    checker: Checker = field(default_factory=Checker)
    lock: threading.Lock = field(default_factory=threading.Lock)
    contents: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.keys = [StateKey(f"hot-{self.seed}", f"t{number}", NODES[number % len(NODES)]) for number in range(8)]

    def check(self, nodes: Nodes) -> None:
        """Once all is quiet: every node has what the owner has, and that is what it has to be."""
        for key in self.checker.acknowledged_keys():
            assert key.node is not None
            wait_for(lambda: self.lasts(nodes[key.node or ""], key), "what was to expire has expired")  # noqa: B023
            content, version = contents_of(nodes[key.node], key, read="owner")
            self.checker.settled(key, "its owner", content, version)
            for name, node in nodes.items():
                if contents_of(node, key) != (content, version):
                    raise Violation(f"{key} at {name}: another version than {version}", self.checker.history(key))

    def lasts(self, node: LiveNode, key: StateKey) -> bool:
        return "skylark-ttl-ms" not in node.http.head(f"/bundles/{key}").headers


def contents_of(node: LiveNode, key: StateKey, **terms: str) -> tuple[bytes | None, int]:
    """A bundle's contents and version; None and 0 if there is none. A busy machine may need a few attempts."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(node.http.get(f"/bundles/{key}", params=terms))
        return answers[-1].status_code not in (503, 504)

    wait_for(answered, f"node {node.node.name} gives {key}, or says that there is none")
    answer = answers[-1]
    if answer.status_code == 404:
        return None, 0
    assert answer.status_code == 200, answer.text
    return bytes(wire.decode(answer.content)["f"]), int(answer.headers["etag"].strip('"'))


@dataclass
class Rover:
    """One of the clients: it asks any node, and brings the versions that it has seen."""

    urls: Mapping[str, str]
    ledger: Ledger
    rng: random.Random
    stop: threading.Event
    sessions: Sessions

    def __post_init__(self) -> None:
        self.clients = {name: ProxyClient(url, 20.0) for name, url in self.urls.items()}
        self.seen: dict[StateKey, int] = {}

    def run(self) -> None:
        acts = {self.write: 4, self.increment: 3, self.read: 4, self.delete: 1}
        while not self.stop.is_set():
            [act] = self.rng.choices(list(acts), list(acts.values()))
            act(self.rng.choice(NODES), self.rng.choice(self.sessions.keys))
            self.stop.wait(self.rng.uniform(0, 0.02))

    def write(self, node: str, key: StateKey, expected: int | None = None) -> None:
        content = f"{key} {next(self.sessions.contents)} ".encode().ljust(self.rng.choice([100, 100, 100_000]), b".")
        expires = self.rng.random() < 0.1
        query = {"replicate": self.rng.choice(["true", "false"])} | ({"ttl_ms": "1000"} if expires else {})
        condition = {} if expected is None else {"If-Match": f'"{expected}"'} if expected else {"If-None-Match": "*"}
        body = b"".join(wire.encode({"f": content}))
        self.change("PUT", node, key, query, condition, body, content, expected, expires)

    def delete(self, node: str, key: StateKey) -> None:
        self.change("DELETE", node, key, {}, {}, None, None, None, False)

    def change(
        self,
        method: str,
        node: str,
        key: StateKey,
        query: Mapping[str, str],
        condition: Mapping[str, str],
        body: bytes | None,
        content: bytes | None,
        expected: int | None,
        expires: bool,
    ) -> None:
        checker, lock = self.sessions.checker, self.sessions.lock
        with lock:
            operation = checker.begin(key, content, time.monotonic(), expected=expected, expires=expires)
        try:
            answer = self.clients[node].request(method, f"/bundles/{key}", query, condition, body)
        except ProxyError as error:
            code = str(error.details.get("code", error.status or "no answer"))
            self.ledger.count("refused: session", code)
            with lock:
                if code in ("conflict", "outbox-full"):
                    checker.refuse(operation, time.monotonic())
                else:
                    checker.give_up(operation, time.monotonic())
            return
        told = "etag" if method == "PUT" else "skylark-deleted-version"
        version = int(answer.headers[told].strip('"'))
        with lock:
            checker.acknowledge(key, operation, version, time.monotonic())
        self.see(key, version)

    def increment(self, node: str, key: StateKey) -> None:
        version = self.read(node, key)
        if version is not None:
            self.write(self.rng.choice(NODES), key, version)

    def read(self, node: str, key: StateKey) -> int | None:
        """Reads, and returns the version; 0: there is none, None: that is not known."""
        checker, lock = self.sessions.checker, self.sessions.lock
        read, seen = self.rng.choice(list(Read)), self.seen.get(key, 0)
        with lock:
            floor = checker.floor(key) if read is Read.OWNER or node == key.node else None
        query = {"read": read.value} | ({"min_version": str(seen)} if seen else {})
        content, version, where = None, 0, f"{node} ({read})"
        try:
            answer = self.clients[node].request("GET", f"/bundles/{key}", query)
            content, version = bytes(wire.decode(answer.body)["f"]), int(answer.headers["etag"].strip('"'))
            floor = None if "skylark-stale" in answer.headers else floor
        except ProxyError as error:
            if error.status != 404:
                self.ledger.count("refused: session", str(error.details.get("code", error.status or "no answer")))
                return None
        with lock:
            checker.read(key, content, version, seen=seen, floor=floor, where=where)
        self.see(key, version)
        return version

    def see(self, key: StateKey, version: int) -> None:
        self.seen[key] = max(version, self.seen.get(key, 0))


@dataclass
class Injector:
    """Lets something fail, for a moment, again and again. Nothing is left broken when it ends."""

    nodes: Nodes
    relays: Relays
    ledger: Ledger
    rng: random.Random
    stop: threading.Event
    locks: Mapping[object, threading.Lock]
    starter: Executor

    def run(self) -> None:
        faults = [
            self.kill_proxy,
            self.kill_redis,
            self.cut_a_transfer,
            self.cut_a_transfer,
            self.black_hole,
            self.fill_redis,
            self.fill_memory,
            self.lose_the_elected_node,
        ]
        while not self.stop.is_set():
            fault = self.rng.choice(faults)
            try:
                if fault():
                    self.ledger.count("faults", fault.__name__.replace("_", " "))
            except (ProxyError, redis.RedisError, OSError) as error:
                self.ledger.count("faults that did not come about", type(error).__name__)
            self.pause(0.1, 0.8)

    def pause(self, least_s: float, most_s: float) -> None:
        time.sleep(self.rng.uniform(least_s, most_s))

    @contextmanager
    def alone_with(self, what: object) -> Iterator[bool]:
        """Whether no other injector breaks the same part now."""
        taken = self.locks[what].acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self.locks[what].release()

    def some_node(self) -> LiveNode:
        return self.nodes[self.rng.choice(NODES)]

    def some_relay(self) -> Relay:
        return self.rng.choice(self.relays.all())

    def kill_proxy(self) -> bool:
        node = self.some_node()
        with self.alone_with(node.node.name) as mine:
            if mine:
                self.crash(node)
            return mine

    def crash(self, node: LiveNode) -> None:
        """Kills a proxy and its Redis, and starts it anew in a thread that lives as long as it has to; see `child`."""
        node.kill()
        self.pause(0.0, 1.0)
        self.starter.submit(node.start).result()
        node.wait_until_ready()

    def kill_redis(self) -> bool:
        node = self.some_node()
        with self.alone_with(node.node.name) as mine:
            if mine:
                os.kill(node.redis_pid(), signal.SIGKILL)
                node.wait_until_ready()
            return mine

    def cut_a_transfer(self) -> bool:
        relay = self.some_relay()
        with self.alone_with(relay) as mine:
            if mine:
                relay.cut_after(self.rng.choice(relay.ends), self.rng.randint(1000, 600_000))
                deadline = time.monotonic() + 1.5
                while not relay.is_cut and time.monotonic() < deadline:
                    time.sleep(0.01)
                if not relay.is_cut:
                    relay.cut()
                self.pause(0.0, 2.0)
                relay.heal()
            return mine

    def black_hole(self) -> bool:
        relay = self.some_relay()
        with self.alone_with(relay) as mine:
            if mine:
                relay.black_hole()
                self.pause(0.3, 3.0)
                relay.heal()
            return mine

    def fill_redis(self) -> bool:
        """Redis has no room for what is larger than some kilobytes."""
        node = self.some_node()
        with self.alone_with(node.node.name) as mine:
            if mine:
                with node.redis() as client:
                    used = int(client.info("memory")["used_memory"])
                    client.config_set("maxmemory", used + self.rng.randint(0, 400_000))
                    try:
                        self.pause(0.3, 2.0)
                    finally:
                        client.config_set("maxmemory", 0)
            return mine

    def fill_memory(self) -> bool:
        """A function fills its memory: it fails, and harms nobody."""
        answer = self.invoke_fill(self.some_node())
        if answer is not None:
            self.ledger.found(f"a function that fills its memory was answered with {answer.status}")
        return True

    def invoke_fill(self, node: LiveNode) -> Answer | None:
        try:
            return node.client.request("POST", "/functions/fill", body=b"")
        except ProxyError as error:
            if error.status not in (None, 422, 429, 503, 504):
                self.ledger.found(f"a function that fills its memory: {error.status} {error}")
            return None

    def lose_the_elected_node(self) -> bool:
        """A node is elected, and gone before the bundle is forwarded; it comes back later."""
        node, holder = self.rng.sample(NODES, 2)
        with self.alone_with(node) as mine, self.alone_with(self.relays.between(node, holder)) as too:
            if not (mine and too):
                return False
            relay = self.relays.between(node, holder)
            relay.cut()
            try:
                contents = Contents(self.rng.getrandbits(32), self.rng.randint(1000, 200_000), 0)
                key = f"lost-{self.rng.getrandbits(64):016x}:t1"
                query = {"ack": "local", "destination": node, "policy": "stateless"}
                placed = self.nodes[holder].client.put_bundle(key, contents.fields, **query)
                assert placed["key"].split(":")[1] == holder and placed["on_the_way_to"] == [node], placed
                self.ledger.add(Acknowledged(placed["key"], contents, (node,), "local", "put"))
                self.crash(self.nodes[node])
            finally:
                relay.heal()
            return True


def read_at(node: LiveNode, key: str) -> dict[str, bytes] | None:
    """A bundle's fields; None if it is not there."""
    answer = node.http.get(f"/bundles/{key}")
    if answer.status_code == 404:
        return None
    assert answer.status_code == 200, f"{key} at {node.node.name}: {answer.text}"
    return {name: bytes(value) for name, value in wire.decode(answer.content).items()}


def check_all(nodes: Nodes, ledger: Ledger) -> None:
    """Reads every acknowledged bundle where it was acknowledged, where a copy was promised, and from somewhere else."""
    for number, bundle in enumerate(ledger.kept):
        expected = bundle.contents.fields
        holder = bundle.key.split(":")[1]
        for name in (holder, *bundle.copies):
            found = nodes[name].held_of(bundle.key)
            role = "holder" if name == holder else "copy"
            if found != expected:
                state = "missing" if found is None else "other"
                ledger.found(f"{bundle.key} ({bundle.how}, ack={bundle.ack}): the {role} at {name} is {state}")
            ledger.count("checked", role)
        asked = NODES[number % len(NODES)]
        if read_at(nodes[asked], bundle.key) != expected:
            ledger.found(f"{bundle.key}: asked at {asked} it is missing or other")
    for bundle in ledger.deleted:
        for name, node in nodes.items():
            if node.held_of(bundle.key) is not None:
                ledger.found(f"{bundle.key} was deleted and is at {name} (ack={bundle.ack})")
            ledger.count("checked", "deleted")


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "faults.py").write_text(SOURCE)
    (folder / "faults.toml").write_text(MANIFEST)
    build(folder / "faults.py", folder / "faults.wasm", Config.load({}).cache_dir / "components")
    return folder


def in_threads(calls: list[Callable[[], None]], ledger: Ledger) -> list[threading.Thread]:
    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            ledger.found(f"the test itself failed: {error!r}")
            raise

    threads = [threading.Thread(target=guarded, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_nothing_acknowledged_is_lost(functions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever fails while chains run, every acknowledged bundle is there afterwards, where it was acknowledged and
    where copies were promised, byte for byte; what was deleted is gone; of two writers one wins; no session is given an
    older version than it has seen."""
    with capsys.disabled():
        print(f"\nfault suite: seed {SEED}, {SECONDS:g} s")
    clocks = {
        name: {"CLOCK_SHIFT_S": shift, "PYTHONPATH": os.pathsep.join([str(SHIFTED), os.environ.get("PYTHONPATH", "")])}
        for name, shift in CLOCKS_S.items()
    }
    topology = line(*NODES, latency_ms=2, bandwidth_mbps=200)
    ledger, sessions, started = Ledger(), Sessions(SEED), time.monotonic()
    with (
        ThreadPoolExecutor(1) as starter,
        run_relayed(topology, functions=functions, settings=SETTINGS, of_node=clocks, as_links=True) as running,
    ):
        nodes, relays = running
        urls = {name: node.url for name, node in nodes.items()}
        no_more_faults, no_more_chains = threading.Event(), threading.Event()
        locks: dict[object, threading.Lock] = {what: threading.Lock() for what in (*NODES, *relays.all())}
        rngs = (random.Random(SEED + number) for number in range(1000))
        working = in_threads(
            [Worker(urls, ledger, next(rngs), no_more_chains).run for _ in range(WORKERS)]
            + [Contest(urls, ledger, next(rngs), no_more_chains).run]
            + [Rover(urls, ledger, next(rngs), no_more_chains, sessions).run for _ in range(ROVERS)],
            ledger,
        )
        breaking = in_threads(
            [Injector(nodes, relays, ledger, next(rngs), no_more_faults, locks, starter).run for _ in range(INJECTORS)],
            ledger,
        )
        time.sleep(SECONDS)
        no_more_faults.set()
        for thread in breaking:
            thread.join(60)
        no_more_chains.set()
        for thread in working:
            thread.join(60)
        assert not any(thread.is_alive() for thread in (*breaking, *working))
        for node in nodes.values():
            node.wait_until_ready()
        healed = time.monotonic()
        waiting: list[str] = []

        def run_dry() -> bool:
            waiting[:] = [what for node in nodes.values() for what in node.behind()]
            return not waiting

        with suppress(AssertionError):
            wait_for(run_dry, "every holder of a copy knows the present version", DRAIN_S)
        drained = time.monotonic()
        for what in waiting[:20]:
            ledger.found(f"{len(waiting)} transfers do not come to an end, such as: {what}")
        check_all(nodes, ledger)
        sessions.check(nodes)
        logs = {name: node.log() for name, node in nodes.items()}
    ledger.count("sessions", "writes acknowledged", sessions.checker.acknowledged)
    ledger.count("sessions", "writes in doubt", sessions.checker.in_doubt)
    ledger.count("sessions", "reads", sessions.checker.reads)
    ledger.count("megabytes", "acknowledged", 0)
    ledger.counts["megabytes"]["acknowledged"] //= 1_000_000
    for name, log in logs.items():
        ledger.count("transfers tried again", name, log.count("is tried again"))
        for line_of_log in log.splitlines():
            if "cannot be forwarded" in line_of_log or "Traceback" in line_of_log or " failed: " in line_of_log:
                ledger.count("remarkable lines in logs", line_of_log[24:120])
    with capsys.disabled():
        print("\n".join(ledger.lines()))
        print(f"  time: {time.monotonic() - started:.0f} s, of which draining the outboxes {drained - healed:.1f} s")
        print(f"  lost or wrong: {len(ledger.wrong)}")
        for what in ledger.wrong[:40]:
            print(f"    {what}")
    assert ledger.wrong == []
    assert len(ledger.kept) > SECONDS
    assert ledger.counts["faults"].total() > SECONDS / 5


def test_clocks_are_shifted() -> None:
    """The clock of a node in these tests is really another one."""
    environment = {"PYTHONPATH": os.pathsep.join([str(SHIFTED), os.environ.get("PYTHONPATH", "")])}
    with run_nodes(line("alone"), settings=environment | {"CLOCK_SHIFT_S": "600"}) as nodes:
        nodes["alone"].client.put_bundle("c:t1", {"f": b"x"}, ttl_ms=60_000)
        [info] = nodes["alone"].client.list_bundles("c")
        assert 590 < info["created_ms"] / 1000 - time.time() < 610
