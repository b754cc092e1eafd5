"""Which components are known to work once they are flattened: those of componentize-py.

Another toolchain's component may link, and fail as it runs: the layer takes memory that its allocator may claim, and
its start functions have not run. So it is refused here, with a reason.
"""

import re
from collections.abc import Iterable

from skylark_flatten.errors import Unsupported
from skylark_flatten.module import Module

KNOWN_PYTHONS = ("3.14",)
"""Versions of CPython in components that were tried."""

_RUNTIME = "libcomponentize_py_runtime.so"
_PYTHON = re.compile(r"libpython([0-9.]+)\.so")


def check_toolchain(modules: Iterable[Module]) -> None:
    """Checks that the modules are those of a component of componentize-py.

    Raises:
        Unsupported: They are not, or their CPython is not known.
    """
    libraries = {one.module for module in modules for one in module.imports}
    pythons = [found[1] for library in sorted(libraries) if (found := _PYTHON.fullmatch(library))]
    if _RUNTIME not in libraries or not pythons:
        raise Unsupported("it was not made by componentize-py, whose components alone are known to work flattened")
    if pythons[0] not in KNOWN_PYTHONS:
        known = ", ".join(KNOWN_PYTHONS)
        raise Unsupported(f"it has CPython {pythons[0]}; known to work flattened: {known}")
