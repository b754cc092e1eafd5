"""What applying an object would do, or has done."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from skylark_oci.manifests import names
from skylark_oci.manifests.documents import Document

_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")
_MANAGED = (
    "deprecated.daemonset.template.generation",
    "deployment.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "serving.knative.dev/creator",
    "serving.knative.dev/lastModifier",
    "eventing.knative.dev/creator",
    "eventing.knative.dev/lastModifier",
)
"""Annotations that the server writes itself."""
_SHARED = ("Namespace", "RuntimeClass")
"""Kinds of objects that others may have made for everybody: where they have, theirs stay as they are."""


class Action(StrEnum):
    """What became of an object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    """It is there, and stays as it is: it is somebody else's, or a secret."""
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an object. `fields` are the paths that differ, where it has changed."""

    kind: str
    name: str
    namespace: str | None
    action: Action
    fields: tuple[str, ...] = ()


def change(document: Document, action: Action, fields: tuple[str, ...] = ()) -> Change:
    """A change of an object."""
    metadata = document["metadata"]
    return Change(document["kind"], metadata["name"], metadata.get("namespace"), action, fields)


def compared(document: Document, before: Document | None, after: Document) -> Change:
    """What applying has done, or would do: the object before and after."""
    if before is None:
        return change(document, Action.CREATED)
    fields = tuple(differing(_lasting(before), _lasting(after)))
    return change(document, Action.CHANGED if fields else Action.UNCHANGED, fields)


def is_kept(document: Document, live: Document | None) -> bool:
    """Whether an object that is there stays as it is. A new password or key would lock out what runs."""
    if live is None:
        return False
    return document["kind"] == "Secret" or (document["kind"] in _SHARED and not is_ours(live))


def is_ours(live: Document) -> bool:
    """Whether an object was made by `skylark deploy`."""
    return bool((live["metadata"].get("labels") or {}).get(names.MANAGED_BY) == "skylark")


def differing(before: Any, after: Any, path: str = "") -> list[str]:
    """The paths that differ, such as `spec.template.spec.containers[0].image`."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            place for key in keys for place in differing(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [place for index, (old, new) in pairs for place in differing(old, new, f"{path}[{index}]")]
    return [] if before == after else [path]


def _lasting(document: Document) -> Document:
    """An object without what every change changes, and without its status."""
    metadata = {key: value for key, value in document["metadata"].items() if key not in _VOLATILE}
    annotations = metadata.pop("annotations", None) or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if not key.startswith(_MANAGED)}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}
