"""What names and state keys look like."""

import re

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""A chain id, task id, node, field or function."""

EXPECTED_NAME = "1 to 128 of A-Z a-z 0-9 . _ - that do not begin with . or -"

MAX_KEY_LENGTH = 3 * 128 + 2


def is_name(text: object) -> bool:
    """Whether something is a name."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def chain_of(key: str) -> str | None:
    """The chain of a state key `<chain_id>:<node>:<task_id>` or `<chain_id>:<task_id>`; None if it is no state key."""
    parts = key.split(":") if len(key) <= MAX_KEY_LENGTH else []
    return parts[0] if len(parts) in (2, 3) and all(map(is_name, parts)) else None
