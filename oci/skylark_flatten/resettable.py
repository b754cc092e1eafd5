"""Checks that resetting memory and globals is all that it takes to make an instance as good as new.

The host resets an instance of a hosted module by writing back its linear memory and its mutable globals. So nothing
else may change while it runs: no table, and no segment, which an instruction can drop.
"""

from collections.abc import Iterator

from skylark_flatten.errors import Unsupported
from skylark_flatten.instructions import BULK, TABLE_SET, Bulk, naming
from skylark_flatten.module import Module
from skylark_flatten.reach import Kept
from skylark_flatten.spaces import Spaces

_NUMBERS = (0x7F, 0x7E, 0x7D, 0x7C)
_PASSIVE = 1
_CHANGING = {
    bytes([TABLE_SET]): "table.set",
    bytes([BULK, Bulk.MEMORY_INIT]): "memory.init",
    bytes([BULK, Bulk.DATA_DROP]): "data.drop",
    bytes([BULK, Bulk.TABLE_INIT]): "table.init",
    bytes([BULK, Bulk.ELEM_DROP]): "elem.drop",
    bytes([BULK, Bulk.TABLE_COPY]): "table.copy",
    bytes([BULK, Bulk.TABLE_GROW]): "table.grow",
    bytes([BULK, Bulk.TABLE_FILL]): "table.fill",
}
"""The instructions that change something beside memory and globals, by how they begin."""


def check_resettable(spaces: Spaces, kept: Kept) -> None:
    """Check what is about to be linked.

    Raises:
        Unsupported: A call could change what a reset does not restore; the reason says what.
    """
    found = sorted({name for parts in kept.bodies.values() for one in naming(parts) if (name := _changing(one))})
    if found:
        raise Unsupported(f"its instances could not be reset: it has the instruction {', '.join(found)}")
    for module in spaces.modules:
        for kind in _passive(module):
            raise Unsupported(f"its instances could not be reset: it has a passive {kind} segment")
    for definition in kept.written:
        if spaces.global_(definition).type[0] not in _NUMBERS:
            raise Unsupported("its instances could not be reset: it has a mutable global that is no number")


def _changing(instruction: bytes) -> str | None:
    return _CHANGING.get(instruction[: 2 if instruction[0] == BULK else 1])


def _passive(module: Module) -> Iterator[str]:
    yield from ("data" for one in module.data if one.offset is None)
    yield from ("element" for one in module.elements if one.flags & 3 == _PASSIVE)
