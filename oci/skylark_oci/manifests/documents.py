"""Parts that the objects of a cluster have in common, as the API's JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig, Setting, Tier

Document = dict[str, Any]
"""One object of the API."""

TIERED = (names.TIER_LABEL, "In", tuple(Tier))
"""Nodes of the topology; see `node_affinity`."""

USER_ID = 10001
"""Who the proxy and node-info run as; `oci/Containerfile` has the same."""


def document(
    kind: str, name: str, *, namespace: str | None = None, api: str = "v1", component: str | None = None, **body: Any
) -> Document:
    """An object with its labels; `component` is the part of Skylark that it belongs to."""
    labels = {names.PART_OF: "skylark", names.MANAGED_BY: "skylark"}
    if component is not None:
        labels = {names.COMPONENT: component} | labels
    place = {} if namespace is None else {"namespace": namespace}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **place, "labels": labels}, **body}


def config_map(name: str, namespace: str, component: str, data: Mapping[str, str]) -> Document:
    """Texts by name."""
    return document("ConfigMap", name, namespace=namespace, component=component, data=dict(data))


def node_port_service(name: str, namespace: str, port: int, target: int, node_port: int) -> Document:
    """A Service that leads to the pod of the node that is asked, by its ClusterIP and by its NodePort.

    From a pod use the ClusterIP: kube-proxy exempts what comes from a node's own pods to a NodePort from
    externalTrafficPolicy, so it may reach any node's pod (kubernetes/pkg/proxy/iptables, `externalTrafficChain`).
    """
    spec = {
        "type": "NodePort",
        "selector": {names.COMPONENT: name},
        "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local",
        "ports": [{"name": name.removeprefix("skylark-"), "port": port, "targetPort": target, "nodePort": node_port}],
    }
    return document("Service", name, namespace=namespace, component=name, spec=spec)


def daemon_set(
    name: str,
    config: ClusterConfig,
    component: str,
    pod: Document,
    *,
    pool: str | None = None,
    settings: Any = None,
    grace_s: int = 30,
) -> Document:
    """Pods on every node that has the tier's label; one node after the other when it changes.

    Args:
        settings: What the pods read at their start: they are started anew where it has changed.
    """
    labels = {names.COMPONENT: component} | ({names.POOL_LABEL: pool} if pool else {})
    template = {
        "metadata": {"labels": labels, "annotations": {names.CONFIG_HASH: _hash(settings)}},
        "spec": {
            # variables such as SKYLARK_PROXY_PORT=tcp://… would be taken for settings
            "enableServiceLinks": False,
            "priorityClassName": names.PRIORITY_CLASS,
            "terminationGracePeriodSeconds": grace_s,
            "tolerations": [_toleration(one) for one in config.file.cluster.tolerations],
            **pull_secrets(config),
            **pod,
        },
    }
    spec = {
        "selector": {"matchLabels": labels},
        "minReadySeconds": 5,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": template,
    }
    namespace = config.file.cluster.namespace
    return document("DaemonSet", name, namespace=namespace, api="apps/v1", component=component, spec=spec)


def pull_secrets(config: ClusterConfig) -> Document:
    """What a pod says to registries, if anything."""
    secret = config.file.cluster.pull_secret
    return {"imagePullSecrets": [{"name": secret}]} if secret is not None else {}


def node_affinity(*expressions: tuple[str, str, Sequence[str]]) -> Document:
    """Nodes whose labels are so: each expression is a key, an operator and values."""
    terms = [
        {"key": key, "operator": operator, "values": [str(value) for value in values]}
        for key, operator, values in expressions
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def nodes_affinity(tiers: Sequence[str], operator: str, nodes: Sequence[str]) -> Document:
    """Return the affinity for nodes of some tiers that are (`In`) or are not (`NotIn`) among the named ones.

    A label's value has at most 63 characters, so a node with a longer name is chosen by its name and not by its label.
    """
    short = [node for node in nodes if len(node) <= names.LONGEST_LABEL]
    labels = [(names.HOSTNAME_LABEL, operator, short)] if short else []
    affinity = node_affinity((names.TIER_LABEL, "In", tiers), *labels)
    # the API takes one value for each field
    fields = [
        {"key": "metadata.name", "operator": operator, "values": [node]}
        for node in nodes
        if len(node) > names.LONGEST_LABEL
    ]
    if fields:
        terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        terms[0]["matchFields"] = fields
    return affinity


def pod_security(user: int = USER_ID, group: int | None = None) -> Document:
    """A pod that is not root."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user if group is None else group,
        "fsGroup": user if group is None else group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(**more: Any) -> Document:
    """A container that can do nothing to its node."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } | more


def resources(cpu: str, memory: str) -> Document:
    """What is reserved. Memory is a limit too; the processor is not, as a throttled node would break its objectives."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


