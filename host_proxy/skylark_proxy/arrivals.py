"""Bundles that are on their way to this node: a fetch waits for one instead of going back over the link for it."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from skylark_proxy.machine import REAL, Machine
from skylark_proxy.model import StateKey

_SWEEP_EVERY_S = 1.0


class Arrivals:
    """What is expected. Safe for threads.

    Args:
        max_wait_s: How long a fetch waits, whatever was announced.
        max_waiting: How many fetches wait at once. Each holds a thread of the server, and the bundles that they wait
            for need threads to arrive; further fetches look elsewhere.
        waiting: Entered by a thread for as long as it waits.
        max_expected: How many bundles may be expected; of further ones it is forgotten that they were announced.
    """

    def __init__(
        self,
        max_wait_s: float,
        max_waiting: int = 24,
        waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        max_expected: int = 65_536,
        machine: Machine = REAL,
    ) -> None:
        self.max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._waiting = waiting
        self._max_expected = max_expected
        self._machine = machine
        self._count = 0
        self._expected: dict[StateKey, float] = {}
        self._changed = machine.condition()
        self._swept_s = 0.0

    def expect(self, key: StateKey, for_s: float | None = None) -> None:
        """Announce a bundle: it is expected for `for_s` from now; None: as long as a fetch waits at most."""
        now_s = self._machine.monotonic_s()
        with self._changed:
            if now_s >= self._swept_s + _SWEEP_EVERY_S:
                self._sweep(now_s)
            if len(self._expected) >= self._max_expected and key.anywhere() not in self._expected:
                return  # a fetch then goes back over the link for the bundle, and finds it
            self._expected[key.anywhere()] = now_s + (self.max_wait_s if for_s is None else for_s)

    def settle(self, key: StateKey) -> None:
        """Let those who wait for a bundle look again: it has arrived, or will not come."""
        if not self.expects(key):  # what is expected from now on will be looked for, and is there
            return
        with self._changed:
            if self._expected.pop(key.anywhere(), None) is not None:
                self._changed.notify_all()

    def expects(self, key: StateKey) -> bool:
        """Return True if a bundle is expected. Ask before you look for it, since it may arrive in between."""
        return bool(self._expected) and key.anywhere() in self._expected

    def wait(self, key: StateKey) -> bool:
        """Wait for a bundle that is expected; return False at once if it is not, or if too many wait already."""
        name = key.anywhere()
        with self._waiting(), self._changed:
            until_s = self._expected.get(name)
            if until_s is None or self._count >= self._max_waiting:
                return False
            self._count += 1
            try:
                end_s = min(until_s, self._machine.monotonic_s() + self.max_wait_s)
                while name in self._expected and (rest_s := end_s - self._machine.monotonic_s()) > 0:
                    self._changed.wait(rest_s)
            finally:
                self._count -= 1
            return True

    def _sweep(self, now_s: float) -> None:
        """Forget what is overdue. Looking at all of them for each announcement would take longer and longer."""
        self._swept_s = now_s
        overdue = [name for name, until_s in self._expected.items() if until_s < now_s]
        for name in overdue:
            del self._expected[name]

    def __len__(self) -> int:
        return len(self._expected)
