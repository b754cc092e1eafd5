"""How a program can end: each argument is one way."""

import os
import sys


def main(arguments: list[str]) -> object:
    """Ends as the first argument says."""
    print("before the end")
    way = arguments[0]
    if way == "return":
        return None
    if way == "error":
        raise ValueError("an uncaught exception, with ümläut")
    if way == "keyboard":
        raise KeyboardInterrupt
    if way == "recursion":
        return _deeper(0)
    if way == "at once":
        sys.stdout.flush()
        os._exit(3)
    endings = {"zero": 0, "one": 1, "three": 3, "none": None, "true": True, "text": "a text for stderr", "255": 255}
    sys.exit(endings[way])


def _deeper(level: int) -> int:
    return _deeper(level + 1) + 1
