"""A package in a component has what it has outside: modules by computed names, data, metadata, and no more."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from component.nodes import Node
from skylark_proxy import build as building
from skylark_proxy.build import Built, build
from skylark_proxy.config import Config
from skylark_proxy.runtime import Engine, Functions, Manifest
from skylark_proxy.source import BuildError

OWN: Mapping[str, str] = {
    "app.py": """
import helpers
import plain.loaded
import vendored
from shared_space.vendored import deep

"""
    + (Path(__file__).parent / "functions" / "library.py").read_text(),
    "helpers/__init__.py": "",
    "helpers/late.py": "VALUE = 'helper'\n",
    "helpers/notes.txt": "noted",
    "plain/loaded.py": "",
    "plain/late.py": "VALUE = 'plain'\n",
    "beside.txt": "not read at the top",
    "beside_late.py": "",
}
SITE: Mapping[str, str] = {
    "vendored/__init__.py": """
try:
    import needs_native
except ModuleNotFoundError:
    needs_native = None
try:
    import kubernetes as happens_to_be_installed
except ImportError:
    happens_to_be_installed = None
import bz2


def lazily(name):
    import importlib

    return importlib.import_module(f"vendored.{name}").VALUE


def compress():
    return bz2.compress(b"")
""",
    "vendored/late.py": "from required import VALUE\n",
    "vendored/table/__init__.py": "",
    "vendored/table/entry.py": "VALUE = 'entry'\n",
    "vendored/data/words.txt": "one two",
    "vendored/tests/test_words.py": "",
    "shared_space/vendored/deep.py": "",
    "shared_space/vendored/__init__.py": "",
    "shared_space/vendored/late.py": "VALUE = 'space'\n",
    "shared_space/other/__init__.py": "",
    "required/__init__.py": "VALUE = 'required'\n",
    "unused/__init__.py": "",
    "needs_native/__init__.py": "raise NotImplementedError('platform wasi is not supported')",
    "needs_native/_fast.abi3.so": "\x7fELF",
    "vendored-1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: vendored\nVersion: 1.5\nRequires-Dist: required\n",
    "vendored-1.5.dist-info/RECORD": "vendored/__init__.py,,\n",
    "vendored-1.5.dist-info/entry_points.txt": "[plugins]\nentry = vendored.table.entry:VALUE\n",
    "required-2.dist-info/METADATA": "Metadata-Version: 2.1\nName: required\nVersion: 2\n",
    "required-2.dist-info/RECORD": "required/__init__.py,,\n",
}
WORDS = "import vendored, os; path = os.path.join(os.path.dirname(vendored.__file__), 'data', 'words.txt')\n"

CALLS = {
    "import vendored; result = vendored.lazily('late')": "'required'",
    "import vendored; result = vendored.lazily('table.entry')": "'entry'",
    "import importlib; result = importlib.import_module('shared_space.vendored.late').VALUE": "'space'",
    "import importlib; result = importlib.import_module('helpers.late').VALUE": "'helper'",
    "import importlib; result = importlib.import_module('plain.late').VALUE": "'plain'",
    "import pkgutil, vendored; result = [one.name for one in pkgutil.iter_modules(vendored.__path__)]": (
        "['late', 'table']"
    ),
    "import pkgutil; result = pkgutil.get_data('vendored', 'data/words.txt')": "b'one two'",
    "import pkgutil; result = pkgutil.get_data('helpers', 'notes.txt')": "b'noted'",
    "import importlib.resources as r; result = r.files('vendored').joinpath('data/words.txt').read_text()": (
        "'one two'"
    ),
    "import importlib.resources as r; result = [one.name for one in r.files('vendored.data').iterdir()]": (
        "['words.txt']"
    ),
    f"{WORDS}result = open(path).read()": "'one two'",
    f"{WORDS}from pathlib import Path; result = Path(path).resolve().read_bytes(), Path(path).exists()": (
        "(b'one two', True)"
    ),
    f"{WORDS}import glob; result = [one[-9:] for one in glob.glob(os.path.dirname(path) + '/*')]": "['words.txt']",
    "import importlib.metadata as m; result = m.version('vendored'), m.version('required')": "('1.5', '2')",
    "import importlib.metadata as m; result = [one.load() for one in m.entry_points(group='plugins')]": "['entry']",
    "import vendored; result = vendored.needs_native, vendored.happens_to_be_installed": "(None, None)",
    "import tempfile; file = tempfile.TemporaryFile(); file.write(b'a'); result = file.tell()": "1",
    "import os; result = open(os.devnull, 'w').write('abc')": "3",
}
ABSENT = {
    "open('/2/beside.txt')": "read it at the top of the function's file",
    "import beside_late": "import it at the top of the function's file",
    "import unused": "import it at the top of the function's file",
    "import shared_space.other": "import it at the top of the function's file",
    "import vendored.tests.test_words": "No module named 'vendored.tests'",
    "import importlib.metadata as m; m.version('skylark')": "No package metadata was found for skylark",
    "import vendored; vendored.compress()": "No module named 'bz2': the sandbox's Python does not have it",
    f"{WORDS}open(path, 'w')": "Read-only file system",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def built_in(folder: Path) -> Built:
    """Build the function in a folder, or take it from the cache. Building takes 20 s, the first time."""
    cache = Config.load({}).cache_dir / "components"
    return build(folder / "own" / "app.py", folder / "app.wasm", cache, (folder / "site",))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("bundled")
    write(folder / "own", OWN)
    write(folder / "site", SITE)
    return built_in(folder)


@pytest.fixture(scope="module")
def node(built: Built, engine: Engine) -> Iterator[Node]:
    with contextlib.closing(Functions(engine)) as functions:
        functions.load(built.component, Manifest(ready=0))
        yield Node(functions)


def outcomes(node: Node, calls: Mapping[str, str]) -> dict[str, str]:
    """Return what each call gives in a fresh sandbox."""
    return dict(zip(calls, json.loads(node.answer("calls", body=json.dumps(list(calls)))), strict=True))


def test_a_package_finds_what_is_its_own(node: Node) -> None:
    """Modules by computed names, data in every way, metadata, and what its distribution requires."""
    assert outcomes(node, CALLS) == CALLS


def test_what_is_not_there_says_so(node: Node) -> None:
    """Files and modules that belong to no package in use are absent, and the error says what to do."""
    wrong = {call: found for call, found in outcomes(node, ABSENT).items() if ABSENT[call] not in found}
    assert wrong == {}


def test_a_module_that_only_stands_in_is_told(built: Built) -> None:
    """The build says that a package imports what the sandbox lacks."""
    assert [one.name for one in built.not_included] == ["bz2"]


@pytest.mark.parametrize(
    ("file", "content", "new"),
    [
        ("site/vendored/late.py", "VALUE = 'changed'", True),
        ("site/vendored/data/words.txt", "three", True),
        ("site/vendored/data/more.txt", "", True),
        ("site/vendored/more.py", "", True),
        ("own/helpers/late.py", "VALUE = 'changed'", True),
        ("site/unused/__init__.py", "VALUE = 'changed'", False),
        ("site/another-1.dist-info/RECORD", "", False),
        ("own/beside.txt", "changed", False),
    ],
)
def test_what_a_package_has_counts_for_the_cache(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, new: bool
) -> None:
    """A change of what went in makes the next build a new one; a change of what did not leaves it."""

    def begin(*_arguments: object) -> None:
        raise BuildError("begun anew")

    monkeypatch.setattr(building, "_componentize", begin)
    write(tmp_path / "own", OWN)
    write(tmp_path / "site", SITE)
    assert built_in(tmp_path).cached
    write(tmp_path, {file: content})
    with pytest.raises(BuildError, match="begun anew") if new else contextlib.nullcontext():
        assert built_in(tmp_path).cached
