"""Find what is damaged or unfinished in an append-only file of Redis or Valkey. Nothing is read or written here.

The file is a row of commands in RESP (Redis serialization protocol), with lines of annotation (`#TS:…`) between them. A
transaction is MULTI, its commands and EXEC. It is lost as a whole if one of them is damaged, and so is one without end.

After a damaged command the scan has to find the next one, although a bundle may contain what looks like commands. So
it first asks where the command would end if one byte of its structure were another one. The sizes in a bundle's
metadata say how long its fields are. Only if that finds no end, the next thing that looks like a command is taken.
"""

import json
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Data = bytes | mmap.mmap

_REPORT_BYTES = 16 * 1024 * 1024
_ANNOTATION_BYTES = 1024  # what Redis itself accepts
_HEADER_BYTES = 16
_LITTLE_BYTES = 256
_SMALL_BYTES = 4096
_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"

_NAMES = """
APPEND BITFIELD BITOP COPY DECR DECRBY DEL DELIFEQ EVAL EVALSHA EXEC EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB FUNCTION
GEOADD GEORADIUS GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY HINCRBYFLOAT HMSET
HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET
LTRIM MOVE MSET MSETEX MSETNX MULTI PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX PUBLISH RENAME RENAMENX RESTORE RPOP
RPOPLPUSH RPUSH RPUSHX SADD SCRIPT SDIFFSTORE SELECT SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SMOVE SORT SPOP SREM
SUNIONSTORE SWAPDB UNLINK XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE
ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE
"""
_KNOWN = frozenset((_NAMES + _NAMES.lower()).encode().split())
"""What writes, or stands between writes. A command that is not here may still be one: a newer server's, a module's."""

_BEGIN = re.compile(rb"\*([1-9]\d{0,8})\r\n\$(\d{1,10})\r\n")
_COUNT = re.compile(rb"\*([1-9]\d{0,8})\r\n")
_BULK = re.compile(rb"\$(\d{1,10})\r\n")
_NEXT_BULK = re.compile(rb"\r\n\$(\d{1,10})\r\n")
_LOOKS_RIGHT = re.compile(rb"\*[1-9]\d{0,8}\r\n\$\d{1,10}\r\n(?=[A-Za-z])")
_OURS = re.compile(rb"(?:\*1\r\n\$5\r\nMULTI\r\n)?\*\d+\r\n\$\d+\r\n\w+\r\n\$\d+\r\nskylark:")
_SELECT = re.compile(rb"\*2\r\n\$6\r\nSELECT\r\n\$\d+\r\n(\d+)\r\n")


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of the file that has to go. `instead`: what takes its place, such as the choice of a database in it."""

    start: int
    end: int
    commands: int
    instead: bytes = b""


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a file.

    Attributes:
        commands: How many commands are whole and stay.
        cuts: What is damaged, in the order of the file.
        end: Where the part that stays ends. What follows is unfinished, or damaged with nothing whole after it.
        cut_off_commands: How many commands that part had.
        size: The size of the file.
    """

    commands: int
    cuts: tuple[Cut, ...]
    end: int
    cut_off_commands: int
    size: int

    @property
    def is_whole(self) -> bool:
        """True if there is nothing to repair."""
        return not self.cuts and self.end == self.size

    @property
    def lost_bytes(self) -> int:
        """The bytes that have to go."""
        return sum(cut.end - cut.start for cut in self.cuts) + self.size - self.end

    @property
    def lost_commands(self) -> int:
        """The commands in them. Where the structure is lost, a part counts as one."""
        return sum(cut.commands for cut in self.cuts) + self.cut_off_commands


def scan(data: Data, start: int = 0, report: Callable[[int], None] = lambda _: None) -> Scan:
    """Look through a whole file.

    Args:
        start: Where the commands begin: after the snapshot at the file's beginning, if it has one.
        report: Called now and then with the position.
    """
    scanner = _Scanner(data, start)
    next_report = start + _REPORT_BYTES
    while scanner.step():
        if scanner.at >= next_report:
            report(scanner.at)
            next_report = scanner.at + _REPORT_BYTES
    return scanner.result()


@dataclass(slots=True)
class _Group:
    """Commands that stay or go together: a transaction, or what follows damage that may have had its beginning."""

    start: int
    is_transaction: bool
    commands: int = 0
    damaged: bool = False
    select: bytes = b""
    inner: list[Cut] = field(default_factory=list)


