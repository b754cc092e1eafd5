"""The bundle format: an index of fields, then their bytes: the body of `/bundles/{key}`.

All integers are little-endian:

    offset  size  what
    0       4     magic, the ASCII letters SKYB
    4       2     version of the format, 1
    6       2     number of fields, n
    8             n times: u16 length of the name, u64 size in bytes, name in UTF-8
                  the bytes of all fields, in the order of the index, without padding

A bundle's metadata (version, origin, …) is not in it: it travels beside it, in HTTP headers.
"""

import struct
from collections.abc import Iterable, Mapping

MAGIC = b"SKYB"
FORMAT_VERSION = 1
MEDIA_TYPE = "application/vnd.skylark.bundle"

Buffer = bytes | bytearray | memoryview

_JOIN_LIMIT_BYTES = 65536
_HEAD = struct.Struct("<4sHH")
_FIELD = struct.Struct("<HQ")


class FormatError(ValueError):
    """Bytes that are not a bundle, or not a whole one."""


def header(sizes: Mapping[str, int]) -> bytes:
    """The index of a bundle whose fields have these sizes in bytes.

    Raises:
        FormatError: There are more than 65,535 fields, or a name of more than 65,535 bytes.
    """
    parts = [_HEAD.pack(MAGIC, FORMAT_VERSION, _count(len(sizes), "fields"))]
    for name, size_bytes in sizes.items():
        encoded = name.encode()
        parts += (_FIELD.pack(_count(len(encoded), "bytes in a field's name"), size_bytes), encoded)
    return b"".join(parts)


def encode(fields: Mapping[str, Buffer]) -> list[Buffer]:
    """The bundle as parts to be written one after the other; no field is copied."""
    return [header({name: len(value) for name, value in fields.items()}), *fields.values()]


def joined(parts: Iterable[Buffer]) -> Iterable[Buffer]:
    """The same bytes in fewer parts: small ones are put together, large ones are not copied, empty ones left out."""
    small = bytearray()
    for part in parts:
        if len(small) + len(part) <= _JOIN_LIMIT_BYTES:
            small += part
            continue
        if small:
            yield small
            small = bytearray()
        if len(part) <= _JOIN_LIMIT_BYTES:
            small += part
        else:
            yield part
    if small:
        yield small


def index(start: Buffer) -> tuple[int, dict[str, int]]:
    """Reads the index from the first bytes of a bundle.

    Returns:
        The offset of the first field's bytes, and the size in bytes of each field, in order.

    Raises:
        FormatError: The bytes do not begin with a whole index.
    """
    try:
        magic, version, count = _HEAD.unpack_from(start)
        if magic != MAGIC or version != FORMAT_VERSION:
            raise FormatError(f"not a bundle: begins with {bytes(start[:6])!r}, expected {MAGIC!r} and version 1")
        offset, sizes = _HEAD.size, dict[str, int]()
        for _ in range(count):
            length, size_bytes = _FIELD.unpack_from(start, offset)
            offset += _FIELD.size
            name = bytes(start[offset : offset + length]).decode()
            if len(start) < offset + length:
                raise FormatError(f"truncated in the index, at byte {len(start)}")
            if name in sizes:
                raise FormatError(f"field {name!r} stands in the index twice")
            sizes[name] = size_bytes
            offset += length
    except struct.error as error:
        raise FormatError(f"truncated in the index, at byte {len(start)}") from error
    except UnicodeDecodeError as error:
        raise FormatError("a field's name is not UTF-8") from error
    return offset, sizes


def decode(data: Buffer) -> dict[str, memoryview]:
    """Reads a whole bundle; the fields are views of `data`, not copies.

    Raises:
        FormatError: The bytes are not exactly one bundle.
    """
    offset, sizes = index(data)
    expected = offset + sum(sizes.values())
    if len(data) != expected:
        raise FormatError(f"has {len(data)} bytes, its index says {expected}")
    view, fields = memoryview(data), dict[str, memoryview]()
    for name, size_bytes in sizes.items():
        fields[name] = view[offset : offset + size_bytes]
        offset += size_bytes
    return fields


def _count(number: int, what: str) -> int:
    if number > 0xFFFF:
        raise FormatError(f"{number} {what}, the limit is 65535")
    return number
