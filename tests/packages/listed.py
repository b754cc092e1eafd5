"""The packages of PyPI that are tried in a function: their versions, their functions and their known failures."""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
FAILURES: dict[str, str] = tomllib.loads((_FOLDER / "expected_failures.toml").read_text())
"""Why a package does not work, by its name."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package in one version."""

    rank: int
    """Its place among the most downloaded packages."""
    name: str
    version: str
    companions: tuple[str, ...]
    """Packages that its function imports too."""

    def __str__(self) -> str:
        return self.name

    @property
    def requirements(self) -> list[str]:
        """The requirements that pip installs."""
        return [f"{self.name}=={self.version}", *self.companions]

    @property
    def function(self) -> Path:
        """The file with its function."""
        return _FOLDER / "functions" / f"{self.name.replace('-', '_')}.py"

    @property
    def call(self) -> str:
        """One sentence of what its function does."""
        tree = ast.parse(self.function.read_text())
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "call")
        return ast.get_docstring(next(functions)) or ""


def packages() -> list[Package]:
    """Return the packages of packages.txt, the most downloaded first."""
    return [_parse(line) for line in (_FOLDER / "packages.txt").read_text().splitlines()]


def _parse(line: str) -> Package:
    rank, requirement, *companions = line.split()
    name, version = requirement.split("==")
    return Package(int(rank), name, version, tuple(companions))
