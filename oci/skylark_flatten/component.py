"""A component: its core modules, how they are instantiated, and what crosses between them and the component."""

from dataclasses import dataclass, field
from enum import Enum

from skylark_flatten.errors import Malformed


class Sort(Enum):
    """What an index counts; those of core modules have the numbers of the binary format."""

    CORE_FUNC = 0x00
    CORE_TABLE = 0x01
    CORE_MEMORY = 0x02
    CORE_GLOBAL = 0x03
    CORE_TYPE = 0x10
    CORE_MODULE = 0x11
    CORE_INSTANCE = 0x12
    FUNC = "func"
    TYPE = "type"
    COMPONENT = "component"
    INSTANCE = "instance"


SortIndex = tuple[Sort, int]


@dataclass(frozen=True, slots=True)
class Imported:
    """Imported by the component under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Alias:
    """An export of an instance, a core one for core sorts."""

    instance: int
    name: str


@dataclass(frozen=True, slots=True)
class Outer:
    """A definition of an enclosing component."""


@dataclass(frozen=True, slots=True)
class Lift:
    """A function of the component that a core function implements.

    Attributes:
        realloc: The core function that allocates the memory of its arguments; None: they need none.
        post_return: The core function to call once its result has been read, if there is one.
    """

    core_func: int
    realloc: int | None
    post_return: int | None


@dataclass(frozen=True, slots=True)
class Lower:
    """A core function that calls a function of the component.

    Attributes:
        realloc: The core function that allocates the memory of its results; None: they need none.
    """

    func: int
    realloc: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    """A core function that drops a handle to a resource of this type."""

    type: int


@dataclass(frozen=True, slots=True)
class Resource:
    """A core function that makes or reads a resource of the component's own."""


@dataclass(frozen=True, slots=True)
class Same:
    """Another name of a definition: what `export` adds to an index space."""

    index: int


@dataclass(frozen=True, slots=True)
class Instantiation:
    """An instance of a component, or of a core module; the arguments of the latter are core instances."""

    of: int
    arguments: dict[str, SortIndex]


@dataclass(frozen=True, slots=True)
class Bag:
    """An instance made of definitions by name."""

    exports: dict[str, SortIndex]


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition that nothing here has to look into: a type, a nested component."""


Definition = Imported | Alias | Outer | Lift | Lower | Drop | Resource | Same | Instantiation | Bag | Defined


@dataclass(slots=True)
class Component:
    """A component that was read.

    Attributes:
        modules: The bytes of its core modules.
        spaces: The definitions of each sort, by index.
        exports: What it exports by name.
    """

    modules: list[bytes] = field(default_factory=list)
    spaces: dict[Sort, list[Definition]] = field(default_factory=lambda: {sort: [] for sort in Sort})
    exports: dict[str, SortIndex] = field(default_factory=dict)

    def get(self, sort: Sort, index: int) -> Definition:
        """A definition.

        Raises:
            Malformed: There is none with this index.
        """
        space = self.spaces[sort]
        if index >= len(space):
            raise Malformed(f"no {sort.name.lower().replace('_', ' ')} has the index {index}", 0)
        return space[index]

    def imports(self) -> list[str]:
        """The names of the instances that it imports."""
        return [one.name for one in self.spaces[Sort.INSTANCE] if isinstance(one, Imported)]
