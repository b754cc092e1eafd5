"""What a function may import is found out before anything slow begins, and by file and line."""

import threading
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from skylark_proxy import build as building
from skylark_proxy.build import build
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.source import BuildError, resolve
from skylark_proxy.target import Target


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages in place of the environment's own."""
    folder = tmp_path / "site-packages"
    folder.mkdir()

    def get_path(name: str) -> str:
        assert name == "purelib"
        return str(folder)

    monkeypatch.setattr("sysconfig.get_path", get_path)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "app.py"


def write(folder: Path, **files: str) -> None:
    """Writes `a__b="…"` to `a/b.py`, with `init` for `__init__`."""
    for name, content in files.items():
        path = module(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def module(folder: Path, name: str) -> Path:
    """The file of a keyword of `write`."""
    parts = ["__init__" if part == "init" else part for part in name.split("__")]
    return folder.joinpath(*parts).with_suffix(".py")


def names(folder: Path, source: Path, *extra: Path) -> set[str]:
    """The modules that go into the component, by their path from a folder."""
    return {str(path.relative_to(folder)) for path in resolve(source, extra).modules}


@pytest.mark.parametrize("path", ["missing.py", "folder.py", "app.txt", "app"])
def test_a_source_is_an_existing_python_file(tmp_path: Path, path: str) -> None:
    """A missing file, a folder and another suffix are refused by their name."""
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "app.txt").touch()
    with pytest.raises(InvalidArgument, match=r"^source: .*an existing Python file"):
        resolve(tmp_path / path)


@pytest.mark.parametrize("name", ["my-app", "1app", "json", "encodings", "skylark", "skylark_entry", "a.b"])
def test_a_source_needs_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    """A file that cannot be imported, or that would hide another module, is refused before it confuses anyone."""
    (tmp_path / f"{name}.py").touch()
    with pytest.raises(InvalidArgument, match="a file named like a module of its own"):
        resolve(tmp_path / f"{name}.py")


@pytest.mark.parametrize("name", ["class", "wit_world", "componentize_py_types"])
def test_a_source_may_not_take_a_name_of_the_tool(tmp_path: Path, name: str) -> None:
    """A keyword cannot be imported, and the modules that the build makes are not to be hidden."""
    (tmp_path / f"{name}.py").touch()
    with pytest.raises(InvalidArgument, match="a file named like a module of its own"):
        resolve(tmp_path / f"{name}.py")


def test_the_standard_library_and_the_sdk_are_no_modules_of_the_function(source: Path, site: Path) -> None:
    """What the guest has anyway is not followed, submodules included."""
    write(
        source.parent, app="import json, os.path\nimport skylark\nfrom skylark.errors import NotFound\nimport xml.dom"
    )
    assert names(source.parent, source) == {"app.py"}


def test_modules_beside_the_source_are_followed(source: Path, site: Path) -> None:
    """Modules and packages beside the source go in, with what they import; also from within a function's body."""
    write(
        source.parent,
        app="import a\ndef f():\n    from pkg.sub import thing\n",
        a="import b",
        b="import a",
        pkg__init="",
        pkg__sub__mod="",
        pkg__sub__init="from pkg.sub.mod import x",
        unused="import ssl",
    )
    found = names(source.parent, source)
    assert {"app.py", "a.py", "b.py", "pkg/sub/__init__.py", "pkg/sub/mod.py"} <= found
    assert "unused.py" not in found


def test_a_changed_module_makes_another_component(source: Path, site: Path) -> None:
    """All that goes into a component is part of its name in the cache: packages' own files and relative imports too."""
    write(source.parent, app="import pkg.mod", pkg__init="from . import side", pkg__mod="", pkg__side="")
    seen = set()
    for name in ("app", "pkg__mod", "pkg__init", "pkg__side"):
        seen.add(building._fingerprint(resolve(source)))
        path = module(source.parent, name)
        path.write_text(path.read_text() + "\n# changed")
    seen.add(building._fingerprint(resolve(source)))
    assert len(seen) == 5


def test_each_target_is_another_component(source: Path, site: Path) -> None:
    """One source can be in the cache for each target."""
    source.write_text("import skylark")
    fingerprints = {building._fingerprint(resolve(source), target) for target in Target}
    assert len(fingerprints) == len({target.component.world for target in Target})


