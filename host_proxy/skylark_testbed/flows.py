"""Connections through a relay: what one end sends arrives at the other when the route would have carried it."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from skylark_testbed.shaping import QUEUE_S, Jitter, Route

_LEAST_SLEEP_S = 0.0002
_EARLY_S = 0.00005
_LATEST_S = 0.02
_AFTER_S = 0.001
_CHUNKS_AT_ONCE = 8
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: the connection is reset."""


@dataclass(slots=True)
class Way:
    """One direction between two nodes, on whichever connection.

    Attributes:
        route: How it leads there now.
        jitter: Of each chunk's latency.
        carried_bytes: All that nodes have sent this way.
        cut_at_bytes: At how much it is to be cut; None: never.
        on_full: Is called then.
    """

    route: Route
    jitter: Jitter = field(default_factory=Jitter)
    carried_bytes: int = 0
    cut_at_bytes: int | None = None
    on_full: Callable[[], None] = lambda: None

    def take(self, size_bytes: int, now_s: float) -> float:
        """Queues bytes; returns when the last of them has left."""
        self.carried_bytes += size_bytes
        if self.cut_at_bytes is not None and self.carried_bytes >= self.cut_at_bytes:
            self.on_full()
        return self.route.take(size_bytes, now_s)

    def latency_s(self) -> float:
        """The latency of the next chunk."""
        return self.jitter.draw_s(self.route.latency_ms)


