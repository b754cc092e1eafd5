"""A kustomize base for any Kubernetes, and an overlay for each distribution with nothing but what differs there.

The fields of the kustomizations are those that every kubectl since 1.14 understands (kustomize 2.0.3 in kubectl 1.20);
newer ones print that `bases` and the two kinds of patches have other names by now.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skylark_oci.manifests.config import ClusterConfig, Distribution
from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.render import Part, for_distribution, identity, render

OVERLAYS = (Distribution.MICROK8S, Distribution.K3S, Distribution.KIND)
_HEAD = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def kustomizations(config: ClusterConfig, secrets: Secrets) -> dict[str, list[Document]]:
    """The files of the base and of the overlays by their path, each with its documents."""
    base = render(for_distribution(config, Distribution.PLAIN), secrets)
    files = {f"base/{part.name}.yaml": part.documents for part in base}
    files["base/kustomization.yaml"] = [_HEAD | {"resources": [f"{part.name}.yaml" for part in base]}]
    for distribution in OVERLAYS:
        files |= _overlay(distribution, base, render(for_distribution(config, distribution), secrets))
    return files


def _overlay(distribution: Distribution, base: Sequence[Part], wanted: Sequence[Part]) -> dict[str, list[Document]]:
    ours, theirs = _by_identity(base), _by_identity(wanted)
    folder = f"overlays/{distribution}"
    kustomization: Document = _HEAD | {"bases": ["../../base"]}
    files: dict[str, list[Any]] = {f"{folder}/kustomization.yaml": [kustomization]}
    changed = {key: list(differences(ours[key], theirs[key])) for key in ours if key in theirs}
    if any(changed.values()):
        kustomization["patchesJson6902"] = []
    for key, operations in changed.items():
        if operations:
            name = f"{key[1].lower()}-{key[3]}.yaml"
            kustomization["patchesJson6902"].append({"target": _target(key), "path": name})
            files[f"{folder}/{name}"] = [operations]
    gone = [_deletion(ours[key]) for key in ours if key not in theirs]
    if gone:
        kustomization["patchesStrategicMerge"] = ["already-there.yaml"]
        files[f"{folder}/already-there.yaml"] = gone
    return files


def differences(before: Any, after: Any, path: str = "") -> Iterator[Document]:
    """The operations of a JSON patch (RFC 6902) that turn one document into another. A list is replaced as a whole,
    unless only items of it differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() - after.keys():
            yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
        for name, value in after.items():
            place = f"{path}/{_escaped(name)}"
            if name in before:
                yield from differences(before[name], value, place)
            else:
                yield {"op": "add", "path": place, "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{path}/{index}")
    elif before != after:
        yield {"op": "replace", "path": path, "value": after}


def _by_identity(parts: Sequence[Part]) -> Mapping[tuple[str, str, str | None, str], Document]:
    return {identity(document): document for part in parts for document in part.documents}


def _target(key: tuple[str, str, str | None, str]) -> Document:
    api, kind, namespace, name = key
    group, _, version = api.rpartition("/")
    target = {"group": group} if group else {}
    return target | {"version": version, "kind": kind, "name": name} | ({"namespace": namespace} if namespace else {})


def _deletion(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if key in ("name", "namespace")}
    head = {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata}
    return {"$patch": "delete"} | head


def _escaped(name: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
