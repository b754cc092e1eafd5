"""The start of a component that is a server, with the stubs of its world: what is wrong ends it with a word and 1."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

TYPINGS = Path(__file__).parents[3] / "typings"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, which is imported only in the sandbox otherwise."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(TYPINGS))
    from skylark import wasi_command

    yield wasi_command
    for name in set(sys.modules) - known:
        if name == "skylark.wasi_command" or name.startswith(("wit_command", "componentize_py_types")):
            del sys.modules[name]


def run(command: Any, ending: BaseException | None) -> int:
    """The exit code where serving ends so."""
    with patch.object(command, "_serve", side_effect=ending):
        try:
            command.Run().run()
        except command.Err:
            return 1
    return 0


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (SystemExit(), 0, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(3), 1, "3\n"),
        (SystemExit("why"), 1, "why\n"),
        (RuntimeError("größer"), 1, "RuntimeError: größer\n"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt\n"),
        (None, 0, ""),
    ],
)
def test_endings(
    command: Any, capsys: pytest.CaptureFixture[str], ending: BaseException | None, code: int, said: str
) -> None:
    """Whatever ends the server is said, with its traceback if it is an exception, and becomes one of the two codes."""
    assert run(command, ending) == code
    assert capsys.readouterr().err.endswith(said)


def test_a_defect_has_its_traceback(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody expected is in the log with the lines that led to it."""
    assert run(command, RuntimeError("why")) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_wrong_setting(command: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is not valid is one line, which names it."""
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(command.Err):
        command.Run().run()
    [line] = capsys.readouterr().err.splitlines()
    assert line == "skylark: PORT='http' is not valid; expected a port from 0 to 65535"
