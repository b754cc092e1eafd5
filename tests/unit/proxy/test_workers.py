"""The threads that run guests: every caller gets an answer in time, whatever the guest does."""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from servers import wait_for
from skylark_proxy.errors import FunctionTimeout, Overloaded
from skylark_proxy.runtime import Workers


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Blocked calls wait for this; it is set in the end, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


def late() -> FunctionTimeout:
    return FunctionTimeout("f", "deadline", "it is blocked")


def running(count: int, **settings: Any) -> Workers:
    return Workers(count, **settings)


async def both(workers: Workers, *calls: Callable[[], Any], limit_s: float = 20.0) -> list[Any]:
    """The results or errors of calls that run at the same time."""
    return await asyncio.gather(*(workers.run(call, limit_s, late) for call in calls), return_exceptions=True)


def test_a_call_returns_what_it_returns() -> None:
    """The result comes back to the loop; the call ran in another thread."""
    workers = running(1)
    assert asyncio.run(both(workers, threading.get_ident))[0] not in (None, threading.get_ident())
    workers.close(1)


@pytest.mark.parametrize("error", [ValueError("x"), FunctionTimeout("f", "c", "d")])
def test_a_call_raises_what_it_raises(error: Exception) -> None:
    """Every exception reaches the caller, and the worker is there for the next call."""

    def fail() -> None:
        raise error

    async def run() -> None:
        with pytest.raises(type(error)) as raised:
            await workers.run(fail, 20, late)
        assert raised.value is error
        assert await workers.run(lambda: 1, 20, late) == 1

    workers = running(1)
    asyncio.run(run())
    workers.close(1)


def test_as_many_calls_run_at_once_as_there_are_workers() -> None:
    """Two workers meet at a barrier for two; a third call waits for its turn and runs, too."""
    workers, barrier = running(2), threading.Barrier(2, timeout=20)
    assert asyncio.run(both(workers, barrier.wait, barrier.wait, lambda: 7))[2] == 7
    workers.close(1)


def test_a_late_call_is_answered_in_time_and_its_worker_replaced(released: threading.Event) -> None:
    """The caller of a blocked call gets the error of `late`; the one worker's place is taken by a new one."""
    workers = running(1)

    async def run() -> None:
        started = time.monotonic()
        with pytest.raises(FunctionTimeout, match="it is blocked"):
            await workers.run(released.wait, 0.05, late)
        assert time.monotonic() - started < 5
        assert await asyncio.wait_for(workers.run(lambda: "next", 20, late), 20) == "next"

    asyncio.run(run())
    workers.close(1)


def test_the_time_in_the_queue_does_not_count(released: threading.Event) -> None:
    """A call's limit begins when a worker takes it: one that waited for longer still gets its time."""
    workers, limit_s = running(1), 0.05

    async def run() -> None:
        first = asyncio.ensure_future(workers.run(released.wait, 20, late))
        second = asyncio.ensure_future(workers.run(lambda: 2, limit_s, late))
        await asyncio.sleep(0)
        queued_s = time.monotonic()
        await asyncio.to_thread(wait_for, lambda: time.monotonic() > queued_s + 6 * limit_s, "time has passed")
        assert not second.done()
        released.set()
        assert (await first, await second) == (True, 2)

    asyncio.run(run())
    workers.close(1)


def test_what_a_lost_call_returns_at_last_is_dropped(released: threading.Event) -> None:
    """A call that ends after its caller was answered changes nothing, and its thread ends, as another has begun."""
    workers, before = running(1), threading.active_count()

    async def run() -> None:
        with pytest.raises(FunctionTimeout):
            await workers.run(released.wait, 0.05, late)
        assert threading.active_count() == before + 1
        released.set()
        wait_for(lambda: threading.active_count() == before, "the lost thread has ended")
        assert await workers.run(lambda: "next", 20, late) == "next"

    asyncio.run(run())
    workers.close(1)


