"""The few functions and globals that tie the layer to the component, made anew for each.

A component has several allocators (libc, the bindings, the runtime), and each call into WASI says by which one its
result is allocated. So a call whose result needs memory goes by a wrapper, which notes the allocator; the layer's
`realloc` calls the one that is noted.

Where instances are reset, the memory's size is a global, the *soft size*, and `memory.grow` a function that raises it:
the host gives the memory all its pages at once, so that it never moves, and undoes growth by setting the global.
"""

from dataclasses import dataclass, field

from skylark_flatten.binary import u32
from skylark_flatten.constants import i32
from skylark_flatten.module import Global, Import, Kind, Module
from skylark_flatten.plan import Definition, Unit

REALLOC_TYPE = bytes([0x60, 4, 0x7F, 0x7F, 0x7F, 0x7F, 1, 0x7F])
_END = b"\x0b"
_CONSTANT = b"\x7f\0"
_VARIABLE = b"\x7f\x01"
_ALLOCATOR, _STACK_POINTER, _MEMORY_BASE, _TABLE_BASE, _SOFT_SIZE = range(5)
_GROW_TYPE = bytes([0x60, 1, 0x7F, 1, 0x7F])
_SIZE = b"\x23" + u32(_SOFT_SIZE)
_GROW = (
    b"\x20\x00\x3f\x00" + _SIZE + b"\x6b\x4b"  # more pages than memory.size - soft size, unsigned
    b"\x04\x40\x41\x7f\x0f\x0b"  # if: return -1
     + _SIZE + _SIZE + b"\x20\x00\x6a\x24" + u32(_SOFT_SIZE)  # the old size stays on the stack
)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A function of the layer whose results one allocator allocates.

    Attributes:
        function: The function.
        type: Its encoded type.
        realloc: The allocator.
    """

    function: Definition
    type: bytes
    realloc: Definition


@dataclass(slots=True)
class Glue:
    """The module that is being made.

    Args:
        unit: Its place in the plan.
        stack_pointer: Where the layer's stack begins, which grows downwards.
        memory_base: Where the layer's data lies.
        table_base: Where its functions lie in the table.
        wrapped: The functions that need a wrapper.
        soft_size: The pages that the memory has at first, where its size is a global; None: it grows as usual.
    """

    unit: int
    stack_pointer: int
    memory_base: int
    table_base: int
    wrapped: list[Wrapped]
    soft_size: int | None = None
    _bodies: list[bytes] = field(default_factory=list)
    _module: Module = field(default_factory=lambda: Module(b""))

    def globals(self) -> dict[str, Definition]:
        """The globals that a position-independent module imports, by name."""
        named = {"__stack_pointer": _STACK_POINTER, "__memory_base": _MEMORY_BASE, "__table_base": _TABLE_BASE}
        return {name: Definition(self.unit, Kind.GLOBAL, index) for name, index in named.items()}

    def realloc(self) -> Definition:
        """The allocator that the layer calls."""
        return Definition(self.unit, Kind.FUNC, self._imported)

    def wrapper(self, one: Wrapped) -> Definition:
        """The function that an import of the component is to be linked to."""
        return Definition(self.unit, Kind.FUNC, self._imported + 1 + self.wrapped.index(one))

    def grow(self) -> Definition | None:
        """The function to call in place of `memory.grow`, if there is one."""
        if self.soft_size is None:
            return None
        return Definition(self.unit, Kind.FUNC, self._imported + 1 + len(self.wrapped))

    def size(self) -> Definition:
        """The global to read in place of `memory.size`."""
        return Definition(self.unit, Kind.GLOBAL, _SOFT_SIZE)

    def build(self) -> Unit:
        """The module."""
        reallocs = self._reallocs
        targets = [*reallocs, *(one.function for one in self.wrapped)]
        types = [REALLOC_TYPE] * len(reallocs) + [one.type for one in self.wrapped]
        for number, type_ in enumerate(types):
            self._module.add_import(Import("", str(number), Kind.FUNC, self._type(type_)))
        self._add(REALLOC_TYPE, self._dispatch())
        for number, one in enumerate(self.wrapped):
            self._add(one.type, _noted(reallocs.index(one.realloc), len(reallocs) + number, _parameters(one.type)))
        self._module.globals += [
            Global(_VARIABLE, i32(0).encode() + _END),
            Global(_VARIABLE, i32(self.stack_pointer).encode() + _END),
            Global(_CONSTANT, i32(self.memory_base).encode() + _END),
            Global(_CONSTANT, i32(self.table_base).encode() + _END),
        ]
        if self.soft_size is not None:
            self._add(_GROW_TYPE, _GROW)
            self._module.globals.append(Global(_VARIABLE, i32(self.soft_size).encode() + _END))
        self._place_bodies()
        return Unit(self._module, tuple(targets))

    @property
    def _reallocs(self) -> list[Definition]:
        return list(dict.fromkeys(one.realloc for one in self.wrapped))

    @property
    def _imported(self) -> int:
        return len(self._reallocs) + len(self.wrapped)

    def _type(self, encoded: bytes) -> int:
        if encoded not in self._module.types:
            self._module.types.append(encoded)
        return self._module.types.index(encoded)

    def _add(self, type_: bytes, code: bytes) -> None:
        self._module.functions.append(self._type(type_))
        self._bodies.append(b"\0" + code + _END)

    def _place_bodies(self) -> None:
        start = 0
        for body in self._bodies:
            self._module.code.append((start, start + len(body)))
            start += len(body)
        self._module.content = b"".join(self._bodies)

    def _dispatch(self) -> bytes:
        """Calls the allocator whose number is noted."""
        arguments = _arguments(4)
        code = b""
        for number in range(len(self._reallocs)):
            noted = b"\x23" + u32(_ALLOCATOR) + i32(number).encode() + b"\x46"  # i32.eq
            code += noted + b"\x04\x40" + arguments + b"\x10" + u32(number) + b"\x0f" + _END  # if: call and return
        return code + b"\0"  # unreachable


def _noted(allocator: int, function: int, parameters: int) -> bytes:
    """Notes the allocator, and calls the function with the same arguments."""
    return i32(allocator).encode() + b"\x24" + u32(_ALLOCATOR) + _arguments(parameters) + b"\x10" + u32(function)


def _arguments(count: int) -> bytes:
    return b"".join(b"\x20" + u32(index) for index in range(count))


def _parameters(type_: bytes) -> int:
    """How many parameters an encoded function type has; WASI's have 17 at most, which is one byte."""
    return type_[1]
