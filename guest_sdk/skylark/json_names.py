"""How many names a JSON text may have: the answer to hash flooding, which the sandbox's Python is open to.

A component is a snapshot of an interpreter that runs already, so the secret of its string hash is in the file, and the
hash itself is FNV with 32 bits (`sys.hash_info`), for which texts with the same hash are easily made. A dict of n such
texts takes n² comparisons: 10,000 names 1.2 s in the sandbox, 100,000 names two minutes. (Numbers as keys collide in
any Python.) What a stranger chooses as keys has to be bounded before it becomes a dict.
"""

import json
import re
from typing import Any

from skylark.wire import Buffer

MAX_NAMES = 10_000

_NAME_END = re.compile(rb'"[ \t\r\n]*:')


class TooManyNames(ValueError):
    """A JSON text has more names than may become keys."""


def load(text: Buffer, max_names: int = MAX_NAMES, **options: Any) -> Any:
    """`json.loads` of a text in UTF-8, once its names have been counted.

    Raises:
        TooManyNames: There are more than `max_names`, or as many `":` in its strings.
        ValueError: It is no JSON, or not in UTF-8.
        RecursionError: It is nested too deeply.
    """
    count = count_names(text, max_names)
    if count > max_names:
        raise TooManyNames(f"it has more than {max_names} names")
    return json.loads(str(text, "utf-8"), **options)


def count_names(text: Buffer, enough: int) -> int:
    """The number of names in a JSON text, or a larger one; counting ends when it is more than `enough`."""
    count = 0
    for _ in _NAME_END.finditer(text):
        count += 1
        if count > enough:
            break
    return count
