"""A bundle over HTTP: its bytes are the body, in the bundle format; its metadata are headers. Both ends use this."""

import zlib
from collections.abc import Mapping

from skylark import wire
from skylark.session import MAX_SEEN, MAX_VERSION, seen_header
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, InvalidKey
from skylark_proxy.model import BundleInfo, Metadata, StateKey, check_name, check_write_id, parse_plan

MEDIA_TYPE = wire.MEDIA_TYPE
_MAX_DIGITS = 30  # more than any number of ours has, and few enough for `int`

KEY = "Skylark-Key"
OWNER = "Skylark-Owner"
"""The node that decides the bundle's versions. It is missing where the bundle has no owner."""
ORIGIN = "Skylark-Origin"
CREATED_MS = "Skylark-Created-Ms"
CRC32 = "Skylark-Crc32"
TTL_MS = "Skylark-Ttl-Ms"
"""What a bundle has left to live: unlike a time, it means the same at nodes whose clocks differ."""
PLAN = "Skylark-Plan"
VERSION = "Skylark-Version"
"""The version that a copy is to have, or that is to be forgotten."""
KNOWN = "Skylark-Known-Version"
"""In a write between nodes: the highest version that its writer knew of when it began. A later one is not replaced."""
DELETED = "Skylark-Deleted-Version"
"""Of a bundle that was deleted or has expired: the version of that."""
WRITE = "Skylark-Write"
"""Names a write, so that it happens once however often it is sent."""
SEEN = "Skylark-Seen"
"""Versions of other bundles that the chain has seen: `KEY=VERSION`, at most 16, separated by commas."""
AGE_MS = "Skylark-Age-Ms"
"""Of a copy: how long ago its owner had it, in milliseconds."""
STALE = "Skylark-Stale"
"""Of a copy: why its owner was asked in vain."""
NODE = "Skylark-Node"
"""In every answer of a proxy: the name of its node. A node that asks another one checks it."""
HOPS = "Skylark-Hops"
SERVED_BY = "Skylark-Served-By"


def checksum(fields: Mapping[str, Buffer]) -> int:
    """Return the CRC-32 of a bundle: of each field in its order `NAME:SIZE`, a line feed, and the bytes."""
    value = 0
    for name, data in fields.items():
        value = zlib.crc32(data, zlib.crc32(f"{name}:{len(data)}\n".encode(), value))
    return value


def meta_headers(meta: Metadata) -> dict[str, str]:
    """Return the headers of what is said about a bundle's contents."""
    given = {ORIGIN: meta.origin, CREATED_MS: str(meta.created_ms), CRC32: str(meta.crc32), WRITE: meta.write}
    if meta.plan is not None:
        given[PLAN] = str(meta.plan)
    if meta.seen:
        given[SEEN] = seen_header({str(key): version for key, version in meta.seen.items()})
    return given


def parse_meta(given: Mapping[str, str]) -> Metadata:
    """Read the headers of `meta_headers` again.

    Raises:
        InvalidArgument: A header is missing or not what it should be; the error names it.
    """
    return Metadata(
        origin=check_name(ORIGIN, _text(given, ORIGIN)),
        created_ms=_number(given, CREATED_MS),
        crc32=_number(given, CRC32),
        write=check_write_id(_text(given, WRITE), WRITE),
        plan=parse_plan(given[PLAN], PLAN) if PLAN in given else None,
        seen=parse_seen(given.get(SEEN)),
    )


def parse_seen(text: str | None) -> dict[StateKey, int]:
    """Read what a chain has seen; None: nothing.

    Raises:
        InvalidArgument, InvalidKey: It is not a list of at most 16 keys that name owners, with versions.
    """
    parts = [] if text is None else text.split(",")
    if len(parts) > MAX_SEEN:
        raise InvalidArgument(SEEN, f"{len(parts)} versions", f"at most {MAX_SEEN}")
    return dict(map(_seen, parts))


def info_headers(info: BundleInfo, at_ms: int) -> dict[str, str]:
    """Return the headers of a bundle that is given away at `at_ms`, milliseconds since the epoch."""
    given = {KEY: str(info.public_key), "ETag": f'"{info.version}"', SERVED_BY: info.held_by}
    given |= meta_headers(info.meta)
    if info.key.node is not None:
        given[OWNER] = info.key.node
    if info.expires_ms is not None:
        given[TTL_MS] = str(max(1, info.expires_ms - at_ms))
    if info.age_ms is not None:
        given |= {AGE_MS: str(info.age_ms), "Age": str(info.age_ms // 1000)}
    return given


def parse_info(given: Mapping[str, str], sizes: Mapping[str, int], at_ms: int) -> BundleInfo:
    """Read the headers of `info_headers` again.

    Args:
        at_ms: The time now, from which the bundle's time to live counts.

    Raises:
        InvalidArgument: A header is missing or not what it should be; the error names it.
    """
    key = StateKey.parse(_text(given, KEY), KEY)
    return BundleInfo(
        key=key.at(check_name(OWNER, given[OWNER])) if OWNER in given else key.anywhere(),
        version=_number(given, "ETag"),
        held_by=check_name(SERVED_BY, _text(given, SERVED_BY)),
        meta=parse_meta(given),
        sizes=dict(sizes),
        expires_ms=at_ms + _number(given, TTL_MS) if TTL_MS in given else None,
        age_ms=_number(given, AGE_MS) if AGE_MS in given else None,
    )


def parse_version(given: Mapping[str, str], name: str = "ETag") -> int:
    """Read a version: that of the bundle that was stored, or the one in another header.

    Raises:
        InvalidArgument: The header is missing or not a number.
    """
    return _number(given, name)


def verify(crc32: int, fields: Mapping[str, Buffer]) -> None:
    """Check that the bytes arrived as they were sent.

    Raises:
        InvalidArgument: They have another checksum than the one sent with them.
    """
    actual = checksum(fields)
    if actual != crc32:
        raise InvalidArgument(CRC32, crc32, f"{actual}, the checksum of the bytes that arrived")


def decode(body: Buffer, field: str = "body") -> dict[str, memoryview]:
    """Return the fields of a bundle in a body.

    Raises:
        InvalidArgument: The body is not a whole bundle.
    """
    try:
        return wire.decode(body)
    except wire.FormatError as error:
        raise InvalidArgument(field, bytes(body[:16]), f"a bundle as {MEDIA_TYPE} ({error})") from error


def _seen(part: str) -> tuple[StateKey, int]:
    text, _, version = part.strip().partition("=")
    key = StateKey.parse(text, SEEN)
    if key.node is None:
        raise InvalidKey(SEEN, text, "<chain_id>:<node>:<task_id>: the owner decides the versions")
    number = _number({SEEN: version}, SEEN)
    if number > MAX_VERSION:
        raise InvalidArgument(SEEN, version, f"a version, at most {MAX_VERSION}")
    return key, number


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
