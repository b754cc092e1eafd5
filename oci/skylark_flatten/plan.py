"""What linking is to do: the modules of a component, and what each of their imports is."""

from dataclasses import dataclass

from skylark_flatten.module import Kind, Module


@dataclass(frozen=True, slots=True)
class Definition:
    """What a module itself defines: the module's place in the plan, and the index that it has there."""

    unit: int
    kind: Kind
    index: int


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A function of WASI 0.2, to be had from the layer.

    Attributes:
        name: Interface and function without the version, as in `wasi:io/poll#poll`.
        realloc: What allocates the memory of its results; None: they need none.
    """

    name: str
    realloc: Definition | None


@dataclass(frozen=True, slots=True)
class SystemFunction:
    """A function of WASI preview 1, or one that WasmEdge adds to it: what the linked module imports."""

    name: str


Target = Definition | HostFunction | SystemFunction


@dataclass(frozen=True, slots=True)
class Unit:
    """A module to link, with what each of its imports is, in their order."""

    module: Module
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a component becomes one module.

    Attributes:
        units: Its modules, in the order of their instantiation.
        memory: The memory that all of them share.
        table: Their table of functions.
        run: `run` of `wasi:cli/run`: the program.
    """

    units: tuple[Unit, ...]
    memory: Definition
    table: Definition
    run: Definition
