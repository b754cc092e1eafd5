"""The canonical ABI: values of WIT between Python and a guest's linear memory.

A type of WIT is put together from the classes below. `load` and `store` are for memory, `lift` and `lower` for the core
values of a call ("flattening"). Format: component model, `design/mvp/CanonicalABI.md`.

Nothing of a guest is trusted. Every pointer, length and discriminant is read once and checked then (`Memory`), so a
guest cannot change it between the check and the use. A guest that breaks the ABI is ended: `BrokenAbi`. What is only
too large for us is the error `TooMuch`, which can be told to the guest.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from skylark.wire import Buffer

_PAIR = struct.Struct("<II")
_U32 = 0xFFFFFFFF


class BrokenAbi(Exception):
    """The guest did not keep to the canonical ABI; it has to be ended."""


class TooMuch(Exception):
    """A text or list of the guest is longer than what belongs there.

    Attributes:
        what: What it is.
        size: How long it is.
        limit: How long it may be.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} of {size}, at most {limit}")
        self.what = what
        self.size = size
        self.limit = limit


class NoRoom(Exception):
    """The guest's memory has no room for what it is to be given; the guest is not harmed.

    Attributes:
        size: The bytes.
        limit: What its memory may have in all.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes do not fit into a memory of {limit}")
        self.size = size
        self.limit = limit


class Memory:
    """A guest's linear memory. It never moves, and its size stays.

    Args:
        view: All of it.
        allocate: Calls the guest's `realloc` for new memory: size and alignment. What it returns is checked here.
    """

    def __init__(self, view: memoryview, allocate: Callable[[int, int], int]) -> None:
        self.view = view
        self.size = len(view)
        self._allocate = allocate
        self._landed: dict[int, tuple[memoryview, int]] = {}

    def read(self, at: int, size: int) -> memoryview:
        """Return a view of what the guest says to have at an address.

        Raises:
            BrokenAbi: It lies beyond the memory.
        """
        if at + size > self.size:
            raise BrokenAbi(f"{size} bytes at address {at} are outside of its memory")
        return self.view[at : at + size]

    def check(self, at: int, size: int, align: int) -> int:
        """Return an address of the guest's where `size` bytes are, aligned.

        Raises:
            BrokenAbi: It is not aligned, or there are not as many.
        """
        if at % align or at + size > self.size:
            raise BrokenAbi(f"{size} bytes at address {at}, aligned to {align}, are not in its memory")
        return at

    def room(self, size: int, align: int) -> int:
        """Return the address of new memory of the guest's; it belongs to the guest once it is told of it.

        Raises:
            BrokenAbi: The guest's allocator gave what it does not have.
            NoRoom: The guest's memory has no room.
        """
        return self.check(self._allocate(size, align), size, align)

    def land(self, size: int) -> memoryview:
        """Return new memory of the guest's to write to. `put` then takes the view for what it is, without a copy.

        Raises:
            NoRoom: The guest's memory has no room.
        """
        at = self.room(size, 1)
        view = self.view[at : at + size]
        self._landed[id(view)] = view, at
        return view

    def left_over(self) -> list[int]:
        """Forget the blocks that `land` gave and `put` was not given; return their addresses."""
        addresses = [at for _, at in self._landed.values()]
        self._landed.clear()
        return addresses

    def put(self, data: Buffer) -> tuple[int, int]:
        """Copy bytes into new memory of the guest's; return their address and size."""
        size = len(data)
        if self._landed and id(data) in self._landed:
            return self._landed.pop(id(data))[1], size
        at = self.room(size, 1)
        self.view[at : at + size] = data
        return at, size


class Type(Protocol):
    """A type of WIT.

    Attributes:
        size: Bytes in memory.
        align: Its alignment there.
        core: The core types that it is flattened to.
    """

    size: int
    align: int
    core: tuple[str, ...]

    def load(self, memory: Memory, at: int) -> Any:
        """Read a value from memory that was checked."""

    def store(self, memory: Memory, at: int, value: Any) -> None:
        """Write a value to memory that was checked."""

    def lift(self, memory: Memory, core: Iterator[int]) -> Any:
        """Make a value of core values."""

    def lower(self, memory: Memory, value: Any) -> tuple[int, ...]:
        """Make core values of a value."""