def test_two_folders_with_equal_files_are_one_component(tmp_path: Path, site: Path) -> None:
    """The cache goes by content: where the sources lie makes no difference."""
    for folder in ("x", "y"):
        write(tmp_path / folder, app="import a", a="")
    one, other = (building._fingerprint(resolve(tmp_path / folder / "app.py")) for folder in ("x", "y"))
    assert one == other


@pytest.mark.parametrize(
    ("code", "line", "cause"),
    [
        ("import json\nimport ssl\n", 2, "the sandbox's Python has no module 'ssl'"),
        ("\n\nfrom ctypes import c_int\n", 3, "no module 'ctypes'"),
        ("import multiprocessing.pool", 1, "no module 'multiprocessing'"),
        ("import json, lzma", 1, "no module 'lzma'"),
        ("def f():\n    import mmap\n", 2, "no module 'mmap'"),
        ("import missing_module", 1, "no module 'missing_module'; name its folder with --path"),
        ("from missing_module.sub import x", 1, "no module 'missing_module'"),
        ("x = (\n", 1, "'(' was never closed"),
        ("x = 1\ny = =\n", 2, "invalid syntax"),
        pytest.param("x = 1\0", 1, "null bytes"),
        ("  x = 1", 1, "unexpected indent"),
    ],
)
def test_the_line_at_fault_is_named(source: Path, site: Path, code: str, line: int, cause: str) -> None:
    """The error is the file, the line and the cause, as compilers write them."""
    source.write_text(code)
    with pytest.raises(BuildError) as raised:
        resolve(source)
    assert raised.value.message.startswith(f"{source}:{line}: ")
    assert cause in raised.value.message


def test_the_error_is_in_the_file_that_imports(source: Path, site: Path) -> None:
    """A module beside the source that imports what cannot be is named itself."""
    write(source.parent, app="import a", a="x = 1\nimport ssl")
    with pytest.raises(BuildError, match=rf"^{source.parent / 'a.py'}:2: .*'ssl'"):
        resolve(source)


def test_a_source_that_is_not_utf_8_is_an_error(source: Path, site: Path) -> None:
    """Bytes that are no text in the declared encoding are named like any syntax error."""
    source.write_bytes(b"x = '\xff'\n")
    with pytest.raises(BuildError, match=rf"^{source}:\d+: "):
        resolve(source)


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import ssl\nexcept ImportError:\n    ssl = None\n",
        "try:\n    import missing_module\nexcept ImportError:\n    pass\n",
        "try:\n    import json\nexcept ImportError:\n    import missing_module\n",
        pytest.param(
            "try:\n    import ssl\nexcept* ImportError:\n    pass\n",
        ),
    ],
)
def test_what_a_function_can_do_without_may_be_missing(source: Path, site: Path, code: str) -> None:
    """An import within `try` is the author's word that its absence is dealt with."""
    source.write_text(code)
    assert names(source.parent, source) == {"app.py"}


@pytest.mark.parametrize(
    "code",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import missing_module\n",
        "import typing\nif typing.TYPE_CHECKING:\n    import missing_module\n",
    ],
)
def test_what_only_a_type_checker_imports_may_be_missing(source: Path, site: Path, code: str) -> None:
    """A block for type checkers never runs, so it needs nothing in the sandbox."""
    source.write_text(code)
    assert names(source.parent, source) == {"app.py"}


def test_a_folder_without_init_is_a_package_too(source: Path, site: Path) -> None:
    """Namespace packages are Python: also within another package."""
    write(source.parent, app="from pkg.deep.mod import x", pkg__init="", pkg__deep__mod="x = 1")
    assert "pkg/deep/mod.py" in names(source.parent, source)


def test_a_path_adds_a_folder(source: Path, tmp_path: Path, site: Path) -> None:
    """What lies elsewhere is found in the folders that the caller names, and only there."""
    write(source.parent, app="import shared")
    write(tmp_path / "lib", shared="")
    with pytest.raises(BuildError, match="no module 'shared'; name its folder with --path"):
        resolve(source)
    resolved = resolve(source, (tmp_path / "lib",))
    assert tmp_path / "lib" / "shared.py" in resolved.modules
    assert resolved.search_path == (source.parent, tmp_path / "lib")


