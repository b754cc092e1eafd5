"""`skylark build`."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from skylark_proxy.build import Built, build
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.config import Config
from skylark_proxy.outputs import check_named
from skylark_proxy.target import Target

_TAKES = "5 to 20 s the first time"


def build_command(
    source: Annotated[Path, typer.Argument(help="A Python file with at least one @skylark.function.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The component; default: SOURCE.wasm, for others SOURCE.TARGET.wasm."),
    ] = None,
    target: Annotated[
        Target,
        typer.Option(
            help="hosted: for a node's proxy. http: for any runtime of the standard world wasi:http/proxy. command: for"
            " any runtime of wasi:cli/command. wasmedge: one core module for WasmEdge."
        ),
    ] = Target.HOSTED,
    path: Annotated[list[Path] | None, typer.Option("--path", help="A folder with modules that it imports.")] = None,
    as_json: Json = False,
) -> None:
    """Compiles a function's source file to a WASI component, or for WasmEdge to one core module.

    It takes 5 to 20 seconds; a source that was built before comes from the cache.
    """
    check_named("source", source, "a file with functions, such as app.py")
    component = output or source.with_suffix(target.file_suffix)
    doing = escape(f"building {component.name}")
    started = time.perf_counter()
    with messages().status(f"{doing} ({_TAKES})") as status:
        built = build(
            source,
            component,
            Config.load().cache_dir / "components",
            tuple(path or ()),
            target=target,
            report=lambda step: status.update(f"{doing} ({_TAKES}): {escape(step)}"),
        )
    seconds = time.perf_counter() - started
    warn(built)
    if as_json:
        result = {"component": str(component), "target": target, "size_bytes": built.size_bytes, "cached": built.cached}
        names = sorted({one.name for one in built.not_included} | {str(file) for file in built.left_out})
        print_json(result | {"duration_s": round(seconds, 3), "not_included": names})
        return
    how = "from the cache" if built.cached else f"in {seconds:.1f} s"
    typer.echo(f"{component}: {built.size_bytes / 1e6:.1f} MB, built {how}")


def warn(built: Built) -> None:
    """Says on stderr what the source names and its component does not have."""
    if built.warning is not None:
        typer.echo(f"warning: {built.warning}", err=True)