class Number:
    """An unsigned integer."""

    def __init__(self, form: str, core: str) -> None:
        self._struct = struct.Struct(f"<{form}")
        self.size = self.align = self._struct.size
        self.core: tuple[str, ...] = (core,)
        self._mask = (1 << 8 * self.size) - 1

    def load(self, memory: Memory, at: int) -> int:
        value: int = self._struct.unpack_from(memory.view, at)[0]
        return value

    def store(self, memory: Memory, at: int, value: int) -> None:
        self._struct.pack_into(memory.view, at, value)

    def lift(self, _memory: Memory, core: Iterator[int]) -> int:
        return next(core) & self._mask

    def lower(self, _memory: Memory, value: int) -> tuple[int, ...]:
        return (value,)


U8, U16, U32, U64 = Number("B", "i32"), Number("H", "i32"), Number("I", "i32"), Number("Q", "i64")


class Enum:
    """One of some names."""

    size = align = 1
    core: tuple[str, ...] = ("i32",)

    def __init__(self, *names: str) -> None:
        self._names = names

    def load(self, memory: Memory, at: int) -> str:
        return self._named(memory.view[at])

    def store(self, memory: Memory, at: int, value: str) -> None:
        memory.view[at] = self._names.index(value)

    def lift(self, _memory: Memory, core: Iterator[int]) -> str:
        return self._named(next(core) & _U32)

    def lower(self, _memory: Memory, value: str) -> tuple[int, ...]:
        return (self._names.index(value),)

    def _named(self, number: int) -> str:
        return self._names[_case(number, len(self._names))]


class Bool(Enum):
    """True or false; any number but 0 is true."""

    def __init__(self) -> None:
        super().__init__("false", "true")

    def load(self, memory: Memory, at: int) -> Any:
        return memory.view[at] != 0

    def store(self, memory: Memory, at: int, value: Any) -> None:
        memory.view[at] = bool(value)

    def lift(self, _memory: Memory, core: Iterator[int]) -> Any:
        return next(core) & _U32 != 0

    def lower(self, _memory: Memory, value: Any) -> tuple[int, ...]:
        return (int(value),)


class _Pointed:
    """What is a pointer and a length: strings and lists."""

    size, align = 8, 4
    core: tuple[str, ...] = ("i32", "i32")

    def load(self, memory: Memory, at: int) -> Any:
        return self._loaded(memory, *_PAIR.unpack_from(memory.view, at))

    def store(self, memory: Memory, at: int, value: Any) -> None:
        _PAIR.pack_into(memory.view, at, *self.lower(memory, value))

    def lift(self, memory: Memory, core: Iterator[int]) -> Any:
        return self._loaded(memory, next(core) & _U32, next(core) & _U32)

    def lower(self, memory: Memory, value: Any) -> tuple[int, ...]:
        raise NotImplementedError

    def _loaded(self, memory: Memory, at: int, size: int) -> Any:
        raise NotImplementedError


class Text(_Pointed):
    """A string, of at most `limit` bytes."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self._limit = limit

    def lower(self, memory: Memory, value: str) -> tuple[int, ...]:
        return memory.put(value.encode(errors="replace"))

    def _loaded(self, memory: Memory, at: int, size: int) -> str:
        encoded = memory.read(at, size)
        if size > self._limit:
            raise TooMuch("text", size, self._limit)
        try:
            return str(encoded, "utf-8")
        except UnicodeDecodeError as error:
            raise BrokenAbi(f"a string at address {at} is not UTF-8") from error


class Tail(_Pointed):
    """A string of which only the last `limit` bytes are read, whatever they are."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def lower(self, memory: Memory, value: str) -> tuple[int, ...]:
        return memory.put(value.encode(errors="replace"))

    def _loaded(self, memory: Memory, at: int, size: int) -> str:
        return str(memory.read(at, size)[-self._limit :], "utf-8", "ignore")


class Bytes(_Pointed):
    """A `list<u8>`. It is read as a view of the guest's memory, which the guest may change once it runs again."""

    def lower(self, memory: Memory, value: Buffer) -> tuple[int, ...]:
        return memory.put(value)

    def _loaded(self, memory: Memory, at: int, size: int) -> memoryview:
        return memory.read(at, size)


