"""Real components, built once for each content, and a node's runtime to run them on."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from component.nodes import Node, Run
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.runtime import Engine, Functions, Manifest

FUNCTIONS = Path(__file__).parent / "functions"


@pytest.fixture(scope="session")
def components(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The components of the folder `functions` by name. Building takes 20 s each, the first time."""
    folder, cache = tmp_path_factory.mktemp("components"), Config.load({}).cache_dir / "components"
    return {path.stem: build(path, folder / f"{path.stem}.wasm", cache).component for path in FUNCTIONS.glob("*.py")}


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with contextlib.closing(Engine(Config.load({}).cache_dir / "compiled")) as opened:
        yield opened


@pytest.fixture(scope="session")
def run(engine: Engine, components: Mapping[str, Path]) -> Run:
    """Runs a component: `with run("stateful", Manifest(...)) as node`. By default no sandbox is made ahead of need."""

    @contextlib.contextmanager
    def running(component: str, manifest: Manifest | None = None) -> Iterator[Node]:
        with contextlib.closing(Functions(engine)) as functions:
            functions.load(components[component], manifest or Manifest(ready=0))
            yield Node(functions)

    return running
