"""Reads YAML into typed objects; an error names the file, the line and the field."""

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from skylark_proxy.errors import InvalidArgument

T = TypeVar("T")

_STEP = re.compile(r"[^.\[\]]+")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*?)`)?$", re.DOTALL)


class YamlFile:
    """A YAML file whose values know their lines.

    Attributes:
        path: The file.
        value: Its content as plain values; what it repeats by an anchor is the same.

    Raises:
        InvalidArgument: The file cannot be read, is not YAML, or has a key twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text()
            self._root = yaml.compose(text, yaml.SafeLoader)
            self.value: Any = yaml.safe_load(text)
        except (OSError, UnicodeError) as error:
            raise InvalidArgument("file", str(path), f"a file that can be read ({error})") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InvalidArgument(f"{path}:{line}", error.problem, "YAML") from error
        self._refuse_duplicates(self._root)

    def line(self, field: str) -> int:
        """The line (from 1) of a field such as `workload.sizes_mb[2]`, or of the nearest one above that exists."""
        node = self._root
        for step in _STEP.findall(field):
            found = _child(node, step)
            if found is None:
                break
            node = found
        return node.start_mark.line + 1 if node is not None else 1

    def error(self, field: str, value: object, expected: str) -> InvalidArgument:
        """The error that names this field of the file, to be raised."""
        return InvalidArgument(f"{self.path}:{self.line(field)}: {field or 'the file'}", value, expected)

    def convert(self, kind: type[T], value: Any = None) -> T:
        """The content, or another `value` of the same shape, as an object of this type.

        Raises:
            InvalidArgument: It is none.
        """
        given = self.value if value is None else value
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            match = _AT.match(str(error))
            assert match is not None  # the pattern matches any text
            field = (match["path"] or "").lstrip(".").replace("[...]", "")
            unknown = re.search(r"unknown field `(.+?)`", match["what"])
            if unknown:
                field = f"{field}.{unknown[1]}".lstrip(".")
            raise self.error(field, _at(given, field), match["what"][:1].lower() + match["what"][1:]) from error

    def _refuse_duplicates(self, node: Any, field: str = "") -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = f"{field}.{key.value}".lstrip(".")
                if key.value in seen:
                    raise InvalidArgument(f"{self.path}:{key.start_mark.line + 1}: {name}", key.value, "each key once")
                seen.add(key.value)
                self._refuse_duplicates(value, name)
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self._refuse_duplicates(value, f"{field}[{number}]")


def _child(node: Any, step: str) -> Any:
    """What is below a node at this step. A field that is missing has the line of its key's parent."""
    if isinstance(node, yaml.MappingNode):
        return next((key if _is_scalar(value) else value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
        return node.value[int(step)]
    return None


def _is_scalar(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _at(value: Any, field: str) -> object:
    for step in _STEP.findall(field):
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (LookupError, TypeError, ValueError):
            return None
    return value if isinstance(value, (str, int, float, bool)) else type(value).__name__
