"""Code is split at the instructions that name an index, and nowhere else; what is newer than 2.0 is refused."""

import pytest

from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.instructions import naming, split
from skylark_flatten.module import read_module
from wasm_files import wasm_file

EVERY_KIND = """
(module
    (type $pair (func (param i32 i32) (result i32 i32)))
    (memory 1) (table $first 1 funcref) (table $second 1 externref)
    (global $g (mut i64) (i64.const 0)) (data $d "abc") (elem $e func $f)
    (func $f (type $pair) (local i64 f32 v128 funcref)
        (local.get 0) (local.get 1)
        (block (type $pair) (br_table 0 1 0 0 (i32.const 1)))
        (call $f)
        (call_indirect $first (type $pair) (i32.const 0))
        (global.set $g (i64.const -9223372036854775808))
        (drop (global.get $g))
        (table.set $second (i32.const 0) (ref.null extern))
        (drop (ref.is_null (table.get $second (i32.const 0))))
        (drop (ref.func $f))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
        (table.init $first $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
        (table.copy $first $first (i32.const 0) (i32.const 0) (i32.const 0))
        (drop (table.grow $second (ref.null extern) (i32.const 1))) (drop (table.size $second))
        (table.fill $second (i32.const 0) (ref.null extern) (i32.const 1))
        (memory.copy (i32.const 0) (i32.const 8) (i32.const 4)) (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))
        (drop (memory.grow (memory.size)))
        (i64.store32 offset=4000000 (i32.const 0) (i64.extend8_s (i64.load16_u (i32.const 16))))
        (drop (f64.add (f64.const 0x1.0b0b0b0b0b0b0p+1) (f64.promote_f32 (f32.const 0x1.101010p+3))))
        (drop (i32.trunc_sat_f64_u (f64.const 1e300)))
        (drop (select (result funcref) (ref.null func) (ref.null func) (i32.const 0)))
        (drop (i8x16.shuffle 16 16 16 16 16 16 16 16 0 1 2 3 4 5 6 7
            (v128.const i64x2 0x1023102310231023 0x1111111111111111) (v128.load offset=3 (i32.const 0))))
        (drop (i8x16.extract_lane_s 3 (v128.load32_lane 2 (i32.const 0) (i32x4.splat (i32.const 1)))))
        (drop (f64x2.convert_low_i32x4_u (i16x8.extmul_low_i8x16_s (local.get 4) (local.get 4))))
        (loop (if (result i32) (i32.const 1) (then (i32.const 2)) (else (unreachable))) (br_if 0) (nop))
    )
)
"""

NAMING = [
    b"\x02\x00",  # block (type 0)
    b"\x10\x00",
    b"\x11\x00\x00",
    b"\x24\x00",
    b"\x23\x00",
    b"\x26\x01",
    b"\x25\x01",
    b"\xd2\x00",
    b"\xfc\x08\x00\x00",
    b"\xfc\x09\x00",
    b"\xfc\x0c\x00\x00",
    b"\xfc\x0d\x00",
    b"\xfc\x0e\x00\x00",
    b"\xfc\x0f\x01",
    b"\xfc\x10\x01",
    b"\xfc\x11\x01",
    b"\x3f\x00",
    b"\x40\x00",
]


def body() -> bytes:
    module = read_module(wasm_file(EVERY_KIND))
    [(start, end)] = module.code
    return module.content[start:end]


def test_every_kind_of_instruction() -> None:
    """The instructions of the specification are passed over or found; constants that look like one are passed over."""
    parts = split(body(), 0)
    assert b"".join(parts) == body()
    assert list(naming(parts)) == NAMING


def test_padded_indices() -> None:
    """A linker's padded index is found whole."""
    assert list(naming(split(b"\0\x10\x83\x80\x80\x80\x00\x0b", 0))) == [b"\x10\x83\x80\x80\x80\x00"]


@pytest.mark.parametrize(
    "code",
    [
        "12 00",  # return_call
        "08 00",  # throw
        "fe 10 02 00",  # i32.atomic.load
        "fd 80 02",  # i8x16.relaxed_swizzle
        "28 42 01 00",  # i32.load of another memory
        "fc 13",  # i64.add128
        "fb 01 00",  # struct.new_default
        "41",  # i32.const, cut off
        "ff",
    ],
)
def test_what_is_newer_is_refused(code: str) -> None:
    """The place and the instruction are named."""
    with pytest.raises(Unsupported, match="the code at byte 101 is not WebAssembly 2.0: instruction " + code[:2]):
        split(b"\0" + bytes.fromhex(code) + b"", 100)


def test_cut_off_code() -> None:
    """Locals and the labels of a table may not go past the end."""
    for code in (b"\x05", b"\0\x0e\xff\xff\xff\xff\x0f\x00"):
        with pytest.raises(Malformed):
            split(code, 0)
