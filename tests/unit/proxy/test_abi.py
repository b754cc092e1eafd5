"""Values cross between Python and a guest's memory as the canonical ABI says, and the WIT says which they are."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.runtime import interface
from skylark_proxy.runtime.abi import (
    U8,
    U16,
    U32,
    U64,
    Bool,
    BrokenAbi,
    Bytes,
    Enum,
    ListOf,
    Memory,
    NoRoom,
    Option,
    Record,
    Tail,
    Text,
    TooMuch,
    Type,
    Variant,
)
from skylark_proxy.runtime.imports import IMPORTS
from wit_signatures import core_functions

WIT = Path(__file__).parents[3] / "wit"
SIZE = 1 << 16


def memory(size: int = SIZE) -> Memory:
    """A memory whose allocator gives one block after the other, from 4096 on."""
    free = [4096]

    def allocate(size: int, align: int) -> int:
        at = -(-free[0] // align) * align
        free[0] = at + size
        return at

    return Memory(memoryview(bytearray(size)), allocate)


VALUES: list[tuple[Type, st.SearchStrategy[Any]]] = [
    (U8, st.integers(0, 255)),
    (U16, st.integers(0, 65535)),
    (U32, st.integers(0, 2**32 - 1)),
    (U64, st.integers(0, 2**64 - 1)),
    (Bool(), st.booleans()),
    (Enum("a", "b", "c"), st.sampled_from("abc")),
    (Text(), st.text(st.characters(exclude_categories=["Cs"]), max_size=50)),
    (Bytes(), st.binary(max_size=50)),
    (ListOf(U16), st.lists(st.integers(0, 65535), max_size=20)),
    (Option(U64), st.none() | st.integers(0, 2**64 - 1)),
    (
        Record(a=U8, b=U64, c=Option(U16)),
        st.tuples(st.integers(0, 255), st.integers(0, 2**64 - 1), st.none() | st.just(7)),
    ),
]


@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    """In memory, and flattened as arguments."""
    type_, strategy = data.draw(st.sampled_from(VALUES))
    value = data.draw(strategy)
    guest = memory()
    type_.store(guest, 64, value)
    assert type_.load(guest, 64) == value
    core = type_.lower(guest, value)
    assert len(core) == len(type_.core)
    assert type_.lift(guest, iter(core)) == value


@pytest.mark.parametrize(
    ("type_", "size", "align"),
    [
        (Record(a=U8, b=U64, c=U8), 24, 8),
        (Record(a=U8, b=U16, c=Text()), 12, 4),
        (Option(U8), 2, 1),
        (Option(U64), 16, 8),
        (Option(Text()), 12, 4),
        (Variant(ok=U8, err=U64), 16, 8),
        (Variant(ok=Record(a=U64, b=U8), err=Text()), 24, 8),
        (interface.HANDLED, 40, 4),
    ],
)
def test_sizes_and_alignment(type_: Type, size: int, align: int) -> None:
    """Each member is aligned to itself, and the whole to the most of them."""
    assert (type_.size, type_.align) == (size, align)


def test_only_the_lower_half_of_a_slot_counts() -> None:
    """What a core value of 32 bits has above them is anything."""
    dirt = 0xABCD << 32
    assert U16.lift(memory(), iter([dirt + 7])) == 7
    assert Bool().lift(memory(), iter([dirt])) is False
    guest = memory()
    guest.view[8:12] = b"text"
    assert Text().lift(guest, iter([dirt + 8, dirt + 4])) == "text"
    assert Option(U8).lift(guest, iter([dirt, 0])) is None
    with pytest.raises(BrokenAbi):
        Option(U8).lift(guest, iter([dirt + 2, 0]))


def test_negative_slots_are_unsigned() -> None:
    """A pointer above 2^31 comes as a negative number."""
    with pytest.raises(BrokenAbi, match="4294967295 bytes at address 4294967288"):
        Bytes().lift(memory(), iter([-8, -1]))
    assert U64.lift(memory(), iter([-1])) == 2**64 - 1


def test_an_empty_list_is_allocated_too() -> None:
    """The bindings free it, whatever its length."""
    asked: list[tuple[int, int]] = []

    def allocate(size: int, align: int) -> int:
        asked.append((size, align))
        return 8

    assert Bytes().lower(Memory(memoryview(bytearray(64)), allocate), b"") == (8, 0)
    assert asked == [(0, 1)]


def test_a_tail_is_the_end() -> None:
    """Of a text of any length the end is read; half a character at its beginning is left out."""
    guest = memory()
    assert Tail(5).lift(guest, iter(Text().lower(guest, "a" * 10 + "größe"))) == "öße"[-3:]


@pytest.mark.parametrize("type_", [Text(3), ListOf(U8, 3)])
def test_what_is_too_long_says_how_long(type_: Type) -> None:
    """It is no reason to end the guest."""
    guest = memory()
    with pytest.raises(TooMuch) as raised:
        type_.lift(guest, iter((64, 4)))
    assert (raised.value.size, raised.value.limit) == (4, 3)


def test_no_room_has_its_numbers() -> None:
    """What does not fit, and into what."""
    assert str(NoRoom(5, 3)) == "5 bytes do not fit into a memory of 3"


def test_the_interface_is_that_of_the_wit() -> None:
    """Every function that the host gives or calls has the flat signature that the WIT has."""
    functions = core_functions([WIT], without=set())
    bundles = {name.partition("#")[2]: core for name, core in functions.items() if "/bundles#" in name}
    handler = {name.partition("#")[2]: core for name, core in functions.items() if "/handler#" in name}
    assert {name: (one.core, ()) for name, one in IMPORTS.items()} == bundles
    assert handler == {"functions": (("i32",), ()), "handle": ((*interface.INVOCATION.core, "i32"), ())}
