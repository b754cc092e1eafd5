"""What strangers and guests write is no command for a log or a terminal."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.cli.options import echo, messages, print_json, results
from skylark_proxy.printable import json_text, lines, one_line
from skylark_proxy.server import JsonFormatter, TextFormatter

EVIL = "a\rb\x1b[2Jc\x9b1m\x7f\u2028\u202e\0"
FORBIDDEN = set(EVIL) - set("abc[2J1m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, ümläut, 日本, tab\tand all", "plain, ümläut, 日本, tab\tand all"),
        ("two\nlines", r"two\nlines"),
        ("\r\x1b[31m", r"\r\x1b[31m"),
        ("\x9b\x7f\u2028\u202e", r"\x9b\x7f\u2028\u202e"),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    """Letters of all languages stay; controls become escapes, ends of lines too."""
    assert one_line(text) == expected


@given(st.text())
def test_nothing_is_left(text: str) -> None:
    """Whatever the text is, no control character but a tab remains, and lines stay lines where they may."""
    assert not FORBIDDEN & set(one_line(text) + lines(text))
    assert "\n" not in one_line(text)
    assert lines(text).count("\n") == text.count("\n")


@given(st.text())
def test_json_means_the_same(text: str) -> None:
    """In JSON the characters are escaped in its own way, so that a reader gets what was written."""
    written = json_text(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert not FORBIDDEN & set(written)


@pytest.mark.parametrize("formatter", [TextFormatter("%(message)s"), JsonFormatter()])
def test_the_log_is_fit_to_be_read(formatter: logging.Formatter) -> None:
    """A record's message and traceback hold no control characters, and the message no line of its own."""
    try:
        raise ValueError(EVIL)
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("n", logging.INFO, "f", 1, "said %s", (f"{EVIL}\nforged",), info)
    told = formatter.format(record)
    assert not FORBIDDEN & set(told)
    assert not any(line.startswith("forged") for line in told.splitlines())


def test_the_command_prints_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Results, messages, errors and JSON of the command hold no control characters of what they are given."""
    results().print(EVIL)
    messages().print(EVIL)
    echo(EVIL, err=True)
    print_json({"a": EVIL})
    out, err = capsys.readouterr()
    assert not FORBIDDEN & set(out + err)