def test_too_many_waiting_calls_are_refused(released: threading.Event) -> None:
    """Beyond the queue's bound a caller is told at once, with an error that a retry can help."""
    workers, started = running(1, max_waiting=2), threading.Event()

    def block() -> bool:
        started.set()
        return released.wait(20)

    async def run() -> None:
        first = asyncio.ensure_future(workers.run(block, 20, late))
        await asyncio.to_thread(started.wait, 20)
        waiting = [asyncio.ensure_future(workers.run(lambda: 2, 20, late)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as raised:
            await workers.run(lambda: 3, 20, late)
        assert raised.value.retryable
        released.set()
        assert await asyncio.gather(first, *waiting) == [True, 2, 2]

    asyncio.run(run())
    workers.close(1)


def test_too_many_lost_workers_make_a_node_unhealthy(released: threading.Event) -> None:
    """Each blocked thread keeps its memory: after 64 the node takes no more, until some of them end."""
    workers = running(64)

    async def run() -> None:
        assert workers.healthy
        answers = await both(workers, *(released.wait for _ in range(64)), limit_s=0.05)
        assert all(isinstance(answer, FunctionTimeout) for answer in answers)
        assert not workers.healthy
        with pytest.raises(Overloaded, match="64 workers are blocked"):
            await workers.run(lambda: 1, 20, late)
        released.set()
        wait_for(lambda: workers.healthy, "the lost threads have ended")
        assert await workers.run(lambda: 1, 20, late) == 1

    asyncio.run(run())
    workers.close(1)


def test_a_cancelled_caller_does_no_harm(released: threading.Event) -> None:
    """A client that hangs up leaves its call running; its result goes nowhere, and the worker serves on."""
    workers, started = running(1), threading.Event()

    def block() -> bool:
        started.set()
        return released.wait(20)

    async def run() -> None:
        job = asyncio.ensure_future(workers.run(block, 20, late))
        await asyncio.to_thread(started.wait, 20)
        job.cancel()
        released.set()
        assert await workers.run(lambda: 1, 20, late) == 1
        assert job.cancelled()

    asyncio.run(run())
    workers.close(1)


def test_close_lets_running_calls_end(released: threading.Event) -> None:
    """Within the grace a running call ends and its caller is answered."""
    workers, started = running(1), threading.Event()

    def finish() -> str:
        started.set()
        released.wait(20)
        return "done"

    async def run() -> None:
        job = asyncio.ensure_future(workers.run(finish, 20, late))
        await asyncio.to_thread(started.wait, 20)
        threading.Timer(0.05, released.set).start()
        await asyncio.to_thread(workers.close, 20)
        assert await asyncio.wait_for(job, 20) == "done"

    asyncio.run(run())


def test_close_does_not_wait_for_ever(released: threading.Event) -> None:
    """A blocked call holds the end up for the grace and no longer."""
    workers = running(1)

    async def run() -> None:
        job = asyncio.ensure_future(workers.run(released.wait, 20, late))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_for, lambda: bool(workers._running), "the call runs")
        started = time.monotonic()
        await asyncio.to_thread(workers.close, 0.1)
        assert 0.1 <= time.monotonic() - started < 5
        job.cancel()

    asyncio.run(run())


def test_callers_that_still_wait_at_the_end_are_answered(released: threading.Event) -> None:
    """A call that no worker has taken when the node closes gets an error, and not silence."""
    workers = running(1)

    async def run() -> None:
        first = asyncio.ensure_future(workers.run(released.wait, 20, late))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_for, lambda: bool(workers._running), "the call runs")
        waiting = asyncio.ensure_future(workers.run(lambda: 1, 20, late))
        await asyncio.sleep(0)
        await asyncio.to_thread(workers.close, 0.1)
        released.set()
        await first
        with pytest.raises(Overloaded):
            await asyncio.wait_for(waiting, 20)

    asyncio.run(run())


