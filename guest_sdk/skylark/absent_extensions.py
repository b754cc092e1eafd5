"""Report a package that needs a native extension as one that is not installed.

A sandbox cannot load the extension. Where it is installed all the same, the import ends with whatever the package
makes of that. Other packages that can do without it expect what they get in an environment without it: a
`ModuleNotFoundError`.
"""

# ruff: noqa: PTH113, PTH123  # pathlib need not be loaded in the sandbox

import os
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType
from typing import Any

from skylark import import_system

_WASM = b"\0asm"


class AbsentExtensions:
    """Change the errors of imports between `start` and `stop`.

    Args:
        folders: The folders of packages.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = tuple(folders)

    def start(self) -> None:
        """Begin."""
        self._plain = import_system.step()
        import_system.use(self._find_and_load)

    def stop(self) -> None:
        """Leave the import system as it was."""
        import_system.use(self._plain)

    @import_system.hidden
    def _find_and_load(self, name: str, import_: Any) -> ModuleType:
        try:
            return self._plain(name, import_)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            if self._is_native(name, error):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name) from error
            raise

    def _is_native(self, name: str, error: Exception) -> bool:
        """True if an import may have failed for want of an extension. A package may raise what it likes."""
        top, _, rest = name.partition(".")
        return (not rest or isinstance(error, ImportError)) and any(
            _has_extension(folder, top) for folder in self._folders
        )


def _has_extension(folder: str, name: str) -> bool:
    beside = (f"{folder}/{name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    paths = [path for path in beside if os.path.isfile(path)]
    paths += [path for path in _below(f"{folder}/{name}") if path.endswith(".so")]
    return not all(map(_is_wasm, paths))


def _below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield f"{place}/{name}"


def _is_wasm(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == _WASM
