"""Links modules into one: every index is changed to the one that its target has in the whole.

What is not reachable from the start function or the table of functions is left out. A global that nothing sets is the
number that it begins with, wherever it is read: the addresses of a position-independent library become constants.
"""

from collections.abc import Callable, Iterable
from functools import partial

from skylark_flatten import binary
from skylark_flatten.attach import START, SYSTEM, Image
from skylark_flatten.binary import Reader, u32
from skylark_flatten.constants import Constant, Reference, evaluate
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.instructions import naming, split
from skylark_flatten.module import Data, Elements, Kind, Limits, Module
from skylark_flatten.plan import Definition, SystemFunction

_END = b"\x0b"
_CALL, _CALL_INDIRECT = 0x10, 0x11
_GLOBAL_GET, _GLOBAL_SET = 0x23, 0x24
_REF_FUNC = 0xD2
_NAMES_FUNCTION = (_CALL, _REF_FUNC)
_BLOCKS = (0x02, 0x03, 0x04)
_TABLE_ACCESS = (0x25, 0x26)
_MEMORY_INIT, _DATA_DROP, _TABLE_INIT, _ELEM_DROP, _TABLE_COPY = 0x08, 0x09, 0x0C, 0x0D, 0x0E

Function = Definition | SystemFunction


def link(image: Image, report: Callable[[str], None]) -> bytes:
    """Links an image into one core module.

    Args:
        report: Told what is being done.

    Raises:
        Malformed: An index means nothing.
        Unsupported: It needs more than WebAssembly 2.0, or more than one memory.
    """
    linker = _Linker(image)
    report("finding what is used")
    linker.reach()
    report("linking")
    return linker.module()


