"""YAML of somebody else is never larger than it looks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.manifests.read import parse_config
from skylark_oci.safe_yaml import compose
from skylark_testbed.errors import DescriptionError
from skylark_testbed.yaml_file import read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9))
EVIL = {
    "aliases of aliases": BOMB,
    "merges of merges": MERGES,
    "what contains itself": "a: &a [1, *a]\n",
    "a mapping that contains itself": "&a {b: *a}\n",
    "a list as a key": "? [a, b]\n: 1\n",
    "a mapping as a key": "? {a: b}\n: 1\n",
    "an alias of a list as a key": "a: &a [1]\n*a : 2\n",
    "deep lists": "a: " + "[" * 200 + "]" * 200 + "\n",
    "very deep lists": "[" * 100_000,
    "deep mappings": "a: " + "{a: " * 90 + "1" + "}" * 90 + "\n",
    "many characters": "a: '" + "x" * 2_000_001 + "'\n",
    "a tag for code": "a: !!python/object/apply:os.system [id]\n",
}
EVERY = pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)


def in_manifests(text: str, _folder: Path) -> object:
    return parse_config(text, Path())


def in_testbeds(text: str, folder: Path) -> object:
    (folder / "file.yaml").write_text(text)
    return read_yaml(folder / "file.yaml")


@EVERY
@pytest.mark.parametrize("read", [in_manifests, in_testbeds])
def test_evil_documents_are_refused(read: Callable[[str, Path], object], text: str, tmp_path: Path) -> None:
    """Each is an error of the file, at once: of a configuration of a cluster, and of a testbed or an experiment."""
    with pytest.raises((InvalidConfig, DescriptionError)):
        read(text, tmp_path)


def test_aliases_may_be_used() -> None:
    """A few of them, which stand for little, are what they are for."""
    root = compose("base: &b {x: 1, y: [1, 2]}\none: *b\nother: {<<: *b, z: 3}\n")
    assert isinstance(root, yaml.MappingNode)
    assert compose("") is None
