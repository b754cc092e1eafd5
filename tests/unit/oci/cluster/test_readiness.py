"""Whether objects are ready, judged by their status."""

from typing import Any

import pytest

from skylark_oci.cluster.readiness import homeless, missing, waits


def daemon_set(generation: int = 1, **status: int) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"generation": generation}, "status": status}


def knative(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("live", "lacks"),
    [
        (daemon_set(), "not looked at yet"),
        (daemon_set(generation=2, observedGeneration=1, desiredNumberScheduled=1), "not looked at yet"),
        (daemon_set(observedGeneration=1, desiredNumberScheduled=0), None),
        (daemon_set(observedGeneration=1, desiredNumberScheduled=3), "0 of 3 pods are ready"),
        (
            daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=1, numberAvailable=3),
            "1 of 3 pods are ready",
        ),
        (
            daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=2),
            "2 of 3 pods are ready",
        ),
        (daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=3), None),
        (knative(observedGeneration=1, conditions=[{"type": "Ready", "status": "True"}]), "not looked at yet"),
        (knative(observedGeneration=2), "no condition Ready yet"),
        (knative(observedGeneration=2, conditions=[{"type": "Other", "status": "True"}]), "no condition Ready yet"),
        (knative(observedGeneration=2, conditions=[{"type": "Ready", "status": "Unknown"}]), "not Ready yet"),
        (
            knative(
                observedGeneration=2, conditions=[{"type": "Ready", "status": "False", "reason": "A", "message": "b"}]
            ),
            "A: b",
        ),
        (knative(observedGeneration=2, conditions=[{"type": "Ready", "status": "True"}]), None),
        (
            knative(
                observedGeneration=2,
                conditions=[
                    {"type": "Ready", "status": "Unknown"},
                    {"type": "A", "status": "Unknown", "reason": "Waits"},
                    {"type": "B", "status": "False", "reason": "Wrong", "message": "no\nbroker"},
                ],
            ),
            "Wrong: no broker",
        ),
    ],
)
def test_what_is_missing(live: dict[str, Any], lacks: str | None) -> None:
    """A status of an older generation does not count; updated and available pods do; a reason is told."""
    assert missing(live) == lacks


def test_what_becomes_ready() -> None:
    """DaemonSets and Knative's objects are waited for, and others are not."""
    assert waits(daemon_set()) and waits(knative())
    assert not waits({"apiVersion": "v1", "kind": "Service"})


def proxy(name: str, nodes: int, *variables: str) -> dict[str, Any]:
    live = daemon_set(desiredNumberScheduled=nodes)
    live["metadata"] |= {"name": name, "labels": {"app.kubernetes.io/name": "skylark-proxy"}}
    environment = [{"name": variable} for variable in variables]
    return live | {"spec": {"template": {"spec": {"containers": [{"env": environment}]}}}}


def test_functions_without_a_node() -> None:
    """A proxy that hosts functions needs a node, one that hosts none does not, unless there is none for any."""
    hosting, idle = proxy("a", 0, "SKYLARK_NODE", "SKYLARK_FUNCTIONS"), proxy("b", 0, "SKYLARK_NODE")
    other = daemon_set(desiredNumberScheduled=0)
    assert homeless([hosting, idle, proxy("c", 1), other]) == ["a"]
    assert homeless([idle, proxy("c", 1), other]) == []
    assert homeless([idle, proxy("c", 0), other]) == ["b", "c"]
