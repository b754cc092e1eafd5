"""Why an object is not ready, in the words of the cluster: states of containers, conditions and events. No I/O."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from skylark_oci.manifests.documents import Document

_USUAL = ("ContainerCreating", "PodInitializing")
"""Reasons of a container that waits which say nothing; an event may say more."""
_LONGEST = 300
_SHOWN = 2


def selector_of(live: Document) -> str | None:
    """Return the label selector of an object's pods; None if it has none."""
    if live["kind"] == "DaemonSet":
        labels = live["spec"]["selector"]["matchLabels"]
        return ",".join(f"{key}={value}" for key, value in labels.items())
    if live["apiVersion"].startswith("serving.knative.dev/"):
        return f"serving.knative.dev/service={live['metadata']['name']}"
    return None


def reason(live: Document, pods: Sequence[Document], events: Sequence[Document]) -> str | None:
    """Return why an object is not ready, in one line; None if the cluster gives no reason."""
    found = Counter(filter(None, (_of_pod(pod, events) for pod in pods)))
    if not found:
        found = Counter(filter(None, [_of_events(live, events)]))
    said = [f"{why} ({count} pods)" if count > 1 else why for why, count in found.most_common(_SHOWN)]
    return "; ".join(said) or None


def one_line(text: str) -> str:
    """Return a text without line breaks, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _of_pod(pod: Document, events: Sequence[Document]) -> str | None:
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return None
    if status.get("reason"):  # such as Evicted
        return _joined(status["reason"], status.get("message"))
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    of_containers = next(filter(None, map(_of_container, statuses)), None)
    return of_containers or _of_events(pod, events) or next(_unmet(status), None)


def _of_container(status: Document) -> str | None:
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated")
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in (None, *_USUAL):
        said = _joined(waiting["reason"], waiting.get("message"))
    elif ended and ended.get("exitCode"):
        said = _exit(ended)
    elif state.get("running") and not status.get("ready") and status.get("restartCount"):
        said = f"runs again, and is not ready; restarted {status['restartCount']} times"
    else:
        return None
    more = f"; last {_exit(last)}" if last else ""
    return f"{status['name']}: {said}{more}"


def _exit(ended: dict[str, Any]) -> str:
    words = _joined(ended.get("reason"), ended.get("message"))
    return f"exit {ended.get('exitCode')}" + (f" ({words})" if words else "")


def _of_events(live: Document, events: Sequence[Document]) -> str | None:
    """Return the newest warning about an object."""
    about = [one for one in events if one.get("type") == "Warning" and _is_about(one, live)]
    newest = max(about, key=_when, default=None)
    return _joined(newest.get("reason"), newest.get("message")) if newest else None


def _is_about(event: Document, live: Document) -> bool:
    involved, metadata = event.get("involvedObject") or {}, live["metadata"]
    if involved.get("uid") and metadata.get("uid"):
        return bool(involved["uid"] == metadata["uid"])
    return (involved.get("kind"), involved.get("name")) == (live["kind"], metadata["name"])


def _when(event: Document) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next(filter(None, times), None) or str(event["metadata"].get("creationTimestamp") or "")


def _unmet(status: Document) -> Iterator[str]:
    """Yield the conditions of a pod that say why they are not met."""
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("reason") not in (None, "ContainersNotReady"):
            yield _joined(condition["reason"], condition.get("message"))


def _joined(*parts: str | None) -> str:
    return one_line(": ".join(filter(None, parts)))
