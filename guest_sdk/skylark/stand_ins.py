"""Let packages import modules of the standard library that the sandbox's Python lacks, as long as they do not use them.

Many packages import `ssl` or `bz2` at their top, for a feature that a function never comes to. They get a stand-in,
whose names can be mentioned, in annotations say, but not used. Code that asks whether a module is there gets none: an
import within `try`, or any other way to look.
"""

import sys
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType, ModuleType
from typing import Any, NoReturn

from skylark import import_system

STAND_INS = frozenset({"bz2", "ctypes", "lzma", "mmap", "ssl"})


class StandIns:
    """Give a stand-in to packages that import one of these modules outside of `try`.

    Args:
        folders: The folders of packages.

    Attributes:
        taken: The name, the file and the line of each import that got one.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self.taken: dict[tuple[str, str, int], None] = {}
        self._folders = tuple(f"{folder}/" for folder in folders)

    def use(self) -> None:
        """Begin."""
        self._plain = import_system.step()
        import_system.use(self._find_and_load)

    @import_system.hidden
    def _find_and_load(self, name: str, import_: Any) -> ModuleType:
        try:
            return self._plain(name, import_)
        except ModuleNotFoundError:
            frame = _importer() if name in STAND_INS else None
            if frame is None or not frame.f_code.co_filename.startswith(self._folders) or _is_guarded(frame):
                raise
            self.taken[name, frame.f_code.co_filename, frame.f_lineno] = None
            return _Module(name)  # not among the loaded modules, where the next import may be within `try`


class _Module(ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stand_in(self.__name__, f"{self.__name__}.{name}")


class _Mentioned(type):
    """The class of what can be mentioned only."""

    absent_module: str

    def __getattr__(cls, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return _stand_in(cls.absent_module, f"{cls.__qualname__}.{name}")

    def __call__(cls, *_arguments: Any, **_options: Any) -> NoReturn:
        reason = f"the sandbox's Python does not have it, and {cls.__qualname__} is used"
        raise ModuleNotFoundError(f"No module named {cls.absent_module!r}: {reason}", name=cls.absent_module)


def _stand_in(module: str, name: str) -> type:
    if name.endswith(("Error", "Exception", "Warning")):
        return type(name, (Exception,), {})  # for `except`: nothing raises it
    return _Mentioned(name, (), {"absent_module": module})


def _importer() -> FrameType | None:
    """Return the frame whose import is going on."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == import_system.FILE:
        frame = frame.f_back
    return frame


def _is_guarded(frame: FrameType) -> bool:
    """True if a frame is within `try` or `with`."""
    return any(start <= frame.f_lasti < end for start, end in _guards(frame.f_code))


def _guards(code: CodeType) -> Iterator[tuple[int, int]]:
    """Yield the parts of some code that have a handler for exceptions.

    Each entry of the table has four numbers of a variable length: the start, the length and the handler, in units of
    two bytes, and the depth of the stack (CPython, InternalDocs/exception_handling.md).
    """
    numbers = _numbers(iter(code.co_exceptiontable))
    for start, length, _handler, _depth in zip(numbers, numbers, numbers, numbers, strict=False):
        yield 2 * start, 2 * (start + length)


def _numbers(table: Iterator[int]) -> Iterator[int]:
    for byte in table:
        number = byte & 63
        while byte & 64:
            byte = next(table)
            number = number << 6 | byte & 63
        yield number
