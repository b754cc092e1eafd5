"""Arguments and environment: unicode, empty, many, and 100 kB."""

import hashlib
import os
import sys

from conformance.programs.record import attempt, say


def main(arguments: list[str]) -> None:
    """Prints all arguments, and the variables whose names begin with `CONFORMANCE`."""
    say("arguments", [argument if len(argument) < 100 else _short(argument) for argument in arguments])
    say("count", len(arguments))
    say("in sys.argv", sys.argv[-len(arguments) :] == arguments)
    own = {name: value for name, value in sorted(os.environ.items()) if name.startswith("CONFORMANCE")}
    say("environment", {name: value if len(value) < 100 else _short(value) for name, value in own.items()})
    say("bytes", os.environb.get(b"CONFORMANCE_UNICODE") if os.supports_bytes_environ else None)
    attempt("missing", lambda: os.environ.get("CONFORMANCE_MISSING"))
    os.environ["CONFORMANCE_NEW"] = "set"
    say("set", os.getenv("CONFORMANCE_NEW"))
    del os.environ["CONFORMANCE_NEW"]
    say("unset", os.getenv("CONFORMANCE_NEW"))
    say("encoding", sys.getfilesystemencoding())


def _short(text: str) -> str:
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"
