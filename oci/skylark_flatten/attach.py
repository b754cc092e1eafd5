"""The WASI layer: WASI 0.2 over preview 1 and WasmEdge's sockets, a position-independent module that comes built."""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from skylark_flatten.binary import Reader
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.glue import Glue, Wrapped
from skylark_flatten.module import Kind, Module, read_module
from skylark_flatten.plan import SYSTEM, Definition, HostFunction, Plan, SystemFunction, Target, Unit

START = "_start"
PAGE_BYTES = 1 << 16
_STACK_BYTES = 1 << 16
_MEMORY_INFO = 1
_WASI = "wasi:"
_NOW = "wasi:clocks/monotonic-clock#now"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a layer needs of memory, in bytes, and of the table, in elements (`dylink.0`, WASM_DYLINK_MEM_INFO)."""

    memory: int
    memory_alignment: int
    table: int


@dataclass(frozen=True)
class Layer:
    """The module of the layer."""

    module: Module

    @cached_property
    def sizes(self) -> Sizes:
        """Its sizes.

        Raises:
            Malformed: It does not say them: it is not position-independent.
        """
        reader = Reader(self.module.custom.get("dylink.0", b""))
        while not reader.done:
            kind, size = reader.byte(), reader.u32()
            part = Reader(reader.take(size))
            if kind == _MEMORY_INFO:
                memory, alignment, table = part.u32(), part.u32(), part.u32()
                return Sizes(memory, 1 << alignment, table)
        raise Malformed("the layer is not position-independent", 0)

    def function(self, name: str) -> tuple[int, bytes]:
        """The index and the encoded type of a function that it exports.

        Raises:
            Unsupported: It has none of this name.
        """
        kind, index = self.module.exports.get(name, (None, 0))
        if kind is not Kind.FUNC:
            raise Unsupported(f"it needs {name}, which there is not on a runtime of core modules")
        return index, self.module.function_type(index)


@dataclass(frozen=True, slots=True)
class SoftSize:
    """The global that holds the memory's size in pages, and the function that raises it."""

    size: Definition
    grow: Definition


@dataclass(frozen=True, slots=True)
class Image:
    """All that is linked, layer and glue included.

    Attributes:
        units: The modules; what they import is defined in another one, or is the system's.
        exports: The functions to export, by name.
        memory: The memory to export.
        memory_pages: Its size.
        table_elements: The size of the table.
        soft: What stands for the memory's size and growth, and makes the module one that can be reset; None: neither.
    """

    units: tuple[Unit, ...]
    exports: dict[str, Definition]
    memory: Definition
    memory_pages: int
    table: Definition
    table_elements: int
    soft: SoftSize | None = None


def built_layer() -> Layer:
    """The layer that comes with this package."""
    return Layer(read_module(files("skylark_flatten").joinpath("layer", "layer.wasm").read_bytes()))


def attach(plan: Plan, layer: Layer) -> Image:
    """Puts the layer under a component: it lies in the memory at the end of what the component had at first.

    Raises:
        Unsupported: The component needs a function that the layer does not have, or has another type for it.
    """
    place, sizes = len(plan.units), layer.sizes
    memory = plan.units[plan.memory.unit].module.memories[0].minimum
    table = plan.units[plan.table.unit].module.tables[0].limits.minimum
    stack_end = memory * PAGE_BYTES + _STACK_BYTES
    base = -(-stack_end // sizes.memory_alignment) * sizes.memory_alignment
    found = [[_found(unit, number, layer, place) for number in range(len(unit.targets))] for unit in plan.units]
    wrapped = list(dict.fromkeys(one for targets in found for one in targets if isinstance(one, Wrapped)))
    pages = -(-(base + sizes.memory) // PAGE_BYTES)
    glue = Glue(place + 1, stack_end, base, table, wrapped, pages if plan.exports else None)
    units = [
        Unit(unit.module, tuple(glue.wrapper(one) if isinstance(one, Wrapped) else one for one in targets))
        for unit, targets in zip(plan.units, found, strict=True)
    ]
    units += [_layer_unit(plan, layer, glue), glue.build()]
    exported = {"now": _NOW} if plan.exports else {START: START}
    exports = {name: Definition(place, Kind.FUNC, layer.function(one)[0]) for name, one in exported.items()}
    grow = glue.grow()
    soft = None if grow is None else SoftSize(glue.size(), grow)
    return Image(tuple(units), plan.exports | exports, plan.memory, pages, plan.table, table + sizes.table, soft)


def _found(unit: Unit, number: int, layer: Layer, place: int) -> Target | Wrapped:
    """What an import is linked to: for a function of WASI the layer's, whose type has to be the same."""
    target, wanted = unit.targets[number], unit.module.imports[number].type
    if not isinstance(target, HostFunction):
        return target
    if not target.name.startswith(_WASI):
        interface, _, name = target.name.partition("#")
        return SystemFunction(name, interface)
    index, type_ = layer.function(target.name)
    if not isinstance(wanted, int) or wanted >= len(unit.module.types) or unit.module.types[wanted] != type_:
        raise Unsupported(f"it takes {target.name} for a function of another type")
    function = Definition(place, Kind.FUNC, index)
    return function if target.realloc is None else Wrapped(function, type_, target.realloc)


def _layer_unit(plan: Plan, layer: Layer, glue: Glue) -> Unit:
    named: dict[tuple[str, str], Target] = {("env", name): one for name, one in glue.globals().items()}
    named |= {
        ("env", "memory"): plan.memory,
        ("env", "__indirect_function_table"): plan.table,
        ("component", "realloc"): glue.realloc(),
        # Nothing calls the entry of a hosted component, so what it would call is not imported.
        ("component", "run"): plan.run or SystemFunction("run", "component"),
    }
    imports = layer.module.imports
    targets = (
        SystemFunction(one.name) if one.module == SYSTEM else named.get((one.module, one.name)) for one in imports
    )
    known = [target for target in targets if target is not None]
    if len(known) != len(imports):
        raise Malformed("the layer imports what there is not", 0)
    return Unit(layer.module, tuple(known))
