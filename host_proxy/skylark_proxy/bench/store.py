"""State by the node's own code, without a function: the same bundle, the same Redis, and redis-py in turns."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import randbytes

import redis

from skylark_proxy.bench.state import SIZES_BYTES
from skylark_proxy.config import Config
from skylark_proxy.model import StateKey
from skylark_proxy.placement import Write
from skylark_proxy.propagation import Propagation
from skylark_proxy.proxy import open_proxy
from skylark_proxy.redis_server import EmbeddedRedis

_BUDGET_BYTES = 20_000_000
_MAX_REPEATS = 200
_MIN_REPEATS = 3
_TURNS = 10
"""The two take turns so often in each round: what else the machine does then slows both of them."""

_NODE = "bench"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Medians over all rounds, in milliseconds, and of that the processor time of the client's thread."""

    operation: str
    size_bytes: int
    node_ms: float
    node_cpu_ms: float
    plain_ms: float
    plain_cpu_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long the node takes."""
        return self.node_ms / self.plain_ms

    @property
    def cpu_ratio(self) -> float:
        """How many times as much processor time it takes."""
        return self.node_cpu_ms / self.plain_cpu_ms


class _Times:
    """The seconds that calls took, and their processor time, each the mean of a turn."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._wall_s: list[float] = []
        self._cpu_s: list[float] = []

    def take(self, repeats: int) -> None:
        """Measure one turn. The first call after another one's turn is left out."""
        self._call()
        started, cpu = time.perf_counter(), time.thread_time()
        for _ in range(repeats):
            self._call()
        self._cpu_s.append((time.thread_time() - cpu) / repeats)
        self._wall_s.append((time.perf_counter() - started) / repeats)

    def medians_ms(self) -> tuple[float, float]:
        """Return the medians of both."""
        return 1000 * statistics.median(self._wall_s), 1000 * statistics.median(self._cpu_s)


def bench_store(
    config: Config, rounds: int, progress: Progress, sizes: Sequence[int] = SIZES_BYTES
) -> list[StoreResult]:
    """Measure each size in `rounds` rounds, in which the node and redis-py take turns.

    The node fetches and stores a bundle with one field by `Propagation`. redis-py does HGETALL and HSET of a hash with
    one field of that size, with its defaults, over the same unix socket.
    """
    results: list[StoreResult] = []
    with _open(config, progress) as (propagation, plain):
        for size_bytes in sizes:
            progress(f"measuring {size_bytes:,} bytes")
            repeats = max(_MIN_REPEATS, min(_MAX_REPEATS, _BUDGET_BYTES // size_bytes)) // _MIN_REPEATS
            results += _measure(propagation, plain, size_bytes, rounds, repeats)
    return results


def _measure(
    propagation: Propagation, plain: redis.Redis, size_bytes: int, rounds: int, repeats: int
) -> Iterator[StoreResult]:
    data, key = randbytes(size_bytes), StateKey("bench", "task")
    pairs = {
        "store": (
            _Times(lambda: propagation.place(Write(key, {"data": data}))),
            _Times(lambda: plain.hset("plain", "data", data)),
        ),
        "fetch": (
            _Times(lambda: propagation.fetch(key.at(_NODE))),
            _Times(lambda: plain.hgetall("plain")),
        ),
    }
    for _ in range(rounds * _TURNS):
        for pair in pairs.values():
            for one in pair:
                one.take(repeats)
    for operation, (node, direct) in pairs.items():
        yield StoreResult(operation, size_bytes, *node.medians_ms(), *direct.medians_ms())


@contextmanager
def _open(config: Config, progress: Progress) -> Iterator[tuple[Propagation, redis.Redis]]:
    with (
        tempfile.TemporaryDirectory(prefix="skylark-bench-") as name,
        EmbeddedRedis(Path(name) / "redis", config.redis_fsync) as server,
        open_proxy(Config(node=_NODE, redis_url=server.url, cache_dir=config.cache_dir), progress) as proxy,
        redis.Redis.from_url(server.url) as plain,
    ):
        yield proxy.propagation, plain