class TestTenants:
    """One function cannot take what all of them need."""

    def test_a_function_that_blocks_leaves_threads_to_others(self, released: threading.Event) -> None:
        """While 64 calls of one function block, calls of others run at once, several at a time."""
        workers = running(8)

        async def run() -> None:
            blocked = [asyncio.ensure_future(workers.run(released.wait, 20, late, "bad")) for _ in range(64)]
            await asyncio.to_thread(wait_for, lambda: len(workers._running) == 6, "its share runs")
            for tenant in ("good", "better", "best"):
                assert await asyncio.wait_for(workers.run(lambda: 1, 20, late, tenant), 20) == 1
            barrier = threading.Barrier(2, timeout=20)
            await asyncio.gather(*(workers.run(barrier.wait, 20, late, "good") for _ in range(2)))
            released.set()
            await asyncio.gather(*blocked)

        asyncio.run(run())
        workers.close(1)

    def test_a_function_gets_a_thread_where_all_are_taken(self, released: threading.Event) -> None:
        """A call of a function that has none running runs, and the thread that was started for it ends afterwards."""
        workers = running(1)

        async def run() -> None:
            before = threading.active_count()
            blocked = asyncio.ensure_future(workers.run(released.wait, 20, late, "bad"))
            await asyncio.sleep(0)
            for _ in range(3):
                assert await asyncio.wait_for(workers.run(lambda: 1, 20, late, "good"), 20) == 1
            await asyncio.to_thread(wait_for, lambda: threading.active_count() <= before + 1, "the thread has ended")
            released.set()
            await blocked

        asyncio.run(run())
        workers.close(1)

    def test_written_off_calls_count_for_their_function(self, released: threading.Event) -> None:
        """A function whose calls do not end is refused in the end; others are not, and the node stays healthy."""
        workers = running(4, max_wait_s=0.5)

        async def run() -> None:
            answers = await asyncio.gather(
                *(workers.run(released.wait, 0.02, late, "bad") for _ in range(40)), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {FunctionTimeout, Overloaded}
            assert sum(isinstance(answer, FunctionTimeout) for answer in answers) == 12
            assert workers.healthy
            assert await workers.run(lambda: 1, 20, late, "good") == 1
            released.set()
            wait_for(lambda: not workers._held, "the blocked calls have ended")
            assert await workers.run(lambda: 1, 20, late, "bad") == 1

        asyncio.run(run())
        workers.close(1)

    def test_the_places_to_wait_in_are_shared_too(self, released: threading.Event) -> None:
        """A function whose calls wait in masses is refused before the others have no place left."""
        workers = running(1, max_waiting=16)

        async def run() -> None:
            sent = [asyncio.ensure_future(workers.run(released.wait, 20, late, "bad")) for _ in range(32)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            refused = [job for job in sent if job.done() and isinstance(job.exception(), Overloaded)]
            assert 0 < len(refused) < 32
            good = [asyncio.ensure_future(workers.run(lambda: 1, 20, late, "good")) for _ in range(3)]
            released.set()
            assert await asyncio.gather(*good) == [1, 1, 1]
            await asyncio.gather(*sent, return_exceptions=True)

        asyncio.run(run())
        workers.close(1)

    def test_a_call_does_not_wait_for_ever(self, released: threading.Event) -> None:
        """A call that gets no worker in time is told so, with an error that a retry can help."""
        workers = running(1, max_wait_s=0.05)

        async def run() -> None:
            blocked = asyncio.ensure_future(workers.run(released.wait, 20, late))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="no worker became free"):
                await workers.run(lambda: 1, 20, late)
            released.set()
            await blocked

        asyncio.run(run())
        workers.close(1)


def test_an_idle_worker_keeps_nothing_of_its_last_call(released: threading.Event) -> None:
    """What a call held or returned is freed once it is answered, also where a thread was started for it."""

    class Payload:
        pass

    kept: list[weakref.ref[Payload]] = []

    def call() -> Payload:
        payload = Payload()
        kept.append(weakref.ref(payload))
        return payload

    workers = running(1)

    async def run() -> None:
        await workers.run(call, 20, late)
        blocked = asyncio.ensure_future(workers.run(released.wait, 20, late, "bad"))
        await asyncio.sleep(0)
        await workers.run(call, 20, late, "good")
        released.set()
        await blocked

    asyncio.run(run())
    wait_for(lambda: all(ref() is None for ref in kept), "the payloads are freed")
    assert len(kept) == 2
    workers.close(1)
