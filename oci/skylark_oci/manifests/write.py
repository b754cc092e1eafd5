"""Writes a cluster's objects as YAML files, and keeps the secrets that a folder has already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.kustomize import kustomizations
from skylark_oci.manifests.names import PEER_KEY_SECRET, REDIS_SECRET
from skylark_oci.manifests.render import SECRETS_PART, Part, render

SECRETS_FOLDER = "secrets"
"""Apart from the other files, as these are applied again and again, and secrets are created once."""
_SECRETS_FILE = f"{SECRETS_PART}.yaml"
_IGNORED = f"# keys and passwords\n{SECRETS_FOLDER}/\n{_SECRETS_FILE}\n.gitignore\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def to_yaml(documents: Sequence[Any]) -> str:
    """YAML with the keys in the order that they were made in, so that the same objects are the same text."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120, allow_unicode=True)


def write_manifests(config: ClusterConfig, folder: Path) -> list[Path]:
    """Write the objects for the configured distribution into a folder, and beside them `base/` and `overlays/`.

    Secrets are in `secrets/`, for `kubectl create`, which refuses those that the cluster has already.

    Returns:
        The files, in the order of their names.

    Raises:
        InvalidConfig: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # earlier versions had the secrets among the other files
        found = (folder / SECRETS_FOLDER / _SECRETS_FILE, folder / _SECRETS_FILE)
        secrets = _kept(next((path for path in found if path.exists()), found[0]))
        files = {_path(part): part.documents for part in render(config, secrets)}
        files |= kustomizations(config, secrets)
        _remove_others(folder, set(files))
        for name, documents in files.items():
            _write(folder / name, documents)
        (folder / ".gitignore").write_text(_IGNORED)
    except OSError as error:
        raise InvalidConfig("--output", str(folder), f"a folder that can be written ({error.strerror})") from error
    return sorted(folder / name for name in files)


def _path(part: Part) -> str:
    name = f"{part.name}.yaml"
    return f"{SECRETS_FOLDER}/{name}" if part.name == SECRETS_PART else name


def _write(path: Path, documents: Sequence[Document]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600 if path.name == _SECRETS_FILE else 0o644)
    path.write_text(to_yaml(documents))


def _remove_others(folder: Path, names: set[str]) -> None:
    """Removes parts that an earlier run has written and that there are no more, as `kubectl apply -f` takes all."""
    earlier = {path.relative_to(folder).as_posix() for path in folder.glob("[0-9][0-9]-*.yaml")}
    earlier |= {path.relative_to(folder).as_posix() for path in folder.glob("base/[0-9][0-9]-*.yaml")}
    earlier |= {path.relative_to(folder).as_posix() for path in folder.glob("overlays/*/*.yaml")}
    earlier |= {path.relative_to(folder).as_posix() for path in folder.glob(f"{SECRETS_FOLDER}/{_SECRETS_FILE}")}
    for name in earlier - names:
        (folder / name).unlink()


def _kept(path: Path) -> Secrets:
    """The secrets of an earlier run, so that a second one changes nothing; new ones where there are none."""
    new = Secrets.generate()
    try:
        found = {one["metadata"]["name"]: one["stringData"] for one in yaml.safe_load_all(path.read_text())}
    except FileNotFoundError:
        return new
    except (yaml.YAMLError, UnicodeError, KeyError, TypeError, RecursionError) as error:
        raise InvalidConfig(
            str(path), "its content", f"the secrets of an earlier run, or no such file ({error})"
        ) from error
    peer, redis = found.get(PEER_KEY_SECRET, {}), found.get(REDIS_SECRET, {})
    password = redis.get("password", new.redis_password)
    return Secrets(peer.get("key", new.peer_key), password, redis.get("users.acl"))
