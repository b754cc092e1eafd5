"""What cannot be in a component is refused by file and line, before anything slow begins where that is certain."""

import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from skylark_proxy import build as building
from skylark_proxy import guest_library
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
        assert name in ("purelib", "platlib")
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


def test_a_changed_source_makes_another_component(source: Path, site: Path) -> None:
    """What is known before a build is part of its key: the source itself, and how many folders it is built from."""
    source.write_text("import skylark")
    seen = {building._fingerprint(resolve(source)), building._fingerprint(resolve(source, (site,)))}
    source.write_text("import skylark\n# changed")
    assert len(seen | {building._fingerprint(resolve(source))}) == 3


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
        ("import tkinter.ttk", 1, "no module 'tkinter' (it is CPython 3.14)"),
        ("import fcntl", 1, "no module 'fcntl'"),
        ("import json, lzma", 1, "no module 'lzma'"),
        ("import missing_module", 1, "no module 'missing_module'; name its folder with --path"),
        ("from missing_module.sub import x", 1, "no module 'missing_module'"),
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


WRONG = [
    (b"x = (\n", 1, "'(' was never closed"),
    (b"x = 1\ny = =\n", 2, "invalid syntax"),
    (b"x = 1\0", 1, "null bytes"),
    (b"  x = 1", 1, "unexpected indent"),
    (b"x = '\xff'\n", 1, ""),
]


@pytest.mark.parametrize(("code", "line", "cause"), WRONG)
def test_a_syntax_error_is_refused_at_once_by_the_same_python(
    source: Path, site: Path, monkeypatch: pytest.MonkeyPatch, code: bytes, line: int, cause: str
) -> None:
    """Where the Python that builds is that of the sandbox, what it cannot read is wrong."""
    monkeypatch.setattr(guest_library, "PYTHON", "{}.{}".format(*sys.version_info))
    source.write_bytes(code)
    with pytest.raises(BuildError, match=rf"^{source}:{line}: .*{re.escape(cause)}"):
        resolve(source)


@pytest.mark.parametrize("code", [code for code, _, _ in WRONG])
def test_another_python_does_not_judge_the_syntax(
    source: Path, site: Path, monkeypatch: pytest.MonkeyPatch, code: bytes
) -> None:
    """What an older Python cannot read may be right in the sandbox, which then says so itself."""
    monkeypatch.setattr(guest_library, "PYTHON", "3.99")
    source.write_bytes(code)
    assert resolve(source).modules == (source,)


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
    assert resolved.search_path == (source.parent, tmp_path / "lib", site)
    assert resolved.own == (source.parent, tmp_path / "lib")


def test_the_folder_of_the_source_wins(source: Path, tmp_path: Path, site: Path) -> None:
    """A module beside the source hides one of the same name in another folder."""
    write(source.parent, app="import shared", shared="")
    write(tmp_path / "lib", shared="")
    assert source.parent / "shared.py" in resolve(source, (tmp_path / "lib",)).modules


def test_an_installed_pure_package_goes_in(source: Path, site: Path) -> None:
    """A package of the environment is followed; its folder comes last, and is there for what is found at run time."""
    write(source.parent, app="import pure.mod", other="import json")
    write(site, pure__init="try:\n    import ssl\nexcept ImportError: pass\nimport not_installed", pure__mod="")
    resolved = resolve(source)
    assert site / "pure" / "mod.py" in resolved.modules
    assert resolved.search_path == resolve(source.parent / "other.py").search_path == (source.parent, site)
    assert resolved.own == (source.parent,)


def test_packages_with_worlds_of_their_own_stay_out_where_they_are_not_used(source: Path, site: Path) -> None:
    """The tool adds the worlds of all packages that it sees: another SDK in the environment is no part of this."""
    write(source.parent, app="import other_sdk", free="import json")
    write(site, other_sdk__init="")
    (site / "other_sdk" / "componentize-py.toml").touch()
    assert resolve(source.parent / "free.py").search_path == (source.parent,)
    assert resolve(source).search_path == (source.parent, site)


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import packed", False),
        ("import packed, installed", True),
        ("try:\n    import installed\nexcept ImportError: pass", True),
        ("def f():\n    import installed", True),
        ("import packed.needing", True),
    ],
)
def test_what_happens_to_be_installed_is_no_part_of_a_folder_of_packages(
    source: Path, tmp_path: Path, site: Path, code: str, needed: bool
) -> None:
    """A folder that an installer wrote stands for itself, unless something cannot do without the environment's."""
    source.write_text(code)
    guarded = "try:\n    import installed\nexcept ImportError: pass"
    write(tmp_path / "lib", packed__init=guarded, packed__needing="import installed")
    write(site, installed="")
    assert resolve(source, (tmp_path / "lib",)).search_path[-1] == site
    (tmp_path / "lib" / "packed-1.0.dist-info").mkdir()
    resolved = resolve(source, (tmp_path / "lib",))
    assert (resolved.search_path[-1] == site) is needed
    assert (site / "installed.py" in resolved.modules) is needed


