"""Reads `skylark.yaml` and the files that it names, and refuses what cannot be meant."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import yaml

from skylark_oci.manifests.config import ClusterConfig, ClusterFile, Distribution, FunctionSection, Run, Tier
from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.manifests.places import DuplicateKey, check_keys, line_of

MAX_EVENT_DATA_BYTES = 512_000
"""An object of the API has at most 1.5 MB (etcd's limit for a request), and Base64 adds a third."""

_PATH = re.compile(r" - at (`key` in )?`\$\.?(?P<path>[^`]*?)(\[\.\.\.\])?`$")
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`")
_REASON = re.compile(r"^Expected (?P<expected>.*?)(, got .*)?( - at .*)?$")
_LAST = re.compile(r"([^.\[\]]+)(\[[^\]]*\])*$")

_EXPECTED = {
    "distribution": f"one of {', '.join(Distribution)}",
    "run": f"one of {', '.join(Run)}",
    "tier": f"one of {', '.join(Tier)}",
    "provider": "one of kubernetes, static, rotating, random",
    "effect": "one of NoSchedule, PreferNoSchedule, NoExecute",
    "runtime_handlers": "the handlers of wasmtime and wasmedge, each a name",
    "digest": "sha256: and 64 hexadecimal digits, in quotes",
    "image": "an image, such as registry.example/skylark:0.1.0",
    "settings": "settings by name, each a text, a number, true or false",
    "environment": "variables by name, each a text: a number in quotes",
    "cpu": "processors, in quotes, such as '2' or 250m",
    "data": "an absolute path on the node",
    "functions": "a list of functions",
} | dict.fromkeys(("memory", "exchange", "cache"), "a size, such as 512Mi")
_EXPECTED |= dict.fromkeys(
    ("name", "namespace", "after", "broker", "secret", "peer_key_secret", "pull_secret"),
    "at most 40 of a-z 0-9 -, from a letter on",
)


_OF_THE_PROXY = frozenset(
    ("node", "host", "port", "topology", "functions", "redis_url", "redis_fsync", "data_dir", "cache_dir", "peer_key")
)
_OF_NODE_INFO = frozenset(("node", "topology", "node_info_host", "node_info_port", "node_info_provider"))
"""Settings that the manifests decide."""

_OF_KNATIVE = frozenset(("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"))
"""Variables that a Service may not have (Knative Serving, `pkg/apis/serving/k8s_validation.go`, `reservedEnvVars`)."""


def read_config(path: Path) -> ClusterConfig:
    """Reads a configuration file and what it names.

    Raises:
        InvalidConfig: A file cannot be read, or a field is wrong; the error names it and its line.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig("--file", str(path), f"a readable YAML file ({error})") from error
    return parse_config(text, path.parent)


def parse_config(text: str, folder: Path) -> ClusterConfig:
    """Reads a configuration; the files that it names lie in `folder`.

    Raises:
        InvalidConfig: A field is wrong; the error names it and its line.
    """
    root, content = _loaded(text)
    try:
        file = msgspec.convert(content, ClusterFile)
        for field, value, expected in _wrong(file):
            raise InvalidConfig(field, value, expected)
        return ClusterConfig(file, _topology(file, folder), _event_data(file, folder))
    except msgspec.ValidationError as error:
        raise _explained(root, content, error) from error
    except InvalidConfig as error:
        raise InvalidConfig(error.field, error.value, error.expected, line_of(root, error.field)) from error


def _loaded(text: str) -> tuple[yaml.Node, object]:
    """A YAML document: its nodes, which know their lines, and its content."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise InvalidConfig("cluster", None, "a section with at least `image`; the file is empty")
        check_keys(root)
        return root, yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InvalidConfig("the file", text[:20], f"YAML ({error.problem})", line) from error
    except DuplicateKey as error:
        raise InvalidConfig(error.path, "twice", "each field once", error.line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date that is none
        raise InvalidConfig("the file", text[:20], f"YAML ({error})") from error


def _explained(root: yaml.Node, content: object, cause: msgspec.ValidationError) -> InvalidConfig:
    """msgspec's error as ours: which field on which line, its value, what was expected."""
    at = _PATH.search(str(cause))
    path = at["path"] if at else ""
    field = _FIELD.search(str(cause))
    if field is None:
        return InvalidConfig(
            path or "the file", _value_at(content, path), _expected(path, str(cause)), line_of(root, path)
        )
    place = f"{path}.{field['name'] or repr('')}".lstrip(".")
    if field["what"] == "contains unknown":
        return InvalidConfig(place, _value_at(content, place), "no such field", line_of(root, place))
    return InvalidConfig(place, None, f"{_expected(place, '')}; the field is missing", line_of(root, path))


def _expected(path: str, reason: str) -> str:
    last = _LAST.search(path)
    known = _EXPECTED.get(last[1]) if last and not path.endswith("]") else None
    stated = _REASON.match(reason)
    return known or (stated["expected"].replace("`", "") if stated else reason) or "a value"


def _value_at(content: Any, path: str) -> object:
    value = content
    try:
        for step in re.findall(r"[^.\[\]]+", path):
            value = value[int(step) if isinstance(value, list) else step]
    except (LookupError, TypeError, ValueError):
        return None
    return value if not isinstance(value, dict | list) else type(value).__name__


def _wrong(file: ClusterFile) -> Iterator[tuple[str, object, str]]:
    """What no type tells: field, value and what was expected."""
    if file.cluster.pod_network is not None and not _is_network(file.cluster.pod_network):
        yield "cluster.pod_network", file.cluster.pod_network, "a network such as 10.1.0.0/16"
    for index, network in enumerate(file.cluster.operators):
        if not _is_network(network):
            yield f"cluster.operators[{index}]", network, "a network such as 192.168.50.0/24"
    if file.node_info.provider != "kubernetes" and file.node_info.topology is None:
        yield "node_info.topology", None, f"a JSON file, for the provider {file.node_info.provider}"
    yield from _reserved("proxy.settings", file.proxy.settings, _OF_THE_PROXY)
    yield from _reserved("node_info.settings", file.node_info.settings, _OF_NODE_INFO)
    names = [function.name for function in file.functions]
    for index, function in enumerate(file.functions):
        for field, value, expected in _wrong_function(function, names, index):
            yield f"functions[{index}].{field}", value, expected
    yield from _circles(file.functions)
    if file.events.schedule is not None and len(file.events.schedule.cron.split()) != 5:
        yield "events.schedule.cron", file.events.schedule.cron, "the five parts of a cron schedule, as */5 * * * *"


def _reserved(
    section: str, settings: Mapping[str, object], taken: Collection[str]
) -> Iterator[tuple[str, object, str]]:
    for name, value in settings.items():
        if name in taken:
            yield f"{section}.{name}", value, "a setting that does not depend on the pod"


def _circles(functions: Sequence[FunctionSection]) -> Iterator[tuple[str, object, str]]:
    """Functions that start each other for ever."""
    before = {function.name: function.after for function in functions}
    for index, function in enumerate(functions):
        seen, at = {function.name}, function.after
        while at is not None and at not in seen:
            seen.add(at)
            at = before[at]
        if at == function.name:
            yield f"functions[{index}].after", function.after, "a chain that begins somewhere, not a circle"


def _wrong_function(function: FunctionSection, names: list[str], index: int) -> Iterator[tuple[str, object, str]]:
    if function.name in names[:index]:
        yield "name", function.name, "a name that no other function has"
    if (function.tier is None) == (function.node is None):
        yield "node" if function.node else "tier", function.node, "exactly one of tier and node"
    if function.after is not None and function.on_event is not None:
        yield "on_event", function.on_event, "either after or on_event"
    if function.after is not None and (function.after not in names or function.after == function.name):
        yield "after", function.after, f"another function: {', '.join(name for name in names if name != function.name)}"
    if function.digest is not None and "@" in function.image:
        yield "digest", function.digest, "one digest; the image has one"
    if function.run is Run.PROXY and function.environment:
        yield "environment", dict(function.environment), "none: a hosted component's manifest names its variables"
    for name in sorted(_OF_KNATIVE & function.environment.keys()):
        yield f"environment.{name}", function.environment[name], "none: Knative sets it"
    for name in function.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"environment.{name}", name, "letters, digits and _"


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _topology(file: ClusterFile, folder: Path) -> str | None:
    if file.node_info.topology is None:
        return None
    return _content("node_info.topology", folder / file.node_info.topology).decode(errors="replace")


def _event_data(file: ClusterFile, folder: Path) -> bytes | None:
    if file.events.schedule is None or file.events.schedule.data_file is None:
        return None
    data = _content("events.schedule.data_file", folder / file.events.schedule.data_file)
    if len(data) > MAX_EVENT_DATA_BYTES:
        expected = f"a file of at most {MAX_EVENT_DATA_BYTES} bytes; it has {len(data)}"
        raise InvalidConfig("events.schedule.data_file", file.events.schedule.data_file, expected)
    return data


def _content(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidConfig(field, str(path), f"a readable file ({error.strerror})") from error
