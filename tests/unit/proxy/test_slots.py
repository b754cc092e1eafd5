"""Places for calls: bounded, handed on in order, and never lost."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servers import wait_for
from skylark_proxy.errors import Overloaded
from skylark_proxy.slots import Slots


def test_a_place_is_handed_on_in_the_order_of_asking() -> None:
    """Who has waited longest is next, whether it waits in the event loop or in a thread."""
    slots, order = Slots("x", 1, 10, 20.0), list[str]()

    def in_thread() -> None:
        slots.acquire_blocking()
        order.append("thread")
        slots.release()

    async def in_loop(name: str) -> None:
        await slots.acquire()
        order.append(name)
        slots.release()

    async def run() -> None:
        await slots.acquire()
        first = asyncio.ensure_future(in_loop("first"))
        await asyncio.sleep(0)
        with ThreadPoolExecutor() as pool:
            second = pool.submit(in_thread)
            await asyncio.to_thread(wait_for, lambda: len(slots._waiting) == 2, "both wait")
            third = asyncio.ensure_future(in_loop("third"))
            await asyncio.sleep(0)
            slots.release()
            await asyncio.gather(first, third, asyncio.wrap_future(second))

    asyncio.run(run())
    assert order == ["first", "thread", "third"]


def test_too_many_do_not_wait() -> None:
    """Beyond the bound a call is refused at once, and told what it is that has no place."""
    slots = Slots("node 'sat1'", 1, 0, 20.0)
    slots.acquire_blocking()
    with pytest.raises(Overloaded, match="0 calls wait already for node 'sat1'") as raised:
        slots.acquire_blocking()
    assert raised.value.retryable


def test_nobody_waits_for_long() -> None:
    """A call that gets no place in time is refused, and does not get one later."""
    slots = Slots("x", 1, 10, 0.01)
    slots.acquire_blocking()
    with pytest.raises(Overloaded, match="no place became free"):
        slots.acquire_blocking()
    with pytest.raises(Overloaded, match="no place became free"):
        asyncio.run(slots.acquire())
    slots.release()
    slots.acquire_blocking()
    assert not slots._waiting


def test_a_caller_that_is_gone_leaves_its_place() -> None:
    """A cancelled call neither gets a place nor keeps one that was just handed to it."""
    slots = Slots("x", 1, 10, 20.0)

    async def run() -> None:
        await slots.acquire()
        for release_first in (False, True):
            waiting = asyncio.ensure_future(slots.acquire())
            await asyncio.sleep(0)
            if release_first:
                slots.release()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            if not waiting.cancelled():  # it had the place before it was told to go
                slots.release()
        await asyncio.wait_for(slots.acquire(), 5)

    asyncio.run(run())


def test_many_threads_share_few_places() -> None:
    """However many ask, no more than the count have a place at once, and all get one."""
    slots, inside, most = Slots("x", 3, 100, 20.0), 0, 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal inside, most
        slots.acquire_blocking()
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1
        slots.release()

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(call) for _ in range(300)]:
            done.result()
    assert 1 <= most <= 3
    assert slots._free == 3
