"""Whether objects do what they were made for, judged by what the API says of them. It does no I/O."""

from collections.abc import Sequence

from skylark_oci.cluster.reasons import one_line
from skylark_oci.manifests import names
from skylark_oci.manifests.documents import Document

_CONDITIONS = ("serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1")
"""APIs whose objects have the condition Ready (Knative, "Conditions")."""


def waits(document: Document) -> bool:
    """Whether an object of this kind becomes ready only after a while."""
    return document["kind"] == "DaemonSet" or document["apiVersion"] in _CONDITIONS


def missing(live: Document) -> str | None:
    """What an object still lacks; None: it is ready."""
    status = live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 1):
        return "not looked at yet"
    return _pods_missing(status) if live["kind"] == "DaemonSet" else _condition_missing(status)


def homeless(lives: Sequence[Document]) -> list[str]:
    """The proxies' DaemonSets that host functions and have no node to do it on; all, if there is no node for any."""
    proxies = [live for live in lives if live["kind"] == "DaemonSet" and _component(live) == names.PROXY]
    empty = [live for live in proxies if not (live.get("status") or {}).get("desiredNumberScheduled")]
    chosen = empty if len(empty) == len(proxies) else [live for live in empty if _hosts(live)]
    return [str(live["metadata"]["name"]) for live in chosen]


def _component(live: Document) -> str | None:
    labels: dict[str, str] = live["metadata"].get("labels") or {}
    return labels.get(names.COMPONENT)


def _hosts(live: Document) -> bool:
    variables = live["spec"]["template"]["spec"]["containers"][0]["env"]
    return any(variable["name"] == "SKYLARK_FUNCTIONS" for variable in variables)


def _pods_missing(status: Document) -> str | None:
    wanted = status.get("desiredNumberScheduled", 0)
    # a pod that is available has been ready for minReadySeconds
    done = min(status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0))
    return None if done >= wanted else f"{done} of {wanted} pods are ready"


def _condition_missing(status: Document) -> str | None:
    ready = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), None)
    if ready is None:
        return "no condition Ready yet"
    if ready.get("status") == "True":
        return None
    # Ready often says nothing while another condition says why
    others = [one for one in status["conditions"] if one is not ready and one.get("status") != "True"]
    others.sort(key=lambda one: one.get("status") != "False")
    said = (": ".join(filter(None, (one.get("reason"), one.get("message")))) for one in (ready, *others))
    return one_line(next(filter(None, said), "not Ready yet"))
