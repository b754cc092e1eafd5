"""Keeps apart the threads that wait for different things, so that none of them can hold up the others.

A call of the HTTP surface that blocks runs in a thread, with one of the places for local work. Before it asks another
node, or waits for a bundle that is on its way here, it gives this place back and takes one of those for that node, or
for waiting. So a node that does not answer holds up only the calls that need it, and not many of these: further ones
are told at once that it cannot be reached. The node's health has places of its own.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from skylark_proxy.errors import Overloaded, PeerUnreachable
from skylark_proxy.slots import Slots

T = TypeVar("T")
P = ParamSpec("P")

_LOCAL, _LOCAL_WAITING, _LOCAL_WAIT_S = 32, 1024, 5.0
_HEALTH, _HEALTH_WAITING, _HEALTH_WAIT_S = 4, 64, 2.0
_OTHERS, _OTHERS_WAITING, _OTHERS_WAIT_S = 4, 16, 1.0
_PER_PEER, _PEER_WAITING, _PEER_WAIT_S = 16, 32, 1.0
_PEERS = 96
"""The calls to all peers together. One that freezes takes a sixth of these."""


class _Here(threading.local):
    slots: Slots | None = None
    """Those of which this thread holds a place."""


_HERE = _Here()


class Bulkhead:
    """Threads for one kind of calls."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._unlimited = anyio.CapacityLimiter(math.inf)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a call in a thread and returns what it returns.

        Raises:
            Overloaded: Too many calls of this kind run already, and did not end in time.
        """
        await self._slots.acquire()
        return await anyio.to_thread.run_sync(self._holding, lambda: call(*args, **kwargs), limiter=self._unlimited)

    def _holding(self, call: Callable[[], T]) -> T:
        _HERE.slots = self._slots
        try:
            return call()
        finally:
            _HERE.slots = None
            self._slots.release()


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Gives back the place of this thread, if it has one, while it waits for something else.

    Afterwards it has it again, at once: what is left to do is short.
    """
    slots, _HERE.slots = _HERE.slots, None
    if slots is not None:
        slots.release()
    try:
        yield
    finally:
        if slots is not None:
            slots.take()
        _HERE.slots = slots


class PeerSlots:
    """The places for calls to other nodes: so many for each node, and for all of them together."""

    def __init__(self) -> None:
        self._all = Slots("other nodes", _PEERS, _PEERS, _PEER_WAIT_S)
        self._of: dict[str, Slots] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def calling(self, node: str) -> Iterator[None]:
        """Holds a place for a call to a node. This blocks, for a second at most.

        Raises:
            PeerUnreachable: So many calls to the node run already that there is no hope for a further one.
        """
        with self._lock:
            slots = self._of.setdefault(node, Slots(f"node {node!r}", _PER_PEER, _PEER_WAITING, _PEER_WAIT_S))
        with elsewhere(), contextlib.ExitStack() as held:
            for one in (slots, self._all):
                try:
                    one.acquire_blocking()
                except Overloaded as error:
                    raise PeerUnreachable(node, f"too many calls wait for it or for other nodes ({error})") from error
                held.callback(one.release)
            yield


class Bulkheads:
    """The threads of a proxy by what their calls are for.

    Attributes:
        local: The local store, and what begins there.
        health: The node's health.
        others: What is asked for seldom and takes long.
        peers: What calls to other nodes go through.
    """

    def __init__(self) -> None:
        self.local = Bulkhead(Slots("the local store", _LOCAL, _LOCAL_WAITING, _LOCAL_WAIT_S))
        self.health = Bulkhead(Slots("the node's health", _HEALTH, _HEALTH_WAITING, _HEALTH_WAIT_S))
        self.others = Bulkhead(Slots("long calls", _OTHERS, _OTHERS_WAITING, _OTHERS_WAIT_S))
        self.peers = PeerSlots()
