"""The header `WWW-Authenticate`: which credentials a registry wants (RFC 9110, section 11.6.1)."""

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_PARAMETER = re.compile(rf'(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^\s,"=][^\s,"]*))')
"""A parameter. Registries also send URLs without quotes, which the RFC does not allow."""

_SCHEME = re.compile(rf"({_TOKEN})(?=[\s,]|$)(?:[ \t]+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?")
"""A scheme, and the one text (`token68`) that may be in place of its parameters."""

_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme in lower case, and its parameters by their names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read all challenges of a header, or of several that are joined by commas. What is none is passed over."""
    found: list[Challenge] = []
    position = 0
    while (position := _end_of(_BETWEEN, header, position)) < len(header):
        if parameter := _PARAMETER.match(header, position):
            if found:
                quoted, token = parameter["quoted"], parameter["token"]
                value = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1].parameters.setdefault(parameter["name"].lower(), value)
            position = parameter.end()
        elif scheme := _SCHEME.match(header, position):
            found.append(Challenge(scheme[1].lower(), {}))
            position = scheme.end()
        else:
            comma = header.find(",", position)
            position = len(header) if comma < 0 else comma + 1
    return found


def preferred(challenges: list[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer, which works without credentials too, else Basic; None: there is none."""
    known = {challenge.scheme: challenge for challenge in reversed(challenges)}
    return known.get("bearer") or known.get("basic")


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