def http_probe(path: str, port: str, period_s: int, failures: int, *, tls: bool = False) -> Document:
    """Asks a path of a container. A kubelet that asks by TLS believes every certificate."""
    return {
        "httpGet": {"path": path, "port": port} | ({"scheme": "HTTPS"} if tls else {}),
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def network_policy(name: str, config: ClusterConfig, *rules: Document, closed_egress: bool = False) -> Document:
    """Who may reach the pods of a part; with `closed_egress` these may reach nobody."""
    spec: Document = {
        "podSelector": {"matchLabels": {names.COMPONENT: name}},
        "policyTypes": ["Ingress", "Egress"] if closed_egress else ["Ingress"],
        "ingress": list(rules),
    }
    if closed_egress:
        spec["egress"] = []
    namespace = config.file.cluster.namespace
    return document("NetworkPolicy", name, namespace=namespace, api="networking.k8s.io/v1", component=name, spec=spec)


def pods_of(component: str) -> Document:
    """A peer of a network policy: the pods of a part."""
    return {"podSelector": {"matchLabels": {names.COMPONENT: component}}}


def from_networks(networks: Sequence[str]) -> list[Document]:
    """Peers of a network policy: networks outside of the cluster."""
    return [{"ipBlock": {"cidr": network}} for network in networks]


def environment(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Settings by name as variables."""
    return {f"SKYLARK_{name.upper()}": _text(value) for name, value in settings.items()}


def field_env(name: str, path: str) -> Document:
    """A variable with something of the pod, such as `spec.nodeName`."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def peer_key_volume(secret: str | None) -> Document:
    """The nodes' key, of which a pod's containers read the file."""
    name = secret or names.PEER_KEY_SECRET
    return {"name": "peer-key", "secret": {"secretName": name, "defaultMode": 0o440}}


PEER_KEY_MOUNT: Document = {"name": "peer-key", "mountPath": names.PEER_KEY_FOLDER, "readOnly": True}
PEER_KEY_SETTING = f"@{names.PEER_KEY_FOLDER}/key"


def tls_volumes(secret: str | None) -> list[Document]:
    """The certificates of the nodes; none if nothing is encrypted."""
    return [] if secret is None else [{"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}]


def tls_mounts(secret: str | None) -> list[Document]:
    """Where a container finds them."""
    return [] if secret is None else [{"name": "tls", "mountPath": names.TLS_FOLDER, "readOnly": True}]


def tls_env(secret: str | None) -> list[Document]:
    """The variables of a node's own certificate, after SKYLARK_NODE, which is in them."""
    files = {"CERT": "$(SKYLARK_NODE).crt", "KEY": "$(SKYLARK_NODE).key", "CA": "ca.crt"}
    if secret is None:
        return []
    return [{"name": f"SKYLARK_TLS_{name}", "value": f"{names.TLS_FOLDER}/{file}"} for name, file in files.items()]


def allowed_hosts(namespace: str) -> str:
    """The names of Services, by which pods ask for proxies and node-info."""
    return f".{namespace}.svc,.{namespace}.svc.cluster.local"


def secret_env(name: str, secret: str, key: str) -> Document:
    """A variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def empty_volume(name: str, size: str) -> Document:
    """A folder that ends with the pod."""
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def _toleration(one: Any) -> Document:
    if one.value is None:
        return {"key": one.key, "operator": "Exists", "effect": one.effect}
    return {"key": one.key, "operator": "Equal", "value": one.value, "effect": one.effect}


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hash(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