def test_a_package_may_mention_what_the_sandbox_lacks(source: Path, site: Path) -> None:
    """Only the build can tell whether it uses the module; the user's own import is refused."""
    write(site, pure__init="import ssl", lost="import tkinter")
    source.write_text("import pure")
    resolve(source)
    for code in ("import ssl", "import lost"):
        source.write_text(code)
        with pytest.raises(BuildError, match="the sandbox's Python has no module"):
            resolve(source)


NATIVE = f"_fast{EXTENSION_SUFFIXES[0]}"


def install(folder: Path, file: str, content: bytes = b"\x7fELF") -> None:
    """Puts a native extension into a folder."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("import native", {"native__init": "from native import _fast"}),
        ("from native import thing", {"native__init": "from ._fast import thing"}),
        ("import json\nimport native.mod", {"native__init": "", "native__mod": "import native._fast"}),
        ("import outer", {"outer": "import native", "native__init": "from . import _fast"}),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_a_native_extension_is_named(
    source: Path, site: Path, tmp_path: Path, code: str, package: dict[str, str], by_path: bool
) -> None:
    """A package that is certain to load one is refused, wherever it lies, by the line of the user's."""
    folder = tmp_path / "lib" if by_path else site
    source.write_text(code)
    write(folder, **package)
    install(folder, f"native/{NATIVE}")
    line = len(code.splitlines())
    with pytest.raises(BuildError, match=rf"^{source}:{line}: '(native|outer)' needs the native extension {NATIVE}"):
        resolve(source, (folder,) if by_path else ())


def test_a_module_that_is_an_extension_is_named(source: Path, site: Path) -> None:
    """A file on its own, without a package."""
    source.write_text("import single_ext")
    install(site, "single_ext.cpython-311-x86_64-linux-gnu.so".replace("cpython-311-x86_64-linux-gnu", "abi3"))
    with pytest.raises(BuildError, match=r"app.py:1: 'single_ext' needs the native extension single_ext\."):
        resolve(source)


@pytest.mark.parametrize(
    "package",
    [
        {"native__init": "try:\n    from . import _fast\nexcept ImportError:\n    _fast = None\n"},
        {"native__init": "def speed():\n    from . import _fast\n"},
        {"native__init": "import os\nif os.environ.get('FAST'):\n    from . import _fast\n"},
        {"native__init": "from contextlib import suppress\nwith suppress(ImportError):\n    import native._fast\n"},
        {"native__init": "from . import _fast", "native___fast": "slow = True"},
        {"native__init": "import not_installed_at_all"},
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_a_package_that_may_do_without_its_extension_is_tried(
    source: Path, site: Path, tmp_path: Path, package: dict[str, str], by_path: bool
) -> None:
    """Accelerators are optional as far as anybody can tell before, in the environment and in another folder alike."""
    folder = tmp_path / "lib" if by_path else site
    source.write_text("import native")
    write(folder, **package)
    (folder / "native-1.0.dist-info").mkdir()
    install(folder, f"native/{NATIVE}")
    resolve(source, (folder,) if by_path else ())


def test_an_extension_for_the_sandbox_is_none_of_this_machine(source: Path, site: Path) -> None:
    """The tool links libraries that are WebAssembly."""
    source.write_text("import native")
    install(site, "native.abi3.so", b"\0asm\1\0\0\0")
    resolve(source)


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    import not_installed\n    import ssl\n",
        "class A:\n    def f(self):\n        import fcntl\n",
        "if __name__ == '__main__':\n    import not_installed\n",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import not_installed\n",
        "import sys\nif sys.platform == 'win32':\n    import winreg\n",
        "import os\nif os.name == 'nt':\n    import not_installed\n",
        "import sys\nif sys.version_info < (3, 11):\n    import tomli\n",
        "from importlib.util import find_spec\nif find_spec('not_installed'):\n    import not_installed\n",
        "import importlib\nimportlib.import_module('not_installed')\n",
        "import sys\nsys.path.append('/somewhere')\nimport not_installed\n",
        "import sys\nsys.modules['not_installed'] = sys\nimport not_installed\n",
        "import annotationlib\nimport compression.zstd\nimport multiprocessing.pool\n",
    ],
)
def test_what_only_the_sandbox_can_tell_is_not_refused(source: Path, site: Path, code: str) -> None:
    """An import that may never be made, or that may find what nobody sees here, is left to the interpreter."""
    source.write_text(code)
    assert names(source.parent, source) == {"app.py"}


