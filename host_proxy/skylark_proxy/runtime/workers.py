"""The threads that run guests: never the event loop, and never for ever.

A no-op that begins on the event loop's thread is answered in four fifths of the time where one client calls, and saves
nothing where eight do: then one thread reads and writes requests while another runs a guest. A guest that turns out to
be long would have to be moved to a thread, with a stack of its own; so each begins in one.

A guest that computes is ended by its guard, and one that waits for a clock by `waits`. One that is blocked in a call to
the host cannot be ended from outside: its caller gets an answer in time, its thread is written off and replaced, and
ends when the call does.

No function can take all threads. One that has `n` calls running or written off gets a further thread only while at
least `n / 3` are free, so that each function leaves a quarter to the others; and one that has none running gets a
thread of its own at once, above the count if it has to be. (The rule is that of switches that share a buffer between
their ports: Choudhury and Hahne, "Dynamic queue length thresholds", 1998.) The same holds for the places to wait in.
"""

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skylark_proxy.errors import Overloaded, SkylarkError
from skylark_proxy.runtime.stacks import start_thread

T = TypeVar("T")

_WATCH_EVERY_S = 0.01
_MAX_LOST = 64
_SHARE = 3
"""How many threads or places a function may hold for each one that is free."""


@dataclass(eq=False, slots=True)
class Job(Generic[T]):
    """A call for a worker. It waits or runs since `since_s`; `late` makes the error for a caller whose call does not
    return within `limit_s`. `tenant` is the function that it counts for."""

    call: Callable[[], T]
    limit_s: float
    late: Callable[[], SkylarkError]
    tenant: str
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[T]"
    since_s: float
    lost: bool = False


_Inbox = queue.SimpleQueue[Job[Any] | None]


class Backlog:
    """The calls that wait, in a queue for each tenant. The tenants take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Job[Any]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, tenant: str) -> int:
        """How many calls of a tenant wait."""
        return len(self._queues.get(tenant, ()))

    def add(self, job: Job[Any]) -> None:
        """Puts a call last in its tenant's queue."""
        self._queues.setdefault(job.tenant, deque()).append(job)
        self._count += 1

    def take(self, may_start: Callable[[Job[Any]], bool]) -> Job[Any] | None:
        """The first call of the tenant whose turn it is, of those tenants whose first call may start now."""
        for tenant, waiting in self._queues.items():
            if may_start(waiting[0]):
                self._queues.move_to_end(tenant)
                return self._pop(tenant)
        return None

    def overdue(self, before_s: float) -> list[Job[Any]]:
        """Takes out the calls that have waited since before a time."""
        found = []
        for tenant in list(self._queues):
            while self.of(tenant) and self._queues[tenant][0].since_s < before_s:
                found.append(self._pop(tenant))
        return found

    def _pop(self, tenant: str) -> Job[Any]:
        job = self._queues[tenant].popleft()
        self._count -= 1
        if not self._queues[tenant]:
            del self._queues[tenant]
        return job


