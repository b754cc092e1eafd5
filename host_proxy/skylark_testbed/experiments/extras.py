"""Packages of the extra `experiments`, imported where they are used: the command works without them."""

import importlib
from typing import Any

from skylark_proxy.errors import InvalidArgument


def needed(module: str, what: str) -> Any:
    """A module of the extra.

    Args:
        what: Who asks, for the error.

    Raises:
        InvalidArgument: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidArgument(what, error.name, "installed packages: pip install 'skylark[experiments]'") from error
