"""What a program of the suite prints: one JSON line for each thing that it found, the same on every run."""

import errno
import json
import sys
from collections.abc import Callable

_chapter: list[str] = []


def chapter(*names: str) -> None:
    """Begins a part of the program: its names come before the labels that follow."""
    _chapter[:] = names


def say(label: str, value: object) -> None:
    """Prints what was found. Bytes are shown as text, their other bytes escaped."""
    full = ": ".join((*_chapter, label))
    print(json.dumps({"label": full, "value": _plain(value)}, ensure_ascii=True), flush=True)


def tell(word: str, value: object = "") -> None:
    """Tells the test something that is no result, as the port where the program listens."""
    print(f"@{word} {value}", flush=True)


def attempt(label: str, call: Callable[..., object], *arguments: object, **options: object) -> object:
    """Calls something, and prints its result, or the exception with the name of its errno."""
    result = outcome(call, *arguments, **options)
    say(label, result)
    return result


def outcome(call: Callable[..., object], *arguments: object, **options: object) -> object:
    """The result of a call, or what an `OSError` or `ValueError` of it says."""
    try:
        return call(*arguments, **options)
    except OSError as error:
        return {"error": type(error).__name__, "errno": name_of(error.errno)}
    except ValueError as error:
        return {"error": type(error).__name__}


def name_of(number: int | None) -> str | None:
    """The name of an errno; numbers differ between systems. None where the exception has none.

    Of several names for one number it is the first: EAGAIN, not EWOULDBLOCK; EPIPE, which WASI calls ESHUTDOWN as well.
    """
    names = [name for name, value in vars(errno).items() if name.startswith("E") and value == number]
    return None if number is None else min(names, default=str(number))


def await_word() -> None:
    """Waits for a line on the standard input: the test has seen what it wanted."""
    sys.stdin.readline()


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