class _Flow:
    """One direction of a connection. What was read is under way until its time of arrival; the order is kept."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        way: Way,
        parent: "Connection",
    ) -> None:
        self._loop, self._source, self._sink, self._way, self._parent = loop, source, sink, way, parent
        self._under_way: deque[tuple[float, bytes | memoryview]] = deque()
        self._arrival_s = self._wakes_s = 0.0
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._reads = self._sleeps = self._is_blocked = self._is_silent = self._at_end = False
        self.has_ended = False

    @property
    def arrival_s(self) -> float:
        """When the last of what is under way arrives."""
        return self._arrival_s

    def resume(self) -> None:
        """Begins to carry, or goes on after `silence`."""
        self._is_silent = False
        self._deliver()
        self._watch()

    def silence(self) -> None:
        """Carries nothing until `resume`."""
        self._is_silent = True
        self._watch()

    def close(self) -> None:
        """Carries nothing more."""
        self._at_end = True
        self._watch()
        self._loop.remove_writer(self._sink)
        for timer in self._timers.values():
            timer.cancel()
        self._under_way.clear()

    def _watch(self) -> None:
        """Reads from the source exactly while there is no reason not to."""
        wanted = not (self._sleeps or self._is_blocked or self._is_silent or self._at_end)
        if wanted and not self._reads:
            self._loop.add_reader(self._source, self._read)
        elif self._reads and not wanted:
            self._loop.remove_reader(self._source)
        self._reads = wanted

    def _read(self) -> None:
        self._pump(self._loop.time())

    def _wake(self) -> None:
        self._sleeps = False
        if not (self._is_blocked or self._is_silent or self._at_end):
            self._pump(self._wakes_s)
        self._watch()

    def _pump(self, ready_s: float) -> None:
        """Reads some chunks; `ready_s` is since when the first of them could have been read.

        What waited while a timer was late flows from when it could have: the channel has not lost that time.
        """
        for _ in range(_CHUNKS_AT_ONCE):
            try:
                chunk = self._source.recv(self._way.route.chunk_bytes)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken()
                return
            now_s = self._loop.time()
            left_s = self._way.take(len(chunk), max(ready_s, now_s - _LATEST_S))
            if self._at_end:  # that much was to cut it
                return
            self._send(chunk, left_s)
            ready_s = left_s - QUEUE_S
            self._at_end = not chunk
            if self._at_end or ready_s - now_s > _LEAST_SLEEP_S:
                break
        self._sleeps = not self._at_end  # for no time at all, where others are only to have their turn
        if self._sleeps:
            self._wakes_s = ready_s
            self._at(ready_s, self._wake)
        self._watch()

    def _send(self, chunk: bytes, left_s: float) -> None:
        self._arrival_s = max(self._arrival_s, left_s + self._way.latency_s())
        self._under_way.append((self._arrival_s, chunk))
        if len(self._under_way) == 1:
            self._at(self._arrival_s, self._deliver)

    def _deliver(self) -> None:
        """Hands over what has arrived."""
        due_s = self._loop.time() + _EARLY_S
        try:
            while self._under_way and self._under_way[0][0] <= due_s and not (self._is_silent or self._is_blocked):
                self._hand_over(*self._under_way.popleft())
        except OSError:
            self._broken()
            return
        if self._under_way and not (self._is_silent or self._is_blocked):
            self._at(self._under_way[0][0], self._deliver)

    def _hand_over(self, due_s: float, chunk: bytes | memoryview) -> None:
        if not chunk:
            self._sink.shutdown(socket.SHUT_WR)
            self.has_ended = True
            self._parent.flow_ended()
            return
        try:
            sent = self._sink.send(chunk)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(chunk):
            self._under_way.appendleft((due_s, memoryview(chunk)[sent:]))
            self._is_blocked = True
            self._loop.add_writer(self._sink, self._unblock)
            self._watch()

    def _unblock(self) -> None:
        self._loop.remove_writer(self._sink)
        self._is_blocked = False
        self._deliver()
        self._watch()

    def _broken(self) -> None:
        """One end has reset the connection: the other one learns of it a latency later."""
        self._at_end = True
        self._watch()
        self._parent.break_off(self._loop.time() + self._way.latency_s())

    def _at(self, when_s: float, act: Callable[[], None]) -> None:
        if act in self._timers:
            self._timers[act].cancel()
        self._timers[act] = self._loop.call_at(when_s, act)


class Connection:
    """A connection that a node has opened to another one, and the one by which the relay stands in for it there.

    The kernel has accepted it at once. The other node gets a connection a latency later, and what the first one sends
    leaves a round trip later, as if it had waited for the answer to its SYN.

    Args:
        near: The accepted socket.
        open_far: Makes a socket that begins to connect to the other node.
        there: From the near end to the far one.
        back: From the far end to the near one.
        on_end: Is called once, when both ends are closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        near: socket.socket,
        open_far: Callable[[], socket.socket],
        there: Way,
        back: Way,
        on_end: Callable[["Connection"], None],
    ) -> None:
        self._loop, self._near, self._open_far, self._on_end = loop, near, open_far, on_end
        self._there, self._back = there, back
        self._far: socket.socket | None = None
        self._flows: tuple[_Flow, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._is_silent = self._has_ended = False

    def open(self) -> None:
        """Begins."""
        self._after(self._there.latency_s(), self._reach)

    def silence(self) -> None:
        """Carries nothing until `resume`."""
        self._is_silent = True
        for flow in self._flows:
            flow.silence()

    def resume(self) -> None:
        """Goes on, after `silence`."""
        if not self._is_silent:
            return
        self._is_silent = False
        for flow in self._flows:
            flow.resume()
        if self._far is None:
            self.open()

    def abort(self) -> None:
        """Resets both ends; what is under way is lost."""
        self._close(reset=True)

    def break_off(self, at_s: float) -> None:
        """Resets both ends at a time, but not before what is under way has arrived."""
        last_s = max(flow.arrival_s for flow in self._flows)
        self._timer = self._loop.call_at(max(at_s, last_s + _AFTER_S), self.abort)

    def flow_ended(self) -> None:
        """Closes both ends once both directions have been closed by the nodes."""
        if all(flow.has_ended for flow in self._flows):
            self._close(reset=False)

    def _reach(self) -> None:
        if self._is_silent or self._far is not None:
            return
        try:
            self._far = self._open_far()
        except OSError:
            self._after(self._back.latency_s(), self.abort)
            return
        self._loop.add_writer(self._far, self._reached)

    def _reached(self) -> None:
        assert self._far is not None
        self._loop.remove_writer(self._far)
        if self._far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._after(self._back.latency_s(), self.abort)
            return
        there = _Flow(self._loop, self._near, self._far, self._there, self)
        back = _Flow(self._loop, self._far, self._near, self._back, self)
        self._flows = (there, back)
        if self._is_silent:
            self.silence()
            return
        back.resume()
        self._after(self._back.latency_s(), self._establish)

    def _establish(self) -> None:
        if not self._is_silent:
            self._flows[0].resume()

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(delay_s, act)

    def _close(self, reset: bool) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        for flow in self._flows:
            flow.close()
        for end in filter(None, (self._near, self._far)):
            self._loop.remove_writer(end)
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
        self._on_end(self)
