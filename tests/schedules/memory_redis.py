"""Redis in memory: the commands that Skylark's store sends, and its real scripts by a Lua of their own.

`tests/integration/test_memory_redis.py` holds it to a real Redis.
"""

import fnmatch
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lupa import lua51

from skylark_proxy.errors import StoreUnavailable
from skylark_proxy.redis_protocol import Command, Replies
from skylark_proxy.redis_reader import LARGE_BYTES, Place, Value
from skylark_proxy.store import _SOURCES

Reply = Any


class MemoryRedis:
    """The data, and the commands on it. Each list of commands is done at once.

    Args:
        clock_s: The time of this Redis, in seconds since the epoch.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._data: dict[bytes, dict[bytes, bytes] | dict[bytes, float] | set[bytes]] = {}
        self._expires_ms: dict[bytes, int] = {}
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._to_table = self._lua.eval(b"function(...) return {...} end")
        self._scripts = {sha1: self._compile(source) for sha1, source in _SOURCES.items()}
        self._commands: dict[bytes, Callable[..., Reply]] = {
            name.removeprefix("_do_").upper().encode(): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }

    def run(self, commands: Sequence[Command]) -> Replies:
        """Do commands and return their replies, with those of a transaction in the last one."""
        if commands[0][0] != b"MULTI":
            return [self.do(*command) for command in commands]
        inner = [self.do(*command) for command in commands[1:-1]]
        return [b"OK", *([b"QUEUED"] * len(inner)), inner]

    def do(self, name: bytes | memoryview, *arguments: bytes | memoryview) -> Reply:
        """Do one command."""
        given = (part if type(part) is bytes else bytes(part) for part in arguments)
        return self._commands[bytes(name)](*given)

    def all_keys(self) -> list[bytes]:
        """Return all keys."""
        return [key for key in list(self._data) if self._live(key) is not None]

    def _compile(self, source: bytes) -> Any:
        outer = b"return function(redis) return function(KEYS, ARGV)\n" + source + b"\nend end"
        return self._lua.execute(outer)(self._lua.table_from({b"call": self._call}))

    def _call(self, name: bytes, *arguments: Any) -> Any:
        reply = self._commands[name](*[part if type(part) is bytes else _as_bytes(part) for part in arguments])
        return reply if type(reply) in (bytes, int) else self._to_lua(reply)

    def _to_lua(self, reply: Reply) -> Any:
        if reply is None:
            return False
        if isinstance(reply, dict):
            reply = [part for pair in reply.items() for part in pair]
        return self._lua.table_from(list(map(self._to_lua, reply))) if isinstance(reply, list) else reply

    def _from_lua(self, value: Any) -> Reply:
        if lua51.lua_type(value) == "table":
            return [self._from_lua(value[index]) for index in range(1, len(value) + 1)]
        if isinstance(value, bool):
            return 1 if value else None
        return math.trunc(value) if isinstance(value, float) else value

    # The data.

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1000)

    def _live(self, key: bytes) -> Any:
        expires_ms = self._expires_ms.get(key)
        if expires_ms is not None and expires_ms <= self._now_ms():
            self._remove(key)
        return self._data.get(key)

    def _remove(self, key: bytes) -> bool:
        self._expires_ms.pop(key, None)
        return self._data.pop(key, None) is not None

    def _made(self, key: bytes, empty: Callable[[], Any]) -> Any:
        found = self._live(key)
        if found is None:
            found = self._data[key] = empty()
        return found

    def _trim(self, key: bytes) -> None:
        if not self._data.get(key):
            self._remove(key)

    # The commands, each by its name.

    def _do_time(self) -> Reply:
        now_us = int(self._clock_s() * 1e6)
        return [b"%d" % (now_us // 1_000_000), b"%d" % (now_us % 1_000_000)]

    def _do_evalsha(self, sha1: bytes, count: bytes, *arguments: bytes) -> Reply:
        number = int(count)
        keys, values = self._to_table(*arguments[:number]), self._to_table(*arguments[number:])
        return self._from_lua(self._scripts[sha1](keys, values))

    def _do_exists(self, key: bytes) -> Reply:
        return int(self._live(key) is not None)

    def _do_unlink(self, key: bytes) -> Reply:
        return int(self._live(key) is not None and self._remove(key))

    def _do_rename(self, source: bytes, target: bytes) -> Reply:
        found = self._live(source)
        self._remove(target)
        if source in self._expires_ms:
            self._expires_ms[target] = self._expires_ms[source]
        self._remove(source)
        self._data[target] = found
        return b"OK"

    def _do_pexpire(self, key: bytes, ttl_ms: bytes) -> Reply:
        return self._expire(key, self._now_ms() + int(ttl_ms))

    def _do_pexpireat(self, key: bytes, at_ms: bytes) -> Reply:
        return self._expire(key, int(float(at_ms)))

    def _expire(self, key: bytes, at_ms: int) -> Reply:
        if self._live(key) is None:
            return 0
        self._expires_ms[key] = at_ms
        return 1

    def _do_persist(self, key: bytes) -> Reply:
        return int(self._live(key) is not None and self._expires_ms.pop(key, None) is not None)

    def _do_pttl(self, key: bytes) -> Reply:
        if self._live(key) is None:
            return -2
        return self._expires_ms[key] - self._now_ms() if key in self._expires_ms else -1

    def _do_hgetall(self, key: bytes) -> Reply:
        return dict(self._live(key) or {})

    def _do_hkeys(self, key: bytes) -> Reply:
        return list(self._live(key) or {})

    def _do_hget(self, key: bytes, name: bytes) -> Reply:
        return (self._live(key) or {}).get(name)

    def _do_hmget(self, key: bytes, *names: bytes) -> Reply:
        found = self._live(key) or {}
        return [found.get(name) for name in names]

    def _do_hexists(self, key: bytes, name: bytes) -> Reply:
        return int(name in (self._live(key) or {}))

    def _do_hlen(self, key: bytes) -> Reply:
        return len(self._live(key) or {})

    def _do_hset(self, key: bytes, *pairs: bytes) -> Reply:
        found = self._made(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def _do_hdel(self, key: bytes, name: bytes) -> Reply:
        removed = (self._live(key) or {}).pop(name, None) is not None
        self._trim(key)
        return int(removed)

    def _do_zadd(self, key: bytes, *arguments: bytes) -> Reply:
        *changed, score, member = arguments
        found = self._made(key, dict)
        before = found.get(member)
        found[member] = float(score)
        return int(before != found[member] if changed == [b"CH"] else before is None)

    def _do_zcard(self, key: bytes) -> Reply:
        return len(self._live(key) or {})

    def _do_zrem(self, key: bytes, member: bytes) -> Reply:
        removed = (self._live(key) or {}).pop(member, None) is not None
        self._trim(key)
        return int(removed)

    def _do_zremrangebyscore(self, key: bytes, _least: bytes, most: bytes) -> Reply:
        found = self._live(key) or {}
        gone = [member for member, score in found.items() if score <= float(most)]
        for member in gone:
            del found[member]
        self._trim(key)
        return len(gone)

    def _do_zrevrange(self, key: bytes, _first: bytes, _last: bytes, _with_scores: bytes) -> Reply:
        found = self._live(key) or {}
        if not found:
            return []
        member = max(found, key=lambda name: (found[name], name))
        score = found[member]
        return [member, b"inf" if math.isinf(score) else b"%d" % score]

    def _do_sadd(self, key: bytes, member: bytes) -> Reply:
        found = self._made(key, set)
        is_new = member not in found
        found.add(member)
        return int(is_new)

    def _do_srem(self, key: bytes, member: bytes) -> Reply:
        found = self._live(key) or set()
        was = member in found
        found.discard(member)
        self._trim(key)
        return int(was)

    def _do_smembers(self, key: bytes) -> Reply:
        return sorted(self._live(key) or set())


class MemoryWire:
    """A `Wire` to a Redis in memory.

    Args:
        around: Is called with each list of commands and a function that does them; where it fails, Redis does.
    """

    server = "Redis in memory"

    def __init__(
        self, redis: MemoryRedis, around: Callable[[Callable[[], Replies]], Replies] = lambda do: do()
    ) -> None:
        self._redis = redis
        self._around = around

    def exchange(
        self, key: bytes, commands: Sequence[Command], *, repeatable: bool, place: Place | None = None
    ) -> Replies:
        try:
            replies = self._around(lambda: self._redis.run(commands))
        except StoreUnavailable:
            if not repeatable:
                raise
            replies = self._around(lambda: self._redis.run(commands))
        return replies if place is None else [_placed(reply, place) for reply in replies]

    def scan(self, pattern: bytes, key: bytes | None = None) -> Iterator[list[bytes]]:
        # Our patterns end with a star and have braces, which neither Redis nor fnmatch takes for special.
        found = self._around(lambda: [name for name in self._redis.all_keys() if fnmatch.fnmatchcase(name, pattern)])
        for start in range(0, len(found), 10):
            yield found[start : start + 10]


def _placed(reply: Reply, place: Place) -> list[Value]:
    values: list[Value] = []
    for value in itertools.chain.from_iterable(reply.items()) if isinstance(reply, dict) else reply:
        if value is not None and len(value) >= LARGE_BYTES:
            memory = place(values, len(value))
            memory[:] = value
            value = memory
        values.append(value)
    return values


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"%d" % value if float(value).is_integer() else repr(value).encode()
