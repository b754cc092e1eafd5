"""What a function is built for: each target is a WIT world and the part of the SDK that serves it."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Component:
    """What the component of a target is.

    Attributes:
        world: Its WIT world, without package and version.
        export: The interface that it exports, and no others.
        bindings: The Python module that componentize-py makes of the world.
        entry: What its main module imports from the SDK: the implementation of the export.
    """

    world: str
    export: str
    bindings: str
    entry: str

    @property
    def qualified_world(self) -> str:
        """The name of its world with package and version."""
        return f"skylark:state/{self.world}@0.1.0"


class Target(StrEnum):
    """Who runs a function."""

    HOSTED = "hosted"
    """The proxy of a node."""
    HTTP = "http"
    """Any runtime of the standard world `wasi:http/proxy`."""
    COMMAND = "command"
    """Any runtime of the standard world `wasi:cli/command` that lets it listen: it is its own HTTP server."""
    WASMEDGE = "wasmedge"
    """WasmEdge and its containerd shim: the component of `command`, flattened to one core module."""

    @property
    def file_suffix(self) -> str:
        """What the file that is built for it has after the name of its source, where nobody names the file."""
        return ".wasm" if self is Target.HOSTED else f".{self}.wasm"

    @property
    def component(self) -> Component:
        """The component that is built for it."""
        return _COMPONENTS[self]


_COMMAND = Component("command", "wasi:cli/run@0.2.0", "wit_command", "from skylark.wasi_command import Run")
_COMPONENTS = {
    Target.HOSTED: Component(
        "hosted", "skylark:state/handler@0.1.0", "wit_world", "from skylark.hosted import Handler"
    ),
    Target.HTTP: Component(
        "http", "wasi:http/incoming-handler@0.2.0", "wit_http", "from skylark.wasi_http import IncomingHandler"
    ),
    Target.COMMAND: _COMMAND,
    Target.WASMEDGE: _COMMAND,
}
