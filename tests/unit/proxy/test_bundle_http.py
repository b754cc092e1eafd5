"""A bundle's metadata as HTTP headers, and its bytes with their checksum."""

import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark import wire
from skylark.plan import Plan, Step
from skylark_proxy import bundle_http
from skylark_proxy.errors import InvalidArgument, InvalidKey
from skylark_proxy.model import NAME_PATTERN, BundleInfo, StateKey

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
NUMBERS = st.integers(0, 2**63)
NOW_MS = 1_800_000_000_000
PLANS = st.lists(
    st.builds(Step, NAMES, st.none() | NAMES), min_size=1, max_size=4, unique_by=lambda step: step.function
).map(lambda steps: Plan(tuple(steps)))
INFOS = st.builds(
    BundleInfo,
    key=st.builds(StateKey, NAMES, NAMES, st.none() | NAMES),
    version=NUMBERS,
    created_ms=NUMBERS,
    origin=NAMES,
    crc32=st.integers(0, 2**32 - 1),
    sizes=st.dictionaries(NAMES, NUMBERS, max_size=3),
    expires_ms=st.none() | st.integers(NOW_MS + 1, 2**63),
    plan=st.none() | PLANS,
)
INFO = BundleInfo(StateKey("c", "t", "n"), 7, 1000, "sat-1", 99, {"f": 3}, NOW_MS + 2000, Plan.parse("a@n,b"))


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[None]:
    """Time stands still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_http, "now_ms", lambda: NOW_MS)
        yield


@given(INFOS)
def test_what_one_end_says_the_other_understands(info: BundleInfo) -> None:
    """All metadata survive the headers; that a bundle never expires, or has no plan, is the absence of a header."""
    sent = bundle_http.headers(info)
    assert bundle_http.parse_info(sent, info.sizes) == info
    assert (bundle_http.TTL_MS in sent) is (info.expires_ms is not None)
    assert (bundle_http.PLAN in sent) is (info.plan is not None)


def test_clocks_that_differ_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bundle has left to live is the same at a node whose clock is an hour ahead."""
    sent = bundle_http.headers(INFO)
    monkeypatch.setattr(bundle_http, "now_ms", lambda: NOW_MS + 3_600_000)
    assert bundle_http.parse_info(sent, {}).expires_ms == NOW_MS + 3_602_000


def test_the_headers_are_the_documented_ones() -> None:
    """Names and forms that clients rely on; the version is an ETag, which is quoted."""
    given = bundle_http.headers(INFO)
    assert int(given.pop("Skylark-Uptime-Ms")) == pytest.approx(time.monotonic() * 1000, abs=10_000)
    assert given == {
        "Skylark-Key": "c:n:t",
        "ETag": '"7"',
        "Skylark-Origin": "sat-1",
        "Skylark-Created-Ms": "1000",
        "Skylark-Crc32": "99",
        "Skylark-Ttl-Ms": "2000",
        "Skylark-Plan": "a@n,b",
    }


@pytest.mark.parametrize("name", ["Skylark-Key", "ETag", "Skylark-Origin", "Skylark-Created-Ms", "Skylark-Crc32"])
def test_a_missing_header_is_named(name: str) -> None:
    """A proxy in between that drops a header is found by its name."""
    sent = bundle_http.headers(INFO)
    del sent[name]
    with pytest.raises(InvalidArgument) as raised:
        bundle_http.parse_info(sent, {})
    assert raised.value.field == name


@pytest.mark.parametrize("name", ["ETag", "Skylark-Created-Ms", "Skylark-Crc32", "Skylark-Ttl-Ms"])
@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", 'W/"3"', "0x10", "²"])
def test_a_header_that_is_no_number_is_named(name: str, text: str) -> None:
    """Numbers are digits and nothing else."""
    with pytest.raises(InvalidArgument) as raised:
        bundle_http.parse_info(bundle_http.headers(INFO) | {name: text}, {})
    assert (raised.value.field, raised.value.expected) == (name, "a whole number")


def test_a_header_that_is_no_key_is_named() -> None:
    """The key's form is checked where it enters."""
    with pytest.raises(InvalidKey) as raised:
        bundle_http.parse_info(bundle_http.headers(INFO) | {"Skylark-Key": "nonsense"}, {})
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
