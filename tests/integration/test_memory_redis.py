"""The Redis in memory on which schedules are simulated, held to real servers: the same calls, replies and data."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedules.memory_redis import MemoryRedis, MemoryWire
from servers import RedisServer, run_redis
from skylark_proxy.errors import NotFound, SkylarkError
from skylark_proxy.model import BundleInfo, Metadata, Sealed, StateKey
from skylark_proxy.redis_binary import find_servers
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_protocol import Command, Replies
from skylark_proxy.redis_reader import Place
from skylark_proxy.redis_wire import RedisWire, Wire
from skylark_proxy.store import Store, StoredBundle

OWN = [StateKey("c", task, "here") for task in ("t1", "t2", "t3")]
COPIES = [StateKey("c", "t1", "far"), StateKey("c", "t1", "sat"), StateKey("c", "t1"), StateKey("c", "t2", "far")]
NODES = ["far", "sat", "cloud"]
MAX_BUNDLES = 3
TOLERANCE_MS = 30_000
"""Two clocks are read at different times; the shortest time to live here is longer."""


class RecordingWire:
    """A wire that remembers all replies."""

    def __init__(self, wire: Wire) -> None:
        self.server = wire.server
        self.replies: list[Any] = []
        self._wire = wire

    def exchange(
        self, key: bytes, commands: Sequence[Command], *, repeatable: bool, place: Place | None = None
    ) -> Replies:
        replies = self._wire.exchange(key, commands, repeatable=repeatable, place=place)
        for command, reply in zip(commands, replies, strict=True):
            self.replies.append(dict(_pairs(reply)) if command[0] == b"HGETALL" else reply)  # a hash has no order
        return replies

    def scan(self, pattern: bytes, key: bytes | None = None) -> Iterator[list[bytes]]:
        found = [name for page in self._wire.scan(pattern, key) for name in page]
        yield sorted(set(found))


class Side:
    """A store, the versions that it has given, and names for them that are the same on both sides."""

    def __init__(self, wire: Wire, do: Callable[..., Any]) -> None:
        self.wire = RecordingWire(wire)
        self.store = Store(self.wire, "here", max_bundles_per_chain=MAX_BUNDLES)
        self.do = do
        self.names: dict[int, str] = {}
        self.versions: dict[StateKey, list[int]] = {}

    def name(self, number: int) -> str:
        """Return the name of a number: of a version by the order of appearance, of a time that it is one."""
        if number < 10**12:
            return str(number)
        return "time" if number < 10**14 else self.names.setdefault(number, f"v{len(self.names)}")

    def plain(self, value: Any) -> Any:
        """Return a reply, or what a call returned, as it can be compared."""
        match value:
            case bytes():
                return self.plain(value.decode())
            case str():
                return re.sub(r"\d{13,}", lambda found: self.name(int(found[0])), value)
            case bool() | None:
                return value
            case int():
                return self.name(value)
            case dict():
                return {self.plain(name): self.plain(part) for name, part in value.items()}
            case list() | tuple():
                return [self.plain(part) for part in value]
            case StoredBundle():
                return [self.plain(value.info), self.plain(value.fields)]
            case BundleInfo():  # how old a copy is depends on when it is looked at
                return [str(value.key), self.plain(value.version), value.meta.write, value.expires_ms is not None]
            case _:
                return self.plain(str(value))

    def version(self, key: StateKey, number: int | None) -> int | None:
        """Return a version of those that the bundle has had, from the last one back; one that nobody has had; None."""
        if number is None:
            return None
        had = self.versions.get(key, [])
        return had[-number] if 0 < number <= len(had) else number

    def note(self, key: StateKey) -> None:
        """Note the bundle's highest version."""
        version, had = self.store.ledger(key).version, self.versions.setdefault(key, [])
        if version and version not in had:
            had.append(version)

    def call(self, call: Callable[["Side"], Any]) -> Any:
        """Return what a call returns or raises, and all replies meanwhile."""
        self.wire.replies.clear()
        try:
            result = self.plain(call(self))
        except SkylarkError as error:
            result = [type(error).__name__, self.plain(str(error)).replace(self.wire.server, "")]
        return result, [self.plain(replies) for replies in self.wire.replies]

    def data(self) -> dict[str, Any]:
        """Return all data, each with the rest of its life."""
        keys = [name for page in self.wire.scan(b"*") for name in page]
        return {self.plain(key): [self._value(key), self.do(b"PTTL", key)] for key in keys}

    def _value(self, key: bytes) -> Any:
        kind = key.split(b":")[1]
        if kind == b"held":
            return sorted(self.plain(member) for member in self.do(b"SMEMBERS", key))
        if kind == b"chain":
            return self.do(b"ZCARD", key), self.plain(self.do(b"ZREVRANGE", key, b"0", b"0", b"WITHSCORES"))
        return dict(self.plain(pair) for pair in _pairs(self.do(b"HGETALL", key)))


