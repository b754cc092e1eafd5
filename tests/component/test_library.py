"""The standard library in a sandbox: what it imports on demand is there, and gives what CPython gives outside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from component.nodes import Node, Run
from skylark_proxy.runtime import Manifest

CALLS = (Path(__file__).parent / "library_calls.txt").read_text().splitlines()
"""One call a line; `;` stands between statements."""

TEXT = "aé€日本 ü"

OUTSIDE = """
import json, sys, traceback
def outcome(call):
    names = {}
    exec(call, names)
    return repr(names["result"])
print(json.dumps([outcome(call) for call in json.load(sys.stdin)]))
"""

ENCODINGS = [
    *("ascii", "utf-8", "utf-8-sig", "utf-7", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    *("latin-1", "cp1252", "cp437", "cp850", "cp1251", "iso-8859-15", "iso-8859-2", "koi8-r", "mac-roman", "cp037"),
    *("shift_jis", "euc_jp", "iso2022_jp", "gbk", "gb2312", "gb18030", "big5", "big5hkscs", "euc_kr", "cp949", "hz"),
    *("punycode", "unicode_escape", "raw_unicode_escape", "tis-620", "palmos", "ptcp154", "johab"),
]

DEEP = {
    "freeing a list": "x = None\nfor _ in range(50_000): x = [x]\ndel x; result = 1",
    "freeing a dict": "x = None\nfor _ in range(50_000): x = {'a': x}\ndel x; result = 1",
    "freeing errors": "x = None\nfor _ in range(50_000):\n y = OSError(); y.__cause__ = x; x = y\ndel x; result = 1",
    "json.dumps": "import json\nx = 1\nfor _ in range(20_000): x = [x]\nresult = json.dumps(x)",
    "json.loads": "import json\nresult = json.loads('[' * 50_000 + ']' * 50_000)\nresult = 1",
    "repr": "x = 1\nfor _ in range(20_000): x = [x]\nresult = len(repr(x))",
    "comparing": "x = y = 1\nfor _ in range(20_000): x, y = [x], [y]\nresult = x == y",
    "hash": "x = 1\nfor _ in range(50_000): x = (x,)\nresult = hash(x)",
    "XML": "import xml.etree.ElementTree as e\nresult = e.fromstring('<a>' * 20_000 + '</a>' * 20_000).tag",
    "pickle": "import pickle\nx = 1\nfor _ in range(5_000): x = [x]\nresult = len(pickle.dumps(x))",
    "calls of instances": "class C: pass\nC.__call__ = C()\nC()()",
    "iterators": "x = iter([])\nfor _ in range(50_000): x = map(int, x)\nresult = list(x)",
}


@pytest.fixture(scope="module")
def library(run: Run) -> Iterator[Node]:
    with run("library", Manifest(ready=0)) as node:
        yield node


def outcomes(node: Node, *calls: str) -> list[str]:
    """What each call gives in a fresh sandbox."""
    answers: list[str] = json.loads(node.answer("calls", body=json.dumps(calls)))
    return answers


def test_calls_of_the_library_give_what_they_give_outside(library: Node) -> None:
    """A hundred and more calls of modules that the function has not imported give the same as in plain CPython."""
    assert len(CALLS) >= 125
    outside = subprocess.run(
        [sys.executable, "-c", OUTSIDE], input=json.dumps(CALLS), capture_output=True, text=True, check=True
    )
    inside = outcomes(library, *CALLS)
    wrong = {
        call: pair for call, *pair in zip(CALLS, inside, json.loads(outside.stdout), strict=True) if pair[0] != pair[1]
    }
    assert wrong == {}


def test_every_encoding_is_there(library: Node) -> None:
    """Text encodings give the bytes that they give outside, those of Asia too."""
    calls = [f"result = {TEXT!r}.encode({name!r}, 'ignore')" for name in ENCODINGS]
    expected = [repr(TEXT.encode(name, "ignore")) for name in ENCODINGS]
    assert dict(zip(ENCODINGS, outcomes(library, *calls), strict=True)) == dict(zip(ENCODINGS, expected, strict=True))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("import threading; threading.Thread(target=int).start()", "a sandbox has no threads"),
        ("import asyncio; asyncio.run(asyncio.to_thread(int))", "a sandbox has no threads"),
        ("import concurrent.futures as c; c.ThreadPoolExecutor().submit(int)", "a sandbox has no threads"),
        ("import ssl", "No module named 'ssl': the sandbox's Python does not have it"),
        ("import ctypes.util", "No module named 'ctypes': the sandbox's Python does not have it"),
        ("import numpy", "No module named 'numpy': no file is read while a function runs; import it at the top"),
        (
            "import importlib; importlib.import_module('my_' + 'plugin')",
            "No module named 'my_plugin': no file is read while a function runs; import it at the top",
        ),
        (
            "from importlib import import_module as load; load('.late', 'my_plugins')",
            "No module named 'my_plugins': no file is read while a function runs; import it at the top",
        ),
        (
            "name = 'my_' + 'plugin'; __import__(name)",
            "No module named 'my_plugin': no file is read while a function runs; import it at the top",
        ),
        ("import zoneinfo; zoneinfo.ZoneInfo('Europe/Vienna')", "install tzdata and import it at the top"),
    ],
)
def test_what_a_sandbox_cannot_have_is_said(library: Node, call: str, reason: str) -> None:
    """The error of what is missing says why, or what to do."""
    assert reason in outcomes(library, call)[0]


def test_an_absent_module_can_be_asked_for(library: Node) -> None:
    """Code that looks whether it can use a module gets the answer no, and no error."""
    call = (
        "from importlib.util import find_spec; result = find_spec('ssl'), find_spec('numpy'), find_spec('csv') is None"
    )
    assert outcomes(library, call) == ["(None, None, False)"]


@pytest.mark.parametrize("call", DEEP.values(), ids=DEEP)
def test_deep_nesting_works_or_raises(library: Node, call: str) -> None:
    """What calls itself in C ends well or with RecursionError, as in CPython outside; it does not trap."""
    answer = outcomes(library, call)[0]
    assert "Error" not in answer or answer.startswith("RecursionError")
