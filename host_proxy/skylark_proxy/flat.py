"""Makes one core module of a component of the world `command`, once for each content."""

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from skylark_proxy.private_folders import make_private
from skylark_proxy.runtime.engine import digest, flattener_fingerprint
from skylark_proxy.source import BuildError

Report = Callable[[str], None]
"""Is told what is being done now."""


def silent(_step: str) -> None:
    """The report that nobody reads."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A module in the cache.

    Attributes:
        module: The file.
        cached: Whether it had been made before.
        tools: The version of what made it, by name: that of Skylark, and the digest of the flattener.
    """

    module: Path
    cached: bool
    tools: dict[str, str]


def flattened(
    component: bytes, name: str, cache_dir: Path, cancelled: threading.Event, report: Report = silent
) -> Flat:
    """The module of a component, from the cache or made now; that takes a few seconds.

    Args:
        component: Its content, without a build record, which would make others of the same content.
        name: What errors call it.
        cancelled: Ends it, at its next step, when it is set.
        report: Is told each step as it begins.

    Raises:
        BuildError: The component cannot be made a module, and why; or it was cancelled.
    """
    made_by = flattener_fingerprint()
    module = cache_dir / f"{digest(f'{digest(component)} {made_by}'.encode())}.module.wasm"
    known = module.exists()
    if not known:
        make_private(cache_dir)
        with tempfile.TemporaryDirectory(prefix=".flatten-", dir=cache_dir) as folder:
            made = Path(folder) / "module.wasm"
            made.write_bytes(_flatten(component, name, cancelled, report))
            os.replace(made, module)  # noqa: PTH105
    return Flat(module, known, {"skylark-flatten": f"{version('skylark')}+{made_by[:12]}"})


def _flatten(component: bytes, name: str, cancelled: threading.Event, report: Report) -> bytes:
    from skylark_flatten.errors import FlattenError  # here: no other command has to wait for it
    from skylark_flatten.flatten import flatten

    def step(text: str) -> None:
        if cancelled.is_set():
            raise BuildError(f"{name}: cancelled")
        report(text)

    try:
        return flatten(component, step).module
    except FlattenError as error:
        raise BuildError(f"{name}: cannot be made one core module: {error}") from error
