"""Imports that functions make late are made at the build, and those that cannot be made are named."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

RUN = """
import importlib, json, sys
own, packages = sys.argv[1:3]
sys.path[:0] = [own, packages]
from skylark.late_imports import LateImports
import app
missing = LateImports([own, packages], [own]).take()
taken = [name for name in ("helper", "pack", "pack.inner", "pack.late", "other", "this") if name in sys.modules]
print(json.dumps({"missing": [[name, line] for name, _, line in missing], "taken": taken}))
"""


def late(folder: Path, source: str, files: Mapping[str, str] | None = None) -> tuple[list[str], list[list[object]]]:
    """Import `app` of this source; return which of the modules below were made, and what is missing, with its line."""
    own, packages = folder / "own", folder / "packages"
    texts = {
        "own/app.py": source,
        "own/helper.py": "",
        "packages/pack/__init__.py": "",
        "packages/pack/inner.py": "VALUE = 1\n",
        "packages/pack/late.py": "",
        "packages/other.py": "",
    }
    for name, text in (texts | dict(files or {})).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-c", RUN, str(own), str(packages)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = json.loads(ran.stdout)
    return found["taken"], found["missing"]


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("def f():\n    import helper\n", ["helper"]),
        ("async def f():\n    from pack import inner\n", ["pack", "pack.inner"]),
        ("def f():\n    from pack.inner import VALUE\n", ["pack", "pack.inner"]),
        ("def f():\n    import pack.inner as x\n", ["pack", "pack.inner"]),
        ("class A:\n    def f(self):\n        def g():\n            import other\n", ["other"]),
        ("f = lambda: __import__('other')\n", ["other"]),
        ("import importlib\ndef f():\n    importlib.import_module('pack.late')\n", ["pack", "pack.late"]),
        ("from importlib import import_module as load\n", []),
        ("try:\n    import pack\nexcept ImportError:\n    import other\n", ["pack"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import other\n", []),
        ("import typing\nif typing.TYPE_CHECKING:\n    import other\nelse:\n    import pack\n", ["pack"]),
        ("if __name__ == '__main__':\n    import other\n", []),
        ("def f():\n    import this\n", []),
        ("def f(name):\n    __import__(name)\n", []),
    ],
)
def test_what_is_imported_late_is_taken(tmp_path: Path, source: str, taken: list[str]) -> None:
    """Wherever it stands in a function; not what only a type checker, a script, or a failed import would need."""
    assert late(tmp_path, source) == (taken, [])


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def f():\n    import gone\n", [["gone", 2]]),
        ("def f():\n    import pack.gone, helper\n", [["pack.gone", 2]]),
        ("def f():\n    from pack import gone\n", [["pack.gone", 2]]),
        ("def f():\n\n    from pack import inner, gone\n", [["pack.gone", 3]]),
        ("def f():\n    __import__('gone.deep')\n", [["gone.deep", 2]]),
        ("try:\n    import gone\nexcept ImportError:\n    gone = None\n", [["gone", 2]]),
        ("if __name__ == '__main__':\n    import gone\n", [["gone", 2]]),
        ("def f():\n    import helper\n    import gone\ndef g():\n    import lost\n", [["gone", 3], ["lost", 5]]),
    ],
)
def test_what_cannot_be_taken_is_named(tmp_path: Path, source: str, missing: list[list[object]]) -> None:
    """Each name has its line; what can be had is taken all the same."""
    assert late(tmp_path, source)[1] == missing


def test_modules_that_are_taken_are_read_too(tmp_path: Path) -> None:
    """What is imported late may import late in turn."""
    files = {"own/helper.py": "def g():\n    import other\n    import gone\n"}
    assert late(tmp_path, "def f():\n    import helper\n", files) == (["helper", "other"], [["gone", 3]])


def test_packages_are_not_held_to_what_they_name(tmp_path: Path) -> None:
    """A package's late imports of its own modules are taken; what it lacks is its own affair."""
    files = {"packages/pack/__init__.py": "def f():\n    from pack import late\n    import gone\n    import other\n"}
    assert late(tmp_path, "import pack\n", files) == (["pack", "pack.late"], [])


@pytest.mark.parametrize("bad", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0", "def f(:", "\\0"])
def test_a_module_that_cannot_be_imported(tmp_path: Path, bad: str) -> None:
    """Whatever it does when it is imported, it is named as missing, and the rest is taken."""
    source = "def f():\n    import bad\n    import helper\n"
    assert late(tmp_path, source, {"own/bad.py": bad}) == (["helper"], [["bad", 2]])


def test_relative_imports(tmp_path: Path) -> None:
    """They are resolved in the package where they stand."""
    files = {
        "own/kit/__init__.py": "def f():\n    from . import part, gone\n    from .. import above\n",
        "own/kit/part.py": "",
    }
    assert late(tmp_path, "import kit\n", files)[1] == [["kit.gone", 2]]
