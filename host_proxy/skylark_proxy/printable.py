"""Text of strangers and guests made fit for a log and a terminal, which both take some characters for commands."""

import re

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""C0 and C1 controls but tabs and the ends of lines, DEL, separators of lines, and what changes the direction of
text (Unicode, annex 9)."""

_IN_LINES = re.compile(f"[{_CONTROLS}]")
_IN_LINE = re.compile(f"[{_CONTROLS}\n]")
_IN_JSON = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    r"""Return the text in one line, with control characters and ends of lines as in Python's `\x1b`."""
    return _IN_LINE.sub(_escaped, text) if not text.isprintable() else text


def lines(text: str) -> str:
    r"""Return the text with its lines, and other control characters as in Python's `\x1b`."""
    return _IN_LINES.sub(_escaped, text) if not text.isprintable() else text


def json_text(text: str) -> str:
    r"""Return a JSON text whose strings have those control characters as `\u009b` that JSON does not escape itself."""
    return _IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
