"""Tells whether the sandbox's code runs natively or is interpreted.

WASI has no question for it, and a runtime that passes over a module's native code says nothing or writes a line to a
log that few read. What differs is the speed, by a factor of about 80 on WasmEdge; see `docs/wasmedge.md`.
"""

import json
import time
from collections.abc import Callable
from enum import StrEnum

_TEXT = json.dumps([{"name": f"sensor-{number}", "value": number * 1.5, "on": True} for number in range(50)])
_ROUNDS = 5
_INTERPRETED_NS = 2_000_000
"""A round that takes longer is interpreted. Native code takes 0.16 ms on an x86-64 server, without optimization 0.4 ms,
and about five times that on small arm64 boards; WasmEdge's interpreter takes 13 ms on that server."""


class Execution(StrEnum):
    """How the sandbox's code is run."""

    NATIVE = "native"
    INTERPRETED = "interpreted"


def measure(clock: Callable[[], int] = time.perf_counter_ns) -> Execution:
    """Time a short computation and return how it was run. It takes 1 ms natively, 65 ms interpreted.

    Args:
        clock: Returns nanoseconds.
    """
    # Other programs only make a round slower, and the first one also touches memory for the first time. So one fast
    # round is enough to tell native code, and only slow rounds throughout mean an interpreter.
    for _ in range(_ROUNDS):
        started_ns = clock()
        json.dumps(json.loads(_TEXT))
        if clock() - started_ns < _INTERPRETED_NS:
            return Execution.NATIVE
    return Execution.INTERPRETED
