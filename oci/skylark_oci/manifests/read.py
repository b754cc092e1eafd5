"""Reads `skylark.yaml` and the files that it names, and refuses what cannot be meant."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from skylark_oci.manifests.config import ClusterConfig, ClusterFile, Distribution, Run, Tier
from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.manifests.places import DuplicateKey, check_keys, line_of
from skylark_oci.manifests.sense import contradictions
from skylark_oci.safe_yaml import compose

MAX_EVENT_DATA_BYTES = 512_000
"""An object of the API has at most 1.5 MB (etcd's limit for a request), and Base64 adds a third."""
MAX_TOPOLOGY_BYTES = 1_000_000
"""A ConfigMap has at most 1 MiB."""

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
    "chains": "own or any",
    "digest": "sha256: and 64 hexadecimal digits, in quotes",
    "image": "an image, such as registry.example/skylark:0.1.0",
    "settings": "settings by name, each a text, a number, true or false",
    "environment": "variables by name, each a text: a number in quotes",
    "cpu": "processors, in quotes, such as '2' or 250m",
    "data": "an absolute path on the node",
    "functions": "a list of functions",
    "namespace": "at most 63 of a-z 0-9 -, with a letter or digit at both ends",
    "node": "the name of a node: at most 253 of a-z 0-9 - ., with a letter or digit around each dot",
} | dict.fromkeys(("memory", "cache"), "a size, such as 512Mi")
_EXPECTED |= dict.fromkeys(
    ("name", "after", "broker"),
    "at most 40 of a-z 0-9 -, from a letter on",
)
_EXPECTED |= dict.fromkeys(
    ("secret", "peer_key_secret", "pull_secret", "tls_secret"), "the name of a Secret, of a-z 0-9 - ."
)


def read_config(path: Path) -> ClusterConfig:
    """Reads a configuration file and what it names.

    Raises:
        InvalidConfig: A file cannot be read, or a field is wrong; the error names it and its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        for field, value, expected in contradictions(file):
            raise InvalidConfig(field, value, expected)
        return ClusterConfig(file, _topology(file, folder), _event_data(file, folder))
    except msgspec.ValidationError as error:
        raise _explained(root, content, error) from error
    except InvalidConfig as error:
        raise InvalidConfig(error.field, error.value, error.expected, line_of(root, error.field)) from error


def _loaded(text: str) -> tuple[yaml.Node, object]:
    """A YAML document: its nodes, which know their lines, and its content."""
    try:
        root = compose(text)
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


def _topology(file: ClusterFile, folder: Path) -> str | None:
    if file.node_info.topology is None:
        return None
    field, name = "node_info.topology", file.node_info.topology
    content = _content(field, folder / name)
    if len(content) > MAX_TOPOLOGY_BYTES:
        raise InvalidConfig(field, name, f"a file of at most {MAX_TOPOLOGY_BYTES} bytes; it has {len(content)}")
    if not _is_json(content):
        raise InvalidConfig(field, name, "a file with JSON, in UTF-8")
    return content.decode()


def _event_data(file: ClusterFile, folder: Path) -> bytes | None:
    if file.events.schedule is None or file.events.schedule.data_file is None:
        return None
    data = _content("events.schedule.data_file", folder / file.events.schedule.data_file)
    if len(data) > MAX_EVENT_DATA_BYTES:
        expected = f"a file of at most {MAX_EVENT_DATA_BYTES} bytes; it has {len(data)}"
        raise InvalidConfig("events.schedule.data_file", file.events.schedule.data_file, expected)
    if file.events.schedule.content_type == "application/json" and not _is_json(data, dict):
        # Knative refuses it (Eventing, pingsource_validation.go)
        raise InvalidConfig("events.schedule.data_file", file.events.schedule.data_file, "a file with a JSON object")
    return data


def _is_json(content: bytes, kind: type = object) -> bool:
    try:
        return isinstance(json.loads(content.decode()), kind)
    except (ValueError, RecursionError):
        return False


def _content(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # the latter of a path that none can be, with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise InvalidConfig(field, str(path), f"a readable file ({reason})") from error
