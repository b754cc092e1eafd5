"""Merge what Knative is told into what others have told it, and take only our own away again.

Knative's settings lie in ConfigMaps, or in the object of its operator, that everybody in the cluster shares.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.functions import NEVER_RESOLVED, OPERATOR, SKIPPED_REGISTRIES
from skylark_oci.manifests.render import identity

ADDED = "skylark.io/added-registries"
"""The annotation that says which registries were added by us."""

_KNATIVE = "knative-serving"
_FEATURE = "kubernetes.podspec-"
_ON = ("enabled", "allowed")
"""Values of a flag with which Knative takes the field (Knative Serving, "Feature and extension flags")."""


def merged(document: Document, live: Document | None) -> Document:
    """Return what to apply so that `document` holds and what others have set stays."""
    made = copy.deepcopy(document)
    if document["kind"] == "KnativeServing" and _annotations(live or {}).get(ADDED):
        # a field that we no longer apply would be gone, with what others have in it
        made["spec"]["config"].setdefault("deployment", {SKIPPED_REGISTRIES: ""})
    for wanted, found in _settings(made, live or {}):
        for name in wanted:
            if name.startswith(_FEATURE) and str(found.get(name)).lower() in _ON:
                wanted[name] = found[name]
        if SKIPPED_REGISTRIES in wanted:
            others = _others(live or {}, found)
            ours = [one for one in _split(wanted[SKIPPED_REGISTRIES]) if one not in (*others, *NEVER_RESOLVED)]
            wanted[SKIPPED_REGISTRIES] = ",".join((*others, *ours))
            if ours:
                made["metadata"]["annotations"] = {ADDED: ",".join(ours)}
    return made


def unnamed(documents: Sequence[Document]) -> list[Document]:
    """Return the shared objects that a configuration does not name, but that an earlier one may have changed."""
    metadata = {"namespace": _KNATIVE}
    setting = {SKIPPED_REGISTRIES: ""}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"name": "config-deployment"}}
    operated = {"apiVersion": OPERATOR, "kind": "KnativeServing", "metadata": metadata | {"name": _KNATIVE}}
    both = [config_map | {"data": setting}, operated | {"spec": {"config": {"deployment": setting}}}]
    named = {identity(document) for document in documents}
    return [document for document in both if identity(document) not in named]


def without_ours(document: Document, live: Document) -> Document | None:
    """Return what to apply so that the registries that we have added are gone; None if there are none."""
    if not _annotations(live).get(ADDED):
        return None
    made = copy.deepcopy(document)
    for wanted, found in _settings(made, live):
        for name in wanted:
            wanted[name] = found.get(name, wanted[name])
        if SKIPPED_REGISTRIES in wanted:
            others = _others(live, found)
            wanted[SKIPPED_REGISTRIES] = ",".join(others)
            if set(others) == set(NEVER_RESOLVED):
                del wanted[SKIPPED_REGISTRIES]  # Knative's own default
    return made


def _others(live: Document, found: Document) -> list[str]:
    """Return the registries that Knative skips without us."""
    ours = _split(_annotations(live).get(ADDED))
    text = found.get(SKIPPED_REGISTRIES)
    return list(NEVER_RESOLVED) if text is None else [one for one in _split(text) if one not in ours]


def _settings(document: Document, live: Document) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each group of settings with the group of the object that is there."""
    if document["kind"] == "ConfigMap" and document["metadata"].get("namespace") == _KNATIVE:
        yield document["data"], live.get("data") or {}
    elif document["kind"] == "KnativeServing":
        there = (live.get("spec") or {}).get("config") or {}
        for name, group in document["spec"]["config"].items():
            yield group, there.get(name) or {}


def _annotations(live: Document) -> dict[str, str]:
    return (live.get("metadata") or {}).get("annotations") or {}


def _split(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]
