"""What a guest has of WASI preview 1: clocks, chance, waiting, its environment, and two streams to print to.

The module's layer of WASI 0.2 imports all of preview 1 and WasmEdge's sockets. A guest has no files and no network, so
most of it is refused. wasmtime's own clock and random numbers are used, which do not need the interpreter's lock. All
else is here, so that wasmtime keeps nothing that a call could change.

Format: wasi_snapshot_preview1.witx.
"""

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from skylark_proxy.runtime.host_functions import HostFunction, Slots, integers
from skylark_proxy.runtime.instance import Ended, Instance

NATIVE = ("clock_res_get", "clock_time_get", "random_get", "sched_yield")
"""The functions that are wasmtime's."""

_SUCCESS, _ACCES, _BADF, _INVAL = 0, 2, 8, 28
_STDIN, _STREAMS = 0, (1, 2)
_MAX_SPANS, _MAX_SUBSCRIPTIONS = 1024, 4096
_FDSTAT = struct.Struct("<BxHxxxxQQ")
_READ_OR_WRITE = 1 << 1 | 1 << 6
_SUBSCRIPTION_BYTES, _EVENT = 48, struct.Struct("<QHBxxxxxQHxxxxxx")
_CLOCK_EVENT, _MONOTONIC, _REALTIME, _ABSOLUTE = 0, 1, 0, 1


def refused(name: str) -> HostFunction:
    """A function that a guest may call and that does nothing; it says why not."""
    error = _ACCES if name.startswith("sock_") else _BADF

    def refuse(_instance: Instance, slots: Slots) -> None:
        slots[0] = error

    return refuse


def _fd_write(instance: Instance, slots: Slots) -> int:
    fd, spans, count, written = integers(slots, 4)
    if fd not in _STREAMS:
        return _BADF
    if count > _MAX_SPANS:
        return _INVAL
    memory, total = instance.memory, 0
    memory.check(written, 4, 4)
    for at, size in struct.iter_unpack("<II", memory.read(spans, 8 * count)):
        instance.print(fd, bytes(memory.read(at, size)))
        total += size
    _put_u32(instance, written, total & 0xFFFFFFFF)
    return _SUCCESS


def _fd_read(instance: Instance, slots: Slots) -> int:
    fd, _, _, read = integers(slots, 4)
    if fd != _STDIN:
        return _BADF
    _put_u32(instance, read, 0)
    return _SUCCESS


def _fd_fdstat_get(instance: Instance, slots: Slots) -> int:
    fd, at = integers(slots, 2)
    if fd != _STDIN and fd not in _STREAMS:
        return _BADF
    instance.memory.check(at, _FDSTAT.size, 8)
    _FDSTAT.pack_into(instance.memory.view, at, 0, 0, _READ_OR_WRITE, 0)
    return _SUCCESS


def _args_sizes_get(instance: Instance, slots: Slots) -> int:
    return _put_sizes(instance, slots, ())


def _environ_sizes_get(instance: Instance, slots: Slots) -> int:
    return _put_sizes(instance, slots, _variables(instance))


def _environ_get(instance: Instance, slots: Slots) -> int:
    pointers, at = integers(slots, 2)
    memory = instance.memory
    for number, variable in enumerate(_variables(instance)):
        _put_u32(instance, pointers + 4 * number, at)
        memory.read(at, len(variable))[:] = variable
        at += len(variable)
    return _SUCCESS


def _args_get(_instance: Instance, _slots: Slots) -> int:
    return _SUCCESS


def _variables(instance: Instance) -> list[bytes]:
    return [f"{name}={value}\0".encode() for name, value in instance.environment.items()]


def _put_sizes(instance: Instance, slots: Slots, texts: Sequence[bytes]) -> int:
    count, size = integers(slots, 2)
    _put_u32(instance, count, len(texts))
    _put_u32(instance, size, sum(map(len, texts)))
    return _SUCCESS


def _put_u32(instance: Instance, at: int, value: int) -> None:
    struct.pack_into("<I", instance.memory.view, instance.memory.check(at, 4, 4), value)


def _proc_exit(instance: Instance, slots: Slots) -> int:
    [status] = integers(slots, 1)
    raise Ended("exit", f"it ended its process with status {status}")


def _poll_oneoff(instance: Instance, slots: Slots) -> int:
    """Wait for one of some clocks; the streams are always ready.

    A wait that would outlast the guest's deadline ends the guest at the deadline.
    """
    subscriptions, events, count, happened = integers(slots, 4)
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return _INVAL
    memory = instance.memory
    memory.check(happened, 4, 4)
    memory.check(events, count * _EVENT.size, 8)
    asked = bytes(memory.read(subscriptions, count * _SUBSCRIPTION_BYTES))
    waits = [_wait_ns(instance, asked[at : at + _SUBSCRIPTION_BYTES]) for at in range(0, len(asked), 48)]
    shortest = max(0, min(waits))
    if shortest:
        left_s = instance.guard.left_s()
        time.sleep(min(shortest / 1e9, left_s))
        if instance.guard.check() is not None:
            raise Ended("deadline", "deadline")
    ready = [number for number, wait in enumerate(waits) if wait <= shortest]
    for place, number in enumerate(ready):
        at = number * _SUBSCRIPTION_BYTES
        userdata, kind = struct.unpack_from("<QB", asked, at)
        error = _SUCCESS if kind == _CLOCK_EVENT or _fd_of(asked, at) in (_STDIN, *_STREAMS) else _BADF
        _EVENT.pack_into(memory.view, events + place * _EVENT.size, userdata, error, kind, 0, 0)
    _put_u32(instance, happened, len(ready))
    return _SUCCESS


def _wait_ns(instance: Instance, subscription: bytes) -> int:
    """How long to wait for what a subscription is for; at most 0: it is there."""
    if subscription[8] != _CLOCK_EVENT:
        return 0
    clock, timeout, flags = struct.unpack_from("<IxxxxQxxxxxxxxH", subscription, 16)
    if not flags & _ABSOLUTE:
        return int(timeout)
    now = instance.now_ns() if clock == _MONOTONIC else time.time_ns()
    return int(timeout) - now


def _fd_of(subscriptions: bytes, at: int) -> int:
    fd: int = struct.unpack_from("<I", subscriptions, at + 16)[0]
    return fd


def _returning(function: Callable[[Instance, Any], int]) -> HostFunction:
    def call(instance: Instance, slots: Slots) -> None:
        slots[0] = function(instance, slots)

    return call


FUNCTIONS: dict[str, HostFunction] = {
    name: _returning(function)
    for name, function in {
        "args_get": _args_get,
        "args_sizes_get": _args_sizes_get,
        "environ_get": _environ_get,
        "environ_sizes_get": _environ_sizes_get,
        "fd_fdstat_get": _fd_fdstat_get,
        "fd_read": _fd_read,
        "fd_write": _fd_write,
        "poll_oneoff": _poll_oneoff,
        "proc_exit": _proc_exit,
    }.items()
}
"""The functions that do something here, by name."""
