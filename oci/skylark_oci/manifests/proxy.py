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
    network_policy,
    node_port_service,
    peer_key_volume,
    pod_security,
    resources,
    secret_env,
    tls_env,
    tls_mounts,
    tls_volumes,
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
        *([_plain_service(space)] if config.file.cluster.tls_secret is not None else []),
        *(_pool_service(pool, config) for pool in pools if pool.functions),
        network_policy(name, config, *_ingress(config)),
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
    space, encrypted = config.file.cluster.namespace, config.file.cluster.tls_secret is not None
    scheme = "https" if encrypted else "http"
    own = {
        "SKYLARK_HOST": "0.0.0.0",  # noqa: S104
        "SKYLARK_PORT": str(names.PROXY_PORT),
        "SKYLARK_NODE_INFO_URL": f"{scheme}://{names.host_of(names.NODE_INFO, space)}:{names.NODE_INFO_PORT}",
        "SKYLARK_PEER_KEY": PEER_KEY_SETTING,
        "SKYLARK_ALLOWED_HOSTS": allowed_hosts(space),
        "SKYLARK_CACHE_DIR": _CACHE,
        "SKYLARK_LOG_FORMAT": "json",
    }
    if encrypted:
        own["SKYLARK_PLAIN_LISTEN"] = f"0.0.0.0:{names.PLAIN_PORT}"
    if config.file.cluster.pull_secret is not None:
        own["REGISTRY_AUTH_FILE"] = f"{_LOGIN_FOLDER}/config.json"
    return own | environment(config.file.proxy.settings)


def pool_environment(config: ClusterConfig, pool: Pool) -> dict[str, str]:
    """The settings of a pool's proxies beyond those that are the same on all nodes."""
    redis = f"redis://:$(REDIS_PASSWORD)@{names.host_of(names.REDIS, config.file.cluster.namespace)}:{names.REDIS_PORT}"
    # two functions may be of one component
    functions = ",".join(dict.fromkeys(f"oci://{function.reference}" for function in pool.functions))
    return {"SKYLARK_REDIS_URL": redis} | ({"SKYLARK_FUNCTIONS": functions} if functions else {})


def plain_port(config: ClusterConfig) -> int:
    """The port at which a proxy's pod serves plain HTTP, as functions and Knative need it."""
    return names.PROXY_PORT if config.file.cluster.tls_secret is None else names.PLAIN_PORT


def _plain_service(space: str) -> Document:
    """Where functions that know no TLS find the proxy of their node."""
    ports = [{"name": "http", "port": names.PROXY_PORT, "targetPort": names.PLAIN_PORT}]
    spec = {"selector": {names.COMPONENT: names.PROXY}, "ports": ports, "internalTrafficPolicy": "Local"}
    return document("Service", names.PLAIN_PROXY, namespace=space, component=names.PROXY, spec=spec)


def _pool_service(pool: Pool, config: ClusterConfig) -> Document:
    """Where events for the functions of a pool go: any of its proxies."""
    space = config.file.cluster.namespace
    ports = [{"name": "http", "port": names.PROXY_PORT, "targetPort": plain_port(config)}]
    spec = {"selector": {names.COMPONENT: names.PROXY, names.POOL_LABEL: pool.name}, "ports": ports}
    return document("Service", pool.service, namespace=space, component=names.PROXY, spec=spec)


def _ingress(config: ClusterConfig) -> list[Document]:
    """Pods of this namespace and of Knative Eventing, and whoever has no address of a pod: the proxy's own rules count
    for these. The port without TLS is for the former only."""
    pods = pod_network(config)
    everywhere = "::/0" if ip_network(pods).version == 6 else "0.0.0.0/0"
    eventing = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _EVENTING}}}
    own: list[Document] = [{"podSelector": {}}, eventing]
    others = {"ipBlock": {"cidr": everywhere, "except": [pods]}}
    rules: list[Document] = [{"from": [*own, others], "ports": [{"port": names.PROXY_PORT, "protocol": "TCP"}]}]
    if config.file.cluster.tls_secret is not None:
        rules.append({"from": own, "ports": [{"port": names.PLAIN_PORT, "protocol": "TCP"}]})
    return rules


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
            empty_volume("cache", proxy.cache),
            empty_volume("tmp", "256Mi"),
            peer_key_volume(proxy.peer_key_secret),
            *tls_volumes(config.file.cluster.tls_secret),
            *_login_volumes(config),
        ],
    }


def _container(config: ClusterConfig, pool: Pool) -> Document:
    proxy, tls = config.file.proxy, config.file.cluster.tls_secret
    secret, encrypted = config.file.redis.secret or names.REDIS_SECRET, tls is not None
    variables = [{"name": name, "value": value} for name, value in pool_environment(config, pool).items()]
    return {
        "name": "proxy",
        "image": config.file.cluster.image,
        "args": ["serve"],
        "env": [
            field_env("SKYLARK_NODE", "spec.nodeName"),
            *tls_env(tls),
            secret_env("REDIS_PASSWORD", secret, "password"),  # before the URL that has it in
            *variables,
        ],
        "envFrom": [{"configMapRef": {"name": names.PROXY}}],
        "ports": [{"name": "http", "containerPort": names.PROXY_PORT}],
        # it pulls its functions and compiles them first, 5 s each and more on a small board
        "startupProbe": http_probe("/health/readiness", "http", period_s=2, failures=300, tls=encrypted),
        "readinessProbe": http_probe("/health/readiness", "http", period_s=5, failures=3, tls=encrypted),
        "livenessProbe": http_probe("/health/liveness", "http", period_s=10, failures=6, tls=encrypted),
        "resources": resources(proxy.cpu, proxy.memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "cache", "mountPath": _CACHE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            PEER_KEY_MOUNT,
            *tls_mounts(tls),
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
