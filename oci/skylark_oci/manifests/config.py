"""What a cluster is told: the form of `skylark.yaml`.

Sizes and shares of a processor are Kubernetes quantities, such as `512Mi` and `250m`.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
"""A DNS label (RFC 1123) with room for a prefix."""
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A DNS label (RFC 1123), as a namespace's name is one."""
ObjectName = Annotated[
    str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
"""A DNS subdomain (RFC 1123), as the names of most objects are."""
NodeName = ObjectName
Image = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?/)?"
        r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
    ),
]
"""As `skylark_oci.reference`, but the registry may be left to the cluster."""
Size = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]*)(\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Cpu = Annotated[str, Meta(pattern=r"^([1-9][0-9]*m?|[0-9]+\.[0-9]{1,3})$")]
HostPath = Annotated[str, Meta(pattern=r"^/[^\s:]*$")]
EventType = Annotated[str, Meta(pattern=r"^[^\s]{1,256}$")]
Setting = str | int | float | bool


class Distribution(StrEnum):
    """Which Kubernetes it is, where they differ; see `distribution`."""

    PLAIN = "plain"
    MICROK8S = "microk8s"
    K3S = "k3s"
    KIND = "kind"


class Tier(StrEnum):
    """The values of the label `node-type` of nodes."""

    CLOUD = "Cloud"
    EDGE = "Edge"
    SAT = "Sat"


class Run(StrEnum):
    """What runs a function."""

    PROXY = "proxy"
    """The proxy of its node hosts the component; there is no pod of its own."""
    WASMTIME = "wasmtime"
    """A Knative Service under the RuntimeClass `wasmtime`; target `http`."""
    WASMEDGE = "wasmedge"
    """A Knative Service under the RuntimeClass `wasmedge`; target `wasmedge`, a core module."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file."""


class Toleration(_Section, frozen=True):
    """A taint that the pods on every node tolerate; `operator` Exists if there is no value."""

    key: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"
    value: str | None = None


class ClusterSection(_Section, frozen=True):
    """The cluster as a whole."""

    image: Image
    """The image of `oci/Containerfile`: the proxy and node-info."""
    distribution: Distribution = Distribution.PLAIN
    namespace: Label = "skylark"
    pod_network: str | None = None
    """The network of the cluster's pods, in CIDR form; the distribution's own if absent."""
    operators: list[str] = []
    """Networks that may reach Redis and node-info by their NodePorts; without any nobody but the proxies may."""
    runtime_handlers: dict[Literal["wasmtime", "wasmedge"], Label] = {}
    """The containerd handler of a RuntimeClass, where it has another name, such as `wasmedge: crun`."""
    pull_secret: ObjectName | None = None
    """An existing Secret of the type kubernetes.io/dockerconfigjson, for registries that ask who pulls."""
    tls_secret: ObjectName | None = None
    """An existing Secret with `ca.crt`, and `NODE.crt` and `NODE.key` of each node; without it nothing is encrypted."""
    knative_operator: bool = False
    """Whether the Knative Operator runs Knative, as MicroK8s' addon has it; it would undo changes of its ConfigMaps."""
    tolerations: list[Toleration] = msgspec.field(
        default_factory=lambda: [Toleration(key="node-role.kubernetes.io/control-plane")]
    )
    """Taints that Skylark's own pods tolerate."""


class RedisSection(_Section, frozen=True):
    """The Redis of each node."""

    image: Image = "docker.io/library/redis:7.2"
    data: HostPath | None = None
    """The folder on the node; the distribution's own if absent."""
    memory: Size = "512Mi"
    """The container's limit; two thirds of it are Redis' `maxmemory`, the rest is for rewriting its file."""
    cpu: Cpu = "100m"
    secret: ObjectName | None = None
    """An existing Secret with `password` and `users.acl`; one is made if absent."""


class ProxySection(_Section, frozen=True):
    """The proxy of each node."""

    memory: Size = "1536Mi"
    """The container's limit. A proxy takes 0.5 GB while it compiles a function."""
    cache: Size = "2Gi"
    """The size of the folder for compiled components."""
    cpu: Cpu = "250m"
    peer_key_secret: ObjectName | None = None
    """An existing Secret with `key`; one is made if absent."""
    settings: dict[str, Setting] = {}
    """Settings of the proxy by name, such as `max_latency_ms: 100` for SKYLARK_MAX_LATENCY_MS."""


class NodeInfoSection(_Section, frozen=True):
    """The node-info service of each node."""

    provider: Literal["kubernetes", "static", "rotating", "random"] = "kubernetes"
    topology: str | None = None
    """The provider's JSON file, beside the configuration: the links, or the topology."""
    memory: Size = "256Mi"
    cpu: Cpu = "50m"
    settings: dict[str, Setting] = msgspec.field(default_factory=lambda: {"node_info_seed": 1})
    """Settings by name. A seed makes all nodes draw the same links."""


_MEMORY = {Run.PROXY: "256Mi", Run.WASMTIME: "256Mi", Run.WASMEDGE: "512Mi"}


class FunctionSection(_Section, frozen=True):
    """A function, where it runs, and which event starts it."""

    name: Name
    run: Run
    image: Image
    """The image (wasmtime, wasmedge), or the reference of the component (proxy)."""
    digest: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    function: FunctionName | None = None
    """The function's name in its component; `name` if absent."""
    tier: Tier | None = None
    node: NodeName | None = None
    """Exactly one of tier and node."""
    after: Name | None = None
    """It runs on what that function answers."""
    on_event: EventType | None = None
    """It runs on events of this type. At most one of `after` and `on_event`."""
    chains: Literal["own", "any"] = "own"
    """Whether it may touch the bundles of other chains than that of each invocation; for pods of its own."""
    replies: EventType | None = None
    """The type of the event that it answers with, where it makes one itself."""
    memory: Size | None = None
    """The container's limit; `memory_limit` says what it is if absent."""
    cpu: Cpu = "100m"
    concurrency: Annotated[int, Meta(ge=0, le=1000)] = 1
    """Requests at once in one pod; 0: any number."""
    timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60
    min_scale: Annotated[int, Meta(ge=0, le=1000)] = 0
    max_scale: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Pods at most; 0: any number."""
    environment: dict[str, str] = {}

    @property
    def called(self) -> str:
        """The function's name in its component."""
        return self.function or self.name

    @property
    def memory_limit(self) -> str:
        """The container's limit. Before it does anything a module takes 290 MB interpreted by WasmEdge (measured with
        its main branch of August 2026), and 175 MB as native code."""
        return self.memory or _MEMORY[self.run]

    @property
    def reference(self) -> str:
        """The image, by digest if one is given."""
        return f"{self.image}@{self.digest}" if self.digest else self.image


class ScheduleSection(_Section, frozen=True):
    """An event at regular times, from a Knative PingSource; its type is `dev.knative.sources.ping`."""

    cron: str
    data_file: str | None = None
    """The event's data, beside the configuration; at most 512 kB."""
    content_type: str = "application/octet-stream"


class EventsSection(_Section, frozen=True):
    """How events reach functions."""

    broker: Name = "default"
    schedule: ScheduleSection | None = None
    retries: Annotated[int, Meta(ge=0, le=100)] = 5
    dead_letter: str | None = None
    """The function, or the http URL, that gets the events which no retry could deliver."""


class ClusterFile(_Section, frozen=True):
    """The whole file."""

    cluster: ClusterSection
    redis: RedisSection = RedisSection()
    proxy: ProxySection = ProxySection()
    node_info: NodeInfoSection = NodeInfoSection()
    functions: list[FunctionSection] = []
    events: EventsSection = EventsSection()


class ClusterConfig(msgspec.Struct, frozen=True):
    """The file with the contents of the files that it names."""

    file: ClusterFile
    topology: str | None = None
    event_data: bytes | None = None
