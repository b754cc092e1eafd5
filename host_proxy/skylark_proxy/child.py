"""Child processes that end when their parent does, also when it is killed.

A launcher of a few lines, and not `preexec_fn`, which may deadlock in a process with threads, becomes the program
after it has asked for its end. On Linux the kernel sends the signal when the thread that started the child dies
(prctl(2), PR_SET_PDEATHSIG): call `launch` in a thread that lives as long as the child. Elsewhere a pipe does it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from signal import Signals
from typing import IO

KERNEL_ENDS_CHILDREN = sys.platform.startswith("linux")
"""Whether the kernel can signal a process when its parent dies."""

_WITH_PRCTL = """
import ctypes, os, sys
parent, signal_number, *command = sys.argv[1:]
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(int(signal_number)), 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG) failed")
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""
"""Becomes the program, unless the parent has died before prctl could notice it."""

_WITH_PIPE = """
import os, sys
pipe, signal_number, *command = sys.argv[1:]
child = os.getpid()
if os.fork() == 0:
    os.read(int(pipe), 1)
    if os.getppid() == child:
        os.kill(child, int(signal_number))
    os._exit(0)
os.close(int(pipe))
os.execv(command[0], command)
"""
"""Becomes the program, with a child that waits for the end of the parent's pipe: the way where there is no prctl."""


class Child(subprocess.Popen[bytes]):
    """A child process; `lifeline` is the pipe whose end it waits for, where the kernel does not help."""

    lifeline: IO[bytes] | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end, as `Popen` does, and closes the lifeline."""
        status = super().wait(timeout)
        if self.lifeline is not None:
            self.lifeline.close()
        return status


def launch(
    command: Sequence[str],
    log: IO[bytes],
    signal: Signals,
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Starts a program in a session of its own, so that Ctrl-C at the terminal reaches only the parent.

    Args:
        command: The program's path and arguments.
        log: Where its output goes.
        signal: What it gets when its parent dies.
        pass_fds: Descriptors that it keeps open.
        environment: Its environment; the parent's if absent.

    Raises:
        OSError: The launcher cannot be started. Where the program cannot, the launcher ends with an error in the log.
    """
    if KERNEL_ENDS_CHILDREN:
        return _start(_WITH_PRCTL, os.getpid(), signal, command, log, pass_fds, environment)
    read_end, write_end = os.pipe()
    lifeline = os.fdopen(write_end, "wb")
    try:
        child = _start(_WITH_PIPE, read_end, signal, command, log, (*pass_fds, read_end), environment)
    finally:
        os.close(read_end)
    child.lifeline = lifeline
    return child


def _start(
    launcher: str,
    witness: int,
    signal: Signals,
    command: Sequence[str],
    log: IO[bytes],
    pass_fds: Sequence[int],
    environment: Mapping[str, str] | None,
) -> Child:
    return Child(
        [sys.executable, "-I", "-S", "-c", launcher, str(witness), str(int(signal)), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=pass_fds,
        env=environment,
        start_new_session=True,
    )
