"""A node's folder for exchange directories is its own, whatever other nodes of the machine do at the same time."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from skylark_proxy.proxy import exchange_folder, sweep


def test_what_an_ended_node_left_goes(tmp_path: Path) -> None:
    """The start of a node removes folders that nobody holds, and no others; its own is gone in the end."""
    with exchange_folder(tmp_path) as running:
        left = tmp_path / "skylark-exchange-left"
        left.mkdir()
        with exchange_folder(tmp_path) as started:
            assert set(tmp_path.iterdir()) == {running, started}
    assert list(tmp_path.iterdir()) == []


def interrupted(monkeypatch: pytest.MonkeyPatch, target: str, act: Callable[[], None]) -> None:
    """Do something before the first call of a function, while that function is the real one again."""
    module, name = (os, "open") if target == "open" else (fcntl, "flock")
    real = getattr(module, name)

    def once(*arguments: object) -> object:
        monkeypatch.setattr(module, name, real)
        act()
        return real(*arguments)

    monkeypatch.setattr(module, name, once)


@pytest.mark.parametrize("before", ["open", "lock"])
def test_a_folder_that_another_start_removes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str) -> None:
    """A folder that another node takes for a left one, before it is locked, is made anew."""
    interrupted(monkeypatch, before, lambda: sweep(tmp_path))
    with exchange_folder(tmp_path) as folder:
        assert folder.is_dir()
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [folder]