class _Scanner:
    def __init__(self, data: Data, start: int) -> None:
        self.at = start
        self._data = data
        self._size = len(data)
        self._commands = 0
        self._cuts: list[Cut] = []
        self._group: _Group | None = None
        self._previous = -1  # where the command before this one begins, if it stays as far as we know
        self._end = -1
        self._rest = 0

    def step(self) -> bool:
        """Look at the next command. False: the end of the file, or of what can be read in it, is reached."""
        data, at = self._data, self.at
        if at >= self._size:
            return False
        if data[at : at + 15] == _MULTI:
            self._begin(at + 15, damaged=False)
            return True
        if data[at : at + 14] == _EXEC:
            self._finish(at + 14)
            return True
        end, name, parts = parse(data, at)
        if end < 0:
            if data[at] == 0x23:  # '#', an annotation
                line_end = data.find(b"\n", at, at + _ANNOTATION_BYTES)
                if line_end >= 0:
                    self.at, self._previous = line_end + 1, -1
                    return True
            return self._skip()
        if not _is_plausible(data, at, end, parts):
            found = _likely_end(data, at)
            self._damage(end if found is None or found is _UNFINISHED else found)
        elif name not in _KNOWN and _is_damaged_name(name):
            self._damage(end)
        elif name in (b"MULTI", b"multi"):
            self._begin(end, damaged=False)
        elif name in (b"EXEC", b"exec"):
            self._finish(end)
        elif name == b"SELECT" and _is_damaged_select(data, at, end):
            self._damage(_end_of_bulks(data, end) or end)
        else:
            self._keep(end, data[at:end] if name == b"SELECT" else b"")
        return True

    def result(self) -> Scan:
        end, rest = self._end if self._end >= 0 else self._size, self._rest
        group = self._group
        if group is not None and group.is_transaction:
            end, rest = group.start, rest + group.commands
        elif group is not None:
            self._release(group)
        while self._cuts and self._cuts[-1].end == end:
            cut = self._cuts.pop()
            end, rest = cut.start, rest + cut.commands
        return Scan(self._commands, tuple(self._cuts), end, rest, self._size)

    def _keep(self, end: int, select: bytes) -> None:
        if self._group is None:
            self._commands += 1
        else:
            self._group.commands += 1
            self._group.select = select or self._group.select
        self._previous, self.at = self.at, end

    def _begin(self, end: int, *, damaged: bool) -> None:
        if self._group is not None and self._group.is_transaction:  # its EXEC is missing
            self._drop(self.at)
        elif self._group is not None:  # after all, they were no part of a transaction
            self._release(self._group)
        self._group = _Group(self.at, is_transaction=True, commands=1, damaged=damaged)
        self._previous, self.at = -1, end

    def _finish(self, end: int, *, damaged: bool = False) -> None:
        group = self._group
        if group is None:
            self._cut(self.at, end, 1)
        else:
            group.commands += 1
            if group.is_transaction and not group.damaged and not damaged:
                self._commands += group.commands
            else:
                self._drop(end)
            self._group = None
        self._previous, self.at = -1, end

    def _release(self, group: _Group) -> None:
        """Keep the commands of a group that are not damaged themselves."""
        self._commands += group.commands
        for cut in group.inner:
            self._cut(cut.start, cut.end, cut.commands)

    def _drop(self, end: int) -> None:
        assert self._group is not None
        commands = self._group.commands + len(self._group.inner)
        self._cut(self._group.start, end, commands, self._group.select)
        self._group = None

    def _cut(self, start: int, end: int, commands: int, instead: bytes = b"") -> None:
        last = self._cuts[-1] if self._cuts else None
        if last is not None and last.end == start:
            self._cuts[-1] = Cut(last.start, end, last.commands + commands, instead or last.instead)
        else:
            self._cuts.append(Cut(start, end, commands, instead))

    def _skip(self) -> bool:
        """Go on after a command that cannot be read."""
        data, at = self._data, self.at
        if self._previous >= 0 and (end := _end_of_bulks(data, at)) is not None:
            self._take_back()  # the command before this one says that it has fewer parts than it has
            self._damage(end)
            return True
        found = _likely_end(data, at)
        if found is _UNFINISHED:
            self._end, self._rest = at, 1
            self.at = self._size
            return False
        if found is not None:
            self._damage(found)
            return True
        resumed = _next_command(data, at + 1)
        if resumed is None:
            self._end, self._rest = at, 1
            self.at = self._size
            return False
        if self._group is None:
            self._cut(at, resumed, 1)
            self._group = _Group(resumed, is_transaction=False)
        else:  # the end of the transaction may be lost too, or this is after damage anyway
            self._group.commands += 1
            self._group.damaged = True
            if not self._group.is_transaction:
                self._drop(resumed)
                self._group = _Group(resumed, is_transaction=False)
        self._previous, self.at = -1, resumed
        return True

    def _take_back(self) -> None:
        if self._group is None:
            self._commands -= 1
        else:
            self._group.commands -= 1
        self.at = self._previous

    def _damage(self, end: int) -> None:
        """Note that the command here is damaged, and where it ends."""
        text = self._data[self.at : end] if end - self.at <= len(_MULTI) else b""
        if _differs_in_one(text, _MULTI):
            return self._begin(end, damaged=True)
        if _differs_in_one(text, _EXEC):
            return self._finish(end, damaged=True)
        if self._group is None:
            self._cut(self.at, end, 1)
        elif self._group.is_transaction:
            self._group.commands += 1
            self._group.damaged = True
        else:
            self._group.inner.append(Cut(self.at, end, 1))
        self._previous, self.at = -1, end
        return None


