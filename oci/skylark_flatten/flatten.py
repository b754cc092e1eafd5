"""Makes one core module of a component: reads, resolves, attaches the WASI layer, links, validates."""

from collections.abc import Callable
from dataclasses import dataclass

from skylark_flatten.attach import attach, built_layer
from skylark_flatten.component_reader import read_component
from skylark_flatten.link import link
from skylark_flatten.plan import SYSTEM, World
from skylark_flatten.resolve import BUNDLES, resolve
from skylark_flatten.validate import validate

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Flattened:
    """A component that was made one core module.

    Attributes:
        module: The module: it exports `memory` and what its world says (see `World`), and needs no more than
            WebAssembly 2.0.
        imports: The functions of `wasi_snapshot_preview1` that it imports, WasmEdge's for sockets among them.
    """

    module: bytes
    imports: tuple[str, ...]


def _silent(step: str) -> None:
    """Reports to nobody."""


def flatten(component: bytes, report: Report = _silent, world: World = World.COMMAND) -> Flattened:
    """Makes a component of componentize-py one core module.

    Args:
        component: The component.
        report: Told what is being done, in a few words.
        world: The world that it has to be of.

    Raises:
        Malformed: It is no component, or not a valid one.
        Unsupported: It is of another toolchain or world, or needs what a core module cannot have.
        FlattenError: The result would not be valid.
    """
    report("reading the component")
    plan = resolve(read_component(component), world)
    report("adding the WASI layer")
    image = attach(plan, built_layer())
    report("linking")
    module = link(image)
    report("validating")
    return Flattened(module, validate(module, (SYSTEM,) if world is World.COMMAND else (SYSTEM, BUNDLES)))
