"""Server-side apply as the API server does it, as far as the tests need it: who owns which fields of an object.

Source: Kubernetes, "Server-Side Apply". Lists whose items have a key are merged by it; all others are replaced whole.
"""

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Path = tuple[Any, ...]

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
_HEAD = ("apiVersion", "kind")


@dataclass(frozen=True)
class Item:
    """A step into a list: to the item whose `key` has the value."""

    key: str
    value: Any


class Conflict(Exception):
    """Another manager owns a field and has another value in it."""

    def __init__(self, manager: str, fields: list[str]) -> None:
        super().__init__(f'Apply failed with {len(fields)} conflict: conflict with "{manager}": {", ".join(fields)}')


@dataclass
class Owned:
    """An object and the fields of each manager."""

    document: Json
    managers: dict[str, set[Path]] = field(default_factory=dict)

    def applied(self, manager: str, config: Json, force: bool) -> "Owned":
        """The object after `manager` has applied a configuration.

        Raises:
            Conflict: Another manager would lose a field, and `force` is not set.
        """
        wanted = leaves(config)
        document, managers = copy.deepcopy(self.document), {name: set(paths) for name, paths in self.managers.items()}
        for other in set(managers) - {manager}:
            taken = [path for path in managers[other] & wanted.keys() if value_at(document, path) != wanted[path]]
            if taken and not force:
                raise Conflict(other, [shown(path) for path in taken])
            managers[other] -= set(taken)
        elsewhere = set().union(*(paths for name, paths in managers.items() if name != manager))
        for path in managers.get(manager, set()) - wanted.keys() - elsewhere:
            _remove(document, path)
        for path, value in wanted.items():
            _put(document, path, copy.deepcopy(value))
        managers[manager] = set(wanted)
        return Owned(document, managers)


def leaves(config: Json) -> dict[Path, Any]:
    """The fields of a configuration with their values, but for what names the object."""
    found: dict[Path, Any] = {}
    _collect(config, (), found)
    named = {("metadata", "name"), ("metadata", "namespace")}
    return {path: value for path, value in found.items() if path[0] not in _HEAD and path not in named}


def value_at(document: Any, path: Path) -> Any:
    """The value of a field; None where it is missing."""
    for step in path:
        if isinstance(step, Item):
            document = next((one for one in document or () if one.get(step.key) == step.value), None)
        else:
            document = document.get(step) if isinstance(document, Mapping) else None
    return document


def shown(path: Path) -> str:
    """A path as the API server writes it."""
    return "".join(f'[{step.key}="{step.value}"]' if isinstance(step, Item) else f".{step}" for step in path)


def _collect(value: Any, path: Path, found: dict[Path, Any]) -> None:
    key = _KEYS.get(path[-1]) if path and isinstance(path[-1], str) else None
    if isinstance(value, dict) and value:
        for name, child in value.items():
            _collect(child, (*path, name), found)
    elif isinstance(value, list) and value and key is not None and all(key in item for item in value):
        for item in value:
            _collect(item, (*path, Item(key, item[key])), found)
    else:
        found[path] = value


def _put(document: Any, path: Path, value: Any) -> None:
    for step, following in itertools.pairwise(path):
        document = _child(document, step, [] if isinstance(following, Item) else {})
    if value != {} or not document.get(path[-1]):
        document[path[-1]] = value


def _child(document: Any, step: Any, empty: Any) -> Any:
    if not isinstance(step, Item):
        if not document.get(step):
            document[step] = empty
        return document[step]
    found = next((one for one in document if one.get(step.key) == step.value), None)
    if found is None:
        found = {step.key: step.value}
        document.append(found)
    return found


def _remove(document: Json, path: Path) -> None:
    """Takes a field away, and what is empty without it: an item of a list is so when only its key is left."""
    parent, item = value_at(document, path[:-1]), path[-2] if len(path) > 1 else None
    if not isinstance(parent, dict):
        return
    if not (isinstance(item, Item) and item.key == path[-1]):
        parent.pop(path[-1], None)
    if item is not None and set(parent) <= ({item.key} if isinstance(item, Item) else set()):
        _drop(document, path[:-1])


def _drop(document: Json, path: Path) -> None:
    step, parent = path[-1], value_at(document, path[:-1])
    if isinstance(step, Item) and isinstance(parent, list):
        parent[:] = [one for one in parent if one.get(step.key) != step.value]
        if not parent:
            _drop(document, path[:-1])
    elif isinstance(parent, dict):
        _remove(document, path)
