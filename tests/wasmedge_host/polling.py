"""`poll_oneoff` as WasmEdge has it: one epoll that lives as long as the guest, wasifunc.cpp:1630-1743.

Oddities that a guest has to live with, and which are therefore here as well:
- A file cannot be waited for: epoll refuses it, the event carries PERM, inode-linux.cpp:1738-1746. The wait goes on
  for the other events, and for ever where there are none, inode-linux.cpp:1829-1831. Here that is an exception.
- A second subscription for the same direction of a descriptor is answered with EXIST, inode-linux.cpp:1718-1722.
- An error without anything else (EPOLLERR alone) and a peer that stopped sending (EPOLLRDHUP alone) end the wait
  without an event, inode-linux.cpp:1893-1911.
- The number of bytes to read is always 1, inode-linux.cpp:1857-1867.
"""

import errno
import fcntl
import select
import socket
import struct
import termios
import time
from dataclasses import dataclass

from wasmedge_host import abi
from wasmedge_host.abi import Errno, WasiError
from wasmedge_host.descriptors import Descriptors
from wasmedge_host.memory import GuestMemory
from wasmedge_host.streams import STANDARD

CLOCK, READ, WRITE = 0, 1, 2
_SUBSCRIPTION_BYTES = 48
_REALTIME, _MONOTONIC = 0, 1
_ABSOLUTE = 1
_HANGUP = 1
_IN_OR_OUT = select.EPOLLIN | select.EPOLLOUT


@dataclass(slots=True)
class Event:
    """What becomes a `__wasi_event_t`, api.hpp:1331-1362, once it is valid."""

    user_data: int
    kind: int
    valid: bool = False
    error: int = 0
    size: int = 0
    flags: int = 0

    def fail(self, error: int) -> None:
        """Makes it an event that reports an error."""
        self.valid, self.error = True, error


@dataclass(slots=True)
class Interest:
    """The events of one descriptor of this machine."""

    read: Event | None = None
    write: Event | None = None

    @property
    def mask(self) -> int:
        """What epoll is asked for, inode-linux.cpp:1725-1735."""
        wanted = (select.EPOLLIN if self.read else 0) | (select.EPOLLOUT if self.write else 0)
        return wanted | select.EPOLLRDHUP


class Polling:
    """The function, and the epoll behind it."""

    def __init__(self, memory: GuestMemory, descriptors: Descriptors) -> None:
        self._memory = memory
        self._descriptors = descriptors
        self._epoll = select.epoll()
        self._registered: set[int] = set()

    def close(self) -> None:
        """Closes the epoll."""
        self._epoll.close()

    def forget(self, opened: int) -> None:
        """A descriptor of this machine is going to be closed: `Environ::close`, environ.h:1305-1310."""
        self._registered.discard(opened)

    def poll_oneoff(self, subscriptions: int, events: int, count: int, result: int) -> None:
        """Waits until one of the events has happened."""
        wait = _Wait(self._epoll, self._registered)
        for index in range(count):
            self._subscribe(wait, subscriptions + index * _SUBSCRIPTION_BYTES)
        if count:
            wait.run()
        self._registered = set(wait.interests)
        happened = [event for event in wait.events if event.valid]
        for index, event in enumerate(happened):
            fields = event.user_data, event.error, event.kind, event.size, event.flags
            self._memory.write("<QHB5xQH6x", events + index * 32, *fields, alignment=8)
        self._memory.write("<I", result, len(happened), alignment=4)

    def _subscribe(self, wait: "_Wait", address: int) -> None:
        """One `__wasi_subscription_t`, api.hpp:1465-1483."""
        user_data, kind = self._memory.read("<QB", address, 8)
        event = Event(user_data, kind)
        wait.events.append(event)
        if kind == CLOCK:
            clock, timeout, _, flags = self._memory.read("<I4xQQH", address + 16)
            wait.at(event, clock, timeout, flags)
        elif kind in (READ, WRITE):
            self._subscribe_descriptor(wait, event, self._memory.read("<I", address + 16))
        else:
            event.fail(Errno.INVAL)

    def _subscribe_descriptor(self, wait: "_Wait", event: Event, fd: int) -> None:
        if STANDARD[-1] < fd < abi.FIRST_SOCKET:
            event.fail(Errno.PERM)
            return
        try:
            wait.on(event, fd if fd in STANDARD else self._descriptors.opened(fd).fileno())
        except WasiError as error:
            event.fail(error.number)


