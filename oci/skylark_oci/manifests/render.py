"""From a configuration to all objects of the cluster, in the order in which they are applied. It does no I/O."""

from dataclasses import dataclass

import msgspec

from skylark_oci.manifests.config import ClusterConfig, Distribution
from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.events import event_documents
from skylark_oci.manifests.foundation import Secrets, namespace, priority_class, runtime_classes, secret_documents
from skylark_oci.manifests.functions import function_documents, knative_documents
from skylark_oci.manifests.node_info import node_info_documents
from skylark_oci.manifests.proxy import proxy_documents
from skylark_oci.manifests.redis import redis_documents


@dataclass(frozen=True, slots=True)
class Part:
    """Objects that belong together; a file has the name of its part."""

    name: str
    documents: list[Document]


SECRETS_PART = "03-secrets"


def render(config: ClusterConfig, secrets: Secrets) -> list[Part]:
    """The parts of a cluster that have any objects; a part needs only those before it."""
    parts = [
        Part("00-namespace", [namespace(config)]),
        Part("01-priority-class", [priority_class()]),
        Part("02-runtime-classes", runtime_classes(config)),
        Part(SECRETS_PART, secret_documents(config, secrets)),
        Part("04-redis", redis_documents(config, secrets)),
        Part("05-node-info", node_info_documents(config)),
        Part("06-proxy", proxy_documents(config, secrets)),
        Part("07-knative", knative_documents(config)),
        Part("08-functions", function_documents(config)),
        Part("09-events", event_documents(config)),
    ]
    return [part for part in parts if part.documents]


def for_distribution(config: ClusterConfig, distribution: Distribution) -> ClusterConfig:
    """The same configuration for another distribution."""
    cluster = msgspec.structs.replace(config.file.cluster, distribution=distribution)
    return msgspec.structs.replace(config, file=msgspec.structs.replace(config.file, cluster=cluster))


def identity(document: Document) -> tuple[str, str, str | None, str]:
    """What tells an object from all others: apiVersion, kind, namespace and name."""
    metadata = document["metadata"]
    return document["apiVersion"], document["kind"], metadata.get("namespace"), metadata["name"]