class _Linker:
    def __init__(self, image: Image) -> None:
        self._image = image
        self._modules = [unit.module for unit in image.units]
        self._spaces = [_spaces(number, image) for number in range(len(image.units))]
        self._bodies: dict[Definition, list[bytes]] = {}
        self._systems: dict[SystemFunction, bytes] = {}
        self._written: dict[Definition, None] = {}
        self._numbers: dict[Kind, dict[Function, int]] = {kind: {} for kind in Kind}
        self._values: dict[Definition, Constant] = {}
        self._types: dict[bytes, int] = {}
        self._first_data = _firsts(len(module.data) for module in self._modules)
        self._first_elements = _firsts(len(module.elements) for module in self._modules)

    def reach(self) -> None:
        """Finds the functions that can be called, and the globals that they set; then numbers what is kept."""
        pending: list[Function] = [self._image.start, *self._listed()]
        seen = set(pending)
        calls: list[dict[bytes, Function]] = [{} for _ in self._modules]
        while pending:
            function = pending.pop()
            if isinstance(function, SystemFunction):
                self._systems[function] = self._system_type(function)
                continue
            self._bodies[function] = parts = self._body(function)
            known = calls[function.unit]
            for instruction in set(naming(parts)):
                if instruction[0] in _NAMES_FUNCTION:
                    called = known.get(instruction) or self._function(function.unit, Reader(instruction, 1).u32())
                    known[instruction] = called
                    if called not in seen:
                        seen.add(called)
                        pending.append(called)
                elif instruction[0] == _GLOBAL_SET:
                    written = self._definition(function.unit, Kind.GLOBAL, Reader(instruction, 1).u32())
                    self._written[written] = None
        self._number()

    def module(self) -> bytes:
        """The linked module. Encodes the code first, which says what types there are."""
        code = binary.section(10, binary.vector(self._code()))
        functions = [u32(self._type(self._modules[one.unit].function_type(one.index))) for one in self._bodies]
        imports = [self._import(one, type_) for one, type_ in self._systems.items()]
        sections = [
            binary.section(2, binary.vector(imports)),
            binary.section(3, binary.vector(functions)),
            binary.section(4, binary.vector(self._tables())),
            binary.section(5, binary.vector([_limits(self._memory())])),
            binary.section(6, binary.vector(self._globals())),
            binary.section(7, binary.vector(self._exports())),
            binary.section(9, binary.vector(self._elements())),
            self._data_count(),
            code,
            binary.section(11, binary.vector(self._data())),
        ]
        return b"".join([b"\0asm\x01\0\0\0", binary.section(1, binary.vector(list(self._types))), *sections])

    def _listed(self) -> Iterable[Function]:
        """The functions that are in element segments, and so can be called from a table."""
        for unit, module in enumerate(self._modules):
            for segment in module.elements:
                for item in segment.items:
                    if isinstance(item, int):
                        yield self._function(unit, item)
                    elif isinstance(reference := self._evaluate(unit, item), Reference):
                        yield self._function(unit, reference.function)

    def _number(self) -> None:
        self._systems = dict(sorted(self._systems.items(), key=lambda one: one[0].name))
        self._bodies = dict(sorted(self._bodies.items(), key=lambda one: (one[0].unit, one[0].index)))
        self._numbers[Kind.FUNC] = _positions([*self._systems, *self._bodies])
        self._written = dict.fromkeys(sorted(self._written, key=lambda one: (one.unit, one.index)))
        self._numbers[Kind.GLOBAL] = _positions(self._written)
        tables = (
            Definition(unit, Kind.TABLE, len(module.imported(Kind.TABLE)) + index)
            for unit, module in enumerate(self._modules)
            for index in range(len(module.tables))
        )
        self._numbers[Kind.TABLE] = _positions(tables)

    # what is in a unit's index spaces

    def _target(self, unit: int, kind: Kind, index: int) -> Function:
        space = self._spaces[unit][kind]
        if index >= len(space):
            raise Malformed(f"no {kind.name.lower()} of a module has the index {index}", 0)
        return space[index]

    def _function(self, unit: int, index: int) -> Function:
        return self._target(unit, Kind.FUNC, index)

    def _definition(self, unit: int, kind: Kind, index: int) -> Definition:
        target = self._target(unit, kind, index)
        if not isinstance(target, Definition):
            raise Malformed(f"a {kind.name.lower()} is taken from the system", 0)
        return target

    def _body(self, function: Definition) -> list[bytes]:
        module = self._modules[function.unit]
        start, end = module.code[function.index - len(module.imported(Kind.FUNC))]
        return split(module.content[start:end], start)

    def _system_type(self, function: SystemFunction) -> bytes:
        for unit in self._image.units:
            for one, target in zip(unit.module.imports, unit.targets, strict=True):
                if target == function and isinstance(one.type, int):
                    return unit.module.types[one.type]
        raise Malformed(f"nothing imports {function.name}", 0)

    # constants

    def _evaluate(self, unit: int, expression: bytes) -> Constant:
        return evaluate(expression, partial(self._value, unit))

    def _value(self, unit: int, index: int) -> Constant:
        """What a global is at the start."""
        definition = self._definition(unit, Kind.GLOBAL, index)
        if definition not in self._values:
            module = self._modules[definition.unit]
            init = module.globals[definition.index - len(module.imported(Kind.GLOBAL))].init
            self._values[definition] = self._evaluate(definition.unit, init)
        return self._values[definition]

    def _constant(self, unit: int, value: Constant) -> bytes:
        if isinstance(value, Reference):
            return Reference(self._numbers[Kind.FUNC][self._function(unit, value.function)]).encode()
        return value.encode()

    # code

    def _code(self) -> list[bytes]:
        known: list[dict[bytes, bytes]] = [{} for _ in self._modules]
        return [self._encoded(function.unit, parts, known[function.unit]) for function, parts in self._bodies.items()]

    def _encoded(self, unit: int, parts: list[bytes], known: dict[bytes, bytes]) -> bytes:
        for instruction in set(naming(parts)) - known.keys():
            known[instruction] = self._renamed(unit, instruction)
        parts[1::2] = [known[instruction] for instruction in naming(parts)]
        body = b"".join(parts)
        return u32(len(body)) + body

    def _renamed(self, unit: int, instruction: bytes) -> bytes:
        """A naming instruction with the indices that the whole module has."""
        opcode, reader = instruction[0], Reader(instruction, 1)
        if opcode in _NAMES_FUNCTION:
            return bytes([opcode]) + u32(self._numbers[Kind.FUNC][self._function(unit, reader.u32())])
        if opcode == _GLOBAL_GET:
            return self._read_global(unit, reader.u32())
        if opcode == _GLOBAL_SET:
            return b"\x24" + u32(self._numbers[Kind.GLOBAL][self._definition(unit, Kind.GLOBAL, reader.u32())])
        if opcode == _CALL_INDIRECT:
            return b"\x11" + self._type_of(unit, reader.u32()) + self._table(unit, reader.u32())
        if opcode in _BLOCKS:
            return bytes([opcode]) + binary.signed(Reader(self._type_of(unit, reader.s33())).u32())
        if opcode in _TABLE_ACCESS:
            return bytes([opcode]) + self._table(unit, reader.u32())
        return self._renamed_bulk(unit, reader.byte(), reader)

    def _renamed_bulk(self, unit: int, opcode: int, reader: Reader) -> bytes:
        """The instructions on segments and tables that begin with 0xfc (5.4.3, 5.4.6)."""
        prefix = bytes([0xFC, opcode])
        first = reader.u32()
        match opcode:
            case 0x08 | 0x09:
                renamed = u32(self._first_data[unit] + first)
                return prefix + renamed + (b"\0" if opcode == _MEMORY_INIT else b"")
            case 0x0C:
                return prefix + u32(self._first_elements[unit] + first) + self._table(unit, reader.u32())
            case 0x0D:
                return prefix + u32(self._first_elements[unit] + first)
            case 0x0E:
                return prefix + self._table(unit, first) + self._table(unit, reader.u32())
            case _:
                return prefix + self._table(unit, first)

    def _read_global(self, unit: int, index: int) -> bytes:
        definition = self._definition(unit, Kind.GLOBAL, index)
        number = self._numbers[Kind.GLOBAL].get(definition)
        if number is None:
            return self._constant(definition.unit, self._value(unit, index))
        return b"\x23" + u32(number)

    def _table(self, unit: int, index: int) -> bytes:
        return u32(self._numbers[Kind.TABLE][self._definition(unit, Kind.TABLE, index)])

    def _type_of(self, unit: int, index: int) -> bytes:
        types = self._modules[unit].types
        if not 0 <= index < len(types):
            raise Malformed(f"no type of a module has the index {index}", 0)
        return u32(self._type(types[index]))

    def _type(self, encoded: bytes) -> int:
        return self._types.setdefault(encoded, len(self._types))

    # the other sections

    def _import(self, function: SystemFunction, type_: bytes) -> bytes:
        return binary.name(SYSTEM) + binary.name(function.name) + b"\0" + u32(self._type(type_))

    def _tables(self) -> list[bytes]:
        return [
            bytes([table.reference]) + _limits(self._size_of_table(unit, table.limits))
            for unit, module in enumerate(self._modules)
            for table in module.tables
        ]

    def _size_of_table(self, unit: int, limits: Limits) -> Limits:
        if self._image.table.unit != unit:
            return limits
        maximum = limits.maximum if limits.maximum is None else max(limits.maximum, self._image.table_elements)
        return Limits(self._image.table_elements, maximum)

    def _memory(self) -> Limits:
        memories = [memory for module in self._modules for memory in module.memories]
        if len(memories) != 1:
            raise Unsupported(f"it has {len(memories)} memories, not one")
        return Limits(self._image.memory_pages, memories[0].maximum)

    def _globals(self) -> list[bytes]:
        encoded = []
        for one in self._written:
            module = self._modules[one.unit]
            defined = module.globals[one.index - len(module.imported(Kind.GLOBAL))]
            if not defined.mutable:
                raise Malformed("a constant is set", 0)
            encoded.append(defined.type + self._constant(one.unit, self._value(one.unit, one.index)) + _END)
        return encoded

    def _exports(self) -> list[bytes]:
        start = u32(self._numbers[Kind.FUNC][self._image.start])
        return [binary.name("memory") + b"\x02\0", binary.name(START) + b"\0" + start]

    def _elements(self) -> list[bytes]:
        return [
            self._segment(unit, segment) for unit, module in enumerate(self._modules) for segment in module.elements
        ]

    def _segment(self, unit: int, segment: Elements) -> bytes:
        flags, kind, table = segment.flags, segment.kind, b""
        if not flags & 1:
            table = self._table(unit, segment.table)
            if table != b"\0" and not flags & 2:  # only an explicit form can name another table than the first
                flags, kind = flags | 2, b"\x70" if flags & 4 else b"\0"
        table = table if flags & 3 == 2 else b""
        offset = self._constant(unit, self._evaluate(unit, segment.offset)) + _END if segment.offset else b""
        return u32(flags) + table + offset + kind + binary.vector([self._item(unit, item) for item in segment.items])

    def _item(self, unit: int, item: int | bytes) -> bytes:
        if isinstance(item, int):
            return u32(self._numbers[Kind.FUNC][self._function(unit, item)])
        return self._constant(unit, self._evaluate(unit, item)) + _END

    def _data_count(self) -> bytes:
        if not any(module.counts_data for module in self._modules):
            return b""
        return binary.section(12, u32(sum(len(module.data) for module in self._modules)))

    def _data(self) -> list[bytes]:
        return [self._placed(unit, one) for unit, module in enumerate(self._modules) for one in module.data]

    def _placed(self, unit: int, data: Data) -> bytes:
        size = u32(len(data.contents))
        if data.offset is None:
            return b"\x01" + size + data.contents
        return b"\0" + self._constant(unit, self._evaluate(unit, data.offset)) + _END + size + data.contents


