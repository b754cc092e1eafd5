"""Change how the import system finds and loads a module that is not loaded yet."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

FILE = "<frozen importlib._bootstrap>"
Step = Callable[[str, Any], ModuleType]
"""Finds and loads a module by its name."""


def step() -> Step:
    """Return the step that is in use."""
    bootstrap: Any = sys.modules["_frozen_importlib"]
    found: Step = bootstrap._find_and_load_unlocked
    return found


def use(new: Step) -> None:
    """Put another step in place of the one that is in use."""
    bootstrap: Any = sys.modules["_frozen_importlib"]
    bootstrap._find_and_load_unlocked = new


def hidden(function: _F) -> _F:
    """Leave a function out of the tracebacks of imports, as Python does with the import system's own."""
    plain: Any = function
    plain.__code__ = plain.__code__.replace(co_filename=FILE)
    return function
