"""Find what is damaged or unfinished in an append-only file of Redis or Valkey. Nothing is read or written here.

The file is a row of commands in RESP (Redis serialization protocol), with lines of annotation (`#TS:…`) between them. A
transaction is MULTI, its commands and EXEC. It is lost as a whole if one of them is damaged, and so is one without end.

After a damaged command the scan has to find the next one, although a bundle may contain what looks like commands. So
it first asks where the command would end if one byte of its structure were another one. The sizes in a bundle's
metadata say how long its fields are. Only if that finds no end, the next thing that looks like a command is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from skylark_proxy.aof_commands import (
    EXEC,
    KNOWN,
    MULTI,
    UNFINISHED,
    Data,
    differs_in_one,
    end_of_bulks,
    is_damaged_name,
    is_damaged_select,
    is_plausible,
    likely_end,
    next_command,
    parse,
)

_REPORT_BYTES = 16 * 1024 * 1024
_ANNOTATION_BYTES = 1024  # what Redis itself accepts


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
        if data[at : at + 15] == MULTI:
            self._begin(at + 15, damaged=False)
            return True
        if data[at : at + 14] == EXEC:
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
        if not is_plausible(data, at, end, parts):
            found = likely_end(data, at)
            self._damage(end if found is None or found is UNFINISHED else found)
        elif name not in KNOWN and is_damaged_name(name):
            self._damage(end)
        elif name in (b"MULTI", b"multi"):
            self._begin(end, damaged=False)
        elif name in (b"EXEC", b"exec"):
            self._finish(end)
        elif name == b"SELECT" and is_damaged_select(data, at, end):
            self._damage(end_of_bulks(data, end) or end)
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
        if self._previous >= 0 and (end := end_of_bulks(data, at)) is not None:
            self._take_back()  # the command before this one says that it has fewer parts than it has
            self._damage(end)
            return True
        found = likely_end(data, at)
        if found is UNFINISHED:
            self._end, self._rest = at, 1
            self.at = self._size
            return False
        if found is not None:
            self._damage(found)
            return True
        resumed = next_command(data, at + 1)
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
        text = self._data[self.at : end] if end - self.at <= len(MULTI) else b""
        if differs_in_one(text, MULTI):
            return self._begin(end, damaged=True)
        if differs_in_one(text, EXEC):
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
