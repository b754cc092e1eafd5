"""A bundle's metadata as HTTP headers, and its bytes with their checksum."""

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark import wire
from skylark.plan import Plan, Step
from skylark.session import MAX_SEEN, MAX_VERSION
from skylark_proxy import bundle_http
from skylark_proxy.errors import InvalidArgument, InvalidKey
from skylark_proxy.model import NAME_PATTERN, WRITE_ID_PATTERN, BundleInfo, Metadata, StateKey

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
NUMBERS = st.integers(0, 2**63)
NOW_MS = 1_800_000_000_000
PLANS = st.lists(
    st.builds(Step, NAMES, st.none() | NAMES), min_size=1, max_size=4, unique_by=lambda step: step.function
).map(lambda steps: Plan(tuple(steps)))
METAS = st.builds(
    Metadata,
    origin=NAMES,
    created_ms=NUMBERS,
    crc32=st.integers(0, 2**32 - 1),
    write=st.from_regex(WRITE_ID_PATTERN, fullmatch=True),
    plan=st.none() | PLANS,
    seen=st.dictionaries(st.builds(StateKey, NAMES, NAMES, NAMES), st.integers(0, MAX_VERSION), max_size=3),
)
INFOS = st.builds(
    BundleInfo,
    key=st.builds(StateKey, NAMES, NAMES, st.none() | NAMES),
    version=NUMBERS,
    held_by=NAMES,
    meta=METAS,
    sizes=st.dictionaries(NAMES, NUMBERS, max_size=3),
    expires_ms=st.none() | st.integers(NOW_MS + 1, 2**63),
    age_ms=st.none() | NUMBERS,
)
WRITE = f"{'a' * 16}-1"
META = Metadata("sat-1", 1000, 99, WRITE, Plan.parse("a@n,b"), {StateKey("c", "s", "m"): 5, StateKey("c", "u", "n"): 6})
INFO = BundleInfo(StateKey("c", "t", "n"), 7, "m", META, {"f": 3}, NOW_MS + 2000, 1999)


@given(INFOS)
def test_what_one_end_says_the_other_understands(info: BundleInfo) -> None:
    """All metadata survive the headers; what a bundle does not have is the absence of a header."""
    sent = bundle_http.info_headers(info, NOW_MS)
    assert bundle_http.parse_info(sent, info.sizes, NOW_MS) == info
    for name, value in (
        (bundle_http.TTL_MS, info.expires_ms),
        (bundle_http.AGE_MS, info.age_ms),
        (bundle_http.OWNER, info.key.node),
        (bundle_http.PLAN, info.meta.plan),
        (bundle_http.SEEN, info.meta.seen or None),
    ):
        assert (name in sent) is (value is not None)


@given(METAS)
def test_what_is_said_with_a_write_is_understood(meta: Metadata) -> None:
    """What belongs to the contents is sent the same with a write as with an answer."""
    assert bundle_http.parse_meta(bundle_http.meta_headers(meta)) == meta


def test_clocks_that_differ_do_not_matter() -> None:
    """What a bundle has left to live is the same at a node whose clock is an hour ahead."""
    sent = bundle_http.info_headers(INFO, NOW_MS)
    assert bundle_http.parse_info(sent, {}, NOW_MS + 3_600_000).expires_ms == NOW_MS + 3_602_000


def test_the_headers_are_the_documented_ones() -> None:
    """Names and forms that clients rely on; the version is an ETag, which is quoted; an age is in whole seconds too."""
    assert bundle_http.info_headers(INFO, NOW_MS) == {
        "Skylark-Key": "c:n:t",
        "ETag": '"7"',
        "Skylark-Served-By": "m",
        "Skylark-Owner": "n",
        "Skylark-Origin": "sat-1",
        "Skylark-Created-Ms": "1000",
        "Skylark-Crc32": "99",
        "Skylark-Write": WRITE,
        "Skylark-Ttl-Ms": "2000",
        "Skylark-Plan": "a@n,b",
        "Skylark-Seen": "c:m:s=5,c:n:u=6",
        "Skylark-Age-Ms": "1999",
        "Age": "1",
    }


def test_a_bundle_without_an_owner_has_the_key_of_who_gives_it() -> None:
    """Clients are given a key of three parts, which leads to the bundle; between nodes it is not taken for an owner."""
    sent = bundle_http.info_headers(replace(INFO, key=StateKey("c", "t")), NOW_MS)
    assert sent["Skylark-Key"] == "c:m:t"
    assert bundle_http.parse_info(sent, {}, NOW_MS).key == StateKey("c", "t")


