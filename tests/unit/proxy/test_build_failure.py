"""What the guest's Python says of a build that failed becomes one sentence, by the user's own line."""

from pathlib import Path

import pytest

from skylark_proxy.build_failure import cause
from skylark_proxy.source import Source

STACK = "\n\nCaused by:\n    it\n\nStack backtrace:\n   0: <anyhow::Error>::msg::<alloc::string::String>\n"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A source, whose modules the guest sees in /2 and, for packages, in /3."""
    for name in ("own", "site"):
        (tmp_path / name).mkdir()
    own, site = tmp_path / "own", tmp_path / "site"
    return Source(own / "app.py", (own / "app.py",), (own, site), (own,))


def said(source: Source, error: str, *frames: str) -> str:
    """The reason of a build whose traceback has these files and lines, the last one at fault."""
    files = [frame.rpartition(":") for frame in ("/0/skylark_entry.py:6", *frames)]
    lines = [f'  File "{file}", line {line}, in <module>\n    import x\n' for file, _, line in files]
    log = "".join(["Traceback\n", "AssertionError: Traceback (most recent call last):\n", *lines, error, STACK])
    return cause(log, (Path("/build"), Path("/build/sdk"), *source.search_path), source)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("SyntaxError: invalid syntax", "invalid syntax (the sandbox's Python is CPython 3.14)"),
        ("IndentationError: unexpected indent", "unexpected indent (the sandbox's Python is CPython 3.14)"),
        ("ModuleNotFoundError: No module named 'nope'", "no module 'nope'; name its folder with --path"),
        ("ModuleNotFoundError: No module named 'nope.x'", None),
    ],
)
def test_an_error_of_the_users_own_file(source: Source, error: str, sentence: str | None) -> None:
    """It is told in one line, with the real path."""
    reason = said(source, error, "/2/app.py:7")
    where = f"{source.main}:7"
    if sentence is not None:
        assert reason == f"{where}: {sentence}"
    else:
        assert error in reason


@pytest.mark.parametrize("module", ["telnetlib", "fcntl", "_ssl"])
def test_what_the_library_lacks(source: Source, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of other Pythons' standard library is not to be looked for in a folder."""
    monkeypatch.setattr("sys.stdlib_module_names", frozenset({"telnetlib", "fcntl", "_ssl"}))
    reason = said(source, f"ModuleNotFoundError: No module named '{module}'", "/2/app.py:7")
    assert reason.startswith(f"{source.main}:7: the sandbox's Python has no module '{module}'")


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("compression/zstd/__init__", "compression.zstd"),
        ("ssl", "ssl"),
        ("multiprocessing/heap", "multiprocessing.heap"),
    ],
)
def test_a_module_of_the_library_that_lacks_its_native_part(source: Source, file: str, module: str) -> None:
    """The module is named that the program imports, not the part of it that is missing."""
    frames = ("/2/app.py:7", f"/python/{file}.py:3", "/python/inner.py:4")
    reason = said(source, "ModuleNotFoundError: No module named '_native'", *frames)
    assert reason == f"{source.main}:7: the sandbox's Python has no module '{module}' (it is CPython 3.14)"


@pytest.mark.parametrize(
    ("error", "file"),
    [
        ("ModuleNotFoundError: No module named 'fast._speedups'", "fast/_speedups.cpython-311-x86_64-linux-gnu.so"),
        ("ModuleNotFoundError: No module named 'fast_ext'", "fast_ext.abi3.so"),
        (
            "ImportError: cannot import name '_speedups' from partially initialized module 'fast' (most likely due to"
            " a circular import) (/3/fast/__init__.py)",
            "fast/_speedups.abi3.so",
        ),
        ("ImportError: cannot import name '_speedups' from 'fast' (/3/fast/__init__.py)", "fast/_speedups.abi3.so"),
    ],
)
def test_a_native_extension_that_was_missed(source: Source, error: str, file: str) -> None:
    """The extension that is there outside of the sandbox is named, and the user's line that led to it."""
    extension = source.search_path[1] / file
    extension.parent.mkdir(exist_ok=True)
    extension.write_bytes(b"\x7fELF")
    reason = said(source, error, "/2/app.py:7", "/3/fast/__init__.py:2")
    package = Path(file).parts[0].partition(".")[0]
    assert (
        reason
        == f"{source.main}:7: {package!r} needs the native extension {extension.name}; a sandbox runs only Python"
    )


def test_a_package_that_needs_an_extension_is_named(source: Source) -> None:
    """The guest says that the package is not there; the sentence names its extension, and below it is the reason."""
    extension = source.search_path[1] / "fast" / "bindings" / "_rust.abi3.so"
    extension.parent.mkdir(parents=True)
    extension.write_bytes(b"\x7fELF")
    reason = said(source, "ModuleNotFoundError: No module named 'fast'", "/2/app.py:7")
    sentence, _, rest = reason.partition("\n")
    assert sentence == f"{source.main}:7: 'fast' needs the native extension _rust.abi3.so; a sandbox runs only Python"
    assert rest.startswith("Traceback")


def test_a_package_that_misses_another_is_shown_with_its_traceback(source: Source) -> None:
    """The sentence has the user's line, and below it stands which package asked."""
    reason = said(source, "ModuleNotFoundError: No module named 'nope'", "/2/app.py:7", "/3/pkg/__init__.py:2")
    assert reason.startswith(f"{source.main}:7: no module 'nope'")
    assert f'File "{source.search_path[1]}/pkg/__init__.py", line 2' in reason


@pytest.mark.parametrize("error", ["ValueError: SyntaxError: no", "KeyError: 'x'", "SystemExit: 1"])
def test_another_error_is_shown_as_it_is(source: Source, error: str) -> None:
    """The traceback has the paths of this machine."""
    reason = said(source, error, "/2/app.py:7")
    assert reason.startswith(f"{source.main}: Traceback")
    assert f'File "{source.main}", line 7' in reason and reason.endswith(error)


TOOL = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
AssertionError: 

Caused by:
{reasons}

Stack backtrace:
   0: <anyhow::Error>::new
  27: _start
"""


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        (
            "    0: retrieving memory with component-init-get-memory\n    1: too much data is being copied between the"
            " host and the guest: fuel allocated for hostcalls has been exhausted",
            "with all that it imports, its interpreter takes more than 128 MB of memory",
        ),
        (
            "    0: error while executing at wasm backtrace\n    1: wasm trap: call stack exhausted",
            "componentize-py: error while executing at wasm backtrace: wasm trap: call stack exhausted",
        ),
        ("    no such world", "componentize-py: no such world"),
    ],
)
def test_the_reasons_of_the_tool_are_told(source: Source, reasons: str, sentence: str) -> None:
    """The tool's own failures have their reasons above its native stack, which is nobody's business."""
    reason = cause(TOOL.format(reasons=reasons), (), source)
    assert reason.startswith(f"{source.main}: {sentence}") and "_start" not in reason


def test_a_tool_that_says_something_else(source: Source) -> None:
    """The end of what it printed is the reason; or that it said nothing."""
    assert cause("error: out of memory\n", (), source) == f"{source.main}: error: out of memory"
    assert cause("", (), source) == f"{source.main}: componentize-py failed without a word"
