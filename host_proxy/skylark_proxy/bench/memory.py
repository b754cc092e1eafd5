"""What a sandbox costs that is kept for the next call."""

import contextlib
from pathlib import Path
from typing import cast

from skylark_proxy.config import Config
from skylark_proxy.runtime import Engine, Functions, Invocation, State
from skylark_proxy.runtime.stacks import on_guest_stack

_WARM, _COUNTED = 8, 32
_NO_STATE = cast(State, None)  # the function has no use for it


def kept_sandbox_bytes(component: Path, config: Config, function: str) -> int | None:
    """Return the memory of its own that a sandbox has after a call and its reset; None if the system does not tell."""
    engine = Engine(config.cache_dir / "compiled")
    functions = Functions(engine)
    try:
        functions.load(component)
        return on_guest_stack(lambda: _counted(functions, function))
    finally:
        functions.close()
        engine.close()


def _counted(functions: Functions, function: str) -> int | None:
    with contextlib.ExitStack() as kept:
        sandboxes = functions.component((function,)).pool
        invocation = Invocation((function,), "chain", "task", "node")
        before = None
        for number in range(_WARM + _COUNTED):
            if number == _WARM:
                before = _private_bytes()
            sandbox = kept.enter_context(sandboxes.sandbox())
            sandbox.invoke(invocation, _NO_STATE)
            if sandbox.can_be_reset:
                sandbox.reset()
        after = _private_bytes()
    return None if before is None or after is None else (after - before) // _COUNTED


def _private_bytes() -> int | None:
    """What this process has written of its memory, in bytes (proc(5), smaps_rollup)."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")), None)
