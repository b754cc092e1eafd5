"""`--help` of every command is whole on a terminal of 80 columns."""

from collections.abc import Iterator

import pytest
import typer
from typer import rich_utils
from typer.core import TyperGroup

from skylark_proxy.cli.app import app

SKYLARK = typer.main.get_command(app)


def commands(command: object, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, with those of groups."""
    yield path
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands(one, *path, name)


@pytest.mark.parametrize("words", list(commands(SKYLARK)), ids=" ".join)
def test_help_is_whole(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No name, default or sentence is cut off, and no line is longer than the terminal is wide."""
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 80)
    monkeypatch.setattr(rich_utils, "COLOR_SYSTEM", None)
    with pytest.raises(SystemExit) as ended:
        SKYLARK.main([*words, "--help"], prog_name="skylark")
    shown = capsys.readouterr().out
    assert (ended.value.code, "…" in shown) == (0, False), shown
    assert "Usage: skylark" in shown
    assert max(map(len, shown.splitlines())) <= 80
