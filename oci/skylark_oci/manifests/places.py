"""Where a field stands in a YAML document: `functions[1].tier` is on line 12."""

import re

import yaml

_STEP = re.compile(r"[^.\[\]]+")


class DuplicateKey(ValueError):
    """A mapping has a key twice, which YAML forbids and its readers take the last of. `line` counts from 1."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__(path)
        self.path = path
        self.line = line


def line_of(root: yaml.Node | None, path: str) -> int | None:
    """The line of the last part of a path that the document has, from 1; None where there is no document."""
    if root is None:
        return None
    node, line = root, root.start_mark.line + 1
    for step in _STEP.findall(path):
        child = _child(node, step)
        if child is None:
            return line
        key, node = child
        line = key.start_mark.line + 1
    return line


def check_keys(node: yaml.Node, path: str = "") -> None:
    """Looks for keys that are there twice.

    Raises:
        DuplicateKey: There is one.
    """
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            place = f"{path}.{key.value}".lstrip(".")
            if key.value in seen:
                raise DuplicateKey(place, key.start_mark.line + 1)
            seen.add(key.value)
            check_keys(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            check_keys(value, f"{path}[{index}]")


def _child(node: yaml.Node, step: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that a step leads to, after the one that shows its line."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None
