"""The bytes of bodies and answers that a node holds at once. Who would exceed them waits a little, then is refused."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from skylark_proxy.bulkheads import elsewhere
from skylark_proxy.errors import Overloaded

_LOOK_EVERY_S = 0.02
_MUCH_BYTES = 64 << 20
_SMALL_BYTES = 64 << 10
"""What is no larger than that never waits."""


class Budget:
    """A number of bytes that are shared. Safe for threads and for the event loop.

    A body is paid for as it arrives, so that nobody can book what he does not send. Bodies that have come in part may
    so use it up together, and wait for each other; one of them may therefore go beyond the budget until it is whole.

    Args:
        limit_bytes: The bytes.
        wait_s: How long to wait for bytes that others hold.
        max_waiting: How many may wait.
        on_shortage: Called again and again while there are too few bytes, to take some from somebody who stalls.
        on_relief: Called when nothing is held any more, after it was much.
    """

    def __init__(
        self,
        limit_bytes: int,
        wait_s: float = 10.0,
        max_waiting: int = 64,
        on_shortage: Callable[[], None] = lambda: None,
        on_relief: Callable[[], None] = lambda: None,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.on_shortage = on_shortage
        self._on_relief = on_relief
        self._most_bytes = 0
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._waiting = 0
        self._used_bytes = 0
        self._booked_bytes = 0  # of these, what may yet be read: no memory is taken for it
        self._beyond: Share | None = None
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """What is held now."""
        return self._used_bytes

    def share(self) -> "Share":
        """A share of the bytes, empty at first. What it holds is given back at the end of its `with`."""
        return Share(self)

    def share_here(self) -> "Share":
        """The same; it is the one that `share_here` returns in this task or thread, and in threads of this task."""
        return _ShareHere(self)

    def _take(self, share: "Share", size_bytes: int, booked: bool = False) -> bool:
        with self._lock:
            if self._used_bytes + size_bytes > self.limit_bytes and share.size_bytes + size_bytes > _SMALL_BYTES:
                if booked or self._beyond not in (None, share):
                    return False
                self._beyond = share
            if booked:
                share.booked_bytes += size_bytes
                self._booked_bytes += size_bytes
            self._add(share, size_bytes)
            return True

    def _add(self, share: "Share", size_bytes: int) -> None:
        self._used_bytes += size_bytes
        if self._used_bytes - self._booked_bytes > self._most_bytes:
            self._most_bytes = self._used_bytes - self._booked_bytes
        share.size_bytes += size_bytes

    def _hold(self, share: "Share", size_bytes: int) -> None:
        with self._lock:
            self._booked_bytes -= share.booked_bytes
            share.booked_bytes = 0
            self._add(share, size_bytes - share.size_bytes)
            if not size_bytes and self._beyond is share:
                self._beyond = None
            relieved = not self._used_bytes and self._most_bytes >= _MUCH_BYTES
            if relieved:
                self._most_bytes = 0
        if relieved:
            self._on_relief()

    @contextlib.contextmanager
    def _queueing(self) -> Iterator[float]:
        """Be one of those who wait; yields when to give up, by `time.monotonic`."""
        with self._lock:
            if self._waiting >= self._max_waiting:
                raise self._refusal()
            self._waiting += 1
        try:
            yield time.monotonic() + self._wait_s
        finally:
            with self._lock:
                self._waiting -= 1

    def _refusal(self) -> Overloaded:
        return Overloaded(f"{self._used_bytes} bytes of bodies and answers are held, the limit is {self.limit_bytes}")


class Share:
    """What one request holds of a budget; see `Budget.share`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size_bytes = 0
        self.booked_bytes = 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_raised: object) -> None:
        self.hold(0)

    def take(self, size_bytes: int) -> bool:
        """Takes further bytes if they are free; False if they are not."""
        return self._budget._take(self, size_bytes)

    async def add(self, size_bytes: int) -> None:
        """Takes further bytes; to be called in the event loop.

        Raises:
            Overloaded: Others hold them for too long.
        """
        if self.take(size_bytes):
            return
        with self._budget._queueing() as end_s:
            while not self.take(size_bytes):
                if time.monotonic() > end_s:
                    raise self._budget._refusal()
                self._budget.on_shortage()
                await asyncio.sleep(_LOOK_EVERY_S)

    def add_blocking(self, size_bytes: int) -> None:
        """Takes further bytes; to be called in a thread. Raises as `add`."""
        if self.take(size_bytes):
            return
        with elsewhere(), self._budget._queueing() as end_s:
            while not self.take(size_bytes):
                if time.monotonic() > end_s:
                    raise self._budget._refusal()
                self._budget.on_shortage()
                time.sleep(_LOOK_EVERY_S)

    def hold(self, size_bytes: int) -> None:
        """Holds so many bytes from now on, because they are there or are no more."""
        self._budget._hold(self, size_bytes)

    @contextlib.contextmanager
    def reading(self, most_bytes: int, size_of: Callable[[], int]) -> Iterator[Callable[[int], None]]:
        """Takes bytes for what a thread is about to read: the most that it may be if they are free, else its size.

        Yields:
            To be told how many bytes were read, which the share goes on to hold. Without that it holds none of them.

        Raises:
            Overloaded: Others hold them for too long.
        """
        read_bytes = self.size_bytes

        def note(size_bytes: int) -> None:
            nonlocal read_bytes
            read_bytes += size_bytes

        try:
            if not self._budget._take(self, most_bytes, booked=True):
                self.add_blocking(size_of())
            yield note
        finally:
            self.hold(read_bytes)


class _ShareHere(Share):
    """A share that `share_here` returns."""

    def __enter__(self) -> Share:
        self._before = _HERE.set(self)
        return self

    def __exit__(self, *_raised: object) -> None:
        _HERE.reset(self._before)
        self.hold(0)


_HERE: ContextVar[Share | None] = ContextVar("share", default=None)


def share_here() -> Share | None:
    """The share of the request or call that is being served here; None if there is none."""
    return _HERE.get()


def hold_here(size_bytes: int) -> None:
    """Has the request that is being served here hold so many bytes, and no others."""
    share = _HERE.get()
    if share is not None:
        share.hold(size_bytes)
