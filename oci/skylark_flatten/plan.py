"""What linking is to do: the modules of a component, and what each of their imports is."""

from dataclasses import dataclass, field
from enum import Enum

from skylark_flatten.module import Kind, Module

SYSTEM = "wasi_snapshot_preview1"


class World(Enum):
    """Who runs the module, which says what it exports and may import."""

    COMMAND = "wasi:cli/command"
    """A runtime of preview 1: it exports `_start`, and imports preview 1 only."""
    HOSTED = "skylark:state/hosted"
    """The host proxy, which resets instances: it exports the handler's core functions and its mutable globals, and
    imports the functions of `skylark:state/bundles` as the canonical ABI lowers them."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a module itself defines: the module's place in the plan, and the index that it has there."""

    unit: int
    kind: Kind
    index: int


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A function that the component imports: of WASI 0.2, to be had from the layer, or the host's own.

    Attributes:
        name: Interface and function, of WASI without the version, as in `wasi:io/poll#poll`.
        realloc: What allocates the memory of its results; None: they need none.
    """

    name: str
    realloc: Definition | None


@dataclass(frozen=True, slots=True)
class SystemFunction:
    """What the linked module imports: a function of WASI preview 1, one that WasmEdge adds to it, or the host's own."""

    name: str
    module: str = SYSTEM


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
        run: `run` of `wasi:cli/run`: the program; None for a hosted component.
        exports: For a hosted component: what its module exports, by name.
    """

    units: tuple[Unit, ...]
    memory: Definition
    table: Definition
    run: Definition | None = None
    exports: dict[str, Definition] = field(default_factory=dict)
