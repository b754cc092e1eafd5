"""The chain of the manifests' triggers over real nodes: each function's answer is the event that starts the next one.

A broker of the test's own stands for Knative's. It does as that one's filter does (knative/eventing,
pkg/broker/filter/filter_handler.go): the attributes of a trigger's filter are compared with those of the event, and an
answer that is neither empty nor a CloudEvent is a failed delivery.
"""

import base64
import json
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from clusters import found, one, rendered
from continuum import Nodes
from skylark_oci.manifests import parse_config

Json = dict[str, Any]
Event = tuple[dict[str, str], bytes]
"""The headers and the body of an event in binary mode, or in structured mode."""

CHAIN = """
cluster: {image: "registry.example/skylark:1"}
functions:
  - {name: preprocess, run: proxy, image: "registry.example/a:1", tier: Sat, on_event: dev.knative.sources.ping}
  - {name: detect, run: proxy, image: "registry.example/b:1", node: sat2, after: preprocess}
  - {name: alarm, run: proxy, image: "registry.example/c:1", tier: Cloud, after: detect, replies: io.skylark.fire.alarm}
events:
  schedule: {cron: "* * * * *", data_file: picture.png, content_type: image/png}
"""


def photograph() -> bytes:
    """A rocket at dusk between orange lamps, as a PNG."""
    file = Path(__file__).parents[2] / "examples" / "fire_detection" / "picture.py"
    spec = spec_from_file_location("fire_detection_picture_of_events", file)
    assert spec is not None and spec.loader is not None
    picture = module_from_spec(spec)
    spec.loader.exec_module(picture)
    encoded: bytes = picture.encode_png(picture.sample_photograph("rocket.jpg"))
    return encoded


def ping(documents: list[Json]) -> Event:
    """What a PingSource sends (knative/eventing, PingSource: binary mode, decoded data)."""
    spec = one(documents, "PingSource", "skylark-schedule")["spec"]
    attributes = {"specversion": "1.0", "id": "1", "source": "/ping", "type": "dev.knative.sources.ping"}
    headers = {f"ce-{name}": value for name, value in attributes.items()} | {"content-type": spec["contentType"]}
    return headers, base64.b64decode(spec["dataBase64"])


def attributes_of(event: Event) -> Json:
    """The attributes of an event in either mode."""
    headers, body = event
    if headers["content-type"].startswith("application/cloudevents+json"):
        structured: Json = json.loads(body)
        return structured
    return {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}


def deliver(documents: list[Json], event: Event, urls: Mapping[str, str]) -> list[Event]:
    """Sends an event to the subscribers of all triggers whose filters let it through; the events that they answer."""
    answers = []
    for trigger in (document for document in documents if document["kind"] == "Trigger"):
        wanted = trigger["spec"]["filter"]["attributes"]
        if wanted.items() <= attributes_of(event).items():
            uri = urlsplit(trigger["spec"]["subscriber"]["uri"])
            path = f"{uri.path}?{uri.query}" if uri.query else uri.path
            answer = httpx.post(urls[str(uri.hostname).partition(".")[0]] + path, headers=event[0], content=event[1])
            assert answer.status_code == 200, answer.text
            headers = {
                name: value for name, value in answer.headers.items() if name.startswith(("ce-", "content-type"))
            }
            reply = (headers, answer.content)
            assert attributes_of(reply).get("specversion") == "1.0", "Knative's filter would take it for a failure"
            answers.append(reply)
    return answers


def test_the_fire_alarm_by_events(nodes: Nodes, tmp_path: Path) -> None:
    """A picture from the schedule becomes an alarm: three triggers, three functions, and the state on its way to the
    node of the function that comes next."""
    (tmp_path / "picture.png").write_bytes(photograph())
    documents = rendered(parse_config(CHAIN, tmp_path))
    urls = {
        "skylark-proxy-sat": nodes["sat1"].url,
        "skylark-proxy-node-sat2": nodes["sat2"].url,
        "skylark-proxy-cloud": nodes["cloud1"].url,
    }
    (preprocessed,) = deliver(documents, ping(documents), urls)
    assert preprocessed[0]["ce-statekey"].split(":")[1] == "sat2"
    (detected,) = deliver(documents, preprocessed, urls)
    (alarm,) = deliver(documents, detected, urls)
    event = attributes_of(alarm)
    assert event["type"] == "io.skylark.fire.alarm"
    assert event["data"]["alarm"] is True
    assert event["data"]["chain_id"] == preprocessed[0]["ce-chainid"] == detected[0]["ce-chainid"]
    assert deliver(documents, alarm, urls) == []
    assert len(list(found(documents, "subscriber"))) == 3
