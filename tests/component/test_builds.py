"""Real builds: what they read makes them new, and what is imported late or is newer than this Python works."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from component.nodes import Node
from skylark_proxy import build as building
from skylark_proxy import guest_library
from skylark_proxy.build import Built, build
from skylark_proxy.config import Config
from skylark_proxy.runtime import Engine, Functions, Manifest
from skylark_proxy.source import BuildError

FILES: Mapping[str, str] = {
    "weights.txt": "1",
    "plugin_a.py": "VALUE = 'one'\n",
    "late.py": "VALUE = 'late'\n",
    "templates/__init__.py": "",
    "templates/hello.txt": "hello",
    "app.py": """
import importlib
import os
import pkgutil
import sys
from pathlib import Path

import skylark
import yaml

FOLDER = Path(__file__).parent
WEIGHTS = (FOLDER / "weights.txt").read_text()
PLUGIN = importlib.import_module("plugin_a")
HELLO = pkgutil.get_data("templates", "hello.txt")
OVERRIDE = (FOLDER / "override.txt").exists()
FOUND = sorted(path.name for path in FOLDER.glob("data/*"))
names = {name.removesuffix(".py") for name in os.listdir("/python")} | set(sys.builtin_module_names)
LIBRARY = sorted(name for name in names if name.isidentifier() and name != "componentize_py_runtime")

type Pair[T] = tuple[T, T]


@skylark.function
def all_of_it(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    import late

    return skylark.Response(repr([WEIGHTS, PLUGIN.VALUE, HELLO, late.VALUE, yaml.safe_load("a: 1")]).encode())


@skylark.function
def library(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    return skylark.Response(" ".join(LIBRARY).encode())


def never_called() -> None:
    import not_installed_at_all
""",
}


def write(folder: Path, file: str, content: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(content)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A function that reads, finds and imports in many ways. Building takes 20 s, the first time."""
    folder = tmp_path_factory.mktemp("reads")
    for file, content in FILES.items():
        write(folder, file, content)
    return build(folder / "app.py", folder / "app.wasm", Config.load({}).cache_dir / "components")


def test_what_is_found_late_and_without_its_extension_works(built: Built, engine: Engine) -> None:
    """Syntax of the sandbox's Python, data, plugins, late imports, and a package whose accelerator is optional."""
    functions = Functions(engine)
    functions.load(built.component, Manifest(ready=0))
    node = Node(functions)
    try:
        assert node.answer("all_of_it") == b"['1', 'one', b'hello', 'late', {'a': 1}]"
        assert {*node.answer("library").decode().split()} - {"LICENSE"} <= guest_library.LIBRARY | {"__pycache__"}
    finally:
        functions.close()


def test_what_is_not_there_is_told(built: Built) -> None:
    """A function that is never called may name what nobody has: one line says so."""
    assert built.warning is not None and "'not_installed_at_all'" in built.warning


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("weights.txt", "2"),
        ("plugin_a.py", "VALUE = 'two'\n"),
        ("templates/hello.txt", "bye"),
        ("late.py", "VALUE = 'later'\n"),
        ("override.txt", ""),
        ("data/new.txt", ""),
        ("not_installed_at_all.py", ""),
        ("yaml.py", ""),
    ],
)
def test_whatever_a_build_asked_for_makes_it_new(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str
) -> None:
    """Equal files come from the cache; with one changed or added the next build begins anew."""

    def begin(*_arguments: Any) -> None:
        raise BuildError("begun anew")

    monkeypatch.setattr(building, "_componentize", begin)
    again: Callable[[], Built] = lambda: build(  # noqa: E731
        tmp_path / "app.py", tmp_path / "app.wasm", Config.load({}).cache_dir / "components"
    )
    for name, text in FILES.items():
        write(tmp_path, name, text)
    assert again().cached
    write(tmp_path, "notes.txt", "nobody reads this")
    assert again().cached
    write(tmp_path, file, content)
    with pytest.raises(BuildError, match="begun anew"):
        again()
