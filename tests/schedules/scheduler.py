"""Threads that take turns in virtual time. They switch only where they wait, so a seed decides the whole order."""

import heapq
import itertools
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet


class Crashed(BaseException):
    """The node that this thread runs on has crashed: nothing that it does has an effect any more."""


class Task:
    """A thread. `life` is what it dies with."""

    def __init__(self, scheduler: "Scheduler", call: Callable[[], Any], name: str, life: "Life") -> None:
        self.name = name
        self.life = life
        self.done = False
        self._scheduler = scheduler
        self._call = call
        self._joining: list[Task] = []
        self.coroutine = greenlet(self._run, scheduler.hub)
        self.wakes = 0

    def _run(self) -> None:
        try:
            self._call()
        except (Crashed, GreenletExit):
            pass
        finally:
            self.done = True


class Life:
    """Of a node's process from its start to its crash, or of the clients."""

    def __init__(self) -> None:
        self.ended = False


class Scheduler:
    """Runs tasks in the order of the virtual time at which they go on; equal times in the order of entry.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.hub = getcurrent()
        self.failure: BaseException | None = None
        self.current: Task | None = None
        self._queue: list[tuple[float, int, int, Task]] = []
        self._order = itertools.count()

    def start(self, call: Callable[[], Any], name: str, life: Life) -> Task:
        """Make a task that begins soon."""
        task = Task(self, call, name, life)
        self._enter(task, self.random.random() * 1e-4)
        return task

    def sleep(self, seconds: float) -> None:
        """Let others go on for a while."""
        task = self.current
        assert task is not None
        self._enter(task, seconds)
        self._switch(task)

    def park(self, timeout_s: float) -> Callable[[], None]:
        """Prepare to wait; returns what wakes the task. `wait` then waits."""
        task = self.current
        assert task is not None
        self._enter(task, timeout_s)
        number = task.wakes
        return lambda: self._enter(task, 1e-6) if task.wakes == number else None

    def wait(self) -> None:
        """Wait until the time for which the task was parked has passed, or it was woken."""
        assert self.current is not None
        self._switch(self.current)

    def run(self, until: Callable[[], bool]) -> None:
        """Run tasks until `until` holds, or nothing is left to do.

        Raises:
            BaseException: What a task failed with.
        """
        while self._queue and not until():
            at_s, _, wakes, task = heapq.heappop(self._queue)
            if task.done or task.wakes != wakes:
                continue
            self.now_s = max(self.now_s, at_s)
            task.wakes += 1
            self.current = task
            task.coroutine.switch()
            self.current = None
            if self.failure is not None:
                raise self.failure

    def _enter(self, task: Task, delay_s: float) -> None:
        heapq.heappush(self._queue, (self.now_s + delay_s, next(self._order), task.wakes, task))

    def _switch(self, task: Task) -> None:
        self.hub.switch()
        if task.life.ended:
            raise Crashed


class Condition:
    """As `threading.Condition`. Tasks switch only where they wait, so nobody else can be inside."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: list[Callable[[], None]] = []

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None, /
    ) -> None:
        return None

    def wait(self, timeout: float) -> bool:
        wake = self._scheduler.park(timeout)
        self._waiting.append(wake)
        self._scheduler.wait()
        if wake in self._waiting:
            self._waiting.remove(wake)
            return False
        return True

    def notify_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()


class _Thread:
    def __init__(self, scheduler: Scheduler, task: Task) -> None:
        self._scheduler = scheduler
        self._task = task

    def join(self, timeout: float) -> None:
        end_s = self._scheduler.now_s + timeout
        while not self._task.done and self._scheduler.now_s < end_s:
            self._scheduler.sleep(0.01)


class SimulatedMachine:
    """A node's clocks, threads and chance. Its wall clock is wrong by `skew_s`, which can change."""

    EPOCH_S = 1_800_000_000.0

    def __init__(self, scheduler: Scheduler, life: Life, skew_s: float = 0.0) -> None:
        self.scheduler = scheduler
        self.life = life
        self.skew_s = skew_s
        self._random = random.Random(scheduler.random.random())

    def now_s(self) -> float:
        return self.EPOCH_S + self.scheduler.now_s + self.skew_s

    def monotonic_s(self) -> float:
        return self.scheduler.now_s

    def token(self) -> str:
        return f"{self.scheduler.random.getrandbits(64):016x}"

    def random(self) -> random.Random:
        return self._random

    def condition(self) -> Condition:
        return Condition(self.scheduler)

    def start(self, call: Callable[[], None], name: str) -> _Thread:
        return _Thread(self.scheduler, self.scheduler.start(call, name, self.life))
