"""The index spaces of the modules that are linked: what an index of a module means in the whole."""

from functools import partial

from skylark_flatten.attach import Image
from skylark_flatten.constants import Constant, Raw, evaluate
from skylark_flatten.errors import Malformed, Unsupported
from skylark_flatten.module import Global, Kind
from skylark_flatten.plan import Definition, SystemFunction

Function = Definition | SystemFunction

_UNKNOWN = Raw(b"")


class Spaces:
    """The index spaces of an image's modules.

    Raises:
        Malformed: By every method, where an index means nothing.
    """

    def __init__(self, image: Image) -> None:
        self.modules = [unit.module for unit in image.units]
        self._spaces = [_spaces(number, image) for number in range(len(image.units))]
        self._values: dict[Definition, Constant] = {}

    def function(self, unit: int, index: int) -> Function:
        """The function that an index of a module names."""
        return self._target(unit, Kind.FUNC, index)

    def definition(self, unit: int, kind: Kind, index: int) -> Definition:
        """What an index of a module names, other than a function of the system."""
        target = self._target(unit, kind, index)
        if not isinstance(target, Definition):
            raise Malformed(f"a {kind.name.lower()} is taken from the system", 0)
        return target

    def type(self, unit: int, index: int) -> bytes:
        """The encoded function type that an index of a module names."""
        types = self.modules[unit].types
        if not 0 <= index < len(types):
            raise Malformed(f"no type of a module has the index {index}", 0)
        return types[index]

    def global_(self, definition: Definition) -> Global:
        """A global, by where it is defined."""
        module = self.modules[definition.unit]
        return module.globals[definition.index - len(module.imported(Kind.GLOBAL))]

    def value(self, definition: Definition) -> Constant:
        """What a global is at the start."""
        if definition not in self._values:
            self._values[definition] = _UNKNOWN  # what a global that needs itself gets to see
            self._values[definition] = self.evaluate(definition.unit, self.global_(definition).init)
        if (value := self._values[definition]) == _UNKNOWN:
            raise Malformed("a global begins with its own value", 0)
        return value

    def evaluate(self, unit: int, expression: bytes) -> Constant:
        """Computes a constant expression of a module."""
        return evaluate(expression, partial(self._global_value, unit))

    def _global_value(self, unit: int, index: int) -> Constant:
        return self.value(self.definition(unit, Kind.GLOBAL, index))

    def _target(self, unit: int, kind: Kind, index: int) -> Function:
        space = self._spaces[unit][kind]
        if index >= len(space):
            raise Malformed(f"no {kind.name.lower()} of a module has the index {index}", 0)
        return space[index]


def _spaces(number: int, image: Image) -> dict[Kind, list[Function]]:
    """The targets of a unit's indices, by kind."""
    unit = image.units[number]
    spaces: dict[Kind, list[Function]] = {kind: [] for kind in Kind}
    for one, target in zip(unit.module.imports, unit.targets, strict=True):
        if not isinstance(target, Definition | SystemFunction):
            raise Unsupported(f"nothing is linked to {one.module}.{one.name}")
        spaces[one.kind].append(target)
    for kind, space in spaces.items():
        space += [Definition(number, kind, index) for index in range(len(space), unit.module.count(kind))]
    return spaces
