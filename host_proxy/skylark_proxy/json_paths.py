"""Places in a JSON document, as errors name them: `edges[3].latency`."""

import re
from typing import Any


def value_at(document: Any, path: str) -> object:
    """The value at a path, or what kind of thing it is where it has parts; None where there is none."""
    value = document
    try:
        for step in re.findall(r"[^.\[\]]+", path):
            value = value[int(step) if isinstance(value, list) else step]
    except (LookupError, TypeError, ValueError):
        return None
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else value
