"""Functions with pods of their own: Knative Services under a wasm RuntimeClass, and what Knative has to allow for them.

Sources: Knative Serving, "Feature and extension flags" and "Configuring scale to zero"; crun,
`docs/wasm-wasi-on-kubernetes.md` (the annotation); runwasi, `containerd-shim-wasmtime` (a component of
`wasi:http/proxy` is served on port 8080); Knative, "Container runtime contract" (`$PORT` says the container's port, and
what is built for `wasmedge` listens there); Kubernetes, "Service: Environment variables" and "Define dependent
environment variables" (how the address of the proxy gets into its URL).
"""

from ipaddress import ip_network

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run, Tier
from skylark_oci.manifests.documents import (
    Document,
    container_security,
    document,
    field_env,
    nodes_affinity,
    pull_secrets,
    secret_env,
)
from skylark_oci.manifests.proxy import pod_network

_FEATURES = ("runtimeclassname", "nodeselector", "affinity", "fieldref", "dnspolicy")
"""What these Services need of Knative's `config-features`. A flag cannot safely be disabled again, says Knative."""

_KNATIVE = "knative-serving"
OPERATOR = "operator.knative.dev/v1beta1"
NEVER_RESOLVED = ("kind.local", "ko.local", "dev.local")
"""Knative's own default of `registries-skipping-tag-resolving`."""
SKIPPED_REGISTRIES = "registries-skipping-tag-resolving"


_SECURITY = container_security(
    # the user that `skylark package` names, for images that name none
    runAsNonRoot=True,
    runAsUser=65532,
    seccompProfile={"type": "RuntimeDefault"},
)
"""Knative takes no `runAsGroup` without a flag of its own."""


def function_documents(config: ClusterConfig) -> list[Document]:
    """The part `functions`."""
    return [service(config, function) for function in config.file.functions if function.run is not Run.PROXY]


def knative_documents(config: ClusterConfig) -> list[Document]:
    """What Knative Serving has to allow, where there are functions with pods of their own."""
    functions = [function for function in config.file.functions if function.run is not Run.PROXY]
    if not functions:
        return []
    settings = {"features": {f"kubernetes.podspec-{feature}": "enabled" for feature in _FEATURES}}
    local = sorted({registry for one in functions if _is_of_the_node(registry := one.image.split("/")[0])})
    if local:
        # Knative's controller would ask for the tag's digest from its own pod, whose localhost is not the node's
        settings["deployment"] = {SKIPPED_REGISTRIES: ",".join((*NEVER_RESOLVED, *local))}
    return _operator_documents(settings) if config.file.cluster.knative_operator else _config_maps(settings)


def _config_maps(settings: dict[str, dict[str, str]]) -> list[Document]:
    """The settings in Knative's own ConfigMaps, each `config-` and its name."""
    made = [document("ConfigMap", f"config-{name}", namespace=_KNATIVE, data=data) for name, data in settings.items()]
    return [_of_others(one) for one in made]


def _operator_documents(settings: dict[str, dict[str, str]]) -> list[Document]:
    """The settings for the Knative Operator, which writes them into the ConfigMaps (Knative, "Configuring Knative by
    using the Operator")."""
    spec = {"config": settings}
    return [_of_others(document("KnativeServing", _KNATIVE, namespace=_KNATIVE, api=OPERATOR, spec=spec))]


def _of_others(made: Document) -> Document:
    """An object that others have made and of which only some fields are ours: without our labels."""
    del made["metadata"]["labels"]
    return made


def service(config: ClusterConfig, function: FunctionSection) -> Document:
    """The Knative Service of a function, which has no pods while nothing calls it."""
    template = {
        "metadata": {"annotations": _annotations(function)},
        "spec": {
            "runtimeClassName": str(function.run),
            "enableServiceLinks": True,  # for the address of the proxy
            "dnsPolicy": "ClusterFirst",
            **_placement(function),
            "containerConcurrency": function.concurrency,
            "timeoutSeconds": function.timeout_s,
            **pull_secrets(config),
            "containers": [_container(config, function)],
        },
    }
    return document(
        "Service",
        function.name,
        namespace=config.file.cluster.namespace,
        api="serving.knative.dev/v1",
        component=function.name,
        spec={"template": template},
    )


def _annotations(function: FunctionSection) -> dict[str, str]:
    """compat-smart: crun runs the container whose entrypoint is a .wasm file as such, and the queue-proxy as usual.
    The containerd shims tell them apart by themselves."""
    return {
        "module.wasm.image/variant": "compat-smart",
        "autoscaling.knative.dev/min-scale": str(function.min_scale),
        "autoscaling.knative.dev/max-scale": str(function.max_scale),
    }


def _placement(function: FunctionSection) -> Document:
    """Return the nodes of a function. A label's value is too short for some nodes' names; see `nodes_affinity`."""
    if function.tier is not None:
        return {"nodeSelector": {names.TIER_LABEL: str(function.tier)}}
    if len(str(function.node)) <= names.LONGEST_LABEL:
        return {"nodeSelector": {names.HOSTNAME_LABEL: str(function.node)}}
    return {"affinity": nodes_affinity([str(tier) for tier in Tier], "In", [str(function.node)])}


def _proxy_url(config: ClusterConfig) -> str:
    """The proxy of the node, by the address of its Service, which leads to the node's own pod.

    Not by its name: the shims and crun resolve names as the node does, and the node does not know the cluster's. Not by
    LOCAL_NODE_HOST and the NodePort: from a pod that leads to any node's proxy; see `documents.node_port_service`.
    """
    service = names.PROXY if config.file.cluster.tls_secret is None else names.PLAIN_PROXY
    address = f"$({names.service_variable(service)})"
    host = f"[{address}]" if ip_network(pod_network(config)).version == 6 else address
    return f"http://{host}:{names.PROXY_PORT}"


def _container(config: ClusterConfig, function: FunctionSection) -> Document:
    own = [{"name": name, "value": value} for name, value in function.environment.items()]
    return {
        "image": function.reference,
        "ports": [{"containerPort": names.FUNCTION_PORT}],
        "env": [
            field_env("LOCAL_NODE_HOST", "status.hostIP"),
            {"name": "SKYLARK_PROXY_URL", "value": _proxy_url(config)},
            secret_env("SKYLARK_FUNCTION_TOKEN", names.function_secret(function.name), "token"),
            *own,
        ],
        "securityContext": _SECURITY,
        "readinessProbe": {"httpGet": {"path": "/health"}, "periodSeconds": 1, "failureThreshold": 30},
        "resources": {
            "requests": {"cpu": function.cpu, "memory": function.memory_limit},
            "limits": {"memory": function.memory_limit},
        },
    }


def _is_of_the_node(registry: str) -> bool:
    return registry.partition(":")[0] in ("localhost", "127.0.0.1")
