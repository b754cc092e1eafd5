"""Imports of what a sandbox lacks end as they would where it is not installed."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skylark import import_system
from skylark.absent_extensions import AbsentExtensions
from skylark.stand_ins import StandIns


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages on the path. The import system and the loaded modules are as before after the test."""
    folder = tmp_path.resolve() / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before, step = set(sys.modules), import_system.step()
    yield folder
    import_system.use(step)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def install(folder: Path, name: str, code: str, extension: bytes) -> None:
    """Write a package with a library."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    (folder / name / "_fast.abi3.so").write_bytes(extension)


@pytest.mark.parametrize(
    "code",
    [
        "raise NotImplementedError('platform wasi is not supported')",
        "raise ImportError('library not found')",
        "from . import _fast",
    ],
)
def test_a_package_that_needs_an_extension_counts_as_absent(site: Path, code: str) -> None:
    """Whatever it raises, a package that guards its import of another gets the error that it guards against."""
    install(site, "native_one", code, b"\x7fELF")
    write(site, asking="try:\n    import native_one\nexcept ModuleNotFoundError as error:\n    NAME = error.name")
    extensions = AbsentExtensions([str(site)])
    extensions.start()
    assert importlib.import_module("asking").NAME == "native_one"
    extensions.stop()


@pytest.mark.parametrize(
    ("code", "extension"), [("raise ValueError", b"\0asm"), ("import not_there_at_all", b"\x7fELF")]
)
def test_other_errors_of_imports_stay(site: Path, code: str, extension: bytes) -> None:
    """A library for the sandbox does not make a package absent; a module that is missing keeps its name."""
    install(site, "other_one", code, extension)
    extensions = AbsentExtensions([str(site)])
    extensions.start()
    with pytest.raises((ValueError, ModuleNotFoundError)) as error:
        importlib.import_module("other_one")
    assert getattr(error.value, "name", None) in (None, "not_there_at_all")


def test_a_pure_package_fails_as_it_does(site: Path) -> None:
    """Without an extension, an error of a package is its own."""
    write(site, pure__init="", pure_one="raise RuntimeError('mine')")
    extensions = AbsentExtensions([str(site)])
    extensions.start()
    with pytest.raises(RuntimeError, match="mine"):
        importlib.import_module("pure_one")


@pytest.fixture
def stand_ins(site: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """Stand-ins for packages of the site, in an interpreter without the module ssl."""
    plain = import_system.step()

    def lacking(name: str, import_: Any) -> Any:
        if name == "ssl":
            raise ModuleNotFoundError("No module named 'ssl'", name="ssl")
        return plain(name, import_)

    monkeypatch.delitem(sys.modules, "ssl", raising=False)
    import_system.use(import_system.hidden(lacking))
    made = StandIns([str(site)])
    made.use()
    return made


MENTIONS = """
import ssl
from ssl import SSLContext

class Wrapped(ssl.SSLSocket):
    pass

def connect(context: SSLContext | None = None, minimum=ssl.TLSVersion.TLSv1_2) -> None:
    try:
        ssl.create_default_context()
    except ssl.SSLError:
        pass

ERRORS = (OSError, ssl.SSLError)
"""


def test_a_package_can_mention_what_the_sandbox_lacks(site: Path, stand_ins: StandIns) -> None:
    """It can be imported, and the error comes where the module is used. No module is left behind."""
    write(site, mentions=MENTIONS)
    module = importlib.import_module("mentions")
    assert [(name, line) for name, _, line in stand_ins.taken] == [("ssl", 2), ("ssl", 3)]
    with pytest.raises(ModuleNotFoundError, match=r"'ssl': .* ssl\.create_default_context is used"):
        module.connect()
    with pytest.raises(ModuleNotFoundError):
        module.Wrapped()
    assert "ssl" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import ssl\nexcept ImportError:\n    ssl = None",
        "import contextlib\nssl = None\nwith contextlib.suppress(ImportError):\n    import ssl",
        "import importlib\ntry:\n    ssl = importlib.import_module('ssl')\nexcept ImportError:\n    ssl = None",
        "def f():\n    try:\n        import ssl\n        return ssl\n    except ImportError:\n        pass\nssl = f()",
    ],
)
def test_code_that_asks_gets_no_stand_in(site: Path, stand_ins: StandIns, code: str) -> None:
    """An import within `try` or `with` fails, before and after another module has mentioned the name."""
    write(site, mentions=MENTIONS, asks=code, asks_again=code)
    assert importlib.import_module("asks").ssl is None
    importlib.import_module("mentions")
    assert importlib.import_module("asks_again").ssl is None


def test_own_files_get_no_stand_in(site: Path, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told at once."""
    own = site.parent / "own"
    own.mkdir()
    write(own, mine="import ssl")
    monkeypatch.syspath_prepend(own)
    with pytest.raises(ModuleNotFoundError, match="No module named 'ssl'"):
        importlib.import_module("mine")
