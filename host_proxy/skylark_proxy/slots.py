"""A number of places that calls hold while they run. Further calls wait their turn, not for long, and not many."""

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from skylark_proxy.errors import Overloaded


class Slots:
    """Places for calls, handed on in the order of asking. Safe for threads and for the event loop.

    Args:
        what: What the calls do, for errors.
        count: The places.
        max_waiting: How many calls may wait for one.
        wait_s: How long a call waits at most.
    """

    def __init__(self, what: str, count: int, max_waiting: int, wait_s: float) -> None:
        self.what = what
        self._free = count
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    async def acquire(self) -> None:
        """Takes a place; to be called in the event loop.

        Raises:
            Overloaded: None became free in time, or too many calls wait already.
        """
        turn = self._ask()
        if turn is None:
            return
        try:
            await asyncio.wait_for(asyncio.wrap_future(turn), self._wait_s)
        except TimeoutError:
            self._give_up(turn)
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was handed on to a caller that is gone
                self.release()
            raise

    def acquire_blocking(self) -> None:
        """Takes a place; to be called in a thread. Raises as `acquire`."""
        turn = self._ask()
        if turn is None:
            return
        try:
            turn.result(self._wait_s)
        except FutureTimeout:
            self._give_up(turn)

    def take(self) -> None:
        """Takes a place at once, beyond the count if none is free."""
        with self._lock:
            self._free -= 1

    def release(self) -> None:
        """Gives a place back, to the call that has waited longest."""
        with self._lock:
            self._free += 1
            while self._free > 0 and self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    self._free -= 1
                    turn.set_result(None)

    def _ask(self) -> "Future[None] | None":
        with self._lock:
            if self._free > 0 and not self._waiting:
                self._free -= 1
                return None
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded(f"{len(self._waiting)} calls wait already for {self.what}")
            turn: Future[None] = Future()
            self._waiting.append(turn)
            return turn

    def _give_up(self, turn: "Future[None]") -> None:
        """Raise, unless the place was handed on at this very moment."""
        if turn.cancel() or turn.cancelled():
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove(turn)
            raise Overloaded(f"{self.what}: no place became free in {self._wait_s:g} s")
