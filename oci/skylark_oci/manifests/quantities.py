"""Kubernetes quantities."""

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def size_bytes(quantity: str) -> int:
    """A size such as `512Mi` in bytes.

    Raises:
        ValueError: It is none.
    """
    digits = quantity.rstrip("kKMGi")
    if not digits.isdecimal() or quantity.removeprefix(digits) not in _UNITS:
        raise ValueError(quantity)
    return int(digits) * _UNITS[quantity.removeprefix(digits)]
