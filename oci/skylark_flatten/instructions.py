"""Finds the instructions that linking changes: those that name something by its index, and those of memory's size.

A component of Python has some three million instructions, and one in five names an index. Reading each in Python would
take half a minute. So the grammar of all other instructions is one regular expression, and the engine of `re` passes
over them; Python sees those that matter only. What the grammar does not know is refused: it is that of WebAssembly 2.0,
so that no module that it has read needs more.

Format: WebAssembly core specification 2.0, section 5.4.
"""

import re
from collections.abc import Iterator
from enum import IntEnum

from skylark_flatten.binary import Reader
from skylark_flatten.errors import Unsupported

CALL, CALL_INDIRECT = 0x10, 0x11
GLOBAL_GET, GLOBAL_SET = 0x23, 0x24
TABLE_GET, TABLE_SET = 0x25, 0x26
REF_FUNC = 0xD2
MEMORY_SIZE, MEMORY_GROW = 0x3F, 0x40
BLOCKS = (0x02, 0x03, 0x04)
BULK = 0xFC


class Bulk(IntEnum):
    """The instructions after the byte `BULK` that name a segment or a table."""

    MEMORY_INIT = 0x08
    DATA_DROP = 0x09
    TABLE_INIT = 0x0C
    ELEM_DROP = 0x0D
    TABLE_COPY = 0x0E
    TABLE_GROW = 0x0F
    TABLE_SIZE = 0x10
    TABLE_FILL = 0x11


_U32 = rb"[\x80-\xff]{0,4}+[\x00-\x7f]"
_S33 = rb"[\x80-\xff]{0,4}+[\x00-\x3f]"  # not negative
_S64 = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
_MEMARG = rb"[\x00-\x3f]" + _U32  # an alignment above 2**63 makes no sense; bit 6 would name another memory
_VALUE_TYPE = rb"[\x7f\x7e\x7d\x7c\x7b\x70\x6f]"

_PLAIN = rb"|".join(
    [
        rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",  # control, drop, select, numeric (5.4.1, 5.4.7), ref.is_null
        rb"[\x0c\x0d\x20-\x22\x41]" + _U32,  # branches, locals, i32.const
        rb"[\x28-\x3e]" + _MEMARG,  # loads and stores (5.4.6)
        rb"[\x02\x03\x04](?:\x40|" + _VALUE_TYPE + rb")",  # blocks without a type index (5.4.1)
        rb"\x42" + _S64,
        rb"\x44[\x00-\xff]{8}",
        rb"\x43[\x00-\xff]{4}",
        rb"\xfc(?:[\x00-\x07]|\x0a\x00\x00|\x0b\x00)",  # saturating truncations, memory.copy, memory.fill
        rb"\x1c\x01" + _VALUE_TYPE,  # select with a type
        rb"\xd0[\x70\x6f]",  # ref.null
        rb"\xfd(?:"  # vectors (5.4.8)
        rb"(?:[\x00-\x0b]|\x5c|\x5d)" + _MEMARG + rb"|[\x0c\x0d][\x00-\xff]{16}|[\x15-\x22][\x00-\xff]"
        rb"|[\x54-\x5b]" + _MEMARG + rb"[\x00-\xff]|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)",
    ]
)
_NAMING = rb"|".join(
    [
        rb"[\x10\x23\x24\x25\x26\xd2]" + _U32,  # call, globals, tables' elements, ref.func
        rb"\x11" + _U32 + _U32,  # call_indirect
        rb"[\x02\x03\x04]" + _S33,  # a block with a type index
        rb"\xfc[\x08\x0c\x0e]" + _U32 + _U32,  # memory.init, table.init, table.copy
        rb"\xfc[\x09\x0d\x0f-\x11]" + _U32,  # data.drop, elem.drop, table.grow, table.size, table.fill
        rb"[\x3f\x40]\x00",  # memory.size, memory.grow
        rb"\x0e" + _U32,  # br_table, whose labels follow
    ]
)

_RUN = re.compile(rb"((?:" + _PLAIN + rb")*+)(" + _NAMING + rb")?+", re.DOTALL)
_BR_TABLE = 0x0E


def split(body: bytes, start: int) -> list[bytes]:
    """Splits a function's code at the instructions that name an index.

    Args:
        body: The function: locals and expression (5.5.13).
        start: Where it is in its module, for errors.

    Returns:
        Other code and naming instructions, by turns; it begins and ends with other code, of which some may be empty.

    Raises:
        Malformed: The locals are not what the format says.
        Unsupported: It has an instruction that is not in WebAssembly 2.0.
    """
    position, end, match = _after_locals(body), len(body), _RUN.match
    parts: list[bytes] = []
    begun = 0
    while found := match(body, position):
        position = found.end()
        naming = found[2]
        if naming is None:
            if position != end:
                raise Unsupported(_unknown(body, position, start))
            break
        if naming[0] == _BR_TABLE:
            position = _after_labels(body, position, naming)
            continue
        parts += (body[begun : found.start(2)], naming)
        begun = position
    parts.append(body[begun:])
    return parts


def naming(parts: list[bytes]) -> Iterator[bytes]:
    """The naming instructions of a function that was split."""
    return iter(parts[1::2])


def _after_locals(body: bytes) -> int:
    reader = Reader(body)
    for _ in range(reader.u32()):
        reader.u32()
        reader.byte()
    return reader.offset


def _after_labels(body: bytes, position: int, instruction: bytes) -> int:
    """The end of a br_table: its labels and the default one."""
    reader = Reader(body, position)
    for _ in range(Reader(instruction, 1).u32() + 1):
        reader.u32()
    return reader.offset


def _unknown(body: bytes, position: int, start: int) -> str:
    opcode = body[position : position + (2 if body[position] >= 0xFB else 1)].hex(" ")
    return f"the code at byte {start + position} is not WebAssembly 2.0: instruction {opcode}"
