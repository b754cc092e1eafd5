"""A build packs the packages that are loaded, and what their distributions require, with bounds."""

import importlib
import importlib.resources
import importlib.util
import runpy
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from skylark import packages
from skylark.distributions import used
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules
from skylark.packages import Packages

SITE = {
    "loaded_one/__init__.py": "",
    "loaded_one/late.py": "NAME = __name__\n",
    "loaded_one/wrong.py": "syntax error",
    "loaded_one/inner/__init__.py": "from loaded_one import late",
    "loaded_one/plain/late.py": "NAME = __name__\n",
    "loaded_one/data.txt": "data",
    "loaded_one/data_only/more.txt": "",
    "loaded_one/large.bin": "x" * 200,
    "loaded_one/fast.so": "",
    "loaded_one/tests/test_one.py": "",
    "loaded_one/.hidden/a.txt": "",
    "not_loaded/__init__.py": "",
    "shared/used/__init__.py": "",
    "shared/used/late.py": "NAME = __name__\n",
    "shared/other/__init__.py": "",
    "required_single.py": "",
    "required_package/__init__.py": "",
    "for_an_extra.py": "",
    "Loaded_One-1.0.dist-info/METADATA": "Name: loaded-one\n"
    "Requires-Dist: Required.Single>=1\nRequires-Dist: for-an-extra; extra == 'more'\n",
    "Loaded_One-1.0.dist-info/RECORD": "loaded_one/__init__.py,sha256=x,1\n",
    "required_single-1.0.dist-info/METADATA": "Requires-Dist: required-package ; python_version > '3'\n",
    "required_single-1.0.dist-info/RECORD": "required_single.py,,\n",
    "required_package-1.0.dist-info/METADATA": "",
    "required_package-1.0.dist-info/RECORD": "required_package/__init__.py,,\n",
    "for_an_extra-1.0.dist-info/METADATA": "",
    "for_an_extra-1.0.dist-info/RECORD": "for_an_extra.py,,\n",
}
OWN = {
    "helpers/__init__.py": "",
    "helpers/late.py": "NAME = __name__\n",
    "plain_helpers/loaded.py": "",
    "plain_helpers/late.py": "NAME = __name__\n",
    "beside.py": "",
    "beside/notes.txt": "",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A folder of packages and one of the user's own, from which some modules have been loaded."""
    site, own = tmp_path.resolve() / "site", tmp_path.resolve() / "own"
    write(site, SITE)
    write(own, OWN)
    for folder in (site, own):
        monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    for name in ("loaded_one", "shared.used", "helpers", "plain_helpers.loaded"):
        importlib.import_module(name)
    yield str(site), str(own)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def kept(folders: tuple[str, str], late: LateModules | None = None) -> Packages:
    """Pack what is loaded from the folders."""
    made = Packages(folders, folders[1:], late or LateModules(), LateFiles())
    made.keep(used(folders))
    return made


def test_modules_of_loaded_packages_are_kept(folders: tuple[str, str]) -> None:
    """All that compile and that are no tests; of folders that distributions share only the packages in use."""
    assert kept(folders).modules.keys() == {
        "loaded_one.late",
        "loaded_one.inner",
        "loaded_one.plain.late",
        "shared.used.late",
        "required_single",
        "required_package",
        "helpers.late",
        "plain_helpers.late",
    }


def test_kept_modules_are_imported_by_computed_names(folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there without their files, in folders without `__init__` too, and import each other."""
    late = LateModules()
    kept(folders, late)
    for folder in folders:
        shutil.rmtree(folder)
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, late])
    for name in ("loaded_one.late", "loaded_one.plain.late", "shared.used.late", "plain_helpers.late"):
        assert importlib.import_module(name).__dict__["NAME"] == name
    assert importlib.import_module("loaded_one.inner").late.NAME == "loaded_one.late"
    assert importlib.import_module("required_package").__file__ == f"{folders[0]}/required_package/__init__.py"
    del sys.modules["loaded_one.late"]
    assert runpy.run_module("loaded_one.late")["NAME"] == "loaded_one.late"
    assert importlib.util.find_spec("loaded_one.data_only") is not None
    assert importlib.util.find_spec("not_loaded") is None


def test_data_that_is_too_large_is_left_out(folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be too large by itself, or together with those before it."""
    assert kept(folders).left_out == []
    monkeypatch.setattr(packages, "FILE_LIMIT_BYTES", 199)
    assert kept(folders).left_out == [f"{folders[0]}/loaded_one/large.bin"]
    monkeypatch.setattr(packages, "TOTAL_LIMIT_BYTES", 3)
    assert f"{folders[0]}/loaded_one/data.txt" in kept(folders).left_out


def test_distributions_in_use_are_those_of_modules_and_what_they_require(folders: tuple[str, str]) -> None:
    """Names are compared as installers do; what only an extra requires is not in use."""
    assert [one.name for one in used(folders)] == ["loaded-one", "required-package", "required-single"]


def test_a_kept_package_has_its_resources(folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`importlib.resources` asks the loader of a package that is imported late."""
    late = LateModules()
    kept(folders, late)
    monkeypatch.setattr(sys, "meta_path", [late, *sys.meta_path])
    assert [one.name for one in importlib.resources.files("loaded_one.data_only").iterdir()] == ["more.txt"]
    package = importlib.import_module("required_package")
    assert importlib.resources.files(package).joinpath("__init__.py").read_text() == ""
    assert package.__spec__ is not None and package.__spec__.loader is late