def _spaces(number: int, image: Image) -> dict[Kind, list[Function]]:
    """The targets of a unit's indices, by kind."""
    unit = image.units[number]
    spaces: dict[Kind, list[Function]] = {kind: [] for kind in Kind}
    for one, target in zip(unit.module.imports, unit.targets, strict=True):
        if not isinstance(target, Definition | SystemFunction):
            raise Unsupported(f"nothing is linked to {one.module}.{one.name}")
        spaces[one.kind].append(target)
    for kind, count in _own(unit.module).items():
        first = len(spaces[kind])
        spaces[kind] += [Definition(number, kind, first + index) for index in range(count)]
    return spaces


def _own(module: Module) -> dict[Kind, int]:
    return {
        Kind.FUNC: len(module.functions),
        Kind.TABLE: len(module.tables),
        Kind.MEMORY: len(module.memories),
        Kind.GLOBAL: len(module.globals),
    }


def _firsts(counts: Iterable[int]) -> list[int]:
    """Where the segments of each unit begin, once all are in one list."""
    firsts, first = [], 0
    for count in counts:
        firsts.append(first)
        first += count
    return firsts


def _positions(targets: Iterable[Function]) -> dict[Function, int]:
    return {target: position for position, target in enumerate(targets)}


def _limits(limits: Limits) -> bytes:
    if limits.maximum is None:
        return b"\0" + u32(limits.minimum)
    return b"\x01" + u32(limits.minimum) + u32(limits.maximum)
