"""A long run of one program, and what the process had at the two points where the program waits for the test."""

from dataclasses import dataclass
from pathlib import Path

from conformance.peers import peer
from conformance.running import Found, Running, start
from conformance.runtimes import Runtime

_LONGER = 10
"""How many times as long as other programs it may take."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds.

    Attributes:
        memory_bytes: Its resident memory.
        descriptors: Its open files and sockets.
    """

    memory_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Endured:
    """What was found, and what the process held after a tenth of the work and at its end."""

    found: Found
    warm: Held
    end: Held


def endure(runtime: Runtime, folder: Path, requests: int, cycles: int) -> Endured:
    """Runs the program `endurance`."""
    with peer() as other:
        numbers = [str(number) for number in (other.port, requests, cycles)]
        program = start(runtime, ["endurance", "{root}", other.host, *numbers], folder)
        program.timeout_s *= _LONGER
        try:
            held = [_checkpoint(program) for _ in range(2)]
            ended = program.ended()
        finally:
            program.stop()
    assert ended.code == 0, ended.errors.decode()
    return Endured(ended.found, *held)


def _checkpoint(program: Running) -> Held:
    program.told("checkpoint")
    process = Path("/proc") / str(program.process.pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    held = Held(int(status["VmRSS"].split()[0]) * 1024, len(list((process / "fd").iterdir())))
    program.write(b"go on\n")
    return held
