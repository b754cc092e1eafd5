"""Bound the names and the nesting of a JSON text before it is parsed.

Names are the answer to hash flooding, which the sandbox's Python is open to.

A component is a snapshot of an interpreter that runs already, so the secret of its string hash is in the file, and the
hash itself is FNV with 32 bits (`sys.hash_info`), for which texts with the same hash are easily made. A dict of n such
texts takes n² comparisons: 10,000 names 1.2 s in the sandbox, 100,000 names two minutes. (Numbers as keys collide in
any Python.) What a stranger chooses as keys has to be bounded before it becomes a dict.

Nesting is bounded because the parser calls itself for each level. `wasmtime run` gives a guest 512 kB of stack unless
it is started with `-W max-wasm-stack`; text that is nested 900 levels deep uses it up, which ends the whole server.
"""

import json
import re
from itertools import accumulate
from typing import Any

from skylark.wire import Buffer

MAX_NAMES = 10_000

MAX_DEPTH = 200
"""How deep arrays and objects may be nested in each other."""

_NAME_END = re.compile(rb'"[ \t\r\n]*:')


_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_DELTA = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


class TooDeep(ValueError):
    """A JSON text is nested deeper than it may be."""


class TooManyNames(ValueError):
    """A JSON text has more names than may become keys."""


def load(text: Buffer, max_names: int = MAX_NAMES, **options: Any) -> Any:
    """Parse a JSON text in UTF-8 with `json.loads`, once its names and its levels have been counted.

    Raises:
        TooDeep: Arrays and objects are nested more than `MAX_DEPTH` deep.
        TooManyNames: There are more than `max_names`, or as many `":` in its strings.
        ValueError: It is no JSON, or not in UTF-8.
    """
    check_depth(text)
    count = count_names(text, max_names)
    if count > max_names:
        raise TooManyNames(f"it has more than {max_names} names")
    return json.loads(str(text, "utf-8"), **options)


def check_depth(text: Buffer) -> None:
    """Check how deep a JSON text is nested, without parsing it.

    Raises:
        TooDeep: Arrays and objects are nested more than `MAX_DEPTH` deep.
    """
    data = bytes(text)
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    if b"\\" in data:
        data = _ESCAPED.sub(b"", data)  # an escaped quote does not end its string
    outside_strings = b"".join(data.translate(None, _NOT_STRUCTURE).split(b'"')[::2])
    if any(depth > MAX_DEPTH for depth in accumulate(map(_DELTA.__getitem__, outside_strings))):
        raise TooDeep(f"its arrays and objects are nested more than {MAX_DEPTH} deep")


def bound_all() -> None:
    """Bound the nesting for `json.loads` too: where the runtime's stack is small, deep text would end the server."""
    plain = json.JSONDecoder.decode

    def decode(self: json.JSONDecoder, s: str, *arguments: Any) -> Any:
        if s.count("[") + s.count("{") > MAX_DEPTH:
            try:
                check_depth(s.encode(errors="surrogatepass"))
            except TooDeep as error:
                raise RecursionError(str(error)) from None
        return plain(self, s, *arguments)

    json.JSONDecoder.decode = decode  # type: ignore[method-assign, assignment]


def count_names(text: Buffer, enough: int) -> int:
    """The number of names in a JSON text, or a larger one; counting ends when it is more than `enough`."""
    count = 0
    for _ in _NAME_END.finditer(text):
        count += 1
        if count > enough:
            break
    return count
