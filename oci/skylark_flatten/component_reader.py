"""Reads a component.

Types are counted, not read: what links core modules is names and core types. Nested components stay unread: those of
`wit-component` only give an export its types.

Format: component model, `design/mvp/Binary.md`.
"""

from skylark_flatten.binary import CUSTOM, PREAMBLE_BYTES, Reader, sections
from skylark_flatten.component import (
    Alias,
    Bag,
    Component,
    Defined,
    Definition,
    Drop,
    Imported,
    Instantiation,
    Lift,
    Lower,
    Outer,
    Resource,
    Same,
    Sort,
    SortIndex,
)
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.module import PREAMBLE as MODULE_PREAMBLE

_COMPONENT_PREAMBLE = b"\0asm\x0d\0\x01\0"
_CORE_SORTS = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12}
_SORTS = {0x01: Sort.FUNC, 0x03: Sort.TYPE, 0x04: Sort.COMPONENT, 0x05: Sort.INSTANCE}


def read_component(content: bytes) -> Component:
    """Reads a component.

    Raises:
        Malformed: It is none, or is not what the format says.
        Unsupported: It has something that cannot be flattened, such as an asynchronous function.
    """
    preamble = content[:PREAMBLE_BYTES]
    if preamble == MODULE_PREAMBLE:
        raise Unsupported("it is a core module already, not a component")
    if preamble != _COMPONENT_PREAMBLE:
        raise Malformed(f"no WebAssembly component: it begins with {preamble.hex(' ') or 'nothing'}", 0)
    component = Component()
    for section in sections(content):
        if section.id == CUSTOM:
            continue
        reader = _ComponentReader(content, section.start, section.end, component)
        if section.id not in _SECTIONS:
            raise Unsupported(f"it has a section {section.id} ({_REFUSED.get(section.id, 'unknown')})")
        _SECTIONS[section.id](reader)
    return component


