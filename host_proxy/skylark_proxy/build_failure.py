"""Why a build failed, from what the guest's Python said: one sentence where it is known, else its traceback."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from skylark_proxy import guest_library as guest
from skylark_proxy.source import Source, absent, is_wasm, lacking, needs_native

_LIBRARY = "/python/"
_TOO_LARGE = "fuel allocated for hostcalls has been exhausted"
"""What wasmtime says if the tool fetches the memory of an interpreter that has more than 128 MB."""
_FRAME = re.compile(r'^ *File "(?P<file>.+)", line (?P<line>\d+)', re.MULTILINE)
_NO_MODULE = re.compile(r"^ModuleNotFoundError: No module named '(?P<name>[\w.]+)'", re.MULTILINE)
_NO_NAME = re.compile(r"^ImportError: cannot import name '(?P<name>\w+)' from .*'(?P<package>[\w.]+)'", re.MULTILINE)
_SYNTAX = re.compile(r"^(?P<kind>SyntaxError|IndentationError|TabError): (?P<text>.+)$", re.MULTILINE)


def cause(log: str, mounted: Sequence[Path], source: Source) -> str:
    """Why a build failed: the line at fault, with the paths of this machine.

    Args:
        log: What componentize-py printed.
        mounted: The folders that the guest saw as /0, /1 and so on.
        source: What was built.
    """
    text = log.partition("AssertionError: ")[2].partition("\nCaused by:")[0].partition("\nStack backtrace:")[0].strip()
    for number, path in enumerate(mounted):
        text = text.replace(f'File "/{number}/', f'File "{path}/')
    if not text:
        text = _tool(log) or "\n".join(log.strip().splitlines()[-12:]) or "componentize-py failed without a word"
    return _syntax(text) or _missing(text, source) or f"{source.main}: {text}"


def _tool(log: str) -> str | None:
    """Return what the tool itself says of its failure, the first cause last; None if it says nothing."""
    chain = log.partition("\nCaused by:\n")[2].partition("\n\n")[0]
    reasons = [re.sub(r"^\s*(\d+: )?", "", line) for line in chain.splitlines()]
    if any(_TOO_LARGE in reason for reason in reasons):
        return (
            "with all that it imports, its interpreter takes more than 128 MB of memory, which componentize-py cannot "
            "put into a component; import less at the top, or make two functions files of it"
        )
    return "componentize-py: " + ": ".join(reasons) if reasons else None


def _syntax(text: str) -> str | None:
    """The sentence about a syntax error that the build ended with."""
    last = list(_SYNTAX.finditer(text))
    frames = list(_FRAME.finditer(text))
    if not last or not frames or text[last[-1].end() :].strip():
        return None
    where = f"{frames[-1]['file']}:{frames[-1]['line']}"
    return f"{where}: {last[-1]['text']} (the sandbox's Python is CPython {guest.PYTHON})"


def _missing(text: str, source: Source) -> str | None:
    """The sentence about a module that the build ended for the lack of."""
    if not re.match(r"(ModuleNotFound|Import)Error\b", _last_error(text)):
        return None
    for name in _names(text):
        if (extension := _extension(name, source.search_path)) is not None:
            return needs_native(_where(text, source), name.partition(".")[0], extension)
    for name in _names(text):
        if (extension := _extension_in(name, source.search_path)) is not None:  # which may not be the reason
            return f"{needs_native(_where(text, source), name, extension)}\n{text}"
    missing = _NO_MODULE.search(text)
    if missing is None:
        return None
    where = _where(text, source)
    if (library := _of_the_library(text)) is not None:
        return _told(lacking(where, library), text, where)
    top = missing["name"].partition(".")[0]
    for name in (top, top.removeprefix("_")):
        if name in guest.UNUSABLE or (name not in guest.LIBRARY and name in sys.stdlib_module_names):
            return _told(lacking(where, name), text, where)
    return None if "." in missing["name"] else _told(absent(where, top), text, where)


def _told(sentence: str, text: str, where: str) -> str:
    """A sentence, with the traceback after it where another file than the one it names is at fault."""
    frames = list(_FRAME.finditer(text))
    outside = [frame for frame in frames if not frame["file"].startswith(_LIBRARY)]
    shown = outside and f"{outside[-1]['file']}:{outside[-1]['line']}" == where
    return sentence if shown else f"{sentence}\n{text}"


def _of_the_library(text: str) -> str | None:
    """The module of the standard library that failed for want of another, as the program named it."""
    name = None
    for frame in reversed(list(_FRAME.finditer(text))):
        if not frame["file"].startswith(_LIBRARY):
            break
        name = frame["file"].removeprefix(_LIBRARY).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return None if name is None or name.startswith("importlib") else name


def _names(text: str) -> list[str]:
    """The modules that were missed, the first cause first."""
    names = [match["name"] for match in _NO_MODULE.finditer(text)]
    return names + [f"{match['package']}.{match['name']}" for match in _NO_NAME.finditer(text)]


def _last_error(text: str) -> str:
    """The last line that names an exception, without its module."""
    lines = [line for line in text.splitlines() if re.match(r"[\w.]*(Error|Exception|Exit)\b", line)]
    return lines[-1].partition(":")[0].rpartition(".")[2] if lines else ""


def _extension(name: str, folders: Sequence[Path]) -> Path | None:
    """The native extension that a module of this name is outside of the sandbox."""
    relative = name.replace(".", "/")
    for folder in folders:
        for file in sorted((folder / relative).parent.glob(f"{Path(relative).name}.*so")):
            if not is_wasm(file):
                return file
    return None


def _extension_in(name: str, folders: Sequence[Path]) -> Path | None:
    """Return a native extension in a package of this name."""
    files = (file for folder in folders if "." not in name for file in sorted((folder / name).rglob("*.so")))
    return next((file for file in files if not is_wasm(file)), None)


def _where(text: str, source: Source) -> str:
    """The deepest line of the user's own files; the source itself where there is none."""
    others = [folder for folder in source.search_path if folder not in source.own]
    for frame in reversed(list(_FRAME.finditer(text))):
        file = Path(frame["file"])
        inside = any(folder in file.parents for folder in source.own)
        if inside and not any(folder in file.parents for folder in others):
            return f"{file}:{frame['line']}"
    return str(source.main)
