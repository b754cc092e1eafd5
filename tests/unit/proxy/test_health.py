"""The probe of Redis behind `/health`."""

import asyncio
import threading

import pytest

from skylark_proxy.api import health
from skylark_proxy.api.health import Probe
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.errors import StoreUnavailable
from skylark_proxy.slots import Slots


class Redis:
    """What answers at once, unless it is busy or away."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.free = threading.Event()
        self.free.set()

    def check(self) -> None:
        self.asked += 1
        assert self.free.wait(20)
        if self.away:
            raise StoreUnavailable("Redis is away")


def probe(redis: Redis) -> Probe:
    return Probe(redis.check, Bulkhead(Slots("health", 4, 64, 2.0)))


def test_a_busy_redis_is_as_it_was() -> None:
    """While Redis is busy, those who ask share one question and get the answer of before; then it is asked anew."""
    redis = Redis()

    async def ask() -> None:
        asked = probe(redis)
        await asked.run()
        redis.free.clear()
        await asyncio.gather(*(asked.run() for _ in range(10)))
        assert redis.asked == 2
        redis.away = True
        redis.free.set()
        with pytest.raises(StoreUnavailable):
            await asked.run()

    asyncio.run(ask())


@pytest.mark.parametrize("recent_s", [5.0, 0.0])
def test_what_is_not_known_is_waited_for(monkeypatch: pytest.MonkeyPatch, recent_s: float) -> None:
    """At first, and where the last answer is old, nobody is told anything before Redis has answered."""
    monkeypatch.setattr(health, "_RECENT_S", recent_s)
    redis = Redis()

    async def ask() -> None:
        asked = probe(redis)
        if not recent_s:
            await asked.run()
        redis.free.clear()
        waiting = asyncio.create_task(asked.run())
        done, _ = await asyncio.wait([waiting], timeout=4 * health._BUSY_S)
        assert not done
        redis.free.set()
        await waiting

    asyncio.run(ask())