def test_the_folder_of_the_source_wins(source: Path, tmp_path: Path, site: Path) -> None:
    """A module beside the source hides one of the same name in another folder."""
    write(source.parent, app="import shared", shared="")
    write(tmp_path / "lib", shared="")
    assert source.parent / "shared.py" in resolve(source, (tmp_path / "lib",)).modules


def test_an_installed_pure_package_goes_in(source: Path, site: Path) -> None:
    """A package of the environment is followed, and its folder is mounted only where one is used."""
    write(source.parent, app="import pure.mod", other="import json")
    write(site, pure__init="import ssl\nimport not_installed", pure__mod="import json")
    resolved = resolve(source)
    assert site / "pure" / "mod.py" in resolved.modules
    assert resolved.search_path == (source.parent, site)
    assert resolve(source.parent / "other.py").search_path == (source.parent,)


def test_a_native_extension_is_named(source: Path, site: Path) -> None:
    """A package with compiled parts cannot run in the sandbox; the error says which file is to blame."""
    write(
        source.parent,
        app="import json\nimport native.mod",
        single="import single_ext",
        deep="from native.deep import x",
    )
    write(site, native__init="", native__mod="", native__deep__init="")
    (site / "native" / "deep" / "_fast.cpython-311-x86_64-linux-gnu.so").touch()
    (site / f"single_ext{EXTENSION_SUFFIXES[0]}").touch()  # of the Python that runs this, which would find it
    with pytest.raises(BuildError, match=rf"^{source}:2: 'native' needs the native extension _fast\..*\.so"):
        resolve(source)
    with pytest.raises(BuildError, match=r"single.py:1: 'single_ext' needs the native extension single_ext\."):
        resolve(source.parent / "single.py")
    with pytest.raises(BuildError, match=r"deep.py:1: 'native' needs the native extension"):
        resolve(source.parent / "deep.py")


def test_an_optional_native_extension_may_be_missing(source: Path, site: Path) -> None:
    """Within `try`, a native extension is left out like anything else that is missing."""
    write(source.parent, app="try:\n    import native\nexcept ImportError:\n    native = None\n")
    write(site, native__init="")
    (site / "native" / "_fast.so").touch()
    assert names(source.parent, source) == {"app.py"}


def test_numpy_is_refused_at_once(source: Path) -> None:
    """The most likely native package of all, as it really is installed here."""
    source.write_text("import numpy as np\n")
    with pytest.raises(BuildError, match=r"app.py:1: 'numpy' needs the native extension .*\.so; a sandbox runs only"):
        resolve(source)


@pytest.mark.parametrize("cached", [True, False])
def test_what_was_built_before_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    """A component in the cache is taken as it is, without a build; without one, there is a build."""

    def no_build(*_arguments: Any) -> None:
        raise BuildError("a build was begun")

    monkeypatch.setattr(building, "_componentize", no_build)
    source.write_text("import skylark")
    cache, output = tmp_path / "cache", tmp_path / "out" / "app.wasm"
    if cached:
        cache.mkdir()
        (cache / f"{building._fingerprint(resolve(source))}.wasm").write_bytes(b"component")
        built = build(source, output, cache)
        assert (built.component, built.size_bytes, built.cached) == (output, output.stat().st_size, True)
        assert output.read_bytes().startswith(b"component")
    else:
        with pytest.raises(BuildError, match="a build was begun"):
            build(source, output, cache)
        assert not output.exists()
        assert list(cache.iterdir()) == []


def test_a_cancelled_build_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """componentize-py is ended, and neither the output nor the cache has anything of it."""
    source.write_text("import skylark\n\n\n@skylark.function\ndef f(bundle, ctx):\n    return None\n")
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(BuildError, match="cancelled"):
        build(source, tmp_path / "app.wasm", tmp_path / "cache", cancelled=cancelled)
    assert not (tmp_path / "app.wasm").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_wit_package_is_found() -> None:
    """Installed or from a checkout, the SDK brings its WIT."""
    assert {"types.wit", "bundles.wit", "handler.wit", "world.wit"} <= {
        path.name for path in building.wit_directory().iterdir()
    }
