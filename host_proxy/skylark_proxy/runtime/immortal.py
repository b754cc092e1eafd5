"""Makes objects of a guest's interpreter immortal: it then does not count their references, and writes fewer pages.

CPython 3.14 on 32 bits (`Include/refcount.h`): an object begins with the number of its references; from 1 << 30 on it
is immortal, and those that are made so have 5 << 28. `skylark.settled` says which objects, and tries one first.
"""

ADDRESS_BYTES = 4
_IMMORTAL = 5 << 28
_MOST_REFERENCES = 1 << 28


def make_immortal(memory: memoryview, addresses: bytes) -> None:
    """Make the objects at these addresses immortal. A guest's addresses may be anything; beyond its memory is nothing.

    Args:
        memory: The guest's memory, to write to.
        addresses: Numbers of 32 bits.
    """
    words = memory.cast("I")
    for address in memoryview(addresses[: len(addresses) // ADDRESS_BYTES * ADDRESS_BYTES]).cast("I"):
        place = address // ADDRESS_BYTES
        if place < len(words) and 0 < words[place] < _MOST_REFERENCES:
            words[place] = _IMMORTAL
