"""The header `WWW-Authenticate`: which credentials a registry wants (RFC 9110, section 11.6.1)."""

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_PARAMETER = re.compile(rf'\s*(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>{_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme in lower case, and its parameters by their names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenge(header: str) -> Challenge | None:
    """Reads the first challenge of a header; None: it is none."""
    scheme = _SCHEME.match(header)
    if scheme is None:
        return None
    parameters: dict[str, str] = {}
    position = scheme.end()
    while (match := _PARAMETER.match(header, position)) is not None:
        value = match["token"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
        parameters[match["name"].lower()] = value
        position = match.end()
    return Challenge(scheme[1].lower(), parameters)
