"""What a component is built for: each target is a WIT world and the part of the SDK that serves it."""

from enum import StrEnum


class Target(StrEnum):
    """Who runs a component."""

    HOSTED = "hosted"
    """The proxy of a node."""
    HTTP = "http"
    """Any runtime of the standard world `wasi:http/proxy`."""

    @property
    def world(self) -> str:
        """The WIT world of its components."""
        return _WORLDS[self]

    @property
    def export(self) -> str:
        """The interface that components of this target export, and no others."""
        return _EXPORTS[self]

    @property
    def bindings(self) -> str:
        """The Python module that componentize-py makes of the target's world, which has the target's name."""
        return _BINDINGS[self]

    @property
    def entry(self) -> str:
        """What the main module of such a component imports from the SDK: the implementation of its export."""
        return _ENTRIES[self]


_WORLDS = {Target.HOSTED: "skylark:state/hosted@0.1.0", Target.HTTP: "skylark:state/http@0.1.0"}
_EXPORTS = {
    Target.HOSTED: "skylark:state/handler@0.1.0",
    Target.HTTP: "wasi:http/incoming-handler@0.2.0",
}
_BINDINGS = {Target.HOSTED: "wit_world", Target.HTTP: "wit_http"}
_ENTRIES = {
    Target.HOSTED: "from skylark.hosted import Handler",
    Target.HTTP: "from skylark.wasi_http import IncomingHandler",
}
