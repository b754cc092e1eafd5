"""Constant expressions are computed as an engine would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_flatten.binary import Reader, signed
from skylark_flatten.constants import Number, Raw, Reference, evaluate, i32, skip
from skylark_flatten.errors import Malformed, Unsupported

I32 = st.integers(-(2**31), 2**31 - 1)


def no_globals(index: int) -> Number:
    raise AssertionError(f"global {index} is not in the expression")


@given(I32, I32, st.sampled_from([(0x6A, int.__add__), (0x6B, int.__sub__), (0x6C, int.__mul__)]))
def test_arithmetic_wraps_around(left: int, right: int, operation: tuple[int, object]) -> None:
    """Sums, differences and products are those of 32 bits."""
    opcode, compute = operation
    expression = b"\x41" + signed(left) + b"\x41" + signed(right) + bytes([opcode]) + b"\x0b"
    result = evaluate(expression, no_globals)
    assert isinstance(result, Number)
    assert (result.value - compute(left, right)) % 2**32 == 0  # type: ignore[operator]
    assert -(2**31) <= result.value < 2**31
    assert evaluate(result.encode() + b"\x0b", no_globals) == result


def test_globals_are_what_they_begin_with() -> None:
    """An address that a library is given is added to."""
    assert evaluate(b"\x23\x05\x41\x08\x6a\x0b", {5: i32(1000)}.__getitem__) == i32(1008)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (b"\x42\x7f\x0b", Number(0x42, -1)),
        (b"\x43\x00\x00\x80\x3f\x0b", Raw(b"\x43\x00\x00\x80\x3f")),
        (b"\x44" + bytes(8) + b"\x0b", Raw(b"\x44" + bytes(8))),
        (b"\xd0\x70\x0b", Raw(b"\xd0\x70")),
        (b"\xd2\x07\x0b", Reference(7)),
        (b"\xfd\x0c" + bytes(16) + b"\x0b", Raw(b"\xfd\x0c" + bytes(16))),
    ],
)
def test_other_constants_stay(expression: bytes, value: object) -> None:
    """Floats, vectors and references are taken as they are."""
    assert evaluate(expression, no_globals) == value
    reader = Reader(expression + b"rest")
    assert skip(reader) == expression
    assert reader.offset == len(expression)


@pytest.mark.parametrize(
    "expression", [b"\x0b", b"\x41\x00\x41\x00\x0b", b"\x41\x00\x6a\x0b", b"\x42\x00\x41\x00\x6a\x0b", b"\x10\x00\x0b"]
)
def test_what_is_no_constant_is_refused(expression: bytes) -> None:
    """No value, two, an operand too few, one of another type, a call."""
    with pytest.raises(Unsupported):
        evaluate(expression, no_globals)


def test_an_expression_that_does_not_end() -> None:
    """It is refused, not read on."""
    with pytest.raises(Malformed):
        skip(Reader(b"\x41\x00"))