class ListOf(_Pointed):
    """A list, of at most `limit` elements."""

    def __init__(self, element: Type, limit: int = 4096) -> None:
        self._element = element
        self._limit = limit

    def lower(self, memory: Memory, value: Sequence[Any]) -> tuple[int, ...]:
        element = self._element
        at = memory.room(len(value) * element.size, element.align)
        for number, one in enumerate(value):
            element.store(memory, at + number * element.size, one)
        return at, len(value)

    def _loaded(self, memory: Memory, at: int, count: int) -> list[Any]:
        element = self._element
        memory.check(at, count * element.size, element.align)
        if count > self._limit:
            raise TooMuch("list", count, self._limit)
        return [element.load(memory, at + number * element.size) for number in range(count)]


class Record:
    """A record: a tuple of the values of its members, in their order."""

    def __init__(self, **members: Type) -> None:
        self.names = tuple(members)
        self._members: list[tuple[int, Type]] = []
        at = 0
        for member in members.values():
            at = _aligned(at, member.align)
            self._members.append((at, member))
            at += member.size
        self.align = max(member.align for member in members.values())
        self.size = _aligned(at, self.align)
        self.core: tuple[str, ...] = tuple(core for member in members.values() for core in member.core)

    def load(self, memory: Memory, at: int) -> tuple[Any, ...]:
        return tuple([member.load(memory, at + offset) for offset, member in self._members])

    def store(self, memory: Memory, at: int, value: Sequence[Any]) -> None:
        for (offset, member), one in zip(self._members, value, strict=True):
            member.store(memory, at + offset, one)

    def lift(self, memory: Memory, core: Iterator[int]) -> tuple[Any, ...]:
        return tuple([member.lift(memory, core) for _, member in self._members])

    def lower(self, memory: Memory, value: Sequence[Any]) -> tuple[int, ...]:
        flat: list[int] = []
        for (_, member), one in zip(self._members, value, strict=True):
            flat += member.lower(memory, one)
        return tuple(flat)


class Option:
    """None, or a value."""

    def __init__(self, some: Type) -> None:
        self._some = some
        self._at = some.align
        self.align = some.align
        self.size = _aligned(some.align + some.size, some.align)
        self.core: tuple[str, ...] = ("i32", *some.core)

    def load(self, memory: Memory, at: int) -> Any:
        return self._some.load(memory, at + self._at) if _case(memory.view[at], 2) else None

    def store(self, memory: Memory, at: int, value: Any) -> None:
        memory.view[at] = value is not None
        if value is not None:
            self._some.store(memory, at + self._at, value)

    def lift(self, memory: Memory, core: Iterator[int]) -> Any:
        if _case(next(core) & _U32, 2):
            return self._some.lift(memory, core)
        for _ in self._some.core:
            next(core)
        return None

    def lower(self, memory: Memory, value: Any) -> tuple[int, ...]:
        if value is None:
            return (0,) * len(self.core)
        return (1, *self._some.lower(memory, value))


class Variant:
    """One of some cases, a pair of its name and its value; in memory only, as ours never are arguments."""

    core: tuple[str, ...] = ()

    def __init__(self, **cases: Type) -> None:
        self._cases = {name.replace("_", "-"): (number, type_) for number, (name, type_) in enumerate(cases.items())}
        self._by_number = [(name, type_) for name, (_, type_) in self._cases.items()]
        self._at = self.align = max(type_.align for type_ in cases.values())
        self.size = _aligned(self._at + max(type_.size for type_ in cases.values()), self.align)

    def __contains__(self, name: str) -> bool:
        return name in self._cases

    def load(self, memory: Memory, at: int) -> tuple[str, Any]:
        name, type_ = self._by_number[_case(memory.view[at], len(self._by_number))]
        return name, type_.load(memory, at + self._at)

    def store(self, memory: Memory, at: int, value: tuple[str, Any]) -> None:
        memory.view[at], type_ = self._cases[value[0]]
        type_.store(memory, at + self._at, value[1])

    def lift(self, memory: Memory, core: Iterator[int]) -> Any:
        raise NotImplementedError

    def lower(self, memory: Memory, value: Any) -> tuple[int, ...]:
        raise NotImplementedError


def _aligned(at: int, align: int) -> int:
    return -(-at // align) * align


def _case(number: int, count: int) -> int:
    if number >= count:
        raise BrokenAbi(f"a value has the case {number}, and there are {count}")
    return number
