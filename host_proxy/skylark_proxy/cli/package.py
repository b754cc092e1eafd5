"""`skylark package`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from skylark_oci import Metadata
from skylark_oci.layout import write_layout
from skylark_oci.metadata import created_at
from skylark_oci.packages import Package, package
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.cli.registry import megabytes
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import Manifest

Tag = Annotated[
    str | None, typer.Option("--tag", help="The image's tag in the layout; default: the version, else latest.")
]
Title = Annotated[str | None, typer.Option("--title", help="A name for people; default: the file's.")]
Version = Annotated[str | None, typer.Option("--version", help="The version of what is packaged.")]
Source = Annotated[str | None, typer.Option("--source", help="Where its source is, a URL.")]
Description = Annotated[str | None, typer.Option("--description", help="A sentence about it.")]
Licenses = Annotated[str | None, typer.Option("--licenses", help="Its licences, an SPDX expression.")]


def package_command(
    component: Annotated[Path, typer.Argument(help="A component (*.wasm), or a core module.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder, or an archive *.tar; default: COMPONENT.oci.")
    ] = None,
    tag: Tag = None,
    title: Title = None,
    version: Version = None,
    source: Source = None,
    description: Description = None,
    licenses: Licenses = None,
    as_json: Json = False,
) -> None:
    """Packages a component as an OCI image layout, for registries and container runtimes.

    The layout holds it in both accepted forms, a platform image `wasi/wasm` and a Wasm artifact, each with a bill of
    materials. What the options do not say is taken from the table `[package]` of the component's manifest. The same
    component gives the same digests; SOURCE_DATE_EPOCH says when it was made.
    """
    target = output or component.with_suffix(".oci")
    with messages().status(f"packaging {component.name}"):
        packed = packaged(component, Metadata(title, version, source, description, licenses), tag)
        write_layout(packed.layout(), target)
    if as_json:
        print_json({"layout": str(target)} | summary(packed))
        return
    for form, one in packed.forms.items():
        size_bytes = sum(map(len, one.blobs.values()))
        typer.echo(f"{target}:{packed.tags[form]}  {form}, {megabytes(size_bytes)}  {one.descriptor.digest}")


def packaged(component: Path, metadata: Metadata, tag: str | None) -> Package:
    """The package of a component file; what `metadata` lacks is that of its manifest.

    Raises:
        InvalidArgument: The file cannot be read, or its manifest is not valid.
    """
    try:
        content = component.read_bytes()
    except OSError as error:
        raise InvalidArgument("component", str(component), f"a readable file ({error.strerror})") from error
    metadata = metadata.over(Manifest.beside(component).package)
    return package(content, component.stem, metadata, tag, created_at(), str(component))


def summary(packed: Package) -> dict[str, Any]:
    """What is in a package, for machines."""
    return {
        "kind": packed.wasm.kind,
        "tag": packed.tag,
        "forms": {
            form: {
                "tag": packed.tags[form],
                "digest": one.descriptor.digest,
                "size_bytes": sum(map(len, one.blobs.values())),
                "sbom": packed.sboms[form].descriptor.digest,
            }
            for form, one in packed.forms.items()
        },
    }
