"""The clocks, clock-linux.cpp:15-38: this machine's, so that `poll_oneoff` and the guest count from the same moment.

wasmtime's monotonic clock begins with the guest; a time on it is none that the host could wait for.
"""

import time

from wasmedge_host.abi import Errno, WasiError
from wasmedge_host.memory import GuestMemory

CLOCKS = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_PROCESS_CPUTIME_ID, time.CLOCK_THREAD_CPUTIME_ID)
"""By `__wasi_clockid_t`, api.hpp:85-108."""


class Clocks:
    """The functions. A `WasiError` that leaves one is its result."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory

    def clock_time_get(self, clock: int, precision: int, result: int) -> None:
        """The time in ns. The precision is not looked at."""
        self._memory.write("<Q", result, time.clock_gettime_ns(_clock(clock)), alignment=8)

    def clock_res_get(self, clock: int, result: int) -> None:
        """How fine a clock is, in ns."""
        self._memory.write("<Q", result, round(time.clock_getres(_clock(clock)) * 1e9), alignment=8)


def _clock(clock: int) -> int:
    if clock >= len(CLOCKS):
        raise WasiError(Errno.INVAL)
    return CLOCKS[clock]
