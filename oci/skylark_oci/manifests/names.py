"""The names, ports and labels that one manifest uses and another one defines."""

NODE_INFO, PROXY, REDIS = "skylark-node-info", "skylark-proxy", "skylark-redis"
NODE_INFO_PORT, PROXY_PORT, REDIS_NODE_PORT = 30001, 30002, 30003
REDIS_PORT = 6379
PLAIN_PROXY, PLAIN_PORT = "skylark-proxy-plain", 30004
"""Where a proxy with TLS serves plain HTTP to pods of its node and to Knative."""
FUNCTION_PORT = 8080
"""Where the wasmtime shim serves a component of `wasi:http/proxy`, and what Knative has `$PORT` say."""

PEER_KEY_SECRET, REDIS_SECRET = "skylark-peer-key", "skylark-redis"  # names, not secrets
PEER_KEY_FOLDER = "/etc/skylark/peer"
TLS_FOLDER = "/etc/skylark/tls"
PRIORITY_CLASS = "skylark-node"
TIER_LABEL = "node-type"
HOSTNAME_LABEL = "kubernetes.io/hostname"
POOL_LABEL = "skylark.io/pool"
LONGEST_LABEL = 63
"""The most characters of a label's value."""
CONFIG_HASH = "skylark.io/config-hash"

COMPONENT = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"


def host_of(service: str, namespace: str) -> str:
    """The name of a Service for pods, whatever the cluster's domain is: their resolver adds it."""
    return f"{service}.{namespace}.svc"


def function_secret(function: str) -> str:
    """The Secret with the credential of a function that has pods of its own."""
    return f"{function}-skylark-token"


def service_variable(service: str) -> str:
    """The variable with a Service's address that Kubernetes gives to pods of its namespace."""
    return f"{service.upper().replace('-', '_')}_SERVICE_HOST"


def reply_type(function: str) -> str:
    """The type of the event that a proxy makes of a function's answer which is none; see `skylark.cloudevents`."""
    return f"io.skylark.function.{function}"
