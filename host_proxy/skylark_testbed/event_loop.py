"""An event loop whose timers are exact to about 0.1 ms.

The timers of asyncio over epoll, and of uvloop, come in whole milliseconds, which is as much as the latency of a short
link. select(2) takes microseconds, and an epoll descriptor can itself be waited for with it.
"""

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class _ExactSelector(selectors.EpollSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout > 0:
                select.select([self.fileno()], [], [], timeout)
            return super().select(0)

else:
    _ExactSelector = selectors.DefaultSelector  # kqueue takes nanoseconds


def exact_event_loop() -> asyncio.SelectorEventLoop:
    """A new loop."""
    return asyncio.SelectorEventLoop(_ExactSelector())
