"""What docs/kubernetes.md shows: its configuration, its error, and the objects that it says are deployed."""

import re
from pathlib import Path

import pytest

from clusters import rendered
from skylark_oci.manifests import InvalidConfig, parse_config

PAGE = (Path(__file__).parents[4] / "docs" / "kubernetes.md").read_text()
CONFIG = PAGE.partition("```yaml\n")[2].partition("```")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_its_configuration_gives_its_objects(folder: Path) -> None:
    """The objects of the configuration are those that the page lists, in that order, where it leaves none out."""
    shown = [line.split(" ")[0] for line in PAGE.partition("$ skylark deploy\nnamespace")[2].splitlines()]
    names = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in rendered(parse_config(CONFIG, folder))]
    listed = ["namespace/skylark", *(name for name in shown[1 : shown.index("everything")] if name != "…")]
    assert len(listed) == 20
    assert [name for name in names if name in listed] == listed


def test_its_error(folder: Path) -> None:
    """The error that the page shows is the one of that mistake in that configuration."""
    error = re.search(r"^error: (.*'Clod'.*)$", PAGE, re.MULTILINE)
    with pytest.raises(InvalidConfig) as caught:
        parse_config(CONFIG.replace("tier: Cloud", "tier: Clod"), folder)
    assert error is not None and error[1] == caught.value.message
