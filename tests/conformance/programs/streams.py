"""The standard streams: input to its end, bytes of all values, much output, and two outputs."""

import hashlib
import select
import sys


def main(arguments: list[str]) -> None:
    """Does with the streams what the first argument says."""
    globals()[f"_{arguments[0]}"]()


def _bytes() -> None:
    """Copies the input, whatever is in it, and says its digest on the other output."""
    content = sys.stdin.buffer.read()
    left = memoryview(content)
    while left:  # the standard streams of a component have no buffer: a write takes what there is room for
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()
    print(len(content), hashlib.sha256(content).hexdigest(), file=sys.stderr)


def _lines() -> None:
    """Reads lines one by one and then finds the end, twice."""
    for number, line in enumerate(sys.stdin):
        print(number, line.rstrip("\n"))
    print(repr(sys.stdin.read()), repr(sys.stdin.readline()))


def _answers() -> None:
    """Answers each line before the next one comes."""
    while line := sys.stdin.readline():
        print("answer to", line.strip(), flush=True)


def _large() -> None:
    """Writes 5 MB to each output."""
    for number in range(2_500):
        print(f"{number:07d}{'o' * 1992}")
        print(f"{number:07d}{'e' * 1992}", file=sys.stderr)


def _none() -> None:
    """Writes nothing."""


def _unflushed() -> None:
    """Leaves what it wrote in the buffer."""
    sys.stdout.write("without an end of line")
    sys.stderr.write("nor here")


def _texts() -> None:
    """Writes what is not ASCII, and what cannot be written."""
    print("ümläut 日本語 🔥")
    print(sys.stdout.encoding, sys.stdin.encoding, sys.stderr.errors)
    try:
        print("\ud800")
    except UnicodeEncodeError as error:
        print(error.reason)
    print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty())
    print(sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())


def _selected() -> None:
    """Waits for the input with `select`, and reads what is there until the end."""
    read = b""
    while select.select([0], [], [], 60)[0]:
        content = sys.stdin.buffer.raw.read(100) if hasattr(sys.stdin.buffer, "raw") else sys.stdin.buffer.read(100)
        if not content:
            break
        read += content
    print(len(read), select.select([], [1], [], 60)[1])
