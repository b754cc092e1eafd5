"""YAML of somebody else: read only once it is known that it is not larger than it looks."""

import yaml

MAX_CHARACTERS = 2_000_000
MAX_VALUES = 100_000
"""Values of a document, with those that aliases repeat."""
MAX_DEPTH = 64


def check_document(root: yaml.Node) -> None:
    """Check a document's nodes before anything walks over them or makes values of them.

    Aliases repeat what they name: a few lines of them stand for more values than any memory holds.

    Raises:
        yaml.MarkedYAMLError: It has more values than `MAX_VALUES`, is nested deeper than `MAX_DEPTH`, contains itself,
            or a key is no plain value.
    """
    sizes: dict[int, int] = {}
    open_: dict[int, yaml.Node] = {}
    todo = [(root, False)]
    while todo:
        node, done = todo.pop()
        if done:
            del open_[id(node)]
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] > MAX_VALUES:
                raise _error(node, f"more than {MAX_VALUES} values, with those that aliases repeat")
        elif id(node) in open_:
            raise _error(node, "an alias of what it is a part of")
        elif id(node) not in sizes:
            open_[id(node)] = node
            if len(open_) > MAX_DEPTH:
                raise _error(node, f"values that are nested more than {MAX_DEPTH} deep")
            todo.append((node, True))
            todo += [(child, False) for child in _children(node)]


def compose(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> yaml.Node | None:
    """Reads the nodes of a text with one document; None if it is empty.

    Raises:
        yaml.YAMLError: It is no YAML, or larger than it looks; see `check_document`.
        RecursionError: It is nested far deeper than `MAX_DEPTH`.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"more than {MAX_CHARACTERS} characters")
    root = yaml.compose(text, Loader=loader)
    if root is not None:
        check_document(root)
    return root


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error(key, "a key that is a list or a mapping")
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
