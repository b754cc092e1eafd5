"""The proxy of each node."""

from ipaddress import ip_network

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.distribution import TRAITS
from skylark_oci.manifests.documents import (
    PEER_KEY_MOUNT,
    PEER_KEY_SETTING,
    Document,
    allowed_hosts,
    config_map,
    container_security,
    daemon_set,
    document,
    empty_volume,
    environment,
    field_env,
    http_probe,
    memory_volume,
    network_policy,
    node_port_service,
    peer_key_volume,
    pod_security,
    resources,
    secret_env,
)
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.pools import Pool, pools_of

_LOGIN_FOLDER = "/etc/skylark/registry"
_CACHE = "/var/cache/skylark"
_EVENTING = "knative-eventing"


def proxy_documents(config: ClusterConfig, secrets: Secrets) -> list[Document]:
    """The part `proxy`."""
    space, name = config.file.cluster.namespace, names.PROXY
    pools = pools_of(config)
    return [
        config_map(name, space, name, proxy_environment(config)),
        node_port_service(name, space, names.PROXY_PORT, names.PROXY_PORT, names.PROXY_PORT),
        *(_pool_service(pool, space) for pool in pools if pool.functions),
        network_policy(name, config, _ingress(config)),
        *(_daemon_set(config, pool, secrets) for pool in pools),
    ]


def pod_network(config: ClusterConfig) -> str:
    """The network of the cluster's pods."""
    cluster = config.file.cluster
    return cluster.pod_network or TRAITS[cluster.distribution].pod_network


def proxy_environment(config: ClusterConfig) -> dict[str, str]:
    """The settings that are the same on all nodes, as variables.

    No address of a pod opens anything: functions with pods of their own have tokens, and nodes have the key.
    """
    space = config.file.cluster.namespace
    own = {
        "SKYLARK_HOST": "0.0.0.0",  # noqa: S104
        "SKYLARK_PORT": str(names.PROXY_PORT),
        "SKYLARK_NODE_INFO_URL": f"http://{names.host_of(names.NODE_INFO, space)}:{names.NODE_INFO_PORT}",
        "SKYLARK_PEER_KEY": PEER_KEY_SETTING,
        "SKYLARK_ALLOWED_HOSTS": allowed_hosts(space),
        "SKYLARK_CACHE_DIR": _CACHE,
        "SKYLARK_LOG_FORMAT": "json",
    }
    if config.file.cluster.pull_secret is not None:
        own["REGISTRY_AUTH_FILE"] = f"{_LOGIN_FOLDER}/config.json"
    return own | environment(config.file.proxy.settings)


def pool_environment(config: ClusterConfig, pool: Pool) -> dict[str, str]:
    """The settings of a pool's proxies beyond those that are the same on all nodes."""
    redis = f"redis://:$(REDIS_PASSWORD)@{names.host_of(names.REDIS, config.file.cluster.namespace)}:{names.REDIS_PORT}"
    # two functions may be of one component
    functions = ",".join(dict.fromkeys(f"oci://{function.reference}" for function in pool.functions))
    return {"SKYLARK_REDIS_URL": redis} | ({"SKYLARK_FUNCTIONS": functions} if functions else {})


def _pool_service(pool: Pool, space: str) -> Document:
    """Where events for the functions of a pool go: any of its proxies."""
    ports = [{"name": "http", "port": names.PROXY_PORT, "targetPort": names.PROXY_PORT}]
    spec = {"selector": {names.COMPONENT: names.PROXY, names.POOL_LABEL: pool.name}, "ports": ports}
    return document("Service", pool.service, namespace=space, component=names.PROXY, spec=spec)


def _ingress(config: ClusterConfig) -> Document:
    """Pods of this namespace and of Knative Eventing, and whoever has no address of a pod: the proxy's own rules count
    for these."""
    pods = pod_network(config)
    everywhere = "::/0" if ip_network(pods).version == 6 else "0.0.0.0/0"
    eventing = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _EVENTING}}}
    return {
        "from": [{"podSelector": {}}, eventing, {"ipBlock": {"cidr": everywhere, "except": [pods]}}],
        "ports": [{"port": names.PROXY_PORT, "protocol": "TCP"}],
    }


def _daemon_set(config: ClusterConfig, pool: Pool, secrets: Secrets) -> Document:
    read = [proxy_environment(config), pool_environment(config, pool), secrets.fingerprint]
    return daemon_set(pool.service, config, names.PROXY, _pod(config, pool), pool=pool.name, settings=read)


def _pod(config: ClusterConfig, pool: Pool) -> Document:
    proxy = config.file.proxy
    return {
        "automountServiceAccountToken": False,
        "affinity": pool.affinity(),
        "securityContext": pod_security(),
        "containers": [_container(config, pool)],
        "volumes": [
            memory_volume("exchange", proxy.exchange),
            empty_volume("cache", proxy.cache),
            empty_volume("tmp", "256Mi"),
            peer_key_volume(proxy.peer_key_secret),
            *_login_volumes(config),
        ],
    }


def _container(config: ClusterConfig, pool: Pool) -> Document:
    proxy = config.file.proxy
    secret = config.file.redis.secret or names.REDIS_SECRET
    variables = [{"name": name, "value": value} for name, value in pool_environment(config, pool).items()]
    return {
        "name": "proxy",
        "image": config.file.cluster.image,
        "args": ["serve"],
        "env": [
            field_env("SKYLARK_NODE", "spec.nodeName"),
            secret_env("REDIS_PASSWORD", secret, "password"),  # before the URL that has it in
            *variables,
        ],
        "envFrom": [{"configMapRef": {"name": names.PROXY}}],
        "ports": [{"name": "http", "containerPort": names.PROXY_PORT}],
        # it pulls its functions and compiles them first, 5 s each and more on a small board
        "startupProbe": http_probe("/health/readiness", "http", period_s=2, failures=300),
        "readinessProbe": http_probe("/health/readiness", "http", period_s=5, failures=3),
        "livenessProbe": http_probe("/health/liveness", "http", period_s=10, failures=6),
        "resources": resources(proxy.cpu, proxy.memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "exchange", "mountPath": "/dev/shm"},  # noqa: S108
            {"name": "cache", "mountPath": _CACHE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            PEER_KEY_MOUNT,
            *({"name": one["name"], "mountPath": _LOGIN_FOLDER, "readOnly": True} for one in _login_volumes(config)),
        ],
    }


def _login_volumes(config: ClusterConfig) -> list[Document]:
    """What the proxy says to registries that it pulls functions from, in the form that docker and podman keep."""
    secret = config.file.cluster.pull_secret
    if secret is None:
        return []
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    return [{"name": "registry", "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}]
