"""Requests whose bodies are still to come: so many at once, and of these the slowest gives way to a new one."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Message, Receive

from skylark_proxy.errors import Overloaded, TooManyRequests

_STALLED_S = 1.0
"""After so long without a byte an upload may have to give way."""


@dataclass(eq=False, slots=True)
class Upload:
    """A body on its way. `since_s` is when its client began to keep us waiting; None: it does not."""

    task: "asyncio.Task[None]"
    since_s: float | None = None
    gives_way: bool = False


class Uploads:
    """The bodies that are on their way; to be used in one event loop.

    A client that sends nothing costs its connection only, as long as nobody needs its place or its bytes. How slow a
    client may be that nobody is kept waiting by, the protocol says.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._all: dict[Upload, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, task: "asyncio.Task[None]") -> Upload:
        """Begins an upload.

        Raises:
            TooManyRequests: There are as many as there may be, and none of them stalls.
        """
        if len(self._all) >= self._limit and not self.make_room():
            raise TooManyRequests(len(self._all), self._limit)
        self._loop = task.get_loop()
        upload = Upload(task)
        self._all[upload] = None
        return upload

    def end(self, upload: Upload) -> None:
        """Ends an upload; whatever became of it."""
        self._all.pop(upload, None)

    def make_room(self) -> bool:
        """Has the upload give way that has stalled for longest; False if none has."""
        now_s = self._clock()
        waiting = [(upload.since_s, upload) for upload in self._all if upload.since_s is not None]
        since_s, slowest = min(waiting, key=lambda pair: pair[0], default=(now_s, None))
        if slowest is None or now_s - since_s < _STALLED_S:
            return False
        slowest.gives_way = True
        slowest.since_s = None
        self.end(slowest)
        slowest.task.cancel()
        return True

    def make_room_from_any_thread(self) -> None:
        """The same, soon."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.make_room)

    async def next_of(self, upload: Upload, receive: Receive) -> Message:
        """What `receive` gives next.

        Raises:
            Overloaded: The upload has to give way.
        """
        upload.since_s = self._clock()
        try:
            return await receive()
        except asyncio.CancelledError:
            if not upload.gives_way:
                raise
            upload.task.uncancel()
            raise Overloaded("the body did not come fast enough, and others need its place") from None
        finally:
            upload.since_s = None
