"""Options that several commands share, and how they print."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from skylark_proxy.client import DEFAULT_URL
from skylark_proxy.election import parse_policy
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Policy
from skylark_proxy.printable import json_text, lines

Url = Annotated[
    str, typer.Option("--url", "-u", envvar="SKYLARK_PROXY_URL", help="The node's proxy.", metavar="http://HOST:PORT")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Destination = Annotated[
    str | None, typer.Option("--destination", help="The node that the next function runs on; default: the cloud node.")
]
PolicyName = Annotated[str | None, typer.Option("--policy", help=f"How to elect a node: {', '.join(Policy)}.")]

URL_DEFAULT = DEFAULT_URL


_UNBOUNDED = 1 << 16
"""Columns that no line of ours reaches. Rich drops columns and cuts off cells where a table is wider than that."""
_ROWS = 25
"""Rich takes a width only together with a height where the terminal is a dumb one; nothing of ours depends on it."""


class PlainConsole(Console):
    """A console that prints no control characters of what it is given: names, errors, what a function says."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See `Console.print`."""
        super().print(*(lines(one) if isinstance(one, str) else one for one in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `Console.render_str`: the cells of tables."""
        return super().render_str(lines(text), **options)


def echo(text: str, err: bool = False) -> None:
    """Prints a text of somebody else."""
    typer.echo(lines(text), err=err)


def results(*, stderr: bool = False) -> Console:
    """Return the console for results, which never wraps a line or cuts off a cell.

    Lines can be longer than the terminal: a terminal wraps them itself, and what stands in them (a key, a digest, a
    URL) can still be copied whole. Text is taken as it is: `[red]` in a key is no markup, and `:b:` is no emoji.
    """
    return PlainConsole(
        stderr=stderr,
        highlight=False,
        emoji=False,
        markup=False,
        color_system=_colours(),
        width=_UNBOUNDED,
        height=_ROWS,
    )


def messages() -> Console:
    """Return the console for progress and errors, which go to stderr. Printed text is taken as it is."""
    return PlainConsole(stderr=True, highlight=False, emoji=False, markup=False, color_system=_colours())


def _colours() -> Literal["auto"] | None:
    """Return None where NO_COLOR is set (no-color.org): rich alone would still write bold and dim."""
    return None if os.environ.get("NO_COLOR") else "auto"


def policy(text: str | None) -> Policy | None:
    """The policy of an option."""
    return None if text is None else parse_policy(text, "--policy")


def read_input(path: Path | None, text: str | None) -> bytes:
    """What `--input` (a file, or - for stdin) or `--data` give.

    Raises:
        InvalidArgument: The file cannot be read, or both are given.
    """
    if path is not None and text is not None:
        raise InvalidArgument("--data", text, "either --input or --data")
    if path is None:
        return (text or "").encode(errors="surrogateescape")  # the bytes that were given, UTF-8 or not
    try:
        return typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InvalidArgument("--input", str(path), f"a readable file ({error.strerror})") from error


def print_json(content: Any) -> None:
    """Prints JSON."""
    typer.echo(json_text(msgspec.json.format(msgspec.json.encode(content), indent=2).decode()))
