"""`--help` of every command is whole on a terminal of 80 columns."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer import rich_utils
from typer.core import TyperGroup

from skylark_proxy.cli.app import command_line

SKYLARK = typer.main.get_command(command_line())


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


def test_a_command_is_loaded_alone() -> None:
    """The other commands, which take long to import, are not; one that is mistyped is looked for among all."""
    code = "import sys; from skylark_proxy.cli.app import main; sys.argv[1:] = ['serve', '--max-latency-ms', 'x']\n"
    code += (
        "try: main()\nexcept SystemExit: print([one for one in sys.modules if one.startswith('skylark_proxy.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "skylark_proxy.cli.serve" in done.stdout
    assert "skylark_proxy.cli.bench" not in done.stdout
    done = subprocess.run([sys.executable, "-m", "skylark_proxy", "serv"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Did you mean 'serve'?" in done.stderr) == (2, True), done.stderr


def test_the_start_of_a_node_imports_what_it_needs() -> None:
    """Registries, the node-info service, the benchmarks and the flattener are imported where they are used."""
    code = "import skylark_proxy.cli.serve, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "skylark_proxy.proxy" in imported
    seldom = {"skylark_oci.registry", "skylark_oci.pull", "skylark_proxy.follow", "skylark_proxy.link_reports"}
    seldom |= {"skylark_proxy.bench", "skylark_flatten.flatten", "componentize_py"}
    assert not seldom & imported
