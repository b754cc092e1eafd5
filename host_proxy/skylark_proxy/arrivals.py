"""Bundles that are on their way to this node: a fetch waits for one instead of going back over the link for it."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

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
    ) -> None:
        self._waiting = waiting
        self._max_expected = max_expected
        self._max_wait_s = max_wait_s
        self._free = threading.Semaphore(max_waiting)
        self._expected: dict[StateKey, float] = {}
        self._changed = threading.Condition()
        self._swept_s = 0.0

    def expect(self, key: StateKey, for_s: float | None = None) -> None:
        """Announces a bundle: it is expected for `for_s` from now; None: as long as a fetch waits at most."""
        now_s = time.monotonic()
        with self._changed:
            if now_s >= self._swept_s + _SWEEP_EVERY_S:
                self._sweep(now_s)
            if len(self._expected) >= self._max_expected and key.anywhere() not in self._expected:
                return  # a fetch then goes back over the link for the bundle, and finds it
            self._expected[key.anywhere()] = now_s + (self._max_wait_s if for_s is None else for_s)

    def _sweep(self, now_s: float) -> None:
        """Forget what is overdue. Looking at all of them for each announcement would take longer and longer."""
        self._swept_s = now_s
        overdue = [name for name, until_s in self._expected.items() if until_s < now_s]
        for name in overdue:
            del self._expected[name]

    def settle(self, key: StateKey) -> None:
        """The bundle has arrived, or will not come: whoever waits for it looks again."""
        with self._changed:
            if self._expected.pop(key.anywhere(), None) is not None:
                self._changed.notify_all()

    def expects(self, key: StateKey) -> bool:
        """Whether a bundle is expected; to be asked before it is looked for, since it may arrive in between."""
        return key.anywhere() in self._expected

    def wait(self, key: StateKey) -> bool:
        """Waits for a bundle that is expected; False at once if it is not, or if too many wait already."""
        name = key.anywhere()
        with self._waiting(), self._changed:
            until_s = self._expected.get(name)
            if until_s is None or not self._free.acquire(blocking=False):
                return False
            try:
                end_s = min(until_s, time.monotonic() + self._max_wait_s)
                while name in self._expected and (rest_s := end_s - time.monotonic()) > 0:
                    self._changed.wait(rest_s)
            finally:
                self._free.release()
            return True

    def __len__(self) -> int:
        return len(self._expected)
