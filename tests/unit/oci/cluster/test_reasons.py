"""Why an object is not ready, from what the API says of its pods and of it."""

from typing import Any

import pytest

from skylark_oci.cluster.reasons import reason, selector_of

Json = dict[str, Any]
SET: Json = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "skylark-proxy-sat"},
    "spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}},
}


def pod(*statuses: Json, name: str = "p", **status: Any) -> Json:
    return {"kind": "Pod", "metadata": {"name": name}, "status": {"containerStatuses": list(statuses)} | status}


def container(state: Json, last: Json | None = None, **more: Any) -> Json:
    return {"name": "proxy", "ready": False, "state": state, "lastState": last or {}} | more


def event(kind: str, name: str, why: str, message: str, when: str = "1", type_: str = "Warning") -> Json:
    about = {"kind": kind, "name": name}
    return {"metadata": {}, "involvedObject": about, "type": type_, "reason": why, "message": message} | {
        "lastTimestamp": when
    }


CRASH = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(
    ("pods", "events", "why"),
    [
        ([], [], None),
        ([pod(container({"running": {}}))], [], None),
        (
            [pod(container({"waiting": {"reason": "CreateContainerConfigError", "message": "no\n  secret"}}))],
            [],
            "proxy: CreateContainerConfigError: no secret",
        ),
        ([pod(container({"waiting": {"reason": "ImagePullBackOff"}}))] * 2, [], "proxy: ImagePullBackOff (2 pods)"),
        (
            [pod(container(CRASH, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))],
            [],
            "proxy: CrashLoopBackOff: back-off 5m0s; last exit 137 (OOMKilled)",
        ),
        (
            [pod(container({"terminated": {"exitCode": 1, "reason": "Error", "message": "no Redis"}}))],
            [],
            "proxy: exit 1 (Error: no Redis)",
        ),
        (
            [pod(initContainerStatuses=[container({"waiting": {"reason": "ErrImagePull"}}, name="owner")])],
            [],
            "owner: ErrImagePull",
        ),
        ([pod(reason="Evicted", message="low on memory")], [], "Evicted: low on memory"),
        (
            [pod(container(CREATING))],
            [
                event("Pod", "p", "FailedMount", "old", when="1"),
                event("Pod", "p", "FailedCreatePodSandBox", 'no runtime for "wasmtime"', when="2"),
                event("Pod", "p", "Pulled", "fine", when="3", type_="Normal"),
                event("Pod", "other", "Failed", "of another", when="4"),
            ],
            'FailedCreatePodSandBox: no runtime for "wasmtime"',
        ),
        (
            [
                pod(
                    conditions=[
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "cpu"}
                    ]
                )
            ],
            [],
            "Unschedulable: cpu",
        ),
        ([], [event("DaemonSet", "skylark-proxy-sat", "FailedCreate", "quota")], "FailedCreate: quota"),
        (
            [pod(container({"waiting": {"reason": "ImagePullBackOff"}}) | {"state": {"waiting": {"reason": "X"}}})],
            [event("Pod", "p", "Failed", "an event")],
            "proxy: X",
        ),
    ],
)
def test_the_reason(pods: list[Json], events: list[Json], why: str | None) -> None:
    """States of containers first, then the newest warning, then conditions; each in one line."""
    assert reason(SET, pods, events) == why


def test_a_pod_that_goes_says_nothing() -> None:
    """A pod that is being deleted is not why its object is not ready."""
    going = pod(container(CRASH))
    going["metadata"]["deletionTimestamp"] = "now"
    assert reason(SET, [going], []) is None


def test_a_long_reason_is_one_short_line() -> None:
    """A message of many lines is cut."""
    why = str(reason(SET, [pod(reason="Evicted", message="a line\n" * 100)], []))
    assert "\n" not in why and len(why) <= 300


def test_whose_pods() -> None:
    """A DaemonSet's by its selector, a Knative Service's by its label; a trigger has none."""
    assert selector_of(SET) == "a=b,c=d"
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "detect"}}
    assert selector_of(service) == "serving.knative.dev/service=detect"
    assert selector_of(service | {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger"}) is None
