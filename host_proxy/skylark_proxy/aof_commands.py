"""Single commands in an append-only file: where they end, also damaged ones, and where the next one begins.

Nothing in a damaged file can be trusted, least of all what a bundle contains. So a command that cannot be read is first
read as if one byte of its structure were another one; see `aof_scan`.
"""

import json
import mmap
import re
from collections.abc import Iterator

Data = bytes | mmap.mmap

_HEADER_BYTES = 16
_LITTLE_BYTES = 256
_SMALL_BYTES = 4096
MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"

_NAMES = """
APPEND BITFIELD BITOP COPY DECR DECRBY DEL DELIFEQ EVAL EVALSHA EXEC EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB FUNCTION
GEOADD GEORADIUS GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY HINCRBYFLOAT HMSET
HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET
LTRIM MOVE MSET MSETEX MSETNX MULTI PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX PUBLISH RENAME RENAMENX RESTORE RPOP
RPOPLPUSH RPUSH RPUSHX SADD SCRIPT SDIFFSTORE SELECT SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SMOVE SORT SPOP SREM
SUNIONSTORE SWAPDB UNLINK XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE
ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE
"""
KNOWN = frozenset((_NAMES + _NAMES.lower()).encode().split())
"""What writes, or stands between writes. A command that is not here may still be one: a newer server's, a module's."""

_BEGIN = re.compile(rb"\*([1-9]\d{0,8})\r\n\$(\d{1,10})\r\n")
_COUNT = re.compile(rb"\*([1-9]\d{0,8})\r\n")
_BULK = re.compile(rb"\$(\d{1,10})\r\n")
_NEXT_BULK = re.compile(rb"\r\n\$(\d{1,10})\r\n")
_LOOKS_RIGHT = re.compile(rb"\*[1-9]\d{0,8}\r\n\$\d{1,10}\r\n(?=[A-Za-z])")
_OURS = re.compile(rb"(?:\*1\r\n\$5\r\nMULTI\r\n)?\*\d+\r\n\$\d+\r\n\w+\r\n\$\d+\r\nskylark:")
_SELECT = re.compile(rb"\*2\r\n\$6\r\nSELECT\r\n\$\d+\r\n(\d+)\r\n")

UNFINISHED = -1
"""Said of the end of a command that goes on after the end of the file."""


def parse(data: Data, at: int) -> tuple[int, bytes, int]:
    """Return the end, name and number of parts of the command at a position; -1 if there is none that is whole."""
    begin = _BEGIN.match(data, at)
    if begin is None:
        return -1, b"", 0
    number = int(begin[1])
    start = begin.end()
    position = start + int(begin[2])
    name = data[start : min(position, start + 64)]
    for _ in range(number - 1):
        found = _NEXT_BULK.match(data, position)
        if found is None:
            return -1, b"", 0
        position = found.end() + int(found[1])
    if data[position : position + 2] != b"\r\n":
        return -1, b"", 0
    return position + 2, name, number


def is_plausible(data: Data, at: int, end: int, number: int) -> bool:
    """False if a length is wrong, though it leads to a place where a part could end.

    That can be told of our own keys only: but for the fields of bundles, whose sizes are known, no part has line ends.
    """
    if end - at <= _SMALL_BYTES and data[at:end].count(b"\r\n") == 2 * number + 1:
        return True
    return len(_plausible_parts(data, at)[0]) == number


def _plausible_parts(data: Data, at: int) -> tuple[list[tuple[int, int]], int, int]:
    """Return the parts of the command up to the first that is damaged, where that begins, and how many there are."""
    count = _COUNT.match(data, at)
    assert count is not None
    parts: list[tuple[int, int]] = []
    position, number = count.end(), int(count[1])
    while len(parts) < number:
        header = _BULK.match(data, position)
        if header is None:
            break
        part = header.end(), header.end() + int(header[1])
        if data[part[1] : part[1] + 2] != b"\r\n" or not _fits(data, parts, part):
            break
        parts.append(part)
        position = part[1] + 2
    return parts, position, number


def _fits(data: Data, parts: list[tuple[int, int]], part: tuple[int, int]) -> bool:
    if parts and data[slice(*parts[0])] == b"SELECT":
        return data.find(b"\r\n", *part) < 0
    key = part if len(parts) == 1 else parts[1] if parts else None
    if key is not None and data[key[0] : min(key[1], key[0] + 8)] != b"skylark:":
        return True
    size = _size_by_metadata(data, parts)
    return part[1] - part[0] == size if size is not None else data.find(b"\r\n", *part) < 0


def likely_end(data: Data, at: int) -> int | None:
    """Return where a damaged command ends if one byte of its structure is wrong; None if that cannot be found out."""
    count = _COUNT.match(data, at)
    if count is None:
        return next(_ends_with_another_count(data, at), None)
    parts, position, number = _plausible_parts(data, at)
    left = number - len(parts)
    if parts and (position == len(data) or _is_begin(data, position)):
        # More parts are announced than there are. At the end of the file, they are what is missing.
        return position if position < len(data) else UNFINISHED
    size = _size_by_metadata(data, parts)
    if size is not None:
        end = position + len(b"$%d\r\n" % size) + size
        if end + 2 > len(data):
            return UNFINISHED
        is_end = data[end : end + 2] == b"\r\n" or differs_in_one(data[end : end + 2], b"\r\n")
        return _end_of_parts(data, end + 2, left - 1) if is_end else None
    found = min(_ends_with_another_header(data, position, left), default=None)
    return UNFINISHED if found is None and _goes_on_after_the_end(data, position) else found


