"""Numbers, names and sections are read as they are written, and nothing is read beyond the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_flatten import binary
from skylark_flatten.binary import Reader, Section, sections
from skylark_flatten.errors import Malformed


@given(st.integers(0, 2**32 - 1))
def test_unsigned_numbers(value: int) -> None:
    """Every number of 32 bits comes back, and takes the bytes that it has."""
    reader = Reader(binary.u32(value))
    assert reader.u32() == value
    assert reader.done


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers(value: int) -> None:
    """Every number of 64 bits comes back; one of 32 bits also as such, and a larger one is refused as such."""
    encoded = binary.signed(value)
    assert Reader(encoded).s64() == value
    if -(2**31) <= value < 2**31:
        assert Reader(encoded).s32() == value
    else:
        with pytest.raises(Malformed, match="a number has more than"):
            Reader(encoded).s32()


@given(st.text())
def test_names(text: str) -> None:
    """Every text comes back."""
    assert Reader(binary.name(text)).name() == text


def test_padded_numbers() -> None:
    """A linker pads numbers that it fills in later; they mean the same."""
    assert Reader(b"\x83\x80\x80\x80\x00").u32() == 3
    assert Reader(b"\xfd\xff\xff\xff\x7f").s32() == -3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends too early"),
        (b"\x80", "ends too early"),
        (b"\x80\x80\x80\x80\x80\x01", "more than 32 bits"),
        (b"\xff\xff\xff\xff\x1f", "more than 32 bits"),
    ],
)
def test_numbers_that_are_none(content: bytes, reason: str) -> None:
    """They are refused, with the place."""
    with pytest.raises(Malformed, match=f"{reason}.*at byte"):
        Reader(content).u32()


def test_what_goes_past_the_end() -> None:
    """A length is held against what is there before anything is made of it."""
    for read in (Reader(b"\x05abc").name, lambda: Reader(b"\xff\xff\xff\xff\x0fab").vector(int)):
        with pytest.raises(Malformed):
            read()
    with pytest.raises(Malformed, match="UTF-8"):
        Reader(b"\x02\xff\xfe").name()
    with pytest.raises(Malformed, match="3 bytes of section 1 are missing, at byte 8"):
        list(sections(b"\0asm\x01\0\0\0" + b"\x01\x05ab"))


def test_sections() -> None:
    """Sections are found in their order, with the range of their contents."""
    content = b"\0asm\x01\0\0\0" + binary.section(1, b"one") + binary.section(0, b"")
    assert list(sections(content)) == [Section(1, 10, 13), Section(0, 15, 15)]
