"""Where the examples are."""

from pathlib import Path


def examples_directory() -> Path:
    """The examples that the wheel brings, or those of the source checkout that it is installed from."""
    package = Path(__file__).parent
    return next(path for path in (package / "examples", package.parents[1] / "examples") if path.is_dir())
