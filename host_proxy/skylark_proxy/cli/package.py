"""`skylark package`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from skylark_oci import Metadata
from skylark_oci.layout import write_layout
from skylark_oci.metadata import created_at
from skylark_oci.packages import Package, package
from skylark_proxy.aot import Ahead, Optimization, WasmEdge
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.cli.registry import megabytes
from skylark_proxy.config import Config
from skylark_proxy.core_module import built, check_target, core_module, read, with_native_code
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.flat import Report
from skylark_proxy.outputs import check_named
from skylark_proxy.runtime import Manifest
from skylark_proxy.server import sigterm_as_interrupt
from skylark_proxy.target import Target

Tag = Annotated[
    str | None, typer.Option("--tag", help="The image's tag in the layout; default: the version, else latest.")
]
Title = Annotated[str | None, typer.Option("--title", help="A name for people; default: the file's.")]
Version = Annotated[str | None, typer.Option("--version", help="The version of what is packaged.")]
Source = Annotated[str | None, typer.Option("--source", help="Where its source is, a URL.")]
Description = Annotated[str | None, typer.Option("--description", help="A sentence about it.")]
Licenses = Annotated[str | None, typer.Option("--licenses", help="Its licences, an SPDX expression.")]


def package_command(
    component: Annotated[
        Path, typer.Argument(help="A component (*.wasm), a core module, or with --target a source (*.py).")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder, or an archive *.tar; default: COMPONENT.oci.")
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option(help="Who is to run it: a source is built for it, and for wasmedge a component made a module."),
    ] = None,
    path: Annotated[list[Path] | None, typer.Option("--path", help="A folder with modules that a source imports.")] = (
        None
    ),
    aot: Annotated[
        bool, typer.Option("--aot", help="Compile the module ahead of time, with WasmEdge; it takes minutes.")
    ] = False,
    optimize: Annotated[
        Optimization | None, typer.Option(help="How much --aot does: 0 takes seconds and runs slower; default: 2.")
    ] = None,
    native_cpu: Annotated[
        bool, typer.Option("--native-cpu", help="Tune what --aot makes for this machine's processor.")
    ] = False,
    wasmedge: Annotated[
        Path | None, typer.Option("--wasmedge", help="WasmEdge's program; default: $WASMEDGE, else on PATH.")
    ] = None,
    tag: Tag = None,
    title: Title = None,
    version: Version = None,
    source: Source = None,
    description: Description = None,
    licenses: Licenses = None,
    as_json: Json = False,
) -> None:
    """Packages a component or core module as an OCI image layout, for registries and container runtimes.

    The layout holds it in both accepted forms, a platform image `wasi/wasm` and a Wasm artifact, each with a bill of
    materials. Name the image's tag to podman, to crun, and to a containerd before 1.6.25 or 1.7.7, which cannot run the
    artifact. What the options do not say is taken from the table `[package]` of the component's manifest. The same
    component gives the same digests; SOURCE_DATE_EPOCH says when it was made.

    Native code that `--aot` adds is for the operating system and processor of this machine, and for the versions of
    WasmEdge whose format is that of the compiler. Elsewhere the module is interpreted. For pods under crun, have
    libwasmedge 0.16 on the nodes and compile with a wasmedge of 0.15 to 0.17; crun with libwasmedge 0.17 interprets
    every module. The command says which runtimes of a cluster use what it made. It comes from the cache where the same
    module was compiled before.
    """
    if aot and target not in (None, Target.WASMEDGE):
        raise InvalidArgument("--aot", str(target), "the target wasmedge")
    if not aot and (optimize or native_cpu or wasmedge):
        raise InvalidArgument("--aot", aot, "it, for --optimize, --native-cpu and --wasmedge to mean anything")
    check_named("component", component, "a file, such as app.wasm")
    target = Target.WASMEDGE if aot else target
    ahead = Ahead(WasmEdge.find(wasmedge), optimize or Optimization.USUAL, native_cpu) if aot else None
    name = _name(component, target)
    layout = output or component.with_name(f"{name}{'.aot' if aot else ''}.oci")
    with sigterm_as_interrupt(), messages().status(escape(f"packaging {component.name}")) as status:
        content = _content(
            component, target, tuple(path or ()), ahead, lambda step: status.update(escape(f"{name}: {step}"))
        )
        status.update(escape(f"packaging {name}"))
        packed = _packed(content, component, name, Metadata(title, version, source, description, licenses), tag)
        write_layout(packed.layout(), layout)
    if as_json:
        print_json({"layout": str(layout)} | summary(packed))
        return
    for form, one in packed.forms.items():
        size_bytes = sum(map(len, one.blobs.values()))
        typer.echo(f"{layout}:{packed.tags[form]}  {form}, {megabytes(size_bytes)}  {one.descriptor.digest}")
    if packed.native_code:
        messages().print(f"it has {packed.native_code}", soft_wrap=True)


def packaged(component: Path, metadata: Metadata, tag: str | None) -> Package:
    """The package of a component file; what `metadata` lacks is that of its manifest.

    Raises:
        InvalidArgument: The file cannot be read, or its manifest is not valid.
    """
    return _packed(read(component), component, component.stem, metadata, tag)


def summary(packed: Package) -> dict[str, Any]:
    """What is in a package, for machines."""
    return {
        "kind": packed.wasm.kind,
        "tag": packed.tag,
        "native_code": packed.native_code.described() if packed.native_code else None,
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


def _name(file: Path, target: Target | None) -> str:
    """What is packaged is called as the file that `skylark build` would write."""
    if target is not None and file.suffix == ".py":
        return file.with_suffix(target.file_suffix).stem
    if target is Target.WASMEDGE and file.stem.endswith(f".{Target.COMMAND}"):
        return f"{file.stem.removesuffix(f'.{Target.COMMAND}')}.{target}"
    return file.stem


def _content(file: Path, target: Target | None, paths: tuple[Path, ...], ahead: Ahead | None, report: Report) -> bytes:
    """What is to be packaged: the file as it is, or what it is made into for the target."""
    cache_dir = Config.load().cache_dir
    if target is Target.WASMEDGE:
        module = core_module(file, paths, cache_dir, report)
        return module if ahead is None else with_native_code(module, str(file), ahead, cache_dir, report)
    if target is not None and file.suffix == ".py":
        return built(file, paths, cache_dir, target, report)
    content = read(file)
    if target is not None:
        check_target(content, file, target)
    return content


def _packed(content: bytes, file: Path, name: str, metadata: Metadata, tag: str | None) -> Package:
    metadata = metadata.over(Manifest.beside(file).package)
    return package(content, name, metadata, tag, created_at(), str(file))
