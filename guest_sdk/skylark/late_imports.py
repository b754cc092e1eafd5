"""Imports that a program makes late: within functions, or behind conditions.

The sandbox has no files to take them from. So a build makes them before the interpreter is frozen, and says which of
them it cannot make.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPEAKING = frozenset({"antigravity", "this"})
"""Modules of the standard library that do something when they are imported."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import that a module may make.

    Attributes:
        module: The absolute name.
        attribute: What is taken from it, which may be a module too; None: nothing.
        line: Where it stands.
        late: Whether it stands in a function.
        script: Whether it is only made when the file is run as a script.
    """

    module: str
    attribute: str | None
    line: int
    late: bool
    script: bool

    @property
    def name(self) -> str:
        """The longest name that it may mean as a module."""
        return self.module if self.attribute is None else f"{self.module}.{self.attribute}"


class LateImports:
    """Makes the imports that the modules of some folders have not made yet.

    Args:
        folders: The folders of modules.
        own: Those of them with the user's own modules.
    """

    def __init__(self, folders: Sequence[str], own: Sequence[str]) -> None:
        self._folders = tuple(f"{folder}/" for folder in folders)
        self._own = tuple(f"{folder}/" for folder in own)

    def take(self) -> list[tuple[str, str, int]]:
        """Import all that can be, and what that imports late in turn.

        Returns:
            What the user's own modules name and cannot have: the name, the file and the line.
        """
        missing: dict[tuple[str, str, int], None] = {}
        seen: set[str] = set()
        while fresh := [name for name in self._modules() if name not in seen]:
            for name in fresh:
                seen.add(name)
                path = str(sys.modules[name].__file__)
                for wanted in _wanted(name, path):
                    if path.startswith(self._own):
                        if not _taken(wanted):
                            missing[wanted.name, path, wanted.line] = None
                    elif wanted.late and not wanted.script and _may_be_taken(name, wanted):
                        _taken(wanted)
        return sorted(missing)

    def _modules(self) -> list[str]:
        return [name for name, module in list(sys.modules.items()) if self._is_source(module)]

    def _is_source(self, module: object) -> bool:
        path = getattr(module, "__file__", None)
        return isinstance(path, str) and path.endswith(".py") and path.startswith(self._folders)


def _wanted(name: str, path: str) -> Iterator[Wanted]:
    """The imports of a file that is loaded by a name."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError):
        return
    package = getattr(sys.modules[name], "__package__", None) or ""
    yield from _in_body(tree, package, late=False, script=False)


def _in_body(node: ast.AST, package: str, late: bool, script: bool) -> Iterator[Wanted]:
    """The imports below a node; not those that only a type checker makes, or that are there for others that failed."""
    for child in _made(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Wanted(alias.name, None, child.lineno, late, script)
        elif isinstance(child, ast.ImportFrom):
            module = _absolute("." * child.level + (child.module or ""), package)
            for alias in child.names if module else ():
                yield Wanted(module, None if alias.name == "*" else alias.name, child.lineno, late, script)
        elif isinstance(child, ast.Call) and (called := _called(child)):
            yield Wanted(called, None, child.lineno, late, script)
        inner = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _in_body(child, package, inner, script or _tests(child, "__name__"))


def _made(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and _tests(node, "TYPE_CHECKING"):
        yield from node.orelse
        return
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ExceptHandler):
            yield child


def _tests(node: ast.AST, name: str) -> bool:
    """Tell whether a node is an `if` whose test has a name in it."""
    return isinstance(node, ast.If) and any(
        name in (getattr(part, "id", None), getattr(part, "attr", None)) for part in ast.walk(node.test)
    )


def _called(call: ast.Call) -> str | None:
    """The module that `import_module` or `__import__` is called for, where that is written out."""
    function = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
    name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    imports = function in ("import_module", "__import__")
    return name if imports and isinstance(name, str) and name and not name.startswith(".") else None


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:
        return ""


def _may_be_taken(name: str, wanted: Wanted) -> bool:
    """Tell whether a package's late import is made at the build: of its own modules, and of others that are in use.

    The standard library need not be: `late_modules` keeps all of it.
    """
    top = wanted.module.partition(".")[0]
    return top == name.partition(".")[0] or top in sys.modules


def _taken(wanted: Wanted) -> bool:
    """Import a module, unless only a script would; tell whether it is there."""
    if wanted.script:
        return wanted.module in sys.modules or _is_found(wanted.module)
    if not _imported(wanted.module):
        return False
    return (
        wanted.attribute is None or hasattr(sys.modules.get(wanted.module), wanted.attribute) or _imported(wanted.name)
    )


def _imported(name: str) -> bool:
    if name in sys.modules or name.partition(".")[0] in _SPEAKING:
        return True
    try:
        importlib.import_module(name)
    except BaseException:  # whatever it does wrong, and `SystemExit`: nobody has called for it yet
        return False
    return True


def _is_found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
