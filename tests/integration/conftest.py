"""Components, built once for each content, and a continuum that all tests share which do it no harm."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from continuum import Nodes, four_nodes, run_nodes
from skylark_proxy.build import build
from skylark_proxy.config import Config

ROOT = Path(__file__).parents[2]
SOURCES = (
    *(ROOT / "examples" / "fire_detection" / f"{name}.py" for name in ("preprocess", "detect", "alarm")),
    *(ROOT / "tests" / "component" / "functions" / f"{name}.py" for name in ("stateful", "hostile")),
)
MANIFESTS = {"hostile": "ready = 1\n[limits]\ndeadline_ms = 700\n"}
"""Without its short deadline, each test of one would wait for half a minute."""


@pytest.fixture(scope="session")
def components(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The components by the name of their source: the fire detection chain, and those of the component tests."""
    folder, cache = tmp_path_factory.mktemp("functions"), Config.load({}).cache_dir / "components"
    for name, text in MANIFESTS.items():
        (folder / f"{name}.toml").write_text(text)
    return {source.stem: build(source, folder / f"{source.stem}.wasm", cache).component for source in SOURCES}


@pytest.fixture(scope="session")
def functions(components: Mapping[str, Path]) -> Path:
    """The folder of the components."""
    return components["stateful"].parent


@pytest.fixture(scope="session")
def nodes(functions: Path) -> Iterator[Nodes]:
    """The four nodes of the examples, with all functions: sat1 – sat2 – sat3 – cloud1."""
    with run_nodes(four_nodes(), functions=functions) as running:
        yield running


@pytest.fixture
def chain() -> str:
    """The id of a chain that nobody else has."""
    return f"chain-{uuid.uuid4().hex}"
