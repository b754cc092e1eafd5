"""Let a host make the objects that a component begins with immortal, before it makes an image of the interpreter.

Each use of an object counts its references up and down, and so writes to the page that it is in, which a host has to
write back after the call. The references of an immortal object are not counted. It is never freed: that is what the
image is for. Only a host can make an object immortal, by what it writes to its memory.
"""

import array
import gc
import sys
from collections.abc import Callable

from skylark.wire import Buffer

_probe = object()
_held: list[object] = []
_addresses = bytearray()


def hold() -> None:
    """Hold all objects that can be reached now, so that their addresses stay theirs, and note the addresses.

    Finding them takes half a second, so this is done at the build.
    """
    found = gc.get_objects()
    seen = set(map(id, found))
    new = found
    while new:
        referents = gc.get_referents(*new)
        new = list({id(one): one for one in referents if id(one) not in seen}.values())
        seen.update(map(id, new))
        found = found + new
    _held[:] = found
    _addresses[:] = _addresses_of(found)


def settle(mark: Callable[[Buffer], object]) -> None:
    """Hand the addresses of what is held to `mark`.

    One object goes first, to see whether marking does what it should with this interpreter.
    """
    mark(_addresses_of([_probe]))
    if _is_immortal(_probe):
        mark(_addresses)


def _is_immortal(one: object) -> bool:
    told: Callable[[object], bool] = getattr(sys, "_is_immortal", lambda _one: False)
    return told(one)


def _addresses_of(objects: list[object]) -> bytes:
    return array.array("I", map(id, objects)).tobytes()