class _ComponentReader(Reader):
    """Reads one section into a component."""

    __slots__ = ("component",)

    def __init__(self, content: bytes, offset: int, end: int, component: Component) -> None:
        super().__init__(content, offset, end)
        self.component = component

    def core_module(self) -> None:
        self.component.modules.append(self.take(self.end - self.offset))

    def core_types(self) -> None:
        self._count(Sort.CORE_TYPE)

    def types(self) -> None:
        self._count(Sort.TYPE)

    def nested_component(self) -> None:
        self._add(Sort.COMPONENT, Defined())

    def core_instances(self) -> None:
        self.vector(lambda: self._add(Sort.CORE_INSTANCE, self._core_instance()))
        self._whole()

    def instances(self) -> None:
        self.vector(lambda: self._add(Sort.INSTANCE, self._instance()))
        self._whole()

    def aliases(self) -> None:
        self.vector(self._alias)
        self._whole()

    def canonicals(self) -> None:
        self.vector(self._canonical)
        self._whole()

    def imports(self) -> None:
        self.vector(self._import)
        self._whole()

    def exports(self) -> None:
        self.vector(self._export)
        self._whole()

    def _add(self, sort: Sort, definition: Definition) -> None:
        self.component.spaces[sort].append(definition)

    def _whole(self) -> None:
        if not self.done:
            self.fail("bytes are left at the end of a section")

    def _count(self, sort: Sort) -> None:
        count = self.u32()
        if count > self.end - self.offset:
            self.fail("a vector goes past the end of its section")
        self.component.spaces[sort] += [Defined()] * count

    def _core_instance(self) -> Definition:
        if self.choice("a core instance", 0, 1) == 0:
            return Instantiation(self.u32(), dict(self.vector(self._core_argument)))
        return Bag(dict(self.vector(lambda: (self.name(), (self._core_sort(), self.u32())))))

    def _core_argument(self) -> tuple[str, SortIndex]:
        argument = self.name()
        self.choice("an argument", Sort.CORE_INSTANCE.value)
        return argument, (Sort.CORE_INSTANCE, self.u32())

    def _instance(self) -> Definition:
        if self.choice("an instance", 0, 1) == 0:
            return Instantiation(self.u32(), dict(self.vector(lambda: (self.name(), (self._sort(), self.u32())))))
        return Bag(dict(self.vector(lambda: (self._extern_name(), (self._sort(), self.u32())))))

    def _alias(self) -> None:
        sort = self._sort()
        match self.choice("an alias", 0, 1, 2):
            case 2:
                self.u32()
                self.u32()
                self._add(sort, Outer())
            case _:
                self._add(sort, Alias(self.u32(), self.name()))

    def _canonical(self) -> None:
        match self.byte():
            case 0x00:
                self.choice("a lifted function", 0)
                function = self.u32()
                self._add(Sort.FUNC, Lift(function, *self._options()))
                self.u32()
            case 0x01:
                self.choice("a lowered function", 0)
                self._add(Sort.CORE_FUNC, Lower(self.u32(), self._options()[0]))
            case 0x03:
                self._add(Sort.CORE_FUNC, Drop(self.u32()))
            case 0x02 | 0x04:
                self.u32()
                self._add(Sort.CORE_FUNC, Resource())
            case other:
                raise Unsupported(f"it uses a canonical built-in of asynchronous components ({other:#04x})")

    def _options(self) -> tuple[int | None, int | None]:
        """Read the canonical options (`canonopt`); return `realloc` and `post-return`. There is one memory."""
        realloc = post_return = None
        for _ in range(self.u32()):
            match self.byte():
                case 0x00:
                    pass
                case 0x01 | 0x02:
                    raise Unsupported("its strings are not UTF-8")
                case 0x03:
                    self.u32()
                case 0x04:
                    realloc = self.u32()
                case 0x05:
                    post_return = self.u32()
                case 0x06 | 0x07:
                    raise Unsupported("it has an asynchronous function, which needs WASI 0.3")
                case other:
                    raise Unsupported(f"a function has an unknown canonical option ({other:#04x})")
        return realloc, post_return

    def _import(self) -> None:
        imported = self._extern_name()
        self._add(self._extern_type(), Imported(imported))

    def _export(self) -> None:
        exported = self._extern_name()
        sort, index = self._sort(), self.u32()
        if self.choice("an optional type", 0, 1):
            self._extern_type()
        self._add(sort, Same(index))
        self.component.exports[exported] = (sort, index)

    def _extern_name(self) -> str:
        """A name with its form before it: 0 and 1 are a plain one."""
        self.choice("a name", 0, 1)
        return self.name()

    def _extern_type(self) -> Sort:
        match self.choice("an external type", 0, 1, 3, 4, 5):
            case 0:
                self.choice("a core type", 0x11)
                sort = Sort.CORE_MODULE
            case 1:
                sort = Sort.FUNC
            case 3:
                if self.choice("a bound", 0, 1) == 1:
                    return Sort.TYPE
                sort = Sort.TYPE
            case 4:
                sort = Sort.COMPONENT
            case _:
                sort = Sort.INSTANCE
        self.u32()
        return sort

    def _sort(self) -> Sort:
        sort = self.choice("a sort", 0, *_SORTS)
        return self._core_sort() if sort == 0 else _SORTS[sort]

    def _core_sort(self) -> Sort:
        return Sort(self.choice("a core sort", *_CORE_SORTS))


_SECTIONS = {
    1: _ComponentReader.core_module,
    2: _ComponentReader.core_instances,
    3: _ComponentReader.core_types,
    4: _ComponentReader.nested_component,
    5: _ComponentReader.instances,
    6: _ComponentReader.aliases,
    7: _ComponentReader.types,
    8: _ComponentReader.canonicals,
    10: _ComponentReader.imports,
    11: _ComponentReader.exports,
}
_REFUSED = {9: "a start function", 12: "values"}
