"""What went into a component, noted in a custom section of it when it is built."""

import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution as Installed
from importlib.metadata import distributions, version
from pathlib import Path
from types import MappingProxyType

from skylark_oci.record import BuildRecord, Distribution, Module, encode_record
from skylark_proxy.guest_library import PYTHON
from skylark_proxy.runtime.engine import digest
from skylark_proxy.source import Source
from skylark_proxy.target import Target

NO_TOOLS: Mapping[str, str] = MappingProxyType({})

_LICENSE_LIMIT = 120
"""Longer texts in the field `License` are a licence itself, not its name."""

_CLASSIFIER = "License :: "


def append_record(file: Path, source: Source, target: Target, tools: Mapping[str, str] = NO_TOOLS) -> None:
    """Appends the build record to a component or module. Runtimes pass over custom sections.

    Args:
        target: Who is to run it.
        tools: The versions of what else built it, by name.
    """
    with file.open("ab") as opened:
        opened.write(encode_record(build_record(source, target, tools)))


def build_record(source: Source, target: Target, tools: Mapping[str, str] = NO_TOOLS) -> BuildRecord:
    """What goes into the component of a source. It has no path of this machine, and no time."""
    site = Path(sysconfig.get_path("purelib"))
    own = {"componentize-py": version("componentize-py"), "cpython": PYTHON, "skylark": version("skylark")}
    modules = (Module(_dotted(path, source.search_path), digest(path.read_bytes())) for path in source.modules)
    used = {path.relative_to(site).as_posix() for path in source.modules if site in path.parents}
    return BuildRecord(
        world=target.component.qualified_world,
        tools=own | dict(tools),
        modules=sorted(modules, key=lambda module: (module.name, module.sha256)),
        distributions=sorted(_distributions(site, used), key=lambda one: one.name) if used else [],
        target=str(target),
    )


def _dotted(path: Path, search_path: Iterable[Path]) -> str:
    """The name that a file is imported by; its own where it lies in no folder that is searched."""
    folders = [folder for folder in search_path if folder in path.parents]
    if not folders:
        return path.stem
    deepest = max(folders, key=lambda folder: len(folder.parts))  # site-packages can lie in the source's own folder
    parts = path.relative_to(deepest).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _distributions(site: Path, files: set[str]) -> Iterator[Distribution]:
    """The installed distributions that any of these files of the site folder came with."""
    for installed in distributions(path=[str(site)]):
        if any(file.as_posix() in files for file in installed.files or ()):
            yield Distribution(installed.metadata["Name"], installed.version, _license(installed))


def _license(installed: Installed) -> str | None:
    """The licence that a distribution names: an SPDX expression (PEP 639), else what older metadata says."""
    metadata = installed.metadata
    for field in ("License-Expression", "License"):
        text = (metadata[field] or "").strip() if field in metadata else ""
        if text and "\n" not in text and len(text) <= _LICENSE_LIMIT:
            return text
    classified = [text for text in metadata.get_all("Classifier") or () if text.startswith(_CLASSIFIER)]
    return ", ".join(text.rpartition(" :: ")[2] for text in classified) or None
