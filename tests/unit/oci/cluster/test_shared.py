"""Settings of Knative that others share: ours are added, and only ours are taken away again."""

from typing import Any

import pytest

from skylark_oci.cluster.shared import ADDED, merged, without_ours

Json = dict[str, Any]
KEY = "registries-skipping-tag-resolving"
DEFAULT = "kind.local,ko.local,dev.local"


def config_map(value: str | None, added: str | None = None) -> Json:
    metadata = {"name": "config-deployment", "namespace": "knative-serving"}
    annotations = {"annotations": {ADDED: added}} if added is not None else {}
    data = {} if value is None else {KEY: value}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | annotations, "data": data}


def operator(value: str | None, added: str | None = None) -> Json:
    made = config_map(value, added)
    spec = {"config": {"deployment": made.pop("data")}}
    return made | {"apiVersion": "operator.knative.dev/v1beta1", "kind": "KnativeServing", "spec": spec}


def value_of(document: Json) -> str | None:
    data = document["data"] if "data" in document else document["spec"]["config"]["deployment"]
    found: str | None = data.get(KEY)
    return found


@pytest.mark.parametrize("of", [config_map, operator])
@pytest.mark.parametrize(
    ("live", "added", "after", "ours", "left"),
    [
        (None, None, f"{DEFAULT},localhost:5", "localhost:5", None),
        ("mine.example", None, "mine.example,localhost:5", "localhost:5", "mine.example"),
        ("mine.example, localhost:5", None, "mine.example,localhost:5", None, None),
        ("mine.example,localhost:5", "localhost:5", "mine.example,localhost:5", "localhost:5", "mine.example"),
        ("a.example,localhost:4", "localhost:4", "a.example,localhost:5", "localhost:5", "a.example"),
    ],
)
def test_registries(
    of: Any, live: str | None, added: str | None, after: str, ours: str | None, left: str | None
) -> None:
    """What others have listed stays, what we add is remembered, and what we no longer need goes; so does all of ours
    at last, and Knative's default is no setting."""
    wanted, there = of(f"{DEFAULT},localhost:5"), of(live, added)
    applied = merged(wanted, there)
    assert value_of(applied) == after
    assert applied["metadata"].get("annotations", {}).get(ADDED) == ours
    assert merged(wanted, applied) == applied
    rest = without_ours(wanted, applied)
    assert (rest is None) is (ours is None)
    if rest is not None:
        assert value_of(rest) == left
        assert "annotations" not in rest["metadata"]


def test_a_flag_that_is_on_already() -> None:
    """`allowed` lets Knative take a field too, so it stays; `disabled` is not enough."""
    name = "kubernetes.podspec-affinity"
    metadata = {"name": "config-features", "namespace": "knative-serving"}
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {name: "enabled"}}
    for there, after in (("Allowed", "Allowed"), ("disabled", "enabled"), ("enabled", "enabled")):
        assert merged(wanted, wanted | {"data": {name: there, "other": "x"}})["data"] == {name: after}
    assert merged(wanted, None) == wanted


def test_the_operator_without_registries() -> None:
    """Where we no longer list any, what others have listed stays in the operator's object."""
    wanted = operator(None)
    wanted["spec"]["config"] = {"features": {}}
    applied = merged(wanted, operator("a.example,localhost:5", "localhost:5"))
    assert value_of(applied) == "a.example"
    assert merged(wanted, operator("a.example")) == wanted


def test_other_objects_stay_as_they_are() -> None:
    """Our own ConfigMaps are applied as they were rendered."""
    ours = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "skylark"},
        "data": {"a": "b"},
    }
    assert merged(ours, ours | {"data": {"a": "c"}}) == ours
    assert without_ours(ours, ours) is None