def _goes_on_after_the_end(data: Data, at: int) -> bool:
    """True if the file ends in a part of a command, of which little is there: nothing can follow it."""
    if len(data) - at > _LITTLE_BYTES:
        return False
    header = _BULK.match(data, at)
    if header is None:
        return re.fullmatch(rb"(?:\$\d*\r?)?", data[at : len(data)]) is not None
    return header.end() + int(header[1]) + 2 > len(data)


def _ends_with_another_count(data: Data, at: int) -> Iterator[int]:
    """Yield ends of a command whose first line is damaged: its parts say where they end, whatever their number is."""
    for length in range(4, _HEADER_BYTES):
        line = data[at : at + length]
        wrong = (line[:1] != b"*") + sum(not 48 <= byte <= 57 for byte in line[1:-2])
        wrong += sum(one != other for one, other in zip(line[-2:], b"\r\n", strict=False))
        if wrong <= 1 and (end := end_of_bulks(data, at + length)) is not None:
            yield end


def _ends_with_another_header(data: Data, at: int, left: int) -> Iterator[int]:
    """Yield ends of a command if one byte in the header of a part, or after the part, is another one.

    Args:
        at: Where that header begins.
        left: How many parts are left, with this one.
    """
    found = _BULK.match(data, at)
    if found is not None:
        end = found.end() + int(found[1])
        if differs_in_one(data[end : end + 2], b"\r\n") and (after := _end_of_parts(data, end + 2, left - 1)):
            yield after
    header = data[at : at + _HEADER_BYTES]
    for index in range(len(header)):
        for byte in b"$0123456789\r\n":
            changed = _BULK.match(header[:index] + bytes([byte]) + header[index + 1 :])
            if changed is None or index >= changed.end():
                continue
            end = at + changed.end() + int(changed[1])
            if data[end : end + 2] == b"\r\n" and (after := _end_of_parts(data, end + 2, left - 1)):
                yield after


def _end_of_parts(data: Data, at: int, count: int) -> int | None:
    """Return the end of some parts of a command; None if another command does not follow."""
    for _ in range(count):
        header = _BULK.match(data, at)
        if header is None:
            return None
        at = header.end() + int(header[1]) + 2
        if data[at - 2 : at] != b"\r\n":
            return None
    return at if at == len(data) or _is_begin(data, at) else None


def end_of_bulks(data: Data, at: int) -> int | None:
    """Return the end of all parts of a command from here on; None if another command does not follow."""
    begin = at
    while (header := _BULK.match(data, at)) is not None:
        at = header.end() + int(header[1]) + 2
        if data[at - 2 : at] != b"\r\n":
            return None
    return at if at > begin and (at == len(data) or _is_begin(data, at)) else None


def _size_by_metadata(data: Data, parts: list[tuple[int, int]]) -> int | None:
    """Return the size of a bundle's field, of which only the name could be read; None if this is something else."""
    if len(parts) < 5 or len(parts) % 2 == 0 or data[slice(*parts[2])] != b"@meta":
        return None
    try:
        size = json.loads(data[slice(*parts[3])])["sizes"][data[slice(*parts[-1])].decode()]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return size if isinstance(size, int) and size >= 0 else None


def next_command(data: Data, at: int) -> int | None:
    """Return where the next whole command of a known name begins that another one follows, or the end."""
    for found in _LOOKS_RIGHT.finditer(data, at):
        end, name, _ = parse(data, found.start())
        if name in KNOWN and (end == len(data) or _is_begin(data, end)):
            return found.start()
    return None


def _is_begin(data: Data, at: int) -> bool:
    """True if a command, an annotation or the beginning of one is here."""
    rest = data[at : at + 2 * _HEADER_BYTES]
    if rest[:1] == b"#" or _LOOKS_RIGHT.match(rest) is not None:
        return True
    return len(rest) < 2 * _HEADER_BYTES and rest[:1] == b"*" and _COUNT.match(rest) is None


def is_damaged_name(name: bytes) -> bool:
    """True if this cannot be a command's name, or is one letter away from a known one."""
    if re.fullmatch(rb"[A-Za-z][A-Za-z0-9._-]*", name) is None:
        return True
    return any(differs_in_one(name.upper(), known) for known in KNOWN)


def is_damaged_select(data: Data, at: int, end: int) -> bool:
    """True if a database other than the first is chosen for our own keys, which are never there."""
    chosen = _SELECT.fullmatch(data, at, end)
    return chosen is None or (int(chosen[1]) != 0 and _OURS.match(data, end) is not None)


def differs_in_one(one: bytes, other: bytes) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1
