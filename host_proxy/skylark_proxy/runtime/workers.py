"""The threads that run guests: never the event loop, and never for ever.

A guest that computes is ended by its guard. One that is blocked inside WASI (a sleep, a poll) cannot be ended from
outside: its caller gets an answer in time, its thread is written off and replaced, and ends when WASI lets it go.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from skylark_proxy.errors import Overloaded, SkylarkError

T = TypeVar("T")

_WATCH_EVERY_S = 0.1
_MAX_LOST = 64


@dataclass(eq=False)
class Job(Generic[T]):
    """A call for a worker. `late` makes the error for a caller whose call does not return within `limit_s`."""

    call: Callable[[], T]
    limit_s: float
    late: Callable[[], SkylarkError]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[T]"
    started_s: float = field(default=0.0)
    lost: bool = False


class Workers:
    """A fixed number of worker threads with a bounded queue."""

    def __init__(self, count: int, max_waiting: int = 1024) -> None:
        self._max_waiting = max_waiting
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._running: set[Job[Any]] = set()
        self._lock = threading.Lock()
        self._lost = 0
        self._count = count
        self._ended = threading.Event()
        for _ in range(count):
            self._start_thread()
        threading.Thread(target=self._watch, name="worker-watch", daemon=True).start()

    @property
    def healthy(self) -> bool:
        """False once so many threads are blocked in WASI that the process should be started anew."""
        return self._lost < _MAX_LOST

    async def run(self, call: Callable[[], T], limit_s: float, late: Callable[[], SkylarkError]) -> T:
        """Runs a call in a worker and returns what it returns.

        Raises:
            Overloaded: Too many calls wait already.
            SkylarkError: Whatever `late` makes, if the call runs for more than `limit_s`.
        """
        if self._jobs.qsize() >= self._max_waiting or not self.healthy:
            raise Overloaded(f"{self._jobs.qsize()} invocations wait for a worker, {self._lost} workers are blocked")
        loop = asyncio.get_running_loop()
        job: Job[T] = Job(call, limit_s, late, loop, loop.create_future())
        self._jobs.put(job)
        return await job.answer

    def close(self, grace_s: float) -> None:
        """Lets running calls end, for `grace_s` at most; waiting ones end with `Overloaded`."""
        self._ended.set()
        with contextlib.suppress(queue.Empty):
            while (job := self._jobs.get_nowait()) is not None:
                _answer(job, None, Overloaded("the node is ending"))
        for _ in range(self._count):
            self._jobs.put(None)
        end_s = time.monotonic() + grace_s
        while self._running and time.monotonic() < end_s:
            time.sleep(0.01)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="guest-worker", daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._ended.is_set():
            job.started_s = time.monotonic()
            with self._lock:
                self._running.add(job)
            try:
                result, error = job.call(), None
            except BaseException as raised:
                result, error = None, raised
            with self._lock:
                self._running.discard(job)
                if job.lost:
                    self._lost -= 1
                    return
            _answer(job, result, error)

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_EVERY_S):
            now_s = time.monotonic()
            with self._lock:
                late = [job for job in self._running if not job.lost and now_s > job.started_s + job.limit_s]
                for job in late:
                    job.lost = True
                self._lost += len(late)
            for job in late:
                _answer(job, None, job.late())
                self._start_thread()


def _answer(job: Job[Any], result: Any, error: BaseException | None) -> None:
    def deliver() -> None:
        if job.answer.done():
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        job.loop.call_soon_threadsafe(deliver)