class _Wait:
    """One call's events: what is waited for, and the wait itself."""

    def __init__(self, epoll: select.epoll, registered: set[int]) -> None:
        self._epoll = epoll
        self._registered = registered
        self.events: list[Event] = []
        self.interests: dict[int, Interest] = {}
        self._timers: list[tuple[int, Event]] = []

    def at(self, event: Event, clock: int, timeout_ns: int, flags: int) -> None:
        """A time: inode-linux.cpp:1639-1697. There are timers of two clocks only, timerfd_create(2)."""
        if clock not in (_REALTIME, _MONOTONIC):
            event.fail(Errno.INVAL)
        elif not flags & _ABSOLUTE:
            self._timers.append((time.monotonic_ns() + timeout_ns, event))
        else:
            now = time.time_ns() if clock == _REALTIME else time.monotonic_ns()
            self._timers.append((time.monotonic_ns() + timeout_ns - now, event))

    def on(self, event: Event, opened: int) -> None:
        """A descriptor of this machine: inode-linux.cpp:1704-1816."""
        interest = self.interests.get(opened)
        known = interest is not None or opened in self._registered
        interest = interest or Interest()
        direction = "read" if event.kind == READ else "write"
        if getattr(interest, direction) is not None:
            event.fail(Errno.EXIST)
            return
        setattr(interest, direction, event)
        try:
            (self._epoll.modify if known else self._epoll.register)(opened, interest.mask)
            self.interests[opened] = interest
        except OSError as error:
            event.fail(abi.wasi_errno(error))

    def run(self) -> None:
        """Waits, and marks the events that happened: inode-linux.cpp:1818-1927."""
        for opened in self._registered - self.interests.keys():
            try:
                self._epoll.unregister(opened)
            except OSError as error:
                if error.errno not in (errno.EBADF, errno.ENOENT):
                    raise
        if not self.interests and not self._timers:
            raise RuntimeError("poll_oneoff with nothing that can happen: WasmEdge waits for ever")
        for opened, mask in self._happened():
            self._mark(opened, mask)

    def _happened(self) -> list[tuple[int, int]]:
        ends = min((end for end, _ in self._timers), default=None)
        while True:
            left = None if ends is None else max(0, ends - time.monotonic_ns()) / 1e9
            ready = self._epoll.poll(left, len(self.events))
            now = time.monotonic_ns()
            for end, event in self._timers:
                event.valid = end <= now
            if ready or any(event.valid for _, event in self._timers):
                return ready

    def _mark(self, opened: int, mask: int) -> None:
        interest = self.interests[opened]
        only_hangup = not mask & _IN_OR_OUT and mask & select.EPOLLHUP
        flags = _HANGUP if mask & select.EPOLLHUP else 0
        if interest.read and (mask & select.EPOLLIN or only_hangup):
            interest.read.valid, interest.read.size, interest.read.flags = True, 1, flags
        if interest.write and (mask & select.EPOLLOUT or only_hangup):
            interest.write.valid, interest.write.size, interest.write.flags = True, _room(opened), flags


def _room(opened: int) -> int:
    """How much a socket would take, 1 where that is not known: inode-linux.cpp:1874-1892."""
    try:
        with socket.socket(fileno=opened) as borrowed:
            try:
                room = borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            finally:
                borrowed.detach()
        used = fcntl.ioctl(opened, termios.TIOCOUTQ, struct.pack("=i", 0))
    except OSError:
        return 1
    queued: int = struct.unpack("=i", used)[0]
    return max(0, room - queued)
