"""The numbers of a component's manifest are bounded before anything is made for them."""

from pathlib import Path

import pytest

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import Manifest


def beside(folder: Path, text: str) -> Manifest:
    (folder / "app.toml").write_text(text)
    return Manifest.beside(folder / "app.wasm")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ready = 1000000", "ready from 0 to 256; it has 1000000"),
        ("ready = -1", "ready from 0"),
        ("[limits]\nmemory_bytes = 0", "limits.memory_bytes from 1 to 4294967296"),
        ("[limits]\nmemory_bytes = 99999999999", "limits.memory_bytes"),
        ("[limits]\ndeadline_ms = 0", "limits.deadline_ms"),
        ("[limits]\ndeadline_ms = 9223372036854775807", "limits.deadline_ms from 1 to 86400000"),
        ("[limits]\nexchange_bytes = 1000", "unknown field `exchange_bytes`"),
        ("environment = " + "[" * 100_000, "a valid manifest"),
        ("environment = " + "{a = " * 2_000, "a valid manifest"),
        ("a." * 5_000 + "a = 1", "a valid manifest"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, named: str) -> None:
    """A number out of its bounds, and nesting that no parser takes, are errors that name the file."""
    with pytest.raises(InvalidArgument, match=r"app\.toml") as raised:
        beside(tmp_path, text)
    assert named in raised.value.message


def test_what_is_accepted(tmp_path: Path) -> None:
    """The bounds themselves."""
    assert beside(tmp_path, "ready = 256\n[limits]\ndeadline_ms = 86400000").ready == 256
