"""The Redis of each node: every write on its disk before the answer, reachable by the node's proxy."""

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.distribution import TRAITS
from skylark_oci.manifests.documents import (
    TIERED,
    Document,
    config_map,
    container_security,
    daemon_set,
    from_networks,
    network_policy,
    node_affinity,
    node_port_service,
    pod_security,
    pods_of,
    resources,
    secret_env,
)
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.quantities import size_bytes

_USER_ID = 999
"""The user `redis` of the official image."""


def redis_documents(config: ClusterConfig, secrets: Secrets) -> list[Document]:
    """The part `redis`."""
    space, name = config.file.cluster.namespace, names.REDIS
    settings = {"redis.conf": _settings(config)}
    return [
        config_map(name, space, name, settings),
        node_port_service(name, space, names.REDIS_PORT, names.REDIS_PORT, names.REDIS_NODE_PORT),
        network_policy(name, config, _ingress(config), closed_egress=True),
        # Redis reads its users at its start, so a new password has to start it anew, as it does the proxies
        daemon_set(name, config, name, _pod(config), settings=[settings, secrets.fingerprint], grace_s=60),
    ]


def purge_document(config: ClusterConfig) -> Document:
    """Pods that empty Redis' folder on every node, and are ready when they have. Redis has to be gone before."""
    image, name = config.file.redis.image, "skylark-purge"
    mounts = [{"name": "data", "mountPath": "/data"}]
    common = {"image": image, "securityContext": container_security(), "resources": resources("10m", "16Mi")}
    emptied = {"name": "empty", "command": ["find", "/data", "-mindepth", "1", "-delete"], "volumeMounts": mounts}
    waiting = {"name": "done", "command": ["sleep", "3600"]}
    pod = {
        "automountServiceAccountToken": False,
        "affinity": node_affinity(TIERED),
        "securityContext": pod_security(_USER_ID),
        "initContainers": [common | emptied],
        "containers": [common | waiting],
        "volumes": [_data_volume(config)],
    }
    return daemon_set(name, config, name, pod, grace_s=1)


def _data_volume(config: ClusterConfig) -> Document:
    """A folder of the node, and no claim: the data belongs to the node, and a DaemonSet has no claim for each pod."""
    path = config.file.redis.data or TRAITS[config.file.cluster.distribution].redis_data
    return {"name": "data", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}


def _ingress(config: ClusterConfig) -> Document:
    operators = from_networks(config.file.cluster.operators)
    return {"from": [pods_of(names.PROXY), *operators], "ports": [{"port": names.REDIS_PORT, "protocol": "TCP"}]}


def _settings(config: ClusterConfig) -> str:
    """redis.conf. `noeviction`: a full Redis refuses a bundle rather than lose another one."""
    limit = size_bytes(config.file.redis.memory)
    lines = (
        "bind * -::*",
        f"port {names.REDIS_PORT}",
        "dir /data",
        "aclfile /etc/skylark/users/users.acl",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        f"maxmemory {limit * 2 // 3}",
        "maxmemory-policy noeviction",
    )
    return "\n".join(lines) + "\n"


def _pod(config: ClusterConfig) -> Document:
    redis = config.file.redis
    secret = redis.secret or names.REDIS_SECRET
    return {
        "automountServiceAccountToken": False,
        "affinity": node_affinity(TIERED),
        "securityContext": pod_security(_USER_ID),
        "initContainers": [_owner(redis.image)],
        "containers": [_container(config)],
        "volumes": [
            _data_volume(config),
            {"name": "config", "configMap": {"name": names.REDIS}},
            {"name": "users", "secret": {"secretName": secret, "defaultMode": 0o440}},
        ],
    }


def _owner(image: str) -> Document:
    """Gives Redis its folder: the kubelet makes a hostPath as root's, and fsGroup does not count for one."""
    root = {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    return {
        "name": "owner",
        "image": image,
        "command": ["chown", f"{_USER_ID}:{_USER_ID}", "/data"],
        "securityContext": container_security(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}, **root),
        "resources": resources("10m", "16Mi"),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def _container(config: ClusterConfig) -> Document:
    redis = config.file.redis
    return {
        "name": "redis",
        "image": redis.image,
        "command": ["redis-server", "/etc/skylark/redis/redis.conf"],
        # redis-cli takes the password from this variable
        "env": [secret_env("REDISCLI_AUTH", redis.secret or names.REDIS_SECRET, "password")],
        "ports": [{"name": "redis", "containerPort": names.REDIS_PORT}],
        # loading a large file after a crash may take minutes; until then PING answers LOADING
        "startupProbe": _probe(period_s=2, failures=300),
        "readinessProbe": _probe(period_s=5, failures=3),
        "livenessProbe": _probe(period_s=10, failures=6),
        "resources": resources(redis.cpu, redis.memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/etc/skylark/redis", "readOnly": True},
            {"name": "users", "mountPath": "/etc/skylark/users", "readOnly": True},
        ],
    }


def _probe(period_s: int, failures: int) -> Document:
    """redis-cli's status is 0 whatever the answer is, so the answer is looked at."""
    ping = f'[ "$(redis-cli -p {names.REDIS_PORT} ping)" = PONG ]'
    return {
        "exec": {"command": ["sh", "-c", ping]},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
