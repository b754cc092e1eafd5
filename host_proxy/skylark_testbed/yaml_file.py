"""Reads YAML, and remembers on which line each value stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skylark_oci.safe_yaml import MAX_CHARACTERS, check_document
from skylark_testbed.errors import DescriptionError


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file says, as plain Python values, with the line of each value by its path, such as `nodes[2].tier`."""

    path: Path
    content: Any
    lines: Mapping[str, int]

    def line(self, field: str) -> int:
        """The line of a field; where it is missing, that of what it belongs to."""
        while field and field not in self.lines:
            field = field[: max(0, field.rfind("."), field.rfind("["))]
        return self.lines.get(field, 1)

    def error(self, field: str, value: object, expected: str) -> DescriptionError:
        """An error of a field."""
        return DescriptionError(self.path, self.line(field), field, value, expected)


def read_yaml(path: Path) -> YamlFile:
    """Reads a file of one document.

    Raises:
        DescriptionError: It cannot be read, is no YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(path, 1, "", str(path), f"a file that can be read ({error})") from error
    lines: dict[str, int] = {}
    try:
        return YamlFile(path, _read(path, text, lines), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.context, error.problem)))
        raise DescriptionError(path, mark.line + 1 if mark else 1, "", reason, "YAML") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DescriptionError(path, 1, "", str(error), "YAML") from error


def _read(path: Path, text: str, lines: dict[str, int]) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"more than {MAX_CHARACTERS} characters")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        check_document(root)
        _note_lines(path, root, "", lines)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _note_lines(path: Path, node: yaml.Node, field: str, lines: dict[str, int]) -> None:
    if field in lines:  # an alias leads here again
        return
    lines[field] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(path, item, f"{field}[{index}]", lines)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = f"{field}.{key.value}".lstrip(".")
            if name in seen:
                raise DescriptionError(path, key.start_mark.line + 1, name, key.value, "each key once")
            seen.add(name)
            _note_lines(path, value, name, lines)
            lines[name] = key.start_mark.line + 1
