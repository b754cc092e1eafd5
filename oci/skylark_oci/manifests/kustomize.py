"""A kustomize base of what every distribution has, and an overlay for each with nothing but what differs there.

Secrets are in none of them: applying one that was made elsewhere would change the password of a Redis that runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from skylark_oci.manifests.config import ClusterConfig, Distribution
from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.render import SECRETS_PART, Part, for_distribution, identity, render

_HEAD = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}

Key = tuple[str, str, str | None, str]


def kustomizations(config: ClusterConfig, secrets: Secrets) -> dict[str, list[Document]]:
    """The files of the base and of the overlays by their path, each with its documents."""
    wanted = {
        one: [part for part in render(for_distribution(config, one), secrets) if part.name != SECRETS_PART]
        for one in Distribution
    }
    common = set.intersection(*(set(_by_identity(parts)) for parts in wanted.values()))
    base = _chosen(wanted[Distribution.PLAIN], lambda key: key in common)
    files = {f"base/{part.name}.yaml": part.documents for part in base}
    files["base/kustomization.yaml"] = [_HEAD | {"resources": [f"{part.name}.yaml" for part in base]}]
    for distribution, parts in wanted.items():
        files |= _overlay(f"overlays/{distribution}", base, parts)
    return files


def _overlay(folder: str, base: Sequence[Part], wanted: Sequence[Part]) -> dict[str, list[Document]]:
    ours, theirs = _by_identity(base), _by_identity(wanted)
    further = _chosen(wanted, lambda key: key not in ours)
    files: dict[str, list[Any]] = {f"{folder}/{part.name}.yaml": part.documents for part in further}
    patches = []
    for key, document in ours.items():
        operations = list(differences(document, theirs[key]))
        if operations:
            name = f"{key[1].lower()}-{key[3]}.yaml"
            patches.append({"target": _target(key), "path": name})
            files[f"{folder}/{name}"] = [operations]
    resources = ["../../base", *(f"{part.name}.yaml" for part in further)]
    files[f"{folder}/kustomization.yaml"] = [_HEAD | {"resources": resources, "patches": patches}]
    return files


def _chosen(parts: Sequence[Part], wanted: Callable[[Key], bool]) -> list[Part]:
    """The parts with some of their objects, where they have any of these."""
    made = [Part(part.name, [one for one in part.documents if wanted(identity(one))]) for part in parts]
    return [part for part in made if part.documents]


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


def _by_identity(parts: Sequence[Part]) -> Mapping[Key, Document]:
    return {identity(document): document for part in parts for document in part.documents}


def _target(key: Key) -> Document:
    api, kind, namespace, name = key
    group, _, version = api.rpartition("/")
    target = {"group": group} if group else {}
    return target | {"version": version, "kind": kind, "name": name} | ({"namespace": namespace} if namespace else {})


def _escaped(name: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
