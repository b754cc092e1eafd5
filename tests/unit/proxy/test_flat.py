"""A component that cannot be made one core module is refused with the reason, and nothing of it is kept."""

import threading
from pathlib import Path

import pytest

from skylark_proxy.flat import flattened
from skylark_proxy.source import BuildError
from wasm_files import COMPONENT, MODULE, OTHER_WORLD, wasm_file


@pytest.mark.parametrize("content", [wasm_file(COMPONENT), wasm_file(OTHER_WORLD), wasm_file(MODULE), b"text"])
def test_what_cannot_be_flattened(content: bytes, tmp_path: Path) -> None:
    """Components of other toolchains, modules and other files: the error names the file and why."""
    with pytest.raises(BuildError, match=r"^app\.wasm: cannot be made one core module: \w+"):
        flattened(content, "app.wasm", tmp_path / "cache", threading.Event())
    assert list((tmp_path / "cache").iterdir()) == []


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    """Its next step ends it, before anything is kept."""
    cancelled = threading.Event()
    cancelled.set()
    steps: list[str] = []
    with pytest.raises(BuildError, match=r"^app\.wasm: cancelled$"):
        flattened(wasm_file(COMPONENT), "app.wasm", tmp_path / "cache", cancelled, steps.append)
    assert steps == []
    assert list((tmp_path / "cache").iterdir()) == []
