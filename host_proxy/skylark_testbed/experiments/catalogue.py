"""The experiments that come with Skylark, and others by their files."""

from pathlib import Path

from skylark_proxy.errors import InvalidArgument
from skylark_testbed.example_files import examples_directory


def known() -> dict[str, Path]:
    """The files of the experiments that come with Skylark, by name."""
    return {path.stem: path for path in sorted((examples_directory() / "experiments").glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of an experiment: one of the known ones, or a path that ends in `.yaml`.

    Raises:
        InvalidArgument: There is none.
    """
    files = known()
    if name in files:
        return files[name]
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    raise InvalidArgument("experiment", name, f"a YAML file, or one of {', '.join(files)}")