_UNFINISHED = -1
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


def _is_plausible(data: Data, at: int, end: int, number: int) -> bool:
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


def _likely_end(data: Data, at: int) -> int | None:
    """Return where a damaged command ends if one byte of its structure is wrong; None if that cannot be found out."""
    count = _COUNT.match(data, at)
    if count is None:
        return next(_ends_with_another_count(data, at), None)
    parts, position, number = _plausible_parts(data, at)
    left = number - len(parts)
    if parts and (position == len(data) or _is_begin(data, position)):
        # More parts are announced than there are. At the end of the file, they are what is missing.
        return position if position < len(data) else _UNFINISHED
    size = _size_by_metadata(data, parts)
    if size is not None:
        end = position + len(b"$%d\r\n" % size) + size
        if end + 2 > len(data):
            return _UNFINISHED
        is_end = data[end : end + 2] == b"\r\n" or _differs_in_one(data[end : end + 2], b"\r\n")
        return _end_of_parts(data, end + 2, left - 1) if is_end else None
    found = min(_ends_with_another_header(data, position, left), default=None)
    return _UNFINISHED if found is None and _goes_on_after_the_end(data, position) else found


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
        if wrong <= 1 and (end := _end_of_bulks(data, at + length)) is not None:
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
        if _differs_in_one(data[end : end + 2], b"\r\n") and (after := _end_of_parts(data, end + 2, left - 1)):
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


def _end_of_bulks(data: Data, at: int) -> int | None:
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


def _next_command(data: Data, at: int) -> int | None:
    """Return where the next whole command of a known name begins that another one follows, or the end."""
    for found in _LOOKS_RIGHT.finditer(data, at):
        end, name, _ = parse(data, found.start())
        if name in _KNOWN and (end == len(data) or _is_begin(data, end)):
            return found.start()
    return None


def _is_begin(data: Data, at: int) -> bool:
    """True if a command, an annotation or the beginning of one is here."""
    rest = data[at : at + 2 * _HEADER_BYTES]
    if rest[:1] == b"#" or _LOOKS_RIGHT.match(rest) is not None:
        return True
    return len(rest) < 2 * _HEADER_BYTES and rest[:1] == b"*" and _COUNT.match(rest) is None


def _is_damaged_name(name: bytes) -> bool:
    """True if this cannot be a command's name, or is one letter away from a known one."""
    if re.fullmatch(rb"[A-Za-z][A-Za-z0-9._-]*", name) is None:
        return True
    return any(_differs_in_one(name.upper(), known) for known in _KNOWN)


def _is_damaged_select(data: Data, at: int, end: int) -> bool:
    """True if a database other than the first is chosen for our own keys, which are never there."""
    chosen = _SELECT.fullmatch(data, at, end)
    return chosen is None or (int(chosen[1]) != 0 and _OURS.match(data, end) is not None)


def _differs_in_one(one: bytes, other: bytes) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1
