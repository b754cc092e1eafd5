"""State by a hosted function against plain CPython: the same bundle, the same Redis, the same run."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import randbytes

import msgspec
import redis

from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.config import Config
from skylark_proxy.invocation import Call, ChainState, Report
from skylark_proxy.proxy import Proxy, open_proxy
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.runtime import Invocation

SIZES_BYTES = (1_000, 100_000, 1_000_000, 10_000_000, 50_000_000)

_BUDGET_BYTES = 60_000_000
_MAX_REPEATS = 200
_MIN_REPEATS = 3

Progress = Callable[[str], None]


class Times(msgspec.Struct):
    """The seconds that each store and each fetch took."""

    store_s: list[float]
    fetch_s: list[float]


@dataclass(frozen=True, slots=True)
class StateResult:
    """Medians over all rounds, in milliseconds: by a hosted function, and by redis-py in plain CPython."""

    operation: str
    size_bytes: int
    hosted_ms: float
    plain_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long the function takes."""
        return self.hosted_ms / self.plain_ms


def bench_state(
    config: Config, rounds: int, progress: Progress, sizes: Sequence[int] = SIZES_BYTES
) -> list[StateResult]:
    """Measures each size in `rounds` rounds, in which the two take turns.

    The function calls `ctx.state.store` and `ctx.state.fetch` in its sandbox and takes the times there. Plain CPython
    does HSET and HGETALL of a hash with one field of that size, with redis-py's defaults, over the same unix socket.
    """
    results: list[StateResult] = []
    with _open(config, progress) as (proxy, plain):
        for size_bytes in sizes:
            progress(f"measuring {size_bytes:,} bytes")
            repeats = max(_MIN_REPEATS, min(_MAX_REPEATS, _BUDGET_BYTES // size_bytes))
            hosted, direct = [], []
            for _ in range(rounds):
                hosted.append(_hosted(proxy, size_bytes, repeats))
                direct.append(_plain(plain, size_bytes, repeats))
            results += (
                StateResult(
                    "fetch", size_bytes, _median([t.fetch_s for t in hosted]), _median([t.fetch_s for t in direct])
                ),
                StateResult(
                    "store", size_bytes, _median([t.store_s for t in hosted]), _median([t.store_s for t in direct])
                ),
            )
    return results


@contextmanager
def _open(config: Config, progress: Progress) -> Iterator[tuple[Proxy, redis.Redis]]:
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name:
        folder = Path(name)
        component = build_bench_component(folder, config, progress)
        with EmbeddedRedis(folder / "redis", config.redis_fsync) as server:
            own = Config(node="bench", functions=(component,), redis_url=server.url, cache_dir=config.cache_dir)
            with open_proxy(own, progress) as proxy, redis.Redis.from_url(server.url) as plain:
                yield proxy, plain


def _hosted(proxy: Proxy, size_bytes: int, repeats: int) -> Times:
    report = Report(("measure_state",), "bench", "bench", "hosted", 0)
    body = msgspec.json.encode({"size_bytes": size_bytes, "repeats": repeats})
    invocation = Invocation(report.functions, report.chain_id, report.task_id, report.node, body=body)
    state = ChainState(proxy.propagation, Call(report.functions), report)
    outcome = proxy.invoker.functions.invoke(invocation, state)
    assert outcome.response is not None
    return msgspec.json.decode(outcome.response.body, type=Times)


def _plain(client: redis.Redis, size_bytes: int, repeats: int) -> Times:
    data, times = randbytes(size_bytes), Times([], [])
    for _ in range(repeats):
        started = time.perf_counter()
        client.hset("plain", mapping={"data": data})
        times.store_s.append(time.perf_counter() - started)
    for _ in range(repeats):
        started = time.perf_counter()
        client.hgetall("plain")
        times.fetch_s.append(time.perf_counter() - started)
    return times


def _median(rounds: Sequence[Sequence[float]]) -> float:
    """The median of the rounds' medians, in milliseconds."""
    return 1000 * statistics.median(statistics.median(times) for times in rounds)
