"""Make printing cheap in a sandbox, where each write to stdout or stderr is a call of the host: 150 µs when hosted.

The guest's Python starts unbuffered, so `print(a, b, c)` makes six writes. Here the first lines of an invocation are
written at once, for a function that does not come back; those that follow quickly wait until some time has passed,
there are many, or the invocation ends.
"""

import contextlib
import io
import os
import sys
import time
from typing import Any, NoReturn

_AT_ONCE_LINES = 20
_WAIT_S = 0.01
_WAITING_BYTES = 16384


class GatheringBuffer(io.BufferedIOBase):
    """Gather small writes to a file descriptor. `flush` does nothing: the text layer above calls it for each line."""

    def __init__(self, fd: int) -> None:
        self.name = f"<fd {fd}>"
        self._fd = fd
        self._waiting = bytearray()
        self._lines = 0
        self._written_s = 0.0

    def begin(self) -> None:
        """Begin an invocation: its first lines are written at once."""
        self._lines = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any, /) -> int:
        self._waiting += data
        self._lines += 1
        if (
            self._lines <= _AT_ONCE_LINES
            or len(self._waiting) >= _WAITING_BYTES
            or time.monotonic() - self._written_s >= _WAIT_S
        ):
            self.write_out()
        return len(data)

    def write_out(self) -> None:
        """Write all that waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, bytearray()
        done = 0
        while done < len(waiting):
            done += os.write(self._fd, memoryview(waiting)[done:])
        self._written_s = time.monotonic()


class GatheringText(io.TextIOWrapper):
    """Hand lines to a `GatheringBuffer`. An explicit `flush`, as of `print(…, flush=True)`, writes all out."""

    def __init__(self, fd: int) -> None:
        self.gathering = GatheringBuffer(fd)
        super().__init__(self.gathering, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def flush(self) -> None:
        super().flush()
        self.gathering.write_out()


_GATHERING: list[GatheringText] = []


def write_lines() -> None:
    """Let the interpreter's own streams make one write of each line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]


def gather() -> None:
    """Replace stdout and stderr by streams that gather lines. What ends the process writes out first."""
    sys.stdout, sys.stderr = gathering = GatheringText(1), GatheringText(2)
    _GATHERING[:] = gathering
    os._exit, os.abort = _exit, _abort


def begin() -> None:
    """Begin an invocation."""
    for stream in _GATHERING:
        stream.gathering.begin()


def flush() -> None:
    """Write out all that was printed, also by a function that has put other streams in place of these."""
    for stream in _GATHERING:
        with contextlib.suppress(Exception):
            stream.flush()
    for own in (sys.stdout, sys.stderr):
        if not any(own is stream for stream in _GATHERING):
            with contextlib.suppress(Exception):  # a function's own stream may raise what it likes
                own.flush()


_system_exit, _system_abort = os._exit, os.abort


def _exit(status: int) -> NoReturn:
    flush()
    _system_exit(status)


def _abort() -> NoReturn:
    flush()
    _system_abort()
