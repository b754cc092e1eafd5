"""Find what a configuration cannot mean, though each of its fields has the right form."""

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_network
from urllib.parse import urlsplit

from skylark_oci.manifests.circles import circle
from skylark_oci.manifests.config import ClusterFile, EventsSection, FunctionSection, Run
from skylark_oci.manifests.cron import expected_schedule
from skylark_oci.manifests.quantities import size_bytes

Wrong = Iterator[tuple[str, object, str]]
"""Fields with their value and what was expected instead."""

_OF_THE_PROXY = frozenset(
    (
        "node",
        "host",
        "port",
        "topology",
        "functions",
        "redis_url",
        "redis_fsync",
        "data_dir",
        "cache_dir",
        "peer_key",
        "tls_cert",
        "tls_key",
        "tls_ca",
        "plain_listen",
    )
)
_OF_NODE_INFO = frozenset(
    (
        "node",
        "topology",
        "node_info_host",
        "node_info_port",
        "node_info_provider",
        "peer_key",
        "tls_cert",
        "tls_key",
        "tls_ca",
    )
)
"""Settings that the manifests decide."""

_OF_KNATIVE = frozenset(("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"))
"""Variables that a Service may not have (Knative Serving, `pkg/apis/serving/k8s_validation.go`, `reservedEnvVars`)."""
_OF_THE_MANIFESTS = frozenset(("LOCAL_NODE_HOST", "SKYLARK_PROXY_URL", "SKYLARK_FUNCTION_TOKEN"))

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LEAST_BYTES = 1 << 20
"""Below this a unit was forgotten: `512` are 512 bytes, in which nothing starts."""


def contradictions(file: ClusterFile) -> Wrong:
    """Yield what no type tells: each field with its value and what was expected."""
    yield from _wrong_cluster(file)
    if file.node_info.provider != "kubernetes" and file.node_info.topology is None:
        yield "node_info.topology", None, f"a JSON file, for the provider {file.node_info.provider}"
    yield from _reserved("proxy.settings", file.proxy.settings, _OF_THE_PROXY)
    yield from _reserved("node_info.settings", file.node_info.settings, _OF_NODE_INFO)
    yield from _wrong_sizes(file)
    names = [function.name for function in file.functions]
    for index, function in enumerate(file.functions):
        for field, value, expected in _wrong_function(function, names, index):
            yield f"functions[{index}].{field}", value, expected
    yield from _twice_in_a_pool(file)
    yield from _wrong_events(file.events, names)
    yield from _circles(file)


def _wrong_cluster(file: ClusterFile) -> Wrong:
    cluster = file.cluster
    if cluster.pod_network is not None and not _is_network(cluster.pod_network):
        yield "cluster.pod_network", cluster.pod_network, "a network such as 10.1.0.0/16"
    for index, network in enumerate(cluster.operators):
        if not _is_network(network):
            yield f"cluster.operators[{index}]", network, "a network such as 192.168.50.0/24"
    for index, taint in enumerate(cluster.tolerations):
        place = f"cluster.tolerations[{index}]"
        if not _LABEL_KEY.fullmatch(taint.key):
            yield f"{place}.key", taint.key, "the key of a taint, such as node-role.kubernetes.io/control-plane"
        if taint.value is not None and not _LABEL_VALUE.fullmatch(taint.value):
            yield f"{place}.value", taint.value, "the value of a taint: at most 63 of A-Z a-z 0-9 - _ ."
    data = file.redis.data
    if data is not None and (".." in data.split("/") or not data.strip("/")):
        yield "redis.data", data, "a folder on the node of its own, without .."


def _wrong_sizes(file: ClusterFile) -> Wrong:
    sizes = {
        "redis.memory": file.redis.memory,
        "proxy.memory": file.proxy.memory,
        "proxy.cache": file.proxy.cache,
        "node_info.memory": file.node_info.memory,
    } | {f"functions[{index}].memory": one.memory_limit for index, one in enumerate(file.functions)}
    for field, size in sizes.items():
        if size_bytes(size) < _LEAST_BYTES:
            yield field, size, "a size of 1Mi or more, with its unit, such as 512Mi"


