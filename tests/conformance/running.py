"""A program that runs in one of the runtimes, and what it printed."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import IO, NoReturn

from conformance.runtimes import Runtime

TIMEOUT_S = 60
Found = list[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and all that it printed."""

    code: int
    output: bytes
    errors: bytes

    @property
    def found(self) -> Found:
        """The labels and values that it printed, in their order."""
        lines = (json.loads(line) for line in self.output.splitlines() if line.startswith(b"{"))
        return [(line["label"], line["value"]) for line in lines]


@dataclass(slots=True)
class Running:
    """A process. It is ended by `stop`, whatever happened before."""

    process: subprocess.Popen[bytes]
    timeout_s: float
    _lines: "Queue[bytes | None]" = field(default_factory=Queue)
    _output: list[bytes] = field(default_factory=list)
    _errors: list[bytes] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        for target, stream in ((self._read_output, self.process.stdout), (self._read_errors, self.process.stderr)):
            thread = threading.Thread(target=target, args=(stream,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _read_output(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._output.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        self._errors.extend(stream)

    def told(self, word: str) -> str:
        """Waits until the program tells something, as its port, and gives it."""
        while True:
            name, _, value = self.line().partition(" ")
            if name == f"@{word}":
                return value

    def line(self) -> str:
        """Waits for the next line of its output."""
        try:
            line = self._lines.get(timeout=self.timeout_s)
        except Empty:
            self._fail("printed nothing in time")
        if line is None:
            self._fail("ended before it printed what the test waits for")
        return line.decode().rstrip("\n")

    def write(self, content: bytes) -> None:
        """Gives it something on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def ended(self, content: bytes | None = None) -> Ended:
        """Gives it the rest of its standard input, and waits for its end."""
        if content:
            self.write(content)
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            code = self.process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            self._fail("did not end in time")
        for thread in self._threads:
            thread.join()
        return Ended(code, b"".join(self._output), b"".join(self._errors))

    def stop(self) -> None:
        """Ends it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _fail(self, reason: str) -> NoReturn:
        self.stop()
        printed = b"".join(self._output[-20:] + self._errors[-40:]).decode(errors="replace")
        raise AssertionError(f"the program {reason}:\n{printed}")


def start(
    runtime: Runtime,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    standard_input: Path | None = None,
) -> Running:
    """Starts a program: its name and its arguments.

    Args:
        runtime: Where it runs.
        arguments: `{root}` in them is what the program calls the folder.
        folder: The folder that it may use.
        environment: All of its variables.
        standard_input: A file to be its standard input. Without it that is a pipe.
    """
    given = [argument.replace("{root}", runtime.root or str(folder)) for argument in arguments]
    command = runtime.command(given, environment or {}, folder)
    pipe = subprocess.PIPE
    with standard_input.open("rb") if standard_input else contextlib.nullcontext(pipe) as given_input:
        process = subprocess.Popen(command, stdin=given_input, stdout=pipe, stderr=pipe, cwd=folder)
    return Running(process, TIMEOUT_S * runtime.slower)
