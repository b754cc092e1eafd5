"""Objects of a guest become immortal where it says that they are; whatever else it says harms nobody."""

import struct

from skylark_proxy.runtime.immortal import make_immortal

IMMORTAL = 5 << 28


def marked(counts: dict[int, int], addresses: bytes) -> dict[int, int]:
    """The numbers of references at some addresses, once objects were marked."""
    memory = bytearray(4096)
    for at, count in counts.items():
        struct.pack_into("<I", memory, at, count)
    make_immortal(memoryview(memory), addresses)
    return {at: struct.unpack_from("<I", memory, at)[0] for at in counts}


def test_objects_are_marked() -> None:
    """What has references gets the number that says that they are not counted."""
    assert marked({16: 1, 32: 70_000, 48: 3}, struct.pack("<2I", 16, 32)) == {16: IMMORTAL, 32: IMMORTAL, 48: 3}


def test_what_is_no_object_of_ours_stays() -> None:
    """No references, a freed object, or one that is immortal already."""
    counts = {16: 0, 32: 1 << 30, 48: (3 << 30) + 5, 64: 0xFFFFFFFF}
    assert marked(counts, struct.pack("<4I", *counts)) == counts


def test_addresses_may_be_anything() -> None:
    """Beyond the memory, across its end, and half an address are passed over; an odd one is rounded."""
    assert marked({16: 1}, struct.pack("<4I", 4096, 0xFFFFFFFF, 1 << 31, 17) + b"\1\2\3") == {16: IMMORTAL}
