"""Resolves what the modules of a component import: each to what a module defines, or to a function of WASI."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from skylark_flatten.component import (
    Alias,
    Bag,
    Component,
    Drop,
    Imported,
    Instantiation,
    Lift,
    Lower,
    Same,
    Sort,
    SortIndex,
)
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.module import Kind, Module, read_module
from skylark_flatten.plan import Definition, HostFunction, Plan, Target, Unit, World
from skylark_flatten.toolchain import check_toolchain

RUN = "wasi:cli/run"
HANDLER = "skylark:state/handler@0.1.0"
BUNDLES = "skylark:state/bundles@0.1.0"
_INTERFACE = re.compile(r"(wasi:[a-z0-9-]+/[a-z0-9-]+)@0\.2\.[0-9]+")
_SHIM_TABLE = "$imports"
_NESTED = "import-func-"
_LONGEST_CHAIN = 200
_RETURNS_I32 = bytes([0x60, 0, 1, 0x7F])
_FREE_TYPE = bytes([0x60, 1, 0x7F, 0])
_HANDLER_FUNCTIONS = ("functions", "handle")
_KINDS = {
    Sort.CORE_FUNC: Kind.FUNC,
    Sort.CORE_TABLE: Kind.TABLE,
    Sort.CORE_MEMORY: Kind.MEMORY,
    Sort.CORE_GLOBAL: Kind.GLOBAL,
}


def resolve(component: Component, world: World) -> Plan:
    """Says how a component of a world is linked.

    Raises:
        Malformed: An index or a name means nothing.
        Unsupported: It is of a world, or made by a toolchain, that cannot be flattened.
    """
    return _Resolver(component, world).plan()


class _Resolver:
    def __init__(self, component: Component, world: World) -> None:
        self._component = component
        self._world = world
        self._read: dict[int, Module] = {}
        self._open: set[object] = set()
        self._shim, self._fixup = self._shims()
        skipped = (self._shim, self._fixup)
        instances = enumerate(component.spaces[Sort.CORE_INSTANCE])
        kept = [index for index, one in instances if isinstance(one, Instantiation) and index not in skipped]
        self._units = {instance: unit for unit, instance in enumerate(kept)}

    def plan(self) -> Plan:
        run = self._run() if self._world is World.COMMAND else None
        handler = self._handler() if self._world is World.HOSTED else {}
        check_toolchain(self._module(instance) for instance in self._units)
        units = tuple(self._unit(instance) for instance in self._units)
        memory = self._only(Sort.CORE_MEMORY)
        table = self._only_table(units)
        if run is None:
            return Plan(units, memory, table, exports=handler | {"free": self._free()})
        if units[run.unit].module.function_type(run.index) != _RETURNS_I32:
            raise Unsupported(f"its {RUN} does not return an i32")
        return Plan(units, memory, table, run)

    def _unit(self, instance: int) -> Unit:
        module, arguments = self._module(instance), self._instantiation(instance).arguments
        targets = []
        for one in module.imports:
            if one.module not in arguments:
                raise Malformed(f"core instance {instance} has no argument {one.module!r}", 0)
            targets.append(self._export(arguments[one.module][1], one.name))
        for one, target in zip(module.imports, targets, strict=True):
            kind = target.kind if isinstance(target, Definition) else Kind.FUNC
            if kind is not one.kind:
                raise Malformed(f"{one.module}.{one.name} is a {kind.name.lower()}, not a {one.kind.name.lower()}", 0)
        return Unit(module, tuple(targets))

    def _export(self, instance: int, name: str) -> Target:
        """What a core instance exports under a name."""
        if instance == self._shim and name != _SHIM_TABLE:
            return self._core(self._fixed(name))
        match self._component.get(Sort.CORE_INSTANCE, instance):
            case Bag(exports) if name in exports:
                return self._core(exports[name])
            case Instantiation(_, arguments):
                module = self._module(instance)
                if name in module.exports:
                    kind, index = module.exports[name]
                    imported = module.imported(kind)
                    if index >= module.count(kind):
                        raise Malformed(f"the export {name!r} has no {kind.name.lower()} {index}", 0)
                    if index >= len(imported):
                        return Definition(self._unit_of(instance), kind, index)
                    again = imported[index]
                    if again.module in arguments:
                        with self._entered((instance, name)):
                            return self._export(arguments[again.module][1], again.name)
        raise Malformed(f"core instance {instance} has no export {name!r}", 0)

    def _core(self, sort_index: SortIndex) -> Target:
        """What a core definition of the component is."""
        definition = self._component.get(*sort_index)
        with self._entered(sort_index):
            match definition:
                case Alias(instance, name):
                    return self._export(instance, name)
                case Lower(func, realloc):
                    allocator = None if realloc is None else self._own(self._core((Sort.CORE_FUNC, realloc)))
                    return HostFunction(self._imported(Sort.FUNC, func, "{}"), allocator)
                case Drop(type_):
                    return HostFunction(self._imported(Sort.TYPE, type_, "[resource-drop]{}"), None)
        raise Unsupported("it defines resources of its own, or takes core definitions from elsewhere")

    def _imported(self, sort: Sort, index: int, form: str) -> str:
        """The name of a function or resource type of WASI that the component imports."""
        definition = self._component.get(sort, index)
        with self._entered((sort, index)):
            match definition:
                case Same(other):
                    return self._imported(sort, other, form)
                case Alias(instance, name):
                    return f"{self._interface(instance)}#{form.format(name)}"
        raise Unsupported("it calls a function that is of no interface of WASI")

    def _interface(self, instance: int) -> str:
        match self._component.get(Sort.INSTANCE, instance):
            case Imported(name):
                if known := _INTERFACE.fullmatch(name):
                    return known[1]
                if name == BUNDLES and self._world is World.HOSTED:
                    return name
                raise Unsupported(f"it imports {name}, and only WASI 0.2 can be had on core modules")
        raise Unsupported("it calls a function of a component that is nested in it")

    def _run(self) -> Definition:
        """The core function of the exported `wasi:cli/run`."""
        exports = self._component.exports
        exported = next((one for name, one in exports.items() if re.fullmatch(rf"{RUN}@0\.2\.[0-9]+", name)), None)
        if exported is None:
            raise Unsupported(
                f"it exports {self._exported()}, not {RUN}@0.2: only a component of wasi:cli/command can be flattened"
            )
        functions = self._functions(exported[1])
        if list(functions) != ["run"]:
            raise Unsupported(f"its {RUN} has {len(functions)} functions")
        return self._own(self._core((Sort.CORE_FUNC, self._lift(functions["run"]).core_func)))

    def _handler(self) -> dict[str, Definition]:
        """The core functions of the exported handler, with their post-returns (`NAME:post`) and allocator (`realloc`).

        The host calls them as the canonical ABI says.
        """
        exported = self._component.exports.get(HANDLER)
        if exported is None:
            raise Unsupported(
                f"it exports {self._exported()}, not {HANDLER}: it is not of the world {self._world.value}"
            )
        functions = self._functions(exported[1])
        if sorted(functions) != sorted(_HANDLER_FUNCTIONS):
            raise Unsupported(f"its handler has the functions {', '.join(functions) or 'none'}")
        lifts = {name: self._lift(index) for name, index in functions.items()}
        found = {name: lift.core_func for name, lift in lifts.items()}
        found |= {f"{name}:post": one.post_return for name, one in lifts.items() if one.post_return is not None}
        reallocs = {one.realloc for one in lifts.values() if one.realloc is not None} | set(self._reallocs_of_bundles())
        core = {name: self._own(self._core((Sort.CORE_FUNC, index))) for name, index in found.items()}
        allocators = {self._own(self._core((Sort.CORE_FUNC, index))) for index in reallocs}
        if len(allocators) != 1:
            raise Unsupported(f"its handler and imports have {len(allocators)} allocators, not one")
        return core | {"realloc": allocators.pop()}

    def _reallocs_of_bundles(self) -> Iterator[int]:
        """The allocators of the results of the host's own functions."""
        for index, one in enumerate(self._component.spaces[Sort.CORE_FUNC]):
            if isinstance(one, Lower) and one.realloc is not None:
                target = self._core((Sort.CORE_FUNC, index))
                if isinstance(target, HostFunction) and target.name.startswith(BUNDLES):
                    yield one.realloc

    def _free(self) -> Definition:
        """The function that gives back what any allocator of the component took: libc's."""
        for instance in self._units:
            kind, index = self._module(instance).exports.get("free", (None, 0))
            if kind is Kind.FUNC and self._module(instance).function_type(index) == _FREE_TYPE:
                return self._own(self._export(instance, "free"))
        raise Unsupported("it has no function `free`, by which its host gives back memory")

    def _exported(self) -> str:
        return ", ".join(self._component.exports) or "nothing"

    def _lift(self, index: int) -> Lift:
        lift = self._component.get(Sort.FUNC, index)
        if not isinstance(lift, Lift):
            raise Unsupported("a function that it exports is not a core function")
        return lift

    def _functions(self, instance: int) -> dict[str, int]:
        """The functions of an exported instance, by name."""
        definition = self._component.get(Sort.INSTANCE, instance)
        with self._entered((Sort.INSTANCE, instance)):
            match definition:
                case Same(other):
                    return self._functions(other)
                case Bag(exports):
                    return {name: index for name, (sort, index) in exports.items() if sort is Sort.FUNC}
                case Instantiation(_, arguments):  # a nested component that gives the functions their types
                    named = ((name.removeprefix(_NESTED), one) for name, one in arguments.items())
                    return {name: index for name, (sort, index) in named if sort is Sort.FUNC}
        return {}

    def _only(self, sort: Sort) -> Definition:
        """The one memory that the component has under all its indices."""
        found = {self._core((sort, index)) for index in range(len(self._component.spaces[sort]))}
        if len(found) != 1:
            raise Unsupported(f"it has {len(found)} memories, not one")
        return self._own(found.pop())

    def _only_table(self, units: tuple[Unit, ...]) -> Definition:
        imported = (target for unit in units for target in unit.targets)
        found = {one for one in imported if isinstance(one, Definition) and one.kind is Kind.TABLE}
        if len(found) != 1:
            raise Unsupported(f"its modules share {len(found)} tables, not one")
        return found.pop()

    def _own(self, target: Target) -> Definition:
        if not isinstance(target, Definition):
            raise Unsupported("it uses a function of WASI as one of its own")
        return target

    def _unit_of(self, instance: int) -> int:
        if instance not in self._units:
            raise Unsupported("a module uses what only the component's shim defines")
        return self._units[instance]

    def _instantiation(self, instance: int) -> Instantiation:
        definition = self._component.get(Sort.CORE_INSTANCE, instance)
        if not isinstance(definition, Instantiation):
            raise Malformed(f"core instance {instance} is of no module", 0)
        return definition

    def _module(self, instance: int) -> Module:
        index = self._instantiation(instance).of
        if index >= len(self._component.modules):
            raise Malformed(f"no core module has the index {index}", 0)
        if index not in self._read:
            self._read[index] = read_module(self._component.modules[index])
        return self._read[index]

    def _shims(self) -> tuple[int | None, int | None]:
        """The pair of modules by which `wit-component` passes functions on that are not there yet.

        The shim calls through its table, into whose slots the fixup puts the functions once they are there. Linked, an
        import of the shim's function k is the function that the fixup puts into slot k, and both modules go.
        """
        for index, one in enumerate(self._component.spaces[Sort.CORE_INSTANCE]):
            if isinstance(one, Instantiation) and "" in one.arguments:
                bag = self._component.get(*one.arguments[""])
                if isinstance(bag, Bag) and _SHIM_TABLE in bag.exports:
                    table = self._component.get(*bag.exports[_SHIM_TABLE])
                    if isinstance(table, Alias):
                        self._check_slots(index)
                        return table.instance, index
        return None, None

    def _check_slots(self, fixup: int) -> None:
        """Checks that the fixup puts its import named k into slot k, which is all that it does."""
        module = self._module(fixup)
        functions = module.imported(Kind.FUNC)
        segments = [(one.offset, one.items) for one in module.elements]
        expected = [(b"\x41\x00\x0b", list(range(len(functions))))] if functions else []
        if segments != expected or [one.name for one in functions] != [str(slot) for slot in range(len(functions))]:
            raise Unsupported("its shim is not that of a wit-component that is known")

    def _fixed(self, slot: str) -> SortIndex:
        assert self._fixup is not None
        bag = self._component.get(*self._instantiation(self._fixup).arguments[""])
        if not isinstance(bag, Bag) or slot not in bag.exports:
            raise Malformed(f"the component's shim has no slot {slot!r}", 0)
        return bag.exports[slot]

    @contextmanager
    def _entered(self, what: object) -> Iterator[None]:
        """Holds that a definition does not lead back to itself."""
        if what in self._open or len(self._open) > _LONGEST_CHAIN:
            raise Malformed("a definition leads back to itself", 0)
        self._open.add(what)
        try:
            yield
        finally:
            self._open.discard(what)
