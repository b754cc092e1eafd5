"""The bundle format: what was encoded comes back, and nothing else is taken for a bundle."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skylark import wire
from skylark.wire import FormatError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BUNDLES = st.dictionaries(NAMES, st.binary(max_size=200), max_size=8)


def encoded(fields: dict[str, bytes]) -> bytes:
    return b"".join(wire.encode(dict(fields)))


def entry(name: bytes, size_bytes: int) -> bytes:
    return struct.pack("<HQ", len(name), size_bytes) + name


def head(fields: int, magic: bytes = b"SKYB", version: int = 1) -> bytes:
    return struct.pack("<4sHH", magic, version, fields)


def is_canonical(data: bytes) -> bool:
    """Whether the bytes are a bundle, and the very ones that its fields encode to; any error but FormatError leaves."""
    try:
        fields = wire.decode(data)
    except FormatError:
        return False
    assert encoded({name: bytes(value) for name, value in fields.items()}) == data
    return True


@given(BUNDLES)
@example({})
@example({"": b""})
@example({"größe ∞": bytes(range(256)), "b": b""})
def test_a_bundle_comes_back_as_it_was(fields: dict[str, bytes]) -> None:
    """Names, bytes and the order of the fields survive; an empty bundle, name or field is one too."""
    decoded = wire.decode(encoded(fields))
    assert [(name, bytes(value)) for name, value in decoded.items()] == list(fields.items())


def test_the_layout_is_the_documented_one() -> None:
    """Other languages read these bytes: they are those of the module's table, little-endian and without padding."""
    assert encoded({"a": b"xy", "é": b""}) == (
        b"SKYB\x01\x00\x02\x00"
        + b"\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00a"
        + b"\x02\x00"
        + bytes(8)
        + b"\xc3\xa9"
        + b"xy"
    )


def test_fields_are_views_of_what_was_given() -> None:
    """Neither end copies a field: the parts are the given objects, the decoded fields lie in the given bytes."""
    value = bytearray(b"abc")
    assert wire.encode({"f": value})[1] is value
    data = bytearray(encoded({"f": b"abc"}))
    view = wire.decode(data)["f"]
    data[-1:] = b"X"
    assert bytes(view) == b"abX"


@given(BUNDLES)
def test_no_truncated_bundle_is_a_bundle(fields: dict[str, bytes]) -> None:
    """Whatever is cut off at the end, down to nothing, is a FormatError."""
    data = encoded(fields)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            wire.decode(data[:length])


@given(BUNDLES, st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_a_bundle(fields: dict[str, bytes], rest: bytes) -> None:
    """Bytes after the last field are a FormatError that says how many there are and how many there should be."""
    data = encoded(fields)
    with pytest.raises(FormatError, match=f"has {len(data) + len(rest)} bytes, its index says {len(data)}"):
        wire.decode(data + rest)


@given(BUNDLES, st.data())
def test_a_changed_bundle_is_refused_or_means_what_it_says(fields: dict[str, bytes], data: st.DataObject) -> None:
    """Bytes changed anywhere give a FormatError, or another whole bundle; never another exception."""
    mutated = bytearray(encoded(fields))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    is_canonical(bytes(mutated))


@given(st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_arbitrary_bytes_raise_nothing_else(rest: bytes, count: int) -> None:
    """Bytes from a stranger are a bundle or a FormatError, also where they begin like a bundle."""
    is_canonical(rest)
    is_canonical(head(count) + rest)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (head(0, magic=b"SKYC"), "not a bundle"),
        (head(0, version=2), "not a bundle"),
        (head(0, version=256), "not a bundle"),
        (b"", "truncated in the index, at byte 0"),
        (head(1), "truncated in the index, at byte 8"),
        (head(1) + struct.pack("<HQ", 5, 0) + b"abcd", "truncated in the index, at byte 22"),
        (head(1) + entry(b"\xff", 0), "not UTF-8"),
        (head(1) + entry(b"\xed\xa0\x80", 0), "not UTF-8"),
        (head(2) + entry(b"a", 1) * 2 + b"xy", "'a' stands in the index twice"),
        (head(1) + entry(b"a", 2**64 - 1), f"its index says {19 + 2**64 - 1}"),
        (head(2) + entry(b"a", 2**63) + entry(b"b", 2**63), f"its index says {30 + 2**64}"),
        (head(2) + entry(b"a", 2**64 - 1) + entry(b"b", 1), f"its index says {30 + 2**64}"),
    ],
)
def test_the_cause_is_named(data: bytes, cause: str) -> None:
    """A FormatError says what is wrong; sizes whose sum exceeds 64 bits do not wrap around to a valid one."""
    with pytest.raises(FormatError, match=cause):
        wire.decode(data)


def test_a_name_cut_inside_a_character_is_truncated() -> None:
    """The index that ends within a name is truncated, whether or not its bytes so far are UTF-8."""
    data = encoded({"éé": b""})
    for length in range(1, 4):
        with pytest.raises(FormatError):
            wire.decode(data[:-length])


def test_what_does_not_fit_the_format_is_refused() -> None:
    """65,535 fields and a name of 65,535 bytes are a bundle; one more is a FormatError that names the limit."""
    most = {str(number): b"" for number in range(0xFFFF)}
    assert len(wire.decode(encoded(most))) == 0xFFFF
    assert list(wire.decode(encoded({"é" * 0x7FFF + "x": b"1"}))) == ["é" * 0x7FFF + "x"]
    with pytest.raises(FormatError, match="65536 fields, the limit is 65535"):
        wire.encode(most | {"one more": b""})
    with pytest.raises(FormatError, match="65536 bytes in a field's name"):
        wire.encode({"é" * 0x8000: b""})


def test_an_index_may_be_read_before_the_rest_has_arrived() -> None:
    """`index` needs the beginning only, and says where the first field begins."""
    data = encoded({"a": b"xyz", "b": b"12"})
    offset, sizes = wire.index(data[: 8 + 11 + 11])
    assert sizes == {"a": 3, "b": 2}
    assert data[offset:] == b"xyz12"
