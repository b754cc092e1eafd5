"""Check that each function's image can be loaded by the runtime it is deployed to, as far as registries tell."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from skylark_oci.aot import TARGET_ANNOTATION, may_be_interpreted
from skylark_oci.contents import remote_contents
from skylark_oci.documents import WasmConfig
from skylark_oci.errors import PackageError
from skylark_oci.images import ARTIFACT_OS, Form
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run
from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.reference import Reference
from skylark_oci.settings import RegistrySettings, Retries
from skylark_oci.transport import PLAIN_HTTP_HINT
from skylark_oci.wasm import Kind

_LOADS = {Run.PROXY: ("hosted",), Run.WASMTIME: ("http", "command"), Run.WASMEDGE: ("wasmedge",)}
"""The targets that `skylark build` knows, by what loads them; the first one is the usual one."""

_EXPORTS = {"skylark:state/handler": "hosted", "wasi:http/incoming-handler": "http", "wasi:cli/run": "command"}


def check_images(
    config: ClusterConfig,
    settings: RegistrySettings,
    unknown: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Ask the registries what the functions' images were built for. No layer is pulled.

    Args:
        unknown: Called with every image that could not be checked, and the reason.
        warn: Called with every image whose native code the cluster might interpret, which is a hundred times slower.

    Raises:
        InvalidConfig: What runs a function cannot load its image.
    """
    once = replace(settings, retries=Retries(attempts=1))
    for index, function in enumerate(config.file.functions):
        try:
            contents = remote_contents(Reference.parse(function.reference), once)
        except PackageError as error:
            # there is no such option here
            unknown(error.message.replace(PLAIN_HTTP_HINT, "name it in proxy.settings.registry_plain_http"))
            continue
        target = target_of(contents)
        if target is None:
            unknown(f"{function.reference}: does not say what it was built for")
        elif expected := mismatch(function, target):
            raise InvalidConfig(f"functions[{index}].image", function.image, expected)
        elif interpreted := _interpreted(config, function, contents):
            warn(f"functions[{index}].image: the native code of {function.reference} may not be used: {interpreted}")


def mismatch(function: FunctionSection, target: str) -> str | None:
    """What was expected instead of an image that was built for a target; None where it is right."""
    loads = _LOADS[function.run]
    if target in loads:
        return None
    return f"an image for run: {function.run}, built with --target {loads[0]}; this one was built for {target}"


def _interpreted(config: ClusterConfig, function: FunctionSection, contents: Mapping[str, Any]) -> str | None:
    if function.run is not Run.WASMEDGE:
        return None
    handler = config.file.cluster.runtime_handlers.get("wasmedge", "wasmedge")
    return may_be_interpreted(contents["annotations"] or {}, str(handler))


def target_of(contents: Mapping[str, Any]) -> str | None:
    """The target of a package that `remote_contents` shows: by its annotation, else by an artifact's configuration."""
    named = (contents["annotations"] or {}).get(TARGET_ANNOTATION)
    if named is not None or contents["form"] != Form.ARTIFACT:
        return str(named) if named is not None else None
    try:
        config = msgspec.convert(contents["config"], WasmConfig)
    except msgspec.ValidationError:
        return None
    if config.os == ARTIFACT_OS[Kind.MODULE]:
        return str(Run.WASMEDGE)
    exports = config.component.exports if config.component else []
    known = (_EXPORTS.get(export.partition("@")[0]) for export in exports)
    return next(filter(None, known), None)