def _wrong_function(function: FunctionSection, names: list[str], index: int) -> Wrong:
    if function.name in names[:index]:
        yield "name", function.name, "a name that no other function has"
    if function.run is not Run.PROXY and function.name.startswith("skylark-"):
        # its Service and the labels of its pods would be those of a part of Skylark
        yield "name", function.name, "a name that does not begin with skylark-, as Skylark's own objects do"
    if (function.tier is None) == (function.node is None):
        yield "node" if function.node else "tier", function.node, "exactly one of tier and node"
    if function.after is not None and function.on_event is not None:
        yield "on_event", function.on_event, "either after or on_event"
    if function.after is not None and (function.after not in names or function.after == function.name):
        yield "after", function.after, f"another function: {', '.join(name for name in names if name != function.name)}"
    if function.digest is not None and "@" in function.image:
        yield "digest", function.digest, "one digest; the image has one"
    if 0 < function.max_scale < function.min_scale:
        yield "max_scale", function.max_scale, f"min_scale, {function.min_scale}, or more; or 0, for any number"
    yield from _wrong_environment(function)


def _wrong_environment(function: FunctionSection) -> Wrong:
    if function.run is Run.PROXY and function.chains != "own":
        yield "chains", function.chains, "own: a hosted component's manifest says otherwise, if need be"
    if function.run is Run.PROXY and function.environment:
        yield "environment", dict(function.environment), "none: a hosted component's manifest names its variables"
    for name, value in function.environment.items():
        if name in _OF_KNATIVE:
            yield f"environment.{name}", value, "none: Knative sets it"
        if name in _OF_THE_MANIFESTS:
            yield f"environment.{name}", value, "none: it leads to the proxy of the node, and is set already"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"environment.{name}", value, "letters, digits and _"


def _twice_in_a_pool(file: ClusterFile) -> Wrong:
    """Yield functions that a proxy would have twice, from two components: it does not start with them."""
    seen: dict[tuple[object, str], FunctionSection] = {}
    for index, function in enumerate(file.functions):
        if function.run is not Run.PROXY:
            continue
        other = seen.setdefault((function.tier or function.node, function.called), function)
        if other.reference != function.reference:
            field = "function" if function.function is not None else "name"
            where = function.tier or function.node
            expected = f"a function that no other component of {where} has; {other.name} is {other.reference}'s"
            yield f"functions[{index}].{field}", function.called, expected


def _wrong_events(events: EventsSection, names: Collection[str]) -> Wrong:
    dead_letter = events.dead_letter
    if dead_letter is not None and dead_letter not in names:
        if not _is_http(dead_letter):
            yield "events.dead_letter", dead_letter, "a URL such as http://lost.example/, or the name of a function"
        elif str(urlsplit(dead_letter).hostname).startswith("broker-ingress.knative-eventing."):
            yield "events.dead_letter", dead_letter, "another place: a broker would deliver the events again, for ever"
    if events.schedule is not None:
        expected = expected_schedule(events.schedule.cron)
        if expected is not None:
            yield "events.schedule.cron", events.schedule.cron, expected


def _circles(file: ClusterFile) -> Wrong:
    found = circle(file.functions, file.events)
    if found is not None:
        way = f"a chain that begins somewhere, not a circle: {' → '.join(found)}"
        index = min(index for index, function in enumerate(file.functions) if function.name in found)
        function = file.functions[index]
        field = "after" if function.after is not None else "on_event"
        if getattr(function, field) is None:  # only as the function of dead_letter
            yield "events.dead_letter", file.events.dead_letter, way
        else:
            yield f"functions[{index}].{field}", getattr(function, field), way


def _reserved(section: str, settings: Mapping[str, object], taken: Collection[str]) -> Wrong:
    for name, value in settings.items():
        if name in taken:
            yield f"{section}.{name}", value, "a setting that does not depend on the pod"


def _is_network(text: str) -> bool:
    try:
        return "/" in text and ip_network(text) is not None
    except ValueError:
        return False


def _is_http(text: str) -> bool:
    """True for an absolute URL of http or https."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", text)
