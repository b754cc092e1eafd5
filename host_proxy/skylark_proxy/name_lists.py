"""Lists of names from strangers and guests: bounded, checked, and each name once, before anything is done for them."""

from collections.abc import Iterable

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import check_name

MAX_NAMES = 1024
"""The most names that one request may list."""


def distinct_names(field: str, names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names in their order, without those that are there already.

    A name that is given a thousand times would otherwise be read, kept and sent a thousand times.

    Raises:
        InvalidArgument: One of them is no name, or there are more than 1,024; the error names `field`.
    """
    return tuple(dict.fromkeys(check_names(field, names)))


def check_names(field: str, names: Iterable[str], limit: int = MAX_NAMES) -> tuple[str, ...]:
    """Returns the names as they are.

    Raises:
        InvalidArgument: One of them is no name, or there are more than `limit`.
    """
    listed = tuple(names)
    if len(listed) > limit:
        raise InvalidArgument(field, f"{len(listed)} names", f"at most {limit} names")
    return tuple(check_name(field, name) for name in listed)
