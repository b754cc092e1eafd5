"""Chains that events drive: each function's answer is the event that starts the next one.

Sources: Knative Eventing, "Broker", "Triggers" and "PingSource"; its filter delivers nothing but CloudEvents, so an
answer that is none has to be made one (`skylark.cloudevents`).
"""

import base64
from urllib.parse import urlencode

from skylark_oci.manifests import names
from skylark_oci.manifests.circles import start_type
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run
from skylark_oci.manifests.documents import Document, document
from skylark_oci.manifests.pools import pool_of

PING = "dev.knative.sources.ping"
"""The type of a PingSource's events."""

_EVENTING = "eventing.knative.dev/v1"
_SOURCE = "skylark-schedule"


def event_documents(config: ClusterConfig) -> list[Document]:
    """The part `events`: a broker, a trigger for each function that an event starts, and the source."""
    started = [
        function for function in config.file.functions if start_type(config.file.functions, function) is not None
    ]
    if not started and config.file.events.schedule is None:
        return []
    return [_broker(config), *(_trigger(config, function) for function in started), *_schedule(config)]


def _broker(config: ClusterConfig) -> Document:
    events = config.file.events
    delivery = {"retry": events.retries, "backoffPolicy": "exponential", "backoffDelay": "PT1S"}
    if events.dead_letter is not None:
        delivery["deadLetterSink"] = _dead_letter_sink(config, events.dead_letter)
    space = config.file.cluster.namespace
    return document("Broker", events.broker, namespace=space, api=_EVENTING, spec={"delivery": delivery})


def _dead_letter_sink(config: ClusterConfig, dead_letter: str) -> Document:
    function = next((one for one in config.file.functions if one.name == dead_letter), None)
    return {"uri": dead_letter} if function is None else _subscriber(config, function)


def _trigger(config: ClusterConfig, function: FunctionSection) -> Document:
    spec = {
        "broker": config.file.events.broker,
        "filter": {"attributes": {"type": start_type(config.file.functions, function)}},
        "subscriber": _subscriber(config, function),
    }
    space = config.file.cluster.namespace
    return document("Trigger", function.name, namespace=space, api=_EVENTING, component=function.name, spec=spec)


def _subscriber(config: ClusterConfig, function: FunctionSection) -> Document:
    """Where the event goes. The bundle goes to the node of the function that comes next, where it is one node."""
    space = config.file.cluster.namespace
    after = [one for one in config.file.functions if one.after == function.name]
    node = after[0].node if len(after) == 1 else None
    query = f"?{urlencode({'destination': node})}" if node is not None else ""
    if function.run is Run.PROXY:
        host = names.host_of(f"{pool_of(config, function).service}", space)
        return {"uri": f"http://{host}:{names.PROXY_PORT}/functions/{function.called}{query}"}
    path = f"/functions/{function.function}" if function.function is not None else "/"
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": function.name, "namespace": space}
    return {"ref": ref, "uri": path + query}


def _schedule(config: ClusterConfig) -> list[Document]:
    schedule = config.file.events.schedule
    if schedule is None:
        return []
    space = config.file.cluster.namespace
    broker = {"apiVersion": _EVENTING, "kind": "Broker", "name": config.file.events.broker, "namespace": space}
    spec: Document = {"schedule": schedule.cron, "contentType": schedule.content_type, "sink": {"ref": broker}}
    if config.event_data is not None:
        spec["dataBase64"] = base64.b64encode(config.event_data).decode()
    return [document("PingSource", _SOURCE, namespace=space, api="sources.knative.dev/v1", spec=spec)]
