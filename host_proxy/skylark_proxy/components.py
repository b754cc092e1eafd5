"""The components that a node is told to run: files, folders of them, and references to registries."""

import logging
from collections.abc import Iterable
from pathlib import Path

from skylark_oci import PackageError, Reference
from skylark_oci.errors import InvalidReference
from skylark_oci.reference import SCHEME
from skylark_oci.settings import RegistrySettings
from skylark_proxy.errors import ConfigError, InvalidArgument, SkylarkError

_LOG = logging.getLogger(__name__)


class ComponentNotPulled(SkylarkError):
    """A component could not be had from its registry; the message says why."""

    code = "config"


class RegistryAway(ComponentNotPulled):
    """It could not be had now; later it may."""

    code = "unavailable"
    retryable = True


def parse_component(text: str) -> Path | Reference:
    """A path, or a reference where it begins with `oci://`: without that a path could be taken for one.

    Raises:
        InvalidArgument: It is no valid reference.
    """
    if not text.startswith(SCHEME):
        return Path(text)
    try:
        return Reference.parse(text)
    except InvalidReference as error:
        raise InvalidArgument("component", text, error.expected) from error


def component_files(
    components: Iterable[Path | Reference], cache_dir: Path, settings: RegistrySettings | None = None
) -> list[Path]:
    """The component files that paths, folders and references mean; what is not in the cache yet is pulled.

    Raises:
        ConfigError: A path does not exist, or a folder has no component.
        ComponentNotPulled: A reference means no component, or it could not be had.
    """
    found: list[Path] = []
    for component in components:
        if isinstance(component, Reference):
            found.append(pulled_component(component, cache_dir, settings or RegistrySettings()))
        else:
            found += _files(component)
    return list(dict.fromkeys(found))


def pulled_component(reference: Reference, cache_dir: Path, settings: RegistrySettings) -> Path:
    """The file of a reference, from the cache where it is pinned and known: then no registry is asked.

    Raises:
        ComponentNotPulled: It means no component, or could not be had.
    """
    # Here: a node whose components are files need not wait for it.
    from skylark_oci.pull import fetch_component, resolve
    from skylark_oci.registry import Registry

    if reference.digest:
        cached = _cached(reference, cache_dir)
        if cached.is_file():
            _LOG.info("component %s: from the cache", reference)
            return cached
    try:
        with Registry(reference, "pull", settings) as registry:
            resolved = resolve(registry, reference)
            file = _cached(resolved.reference, cache_dir)
            known = file.is_file()
            if not known:
                size_bytes = sum(layer.size for layer in resolved.manifest.layers)
                _LOG.info("component %s: pulling %.1f MB", resolved.reference, size_bytes / 1e6)
                fetch_component(registry, resolved, file)
    except PackageError as error:
        kind = RegistryAway if error.retryable else ComponentNotPulled
        raise kind(f"component {reference.name}: {error.message}") from error
    _LOG.info("component %s: %s", resolved.reference, "from the cache" if known else "pulled")
    return file


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.wasm")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ConfigError("SKYLARK_FUNCTIONS", str(path), "a component file, or a folder with *.wasm files")
    return files


def _cached(reference: Reference, cache_dir: Path) -> Path:
    """Where the content of a pinned reference is kept; its name is the one that the log shows."""
    digest = (reference.digest or "").partition(":")[2]
    return cache_dir / "pulled" / digest / f"{reference.name}.wasm"