def _pairs(reply: Any) -> Any:
    """Return the pairs of a hash: a dict in memory, and a list from a server."""
    return reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)


Step = Callable[[Side], Any]
NUMBERS = st.sampled_from([None, None, None, 1, 1, 0, 2, 4])
TTLS = st.none() | st.sampled_from([90_000, 200_000])
PROMISED = st.lists(st.sampled_from(NODES), max_size=2, unique=True)
WRITES = st.integers(1, 9).map(lambda number: f"{'a' * 16}-{number}")


def sealed(write: str, ttl_ms: int | None) -> Sealed:
    return Sealed({"f": write.encode(), "g": b""}, Metadata("here", 7, 9, write), ttl_ms, 5)


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, Step]:
    """A call of the store, and its name."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    return KINDS[kind](draw)


def _commit(draw: st.DrawFn) -> tuple[str, Step]:
    key, write, ttl_ms, promised = draw(st.sampled_from(OWN)), draw(WRITES), draw(TTLS), draw(PROMISED)
    expected, known = draw(NUMBERS), draw(NUMBERS)

    def call(side: Side) -> Any:
        terms = {"expected_version": side.version(key, expected), "known_version": side.version(key, known)}
        done = side.store.commit(key, sealed(write, ttl_ms), promised=promised, **terms)
        return [done.info, done.behind]

    return f"commit {key} {write} {ttl_ms=} {expected=} {known=} {promised=}", call


def _commit_copy(draw: st.DrawFn) -> tuple[str, Step]:
    key, write, ttl_ms, promised = draw(st.sampled_from(COPIES)), draw(WRITES), draw(TTLS), draw(PROMISED)
    version = draw(st.integers(1, 6))

    def call(side: Side) -> Any:
        done = side.store.commit_copy(key, sealed(write, ttl_ms), version, promised=promised)
        return [done.info, done.behind]

    return f"commit_copy {key} {write} {ttl_ms=} {version=} {promised=}", call


def _delete(draw: st.DrawFn) -> tuple[str, Step]:
    key, expected, known, always = draw(st.sampled_from(OWN)), draw(NUMBERS), draw(NUMBERS), draw(st.booleans())

    def call(side: Side) -> Any:
        terms = {"expected_version": side.version(key, expected or None), "known_version": side.version(key, known)}
        return side.store.delete(key, always=always, **terms)

    return f"delete {key} {expected=} {known=} {always=}", call


def _forget(draw: st.DrawFn) -> tuple[str, Step]:
    key, version, deleted = draw(st.sampled_from(COPIES)), draw(st.integers(1, 6)), draw(st.booleans())
    return f"forget {key} {version=} {deleted=}", lambda side: side.store.forget(key, version, deleted=deleted)


def _refuse(draw: st.DrawFn) -> tuple[str, Step]:
    key, write = draw(st.sampled_from(OWN)), draw(WRITES)
    return f"refuse {key} {write}", lambda side: side.store.refuse(key, write)


def _note(draw: st.DrawFn) -> tuple[str, Step]:
    key, node, write = draw(st.sampled_from(OWN)), draw(st.sampled_from(NODES)), draw(WRITES)
    number = draw(st.integers(0, 4))
    calls: dict[str, Step] = {
        "note_cache": lambda side: side.store.note_cache(key, node, side.version(key, number) or 0),
        "note_refusal": lambda side: side.store.note_refusal(key.at(node), write),
        "note_holder": lambda side: side.store.note_holder(key, node),
    }
    kind = draw(st.sampled_from(sorted(calls)))
    return f"{kind} {key} {node} {write} {number=}", calls[kind]


def _tell(draw: st.DrawFn) -> tuple[str, Step]:
    key, which, number = draw(st.sampled_from(OWN + COPIES)), draw(st.integers(0, 2)), draw(NUMBERS)
    is_acknowledged = draw(st.booleans())

    def call(side: Side) -> Any:
        behind = side.store.ledger(key).behind
        if not behind:
            return None
        holder, version = behind[which % len(behind)], side.version(key, number)
        if is_acknowledged:
            return side.store.acknowledge(key, holder, version or 0)
        return side.store.release(key, holder, version)

    return f"{'acknowledge' if is_acknowledged else 'release'} {key} {which=} {number=}", call


def _read(draw: st.DrawFn) -> tuple[str, Step]:
    key, fields = draw(st.sampled_from(OWN + COPIES)), draw(st.sampled_from([None, (), ("g", "none")]))
    calls: dict[str, Step] = {
        "get": lambda side: side.store.get(key, fields),
        "find": lambda side: side.store.find(key, fields),
        "ledger": lambda side: side.store.ledger(key),
        "behind": lambda side: list(side.store.behind()),
        "list": lambda side: list(side.store.list("c")),
    }
    kind = draw(st.sampled_from(sorted(calls)))
    return f"{kind} {key} {fields}", calls[kind]


def _expire(draw: st.DrawFn) -> tuple[str, Step]:
    key, kind = draw(st.sampled_from(OWN + COPIES)), draw(st.sampled_from(["bundle", "bundle", "ledger", "held"]))
    member = key.task_id if kind == "held" else f"{key.node or ''}:{key.task_id}"
    name, index = f"skylark:{kind}:{{{key.chain_id}}}:{member}", f"skylark:chain:{{{key.chain_id}}}"

    def call(side: Side) -> Any:
        if kind == "bundle" and side.do(b"EXISTS", name.encode()):
            side.do(b"ZADD", index.encode(), b"1000", member.encode())  # long ago
        return side.do(b"PEXPIRE", name.encode(), b"0")

    return f"{name} expires", call


KINDS: dict[str, Callable[[st.DrawFn], tuple[str, Step]]] = {
    "commit": _commit,
    "commit again": _commit,
    "copy": _commit_copy,
    "delete": _delete,
    "forget": _forget,
    "refuse": _refuse,
    "note": _note,
    "tell": _tell,
    "tell again": _tell,
    "read": _read,
    "expire": _expire,
}


@pytest.fixture(scope="module", params=[server.path for server in find_servers()], ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binary: Path = request.param
    with run_redis(binary=binary) as running:
        yield running


@pytest.fixture(scope="module")
def wire(server: RedisServer) -> Iterator[RedisWire]:
    opened = RedisWire(connect(server.url))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as opened:
        opened.response_callbacks.clear()  # replies as the server gives them, as its scripts get them
        yield opened


FEW, MANY = st.lists(steps(), min_size=1, max_size=8), st.lists(steps(), min_size=30, max_size=60)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(FEW | MANY)
def test_the_same_calls_have_the_same_outcomes(
    wire: RedisWire, client: redis.Redis, calls: list[tuple[str, Step]]
) -> None:
    """Every sequence of calls returns, answers and leaves the same on both; versions are compared by their order."""
    client.flushall()
    memory = MemoryRedis(time.time)
    real, ours = Side(wire, client.execute_command), Side(MemoryWire(memory), memory.do)
    for _, call in calls:
        assert ours.call(call) == real.call(call)
        for key in OWN:
            ours.note(key)
            real.note(key)
        assert _names_in_order(ours) == _names_in_order(real)
        _check_data(ours.data(), real.data())


def _names_in_order(side: Side) -> list[str]:
    return [name for _, name in sorted(side.names.items())]


def _check_data(ours: dict[str, Any], real: dict[str, Any]) -> None:
    assert {name: value for name, (value, _) in ours.items()} == {name: value for name, (value, _) in real.items()}
    for name, (_, left_ms) in ours.items():
        assert left_ms == pytest.approx(real[name][1], abs=TOLERANCE_MS if left_ms > 0 else 0), name


def test_what_is_there_for_a_while_is_gone_then() -> None:
    """A bundle expires by the clock of this Redis, and its chain forgets it."""
    now_s = [1_800_000_000.0]
    memory = MemoryRedis(lambda: now_s[0])
    store = Store(MemoryWire(memory), "here")
    store.commit(OWN[0], sealed(f"{'a' * 16}-1", 1000))
    now_s[0] += 0.999
    assert store.get(OWN[0]).fields == {"f": f"{'a' * 16}-1".encode(), "g": b""}
    now_s[0] += 0.001
    with pytest.raises(NotFound):
        store.get(OWN[0])
    assert memory.all_keys() == [b"skylark:ledger:{c}:here:t1"]


@pytest.mark.parametrize("name", [b"TIME", b"EXISTS", b"UNLINK", b"PERSIST", b"PTTL", b"HGETALL", b"HKEYS", b"HLEN"])
@pytest.mark.parametrize("kind", ["missing", "there", "expires"])
def test_commands_have_the_same_replies(client: redis.Redis, name: bytes, kind: str) -> None:
    """Each command that is not seen from outside answers as a real one does, for each kind of key."""
    client.flushall()
    memory = MemoryRedis(time.time)
    replies = []
    for do in (memory.do, client.execute_command):
        if kind != "missing":
            do(b"HSET", b"key", b"f", b"1", b"g", b"2")
        if kind == "expires":
            do(b"PEXPIRE", b"key", b"500000")
        reply = do(name, *(() if name == b"TIME" else (b"key",)))
        if name == b"TIME":
            reply = [int(reply[0]) // 60, len(reply)]
        elif name == b"PTTL":
            reply = reply // TOLERANCE_MS if reply < 0 else reply > 400_000
        elif name == b"HGETALL":
            reply = dict(_pairs(reply))
        replies.append(reply)
    assert replies[0] == replies[1]