@pytest.mark.parametrize(
    "name",
    [
        "Skylark-Key",
        "ETag",
        "Skylark-Origin",
        "Skylark-Created-Ms",
        "Skylark-Crc32",
        "Skylark-Write",
        "Skylark-Served-By",
    ],
)
def test_a_missing_header_is_named(name: str) -> None:
    """A proxy in between that drops a header is found by its name."""
    sent = bundle_http.info_headers(INFO, NOW_MS)
    del sent[name]
    with pytest.raises(InvalidArgument) as raised:
        bundle_http.parse_info(sent, {}, NOW_MS)
    assert raised.value.field == name


@pytest.mark.parametrize("name", ["ETag", "Skylark-Created-Ms", "Skylark-Crc32", "Skylark-Ttl-Ms", "Skylark-Age-Ms"])
@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", 'W/"3"', "0x10", "²"])
def test_a_header_that_is_no_number_is_named(name: str, text: str) -> None:
    """Numbers are digits and nothing else."""
    with pytest.raises(InvalidArgument) as raised:
        bundle_http.parse_info(bundle_http.info_headers(INFO, NOW_MS) | {name: text}, {}, NOW_MS)
    assert (raised.value.field, raised.value.expected) == (name, "a whole number")


@pytest.mark.parametrize("name", ["Skylark-Owner", "Skylark-Served-By", "Skylark-Origin", "Skylark-Write"])
def test_a_header_that_is_no_name_is_named(name: str) -> None:
    """Names, and ids of writes, are checked where they enter."""
    with pytest.raises(InvalidArgument) as raised:
        bundle_http.parse_info(bundle_http.info_headers(INFO, NOW_MS) | {name: "a:b"}, {}, NOW_MS)
    assert raised.value.field == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "c:m:s", "c:m:s=", "c:m:s=x", "c:m:s=-1", "s=5", "c:s=5", "c:m:s=5,", "c:m:s=5;c:n:u=6"),
        f"c:m:s={MAX_VERSION + 1}",
        ",".join(f"c:m:s{number}=5" for number in range(MAX_SEEN + 1)),
    ],
)
def test_what_a_chain_has_seen_is_checked(text: str) -> None:
    """Versions that cannot be read are an error: without them a reader could be given an older one."""
    with pytest.raises((InvalidArgument, InvalidKey)) as raised:
        bundle_http.parse_info(bundle_http.info_headers(INFO, NOW_MS) | {"Skylark-Seen": text}, {}, NOW_MS)
    assert raised.value.field == "Skylark-Seen"


def test_a_header_that_is_no_key_is_named() -> None:
    """The key's form is checked where it enters."""
    with pytest.raises(InvalidKey) as raised:
        bundle_http.parse_info(bundle_http.info_headers(INFO, NOW_MS) | {"Skylark-Key": "nonsense"}, {}, NOW_MS)
    assert raised.value.field == "Skylark-Key"


@given(st.dictionaries(st.from_regex(NAME_PATTERN, fullmatch=True), st.binary(max_size=50), max_size=5))
def test_the_checksum_is_that_of_all_fields(fields: dict[str, bytes]) -> None:
    """It is the CRC-32 of names, sizes and bytes, one after the other, and of views as of bytes."""
    text = b"".join(b"%s:%d\n%s" % (name.encode(), len(data), data) for name, data in fields.items())
    assert bundle_http.checksum({name: memoryview(data) for name, data in fields.items()}) == zlib.crc32(text)


def test_a_changed_name_is_noticed() -> None:
    """The same bytes under other names, or cut in another place, are another bundle."""
    sums = [bundle_http.checksum(fields) for fields in ({"a": b"12"}, {"b": b"12"}, {"a": b"1", "b": b"2"})]
    assert len(set(sums)) == 3


def test_a_changed_byte_is_noticed() -> None:
    """Bytes that arrive as they were sent are good; one flipped bit is an error that names both checksums."""
    fields = {"a": b"123", "b": b"456"}
    sent = bundle_http.checksum(fields)
    bundle_http.verify(sent, fields)
    with pytest.raises(InvalidArgument, match="Skylark-Crc32"):
        bundle_http.verify(sent, {"a": b"123", "b": b"457"})


def test_a_body_that_is_no_bundle_is_named() -> None:
    """The error names the field, how the body begins, and what is wrong with it."""
    assert bundle_http.decode(b"".join(wire.encode({"f": b"abc"}))) == {"f": b"abc"}
    with pytest.raises(InvalidArgument, match=r"^body: b'<html>' is not valid; .*truncated in the index") as raised:
        bundle_http.decode(b"<html>")
    assert raised.value.__cause__ is not None
