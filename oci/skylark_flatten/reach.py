"""Finds what is used: the functions that the start or a table leads to, and the globals that these set."""

from collections.abc import Iterator
from dataclasses import dataclass

from skylark_flatten.attach import Image
from skylark_flatten.binary import Reader
from skylark_flatten.constants import Reference
from skylark_flatten.errors import Malformed
from skylark_flatten.instructions import CALL, GLOBAL_SET, REF_FUNC, naming, split
from skylark_flatten.module import Kind
from skylark_flatten.plan import Definition, SystemFunction
from skylark_flatten.spaces import Function, Spaces


@dataclass(frozen=True, slots=True)
class Kept:
    """What goes into the linked module, in its order there.

    Attributes:
        systems: The functions that it imports, with their encoded types.
        bodies: The code of its own functions, split (see `instructions.split`).
        written: The globals that some function sets; all others are constants.
    """

    systems: dict[SystemFunction, bytes]
    bodies: dict[Definition, list[bytes]]
    written: tuple[Definition, ...]


def reach(image: Image, spaces: Spaces) -> Kept:
    """Finds what an image uses.

    Raises:
        Malformed: An index means nothing.
        Unsupported: A function has an instruction that is not in WebAssembly 2.0.
    """
    pending: list[Function] = [*image.exports.values(), *_listed(spaces)]
    if image.soft is not None:
        pending.append(image.soft.grow)
    seen = set(pending)
    called: list[dict[bytes, Function]] = [{} for _ in spaces.modules]
    bodies: dict[Definition, list[bytes]] = {}
    written: set[Definition] = set()
    while pending:
        function = pending.pop()
        if isinstance(function, SystemFunction):
            continue
        bodies[function] = parts = _body(spaces, function)
        instructions = set(naming(parts))
        written |= _written(spaces, function.unit, instructions)
        new = _called(spaces, function.unit, instructions, called[function.unit]) - seen
        seen |= new
        pending += new
    systems = sorted((one for one in seen if isinstance(one, SystemFunction)), key=lambda one: (one.module, one.name))
    return Kept(
        {one: _system_type(image, one) for one in systems},
        dict(sorted(bodies.items(), key=lambda one: _place(one[0]))),
        tuple(sorted(written, key=_place)),
    )


def _listed(spaces: Spaces) -> Iterator[Function]:
    """The functions in element segments, which can be called from a table."""
    for unit, module in enumerate(spaces.modules):
        for segment in module.elements:
            for item in segment.items:
                if isinstance(item, int):
                    yield spaces.function(unit, item)
                elif isinstance(reference := spaces.evaluate(unit, item), Reference):
                    yield spaces.function(unit, reference.function)


def _body(spaces: Spaces, function: Definition) -> list[bytes]:
    module = spaces.modules[function.unit]
    start, end = module.code[function.index - len(module.imported(Kind.FUNC))]
    return split(module.content[start:end], start)


def _called(spaces: Spaces, unit: int, instructions: set[bytes], known: dict[bytes, Function]) -> set[Function]:
    """The functions that these instructions name; `known` is what was found for instructions of the module before."""
    for one in instructions:
        if one[0] in (CALL, REF_FUNC) and one not in known:
            known[one] = spaces.function(unit, Reader(one, 1).u32())
    return {known[one] for one in instructions if one in known}


def _written(spaces: Spaces, unit: int, instructions: set[bytes]) -> set[Definition]:
    sets = (one for one in instructions if one[0] == GLOBAL_SET)
    return {spaces.definition(unit, Kind.GLOBAL, Reader(one, 1).u32()) for one in sets}


def _system_type(image: Image, function: SystemFunction) -> bytes:
    for unit in image.units:
        for one, target in zip(unit.module.imports, unit.targets, strict=True):
            if target == function and isinstance(one.type, int) and one.type < len(unit.module.types):
                return unit.module.types[one.type]
    raise Malformed(f"{function.name} has no type", 0)


def _place(definition: Definition) -> tuple[int, int]:
    return definition.unit, definition.index
