"""The threads that run guests: never the event loop, and never for ever.

A guest that computes is ended by its guard. One that is blocked inside WASI (a sleep, a poll) cannot be ended from
outside: its caller gets an answer in time, its thread is written off and replaced, and ends when WASI lets it go.
"""

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skylark_proxy.errors import Overloaded, SkylarkError
from skylark_proxy.runtime.stacks import start_thread

T = TypeVar("T")

_WATCH_EVERY_S = 0.01
_MAX_LOST = 64


@dataclass(eq=False)
class Job(Generic[T]):
    """A call for a worker. It waits or runs since `since_s`; `late` makes the error for a caller whose call does not
    return within `limit_s`."""

    call: Callable[[], T]
    limit_s: float
    late: Callable[[], SkylarkError]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[T]"
    since_s: float
    lost: bool = False


_Inbox = queue.SimpleQueue[Job[Any] | None]


class Workers:
    """A number of worker threads with a bounded backlog.

    About as many calls run at once as there are processors: more would only pass the interpreter's lock round, which
    costs a third of the throughput. A call that has waited for 10 ms is let through, as those that run may be blocked
    in a fetch or a sleep. The worker that became idle last gets the next call: its caches are warm.

    Args:
        count: The threads, and so the most calls that run at once.
        max_waiting: The most calls that wait.
        eager: How many calls run at once before others wait; None: as many as there are processors.
    """

    def __init__(self, count: int, max_waiting: int = 1024, eager: int | None = None) -> None:
        self._max_waiting = max_waiting
        self._eager = eager or os.cpu_count() or 1
        self._backlog: deque[Job[Any]] = deque()
        self._idle: list[_Inbox] = []
        self._running: set[Job[Any]] = set()
        self._lock = threading.Lock()
        self._lost = 0
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
            Overloaded: Too many calls wait already, or the workers are closed before the call runs.
            SkylarkError: Whatever `late` makes, if the call runs for more than `limit_s`.
        """
        if len(self._backlog) >= self._max_waiting or not self.healthy or self._ended.is_set():
            raise Overloaded(f"{len(self._backlog)} invocations wait for a worker, {self._lost} workers are blocked")
        loop = asyncio.get_running_loop()
        job: Job[T] = Job(call, limit_s, late, loop, loop.create_future(), time.monotonic())
        with self._lock:
            self._backlog.append(job)
            if len(self._running) < self._eager:
                self._hand_out()
        return await job.answer

    def close(self, grace_s: float) -> None:
        """Lets running calls end, for `grace_s` at most; callers that wait for a worker are told `Overloaded`."""
        with self._lock:
            self._ended.set()
            waiting = list(self._backlog)
            self._backlog.clear()
            for inbox in self._idle:
                inbox.put(None)
        for job in waiting:
            _answer(job, None, Overloaded("the node is closing"))
        end_s = time.monotonic() + grace_s
        while self._running and time.monotonic() < end_s:
            time.sleep(_WATCH_EVERY_S)

    def _start_thread(self) -> None:
        start_thread(self._work, "guest-worker")

    def _hand_out(self) -> None:
        """Gives the job that waits longest to the worker that became idle last. The lock is held."""
        if self._backlog and self._idle:
            job = self._backlog.popleft()
            self._start(job)
            self._idle.pop().put(job)

    def _start(self, job: Job[Any]) -> None:
        job.since_s = time.monotonic()
        self._running.add(job)

    def _work(self) -> None:
        inbox: _Inbox = queue.SimpleQueue()
        while (job := self._next(inbox)) is not None:
            try:
                result, error = job.call(), None
            except BaseException as raised:
                result, error = None, raised
            with self._lock:
                if job.lost:
                    self._lost -= 1
                    return
                self._running.discard(job)
            _answer(job, result, error)

    def _next(self, inbox: _Inbox) -> Job[Any] | None:
        """The next job of a worker; None: it is to end."""
        with self._lock:
            if self._ended.is_set():
                return None
            if self._backlog and len(self._running) < self._eager:
                job = self._backlog.popleft()
                self._start(job)
                return job
            self._idle.append(inbox)
        return inbox.get()

    def _watch(self) -> None:
        """Lets jobs through that have waited, and writes off those that run too long."""
        while not self._ended.wait(_WATCH_EVERY_S):
            now_s = time.monotonic()
            with self._lock:
                while self._idle and self._backlog and now_s > self._backlog[0].since_s + _WATCH_EVERY_S:
                    self._hand_out()
                late = [job for job in self._running if now_s > job.since_s + job.limit_s]
                for job in late:
                    job.lost = True
                    self._running.discard(job)
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