class Workers:
    """A number of worker threads with a bounded backlog.

    About as many calls run at once as there are processors: more would only pass the interpreter's lock round, which
    costs a third of the throughput. A call that has waited for 10 ms is let through, as those that run may be blocked
    in a fetch or a sleep, and one of a function that has none running at once. The worker that became idle last gets
    the next call: its caches are warm.

    Args:
        count: The threads, and so about the most calls that run at once.
        max_waiting: The most calls that wait.
        eager: How many calls run at once before others wait; None: as many as there are processors.
        max_wait_s: How long a call waits at most.
    """

    def __init__(self, count: int, max_waiting: int = 1024, eager: int | None = None, max_wait_s: float = 30.0) -> None:
        self._count = count
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._eager = eager or os.cpu_count() or 1
        self._backlog = Backlog()
        self._idle: list[_Inbox] = []
        self._running: set[Job[Any]] = set()
        self._held: dict[str, int] = {}  # by tenant, the calls that run and those that are written off
        self._lost_by: dict[str, int] = {}
        self._lock = threading.Lock()
        self._lost = 0
        self._threads = 0  # without those that are written off
        self._ended = threading.Event()
        for _ in range(count):
            self._start_thread()
        threading.Thread(target=self._watch, name="worker-watch", daemon=True).start()

    @property
    def healthy(self) -> bool:
        """False once so many threads are blocked that the process should be started anew."""
        return self._lost < _MAX_LOST

    async def run(self, call: Callable[[], T], limit_s: float, late: Callable[[], SkylarkError], tenant: str = "") -> T:
        """Runs a call in a worker and returns what it returns.

        Args:
            tenant: The function that the call counts for.

        Raises:
            Overloaded: Too many calls wait already, this one has waited too long, or the workers are closed before it
                runs.
            SkylarkError: Whatever `late` makes, if the call runs for more than `limit_s`.
        """
        loop = asyncio.get_running_loop()
        job: Job[T] = Job(call, limit_s, late, tenant, loop, loop.create_future(), time.monotonic())
        with self._lock:
            if not self._has_room(tenant):
                raise self._overloaded(tenant)
            eager = len(self._running) < self._eager or tenant not in self._held
            if eager and not self._backlog and self._may_start(job):
                self._give(job)
            else:
                self._backlog.add(job)
                if eager:
                    self._hand_out()
        return await job.answer

    def close(self, grace_s: float) -> None:
        """Lets running calls end, for `grace_s` at most; callers that wait for a worker are told `Overloaded`."""
        with self._lock:
            self._ended.set()
            waiting = self._backlog.overdue(float("inf"))
            for inbox in self._idle:
                inbox.put(None)
        for job in waiting:
            _answer(job, None, Overloaded("the node is closing"))
        end_s = time.monotonic() + grace_s
        while self._running and time.monotonic() < end_s:
            time.sleep(_WATCH_EVERY_S)

    def _has_room(self, tenant: str) -> bool:
        """True if a further call of a tenant may wait. The lock is held."""
        if self._ended.is_set() or not (self.healthy or tenant not in self._lost_by):
            return False
        if not self._backlog:
            return self._max_waiting > 0
        free = self._max_waiting - len(self._backlog)
        waiting = self._backlog.of(tenant)
        return free > 0 and (waiting < _SHARE * free or waiting == 0)

    def _overloaded(self, tenant: str) -> Overloaded:
        waiting = (
            f"{len(self._backlog)} invocations wait for a worker, {self._backlog.of(tenant)} of them of {tenant!r}"
        )
        return Overloaded(f"{waiting}; {self._lost} workers are blocked")

    def _start_thread(self, first: Job[Any] | None = None) -> None:
        inbox: _Inbox = queue.SimpleQueue()
        if first is not None:
            inbox.put(first)
        self._threads += 1
        start_thread(lambda: self._work(inbox), "guest-worker")

    def _may_start(self, job: Job[Any]) -> bool:
        """True if the function of a call gets a thread now, one that is free or one of its own. The lock is held."""
        held, free = self._held.get(job.tenant, 0), self._count - len(self._running)
        return held == 0 or (bool(self._idle) and held < _SHARE * free)

    def _hand_out(self) -> None:
        """Gives the call whose turn it is to the worker that became idle last. The lock is held."""
        job = self._backlog.take(self._may_start)
        if job is not None:
            self._give(job)

    def _give(self, job: Job[Any]) -> None:
        job.since_s = time.monotonic()
        self._running.add(job)
        self._held[job.tenant] = self._held.get(job.tenant, 0) + 1
        if self._idle:
            self._idle.pop().put(job)
        else:
            self._start_thread(job)

    def _work(self, inbox: _Inbox) -> None:
        with self._lock:
            goes_on = not inbox.empty() or self._wait(inbox)
        while goes_on and (job := inbox.get()) is not None:
            goes_on = self._carry_out(job, inbox)
            del job  # a worker that waits keeps nothing of its last call alive

    def _carry_out(self, job: Job[Any], inbox: _Inbox) -> bool:
        """Run a call and answer its caller; False if this thread is to end."""
        try:
            result, error = job.call(), None
        except BaseException as raised:
            result, error = None, raised
        with self._lock:
            self._release(self._held, job.tenant)
            if job.lost:  # and this thread with it
                self._lost -= 1
                self._release(self._lost_by, job.tenant)
                return False
            self._running.discard(job)
            goes_on = self._wait(inbox)
        _answer(job, result, error)
        return goes_on

    @staticmethod
    def _release(counts: dict[str, int], tenant: str) -> None:
        if counts[tenant] > 1:
            counts[tenant] -= 1
        else:
            del counts[tenant]

    def _wait(self, inbox: _Inbox) -> bool:
        """Let a worker wait for its next call; False: it is to end. The lock is held."""
        if self._ended.is_set():
            return False
        if self._threads > self._count:
            self._threads -= 1
            return False
        self._idle.append(inbox)
        if self._backlog and len(self._running) < self._eager:
            self._hand_out()  # to this worker, if there is a call that may start
        return True

    def _watch(self) -> None:
        """Lets jobs through that have waited, and writes off those that run or wait too long."""
        while not self._ended.wait(_WATCH_EVERY_S):
            now_s = time.monotonic()
            with self._lock:
                patience_s = now_s - _WATCH_EVERY_S

                def may_start(job: Job[Any], patience_s: float = patience_s) -> bool:
                    return job.since_s < patience_s and self._may_start(job)

                while (job := self._backlog.take(may_start)) is not None:
                    self._give(job)
                tired = self._backlog.overdue(now_s - self._max_wait_s)
                late = [job for job in self._running if now_s > job.since_s + job.limit_s]
                for job in late:
                    self._write_off(job)
            for job in tired:
                _answer(job, None, Overloaded(f"no worker became free for {job.tenant!r} in {self._max_wait_s:g} s"))
            for job in late:
                _answer(job, None, job.late())

    def _write_off(self, job: Job[Any]) -> None:
        """Count a call and its thread as lost, and start another thread. The lock is held."""
        job.lost = True
        self._running.discard(job)
        self._lost += 1
        self._lost_by[job.tenant] = self._lost_by.get(job.tenant, 0) + 1
        self._threads -= 1
        if self._threads < self._count:
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
