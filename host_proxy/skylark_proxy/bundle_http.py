"""A bundle over HTTP: its bytes are the body, in the bundle format; its metadata are headers. Both ends use this."""

import time
import zlib
from collections.abc import Mapping

from skylark import wire
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import BundleInfo, StateKey, WriteId, check_name, parse_plan

MEDIA_TYPE = wire.MEDIA_TYPE
_MAX_DIGITS = 30  # more than any number of ours has, and few enough for `int`

KEY = "Skylark-Key"
ORIGIN = "Skylark-Origin"
CREATED_MS = "Skylark-Created-Ms"
CRC32 = "Skylark-Crc32"
TTL_MS = "Skylark-Ttl-Ms"
"""What a bundle has left to live: unlike a time, it means the same at nodes whose clocks differ."""
PLAN = "Skylark-Plan"
VERSION = "Skylark-Version"
"""The version that a copy is to have."""
HOME = "Skylark-Home"
"""The node that counts the bundle's versions; see `BundleInfo`."""
WRITE = "Skylark-Write"
"""Names a write, so that it happens once however often it is sent; see `WriteId`."""
UPTIME_MS = "Skylark-Uptime-Ms"
"""In an answer: the time of the node that gives it, by a clock that nobody sets."""
SENT_MS = "Skylark-Sent-Ms"
"""In a write: when it was sent, by that clock of the node that is to store it. One that is old has been given up."""
NODE = "Skylark-Node"
"""In every answer of a proxy: the name of its node. A node that asks another one checks it."""
HOPS = "Skylark-Hops"
SERVED_BY = "Skylark-Served-By"


def checksum(fields: Mapping[str, Buffer]) -> int:
    """The CRC-32 of a bundle: of each field in its order `NAME:SIZE`, a line feed, and the bytes."""
    value = 0
    for name, data in fields.items():
        value = zlib.crc32(data, zlib.crc32(f"{name}:{len(data)}\n".encode(), value))
    return value


def headers(info: BundleInfo) -> dict[str, str]:
    """The headers of a bundle's metadata."""
    given = {
        KEY: str(info.key),
        "ETag": f'"{info.version}"',
        ORIGIN: info.origin,
        CREATED_MS: str(info.created_ms),
        CRC32: str(info.crc32),
    } | clock()
    if info.expires_ms is not None:
        given[TTL_MS] = str(max(1, info.expires_ms - now_ms()))
    if info.plan is not None:
        given[PLAN] = str(info.plan)
    if info.home is not None:
        given[HOME] = info.home
    if info.write is not None:
        given[WRITE] = str(info.write)
    return given


def now_ms() -> int:
    """This node's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def uptime_ms() -> int:
    """The time of a clock of this node that only goes on."""
    return time.monotonic_ns() // 1_000_000


def clock() -> dict[str, str]:
    """The header that tells other nodes this node's time."""
    return {UPTIME_MS: str(uptime_ms())}


def parse_info(given: Mapping[str, str], sizes: Mapping[str, int]) -> BundleInfo:
    """Reads the headers of `headers` again.

    Raises:
        InvalidArgument: A header is missing or not what it should be; the error names it.
    """
    return BundleInfo(
        key=StateKey.parse(_text(given, KEY), KEY),
        version=_number(given, "ETag"),
        created_ms=_number(given, CREATED_MS),
        origin=_text(given, ORIGIN),
        crc32=_number(given, CRC32),
        sizes=dict(sizes),
        expires_ms=now_ms() + _number(given, TTL_MS) if TTL_MS in given else None,
        plan=parse_plan(given[PLAN], PLAN) if PLAN in given else None,
        home=check_name(HOME, given[HOME]) if HOME in given else None,
        write=WriteId.parse(given[WRITE], WRITE) if WRITE in given else None,
    )


def parse_version(given: Mapping[str, str]) -> int:
    """Read the version of the bundle that was stored.

    Raises:
        InvalidArgument: The header is missing or not a quoted number.
    """
    return _number(given, "ETag")


def verify(crc32: int, fields: Mapping[str, Buffer]) -> None:
    """Checks that the bytes arrived as they were sent.

    Raises:
        InvalidArgument: They have another checksum than the one sent with them.
    """
    actual = checksum(fields)
    if actual != crc32:
        raise InvalidArgument(CRC32, crc32, f"{actual}, the checksum of the bytes that arrived")


def decode(body: Buffer, field: str = "body") -> dict[str, memoryview]:
    """The fields of a bundle in a body.

    Raises:
        InvalidArgument: The body is not a whole bundle.
    """
    try:
        return wire.decode(body)
    except wire.FormatError as error:
        raise InvalidArgument(field, bytes(body[:16]), f"a bundle as {MEDIA_TYPE} ({error})") from error


def _text(given: Mapping[str, str], name: str) -> str:
    try:
        return given[name]
    except KeyError:
        raise InvalidArgument(name, None, "a header with this name") from None


def _number(given: Mapping[str, str], name: str) -> int:
    text = _text(given, name).strip('"')
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise InvalidArgument(name, text, "a whole number")
    return int(text)
