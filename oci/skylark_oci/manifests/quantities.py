"""Kubernetes quantities."""

import re
from fractions import Fraction

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")


def size_bytes(quantity: str) -> int:
    """A size such as `512Mi` in bytes.

    Raises:
        ValueError: It is none.
    """
    found = _SIZE.fullmatch(quantity)
    if found is None or found[2] not in _UNITS:
        raise ValueError(quantity)
    return int(Fraction(found[1]) * _UNITS[found[2]])