@pytest.mark.parametrize("code", ["import queue", "from queue import Queue", "def f():\n    import queue.deep\n"])
@pytest.mark.parametrize("file", ["queue", "queue__init"])
@pytest.mark.parametrize("by_path", [True, False])
def test_a_module_named_like_one_of_the_standard_library_is_refused(
    source: Path, site: Path, tmp_path: Path, code: str, file: str, by_path: bool
) -> None:
    """The sandbox would take the other one, so the file is named before it does."""
    folder = tmp_path / "lib" if by_path else source.parent
    source.write_text(code)
    write(folder, **{file: ""})
    with pytest.raises(
        BuildError, match=rf"^{module(folder, file)}: .*'import queue' finds the module of the standard"
    ):
        resolve(source, (folder,) if by_path else ())


def test_a_name_of_the_standard_library_that_nobody_imports_is_free(source: Path, site: Path) -> None:
    """A file beside the source, a module within a package, and a folder of files are in nobody's way."""
    write(source.parent, app="import email\nfrom pkg import token", queue="", pkg__init="", pkg__token="")
    (source.parent / "email").mkdir()
    assert source.parent / "pkg" / "token.py" in resolve(source).modules


@pytest.mark.parametrize("name", ["legacy_cgi", "imp", "telnetlib", "distutils"])
def test_a_module_that_the_library_no_longer_has_can_be_the_users(source: Path, site: Path, name: str) -> None:
    """What the sandbox's Python has dropped, and the Python that builds may still have, is found like any other."""
    write(source.parent, **{"app": f"import {name}", f"{name}__init": ""})
    assert source.parent / name / "__init__.py" in resolve(source).modules


@pytest.mark.parametrize(("name", "code"), [("poll_loop", ""), ("wit_world", "import wit_world")])
def test_a_module_named_like_one_of_the_tool_is_refused(source: Path, site: Path, name: str, code: str) -> None:
    """The build brings modules of its own, which a file of the user's would hide, or be hidden by."""
    write(source.parent, **{"app": code, name: ""})
    with pytest.raises(BuildError, match=rf"^{source.parent / name}\.py: .*give this file another name"):
        resolve(source)


def test_numpy_is_refused_at_once(source: Path) -> None:
    """The most likely native package of all, as it really is installed here."""
    source.write_text("import numpy as np\n")
    with pytest.raises(BuildError, match=r"app.py:1: 'numpy' needs the native extension .*\.so; a sandbox runs only"):
        resolve(source)


def heard(**lists: list[Any]) -> bytes:
    """What the guest writes when a build has ended well."""
    names = ("files", "listed", "looked_up", "modules", "missing", "left_out")
    empty: dict[str, list[Any]] = {name: [] for name in names}
    return json.dumps(empty | lists).encode()


def test_what_was_built_before_is_copied_until_what_it_read_changes(
    source: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A component is taken from the cache as it is, and made anew when a file that its build read is another."""
    builds = 0

    def componentize(_source: Any, _target: Any, folder: Path, output: Path, _cancelled: Any) -> None:
        nonlocal builds
        builds += 1
        output.write_bytes(f"component {builds}".encode())
        missing = [["absent", "/2/app.py", 3]]
        left_out = ["/2/pkg/large.bin"]
        (folder / building._HEARD).write_bytes(heard(files=["/2/data.txt"], missing=missing, left_out=left_out))

    monkeypatch.setattr(building, "_componentize", componentize)
    source.write_text("import skylark")
    data, output = source.parent / "data.txt", tmp_path / "out" / "app.wasm"
    for content, cached, number in (("a", False, 1), ("a", True, 1), ("b", False, 2), ("a", True, 1), ("b", True, 2)):
        data.write_text(content)
        os.utime(data, (1, 1))
        built = build(source, output, tmp_path / "cache")
        assert (built.component, built.size_bytes, built.cached) == (output, output.stat().st_size, cached)
        assert output.read_bytes().startswith(f"component {number}".encode())
        large = source.parent / "pkg" / "large.bin"
        assert built.warning == (
            f"not importable in the sandbox: 'absent' ({source}:3); too large for a component: {large}"
        )


def test_a_build_that_fails_leaves_nothing(
    source: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the output nor the cache has anything of it."""

    def no_build(*_arguments: Any) -> None:
        raise BuildError("a build was begun")

    monkeypatch.setattr(building, "_componentize", no_build)
    source.write_text("import skylark")
    with pytest.raises(BuildError, match="a build was begun"):
        build(source, tmp_path / "app.wasm", tmp_path / "cache")
    assert not (tmp_path / "app.wasm").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_tool_sees_no_environment_but_those_of_the_build(
    source: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """componentize-py adds the packages of the active environment, of which no build would know."""
    seen: list[Mapping[str, str]] = []

    def popen(_command: Any, env: Mapping[str, str], **_options: Any) -> None:
        seen.append(env)
        packages = Path(env["VIRTUAL_ENV"]) / "lib" / "site-packages"
        assert packages.is_dir() and not list(packages.iterdir())
        raise BuildError("begun")

    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    monkeypatch.setattr("subprocess.Popen", popen)
    source.write_text("import skylark")
    with pytest.raises(BuildError, match="begun"):
        build(source, tmp_path / "app.wasm", tmp_path / "cache")
    assert len(seen) == 1


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
