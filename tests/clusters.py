"""Configurations of clusters for the tests, and walks through what is rendered from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skylark_oci.manifests import ClusterConfig, Secrets, parse_config, render

Json = dict[str, Any]

SECRETS = Secrets("k" * 64, "p" * 64)

SMALL = """
cluster: {image: "registry.example/skylark:1"}
"""

FULL = """
cluster:
  image: localhost:32000/skylark:1
  distribution: microk8s
  namespace: space
  operators: [192.0.2.0/24]
  runtime_handlers: {wasmedge: crun}
  tolerations: [{key: satellite, effect: NoExecute, value: "yes"}]
redis: {memory: 300Mi, data: /srv/redis}
proxy: {settings: {max_latency_ms: 80.5, replicate: true, ack: local}}
node_info: {topology: links.json, settings: {node_info_interval_s: 30}}
functions:
  - {name: take, run: proxy, image: "reg.example:5000/take:1", node: sat.one, on_event: dev.knative.sources.ping}
  - {name: preprocess, run: proxy, image: "reg.example:5000/pre:1", tier: Sat, after: take, function: pre_process}
  - name: detect
    run: wasmtime
    image: localhost:32000/detect
    digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    node: sat2
    after: preprocess
    concurrency: 4
    timeout_s: 30
    max_scale: 3
    environment: {MODE: night}
  - {name: alarm, run: wasmedge, image: "reg.example/alarm:1", tier: Cloud, after: detect, replies: io.skylark.alarm}
  - {name: page, run: proxy, image: "reg.example/page:1", tier: Cloud, after: alarm}
events:
  broker: sky
  schedule: {cron: "*/5 * * * *", data_file: picture.png, content_type: image/png}
  dead_letter: http://lost.example/
"""


def cluster_of(text: str, folder: Path) -> ClusterConfig:
    """A configuration, with the files that FULL names."""
    (folder / "links.json").write_text('{"edges": []}')
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return parse_config(text, folder)


def rendered(config: ClusterConfig) -> list[Json]:
    """All objects."""
    return [document for part in render(config, SECRETS) for document in part.documents]


def one(documents: list[Json], kind: str, name: str, api: str | None = None) -> Json:
    """The object of a kind and a name."""
    found = [
        document
        for document in documents
        if document["kind"] == kind and document["metadata"]["name"] == name and api in (None, document["apiVersion"])
    ]
    assert len(found) == 1, f"{len(found)} of {kind}/{name}"
    return found[0]


def pods(documents: list[Json]) -> Iterator[tuple[Json, Json]]:
    """The objects that make pods, each with the pod's template."""
    for document in documents:
        if "template" in document.get("spec", {}):
            yield document, document["spec"]["template"]


def containers(documents: list[Json]) -> Iterator[tuple[Json, Json]]:
    """All containers, each with its pod's specification."""
    for _, template in pods(documents):
        for kind in ("initContainers", "containers"):
            for container in template["spec"].get(kind, []):
                yield template["spec"], container


def found(value: Any, key: str) -> Iterator[Any]:
    """All values under a key, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)
