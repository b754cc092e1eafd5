"""The node-info service of each node, which follows the nodes of the cluster."""

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.documents import (
    PEER_KEY_MOUNT,
    PEER_KEY_SETTING,
    TIERED,
    Document,
    allowed_hosts,
    config_map,
    container_security,
    daemon_set,
    document,
    empty_volume,
    environment,
    field_env,
    from_networks,
    http_probe,
    network_policy,
    node_affinity,
    node_port_service,
    peer_key_volume,
    pod_security,
    pods_of,
    resources,
    tls_env,
    tls_mounts,
    tls_volumes,
)

_TOPOLOGY = "skylark-topology"
_FOLDER = "/etc/skylark/topology"
_FILE = "topology.json"


def node_info_documents(config: ClusterConfig) -> list[Document]:
    """The part `node-info`."""
    space, name = config.file.cluster.namespace, names.NODE_INFO
    settings = node_info_environment(config)
    made = [*_access(space), config_map(name, space, name, settings)]
    if config.topology is not None:
        made.append(config_map(_TOPOLOGY, space, name, {_FILE: config.topology}))
    read = [settings, config.topology]
    return [
        *made,
        node_port_service(name, space, names.NODE_INFO_PORT, names.NODE_INFO_PORT, names.NODE_INFO_PORT),
        network_policy(name, config, _ingress(config)),
        daemon_set(name, config, name, _pod(config), settings=read),
    ]


def node_info_environment(config: ClusterConfig) -> dict[str, str]:
    """The settings that are the same on all nodes, as variables."""
    own = {
        "SKYLARK_NODE_INFO_HOST": "0.0.0.0",  # noqa: S104
        "SKYLARK_NODE_INFO_PORT": str(names.NODE_INFO_PORT),
        "SKYLARK_NODE_INFO_PROVIDER": config.file.node_info.provider,
        "SKYLARK_PEER_KEY": PEER_KEY_SETTING,
        "SKYLARK_ALLOWED_HOSTS": allowed_hosts(config.file.cluster.namespace),
        "SKYLARK_LOG_FORMAT": "json",
    }
    if config.topology is not None:
        own["SKYLARK_TOPOLOGY"] = f"{_FOLDER}/{_FILE}"
    return own | environment(config.file.node_info.settings)


def _access(space: str) -> list[Document]:
    """The account of the service: it may read nodes, and nothing else."""
    name, group = names.NODE_INFO, "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
    return [
        document("ServiceAccount", name, namespace=space, component=name),
        document("ClusterRole", name, api=f"{group}/v1", component=name, rules=[rule]),
        document("ClusterRoleBinding", name, api=f"{group}/v1", component=name, roleRef=role, subjects=[subject]),
    ]


def _ingress(config: ClusterConfig) -> Document:
    """Whoever reaches the service may read; who has the key may set the objectives of its node."""
    operators = from_networks(config.file.cluster.operators)
    return {"from": [pods_of(names.PROXY), *operators], "ports": [{"port": names.NODE_INFO_PORT, "protocol": "TCP"}]}


def _pod(config: ClusterConfig) -> Document:
    volumes = [empty_volume("tmp", "16Mi"), peer_key_volume(config.file.proxy.peer_key_secret)]
    volumes += tls_volumes(config.file.cluster.tls_secret)
    if config.topology is not None:
        volumes.append({"name": "topology", "configMap": {"name": _TOPOLOGY}})
    return {
        "serviceAccountName": names.NODE_INFO,
        "affinity": node_affinity(TIERED),
        "securityContext": pod_security(),
        "containers": [_container(config)],
        "volumes": volumes,
    }


def _container(config: ClusterConfig) -> Document:
    part, tls = config.file.node_info, config.file.cluster.tls_secret
    encrypted = tls is not None
    mounts: list[Document] = [{"name": "tmp", "mountPath": "/tmp"}, PEER_KEY_MOUNT, *tls_mounts(tls)]  # noqa: S108
    if config.topology is not None:
        mounts.append({"name": "topology", "mountPath": _FOLDER, "readOnly": True})
    return {
        "name": "node-info",
        "image": config.file.cluster.image,
        "args": ["node-info"],
        "env": [field_env("SKYLARK_NODE", "spec.nodeName"), *tls_env(tls)],
        "envFrom": [{"configMapRef": {"name": names.NODE_INFO}}],
        "ports": [{"name": "http", "containerPort": names.NODE_INFO_PORT}],
        "startupProbe": http_probe("/health", "http", period_s=2, failures=60, tls=encrypted),
        "readinessProbe": http_probe("/health", "http", period_s=5, failures=3, tls=encrypted),
        "livenessProbe": http_probe("/health", "http", period_s=10, failures=6, tls=encrypted),
        "resources": resources(part.cpu, part.memory),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
