"""What a node's code needs of the machine that runs it: clocks, threads and chance.

The real one is `REAL`. The simulation of the state protocol (`tests/simulation`) has another one, in which time is
virtual and a seed decides which thread goes on.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol


class Condition(Protocol):
    """The part of `threading.Condition` that is used here. Every wait has a timeout."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def wait(self, timeout: float) -> bool: ...
    def notify_all(self) -> None: ...


class Thread(Protocol):
    """A thread that runs."""

    def join(self, timeout: float) -> None: ...


class Machine(Protocol):
    """Clocks, threads and chance."""

    def now_s(self) -> float:
        """Return the time in seconds since the epoch. It can jump."""

    def monotonic_s(self) -> float:
        """Return the time of a clock that only goes on, in seconds."""

    def token(self) -> str:
        """Return 16 random hexadecimal digits."""

    def random(self) -> random.Random:
        """Return a generator of random numbers, for choices and pauses, never for secrets."""

    def condition(self) -> Condition:
        """Make a condition with its own lock."""

    def start(self, call: Callable[[], None], name: str) -> Thread:
        """Run `call` in a thread that does not keep the process alive."""


class _RealMachine:
    def __init__(self) -> None:
        self._random = random.Random()

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def token(self) -> str:
        return os.urandom(8).hex()

    def random(self) -> random.Random:
        return self._random

    def condition(self) -> Condition:
        return threading.Condition()

    def start(self, call: Callable[[], None], name: str) -> Thread:
        thread = threading.Thread(target=call, name=name, daemon=True)
        thread.start()
        return thread


REAL: Machine = _RealMachine()


def now_ms(machine: Machine = REAL) -> int:
    """Return the machine's time in milliseconds since the epoch."""
    return int(machine.now_s() * 1000)
