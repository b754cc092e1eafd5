"""The kustomize base and its overlays, without kustomize: patches as RFC 6902 says."""

import copy
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clusters import FULL, SECRETS, SMALL, cluster_of
from skylark_oci.manifests.kustomize import differences, kustomizations

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=12,
)


def patched(document: Any, operations: list[dict[str, Any]]) -> Any:
    """What a JSON patch makes of a document."""
    root = {"": copy.deepcopy(document)}
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")]
        parent: Any = root
        for step in steps[:-1]:
            parent = parent[int(step) if isinstance(parent, list) else step]
        last = int(steps[-1]) if isinstance(parent, list) else steps[-1]
        if operation["op"] == "remove":
            del parent[last]
        else:
            assert (operation["op"] == "replace") is (isinstance(parent, list) or last in parent)
            parent[last] = copy.deepcopy(operation["value"])
    return root[""]


@given(JSON, JSON)
def test_differences_lead_from_one_to_the_other(before: Any, after: Any) -> None:
    """The operations turn the first document into the second, and there are none between equal ones."""
    assert patched(before, list(differences(before, after))) == after
    assert list(differences(before, copy.deepcopy(before))) == []


def test_overlays_have_only_what_differs(tmp_path: Path) -> None:
    """An overlay names its base, and patches the pods' network, Redis' folder and what follows from them."""
    files = kustomizations(cluster_of(SMALL, tmp_path), SECRETS)
    (kustomization,) = files["overlays/microk8s/kustomization.yaml"]
    assert kustomization["resources"] == ["../../base"]
    assert not {"bases", "patchesJson6902"} & kustomization.keys()
    paths = {patch["path"] for patch in kustomization["patches"]}
    assert paths == {
        "networkpolicy-skylark-proxy.yaml",
        "daemonset-skylark-redis.yaml",
    }
    assert {name.partition("overlays/microk8s/")[2] for name in files} >= paths
    (kind,) = files["overlays/kind/kustomization.yaml"]
    assert [patch["path"] for patch in kind["patches"]] == ["daemonset-skylark-redis.yaml"]


def test_what_some_have_already(tmp_path: Path) -> None:
    """A RuntimeClass that K3s brings itself is in the overlays of the others, and not in the base."""
    files = kustomizations(cluster_of(FULL, tmp_path), SECRETS)
    classes = {
        path: [one["metadata"]["name"] for one in documents if one["kind"] == "RuntimeClass"]
        for path, documents in files.items()
        if path.endswith("02-runtime-classes.yaml")
    }
    assert classes == {
        "base/02-runtime-classes.yaml": ["wasmedge"],
        **{f"overlays/{name}/02-runtime-classes.yaml": ["wasmtime"] for name in ("plain", "microk8s", "kind")},
    }
    (plain,) = files["overlays/plain/kustomization.yaml"]
    assert (plain["resources"], plain["patches"]) == (["../../base", "02-runtime-classes.yaml"], [])
