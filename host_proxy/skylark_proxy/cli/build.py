"""`skylark build`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from skylark_proxy.build import build
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.config import Config


def build_command(
    source: Annotated[Path, typer.Argument(help="A Python file with at least one @skylark.function.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The component; default: SOURCE.wasm.")] = None,
    path: Annotated[list[Path] | None, typer.Option("--path", help="A folder with modules that it imports.")] = None,
    as_json: Json = False,
) -> None:
    """Compiles a function's source file to a WASI component of the world `skylark:state/hosted`.

    It takes 5 to 20 seconds; a source that was built before comes from the cache.
    """
    target = output or source.with_suffix(".wasm")
    started = time.perf_counter()
    with messages().status(f"building {target.name} (5 to 20 s the first time)"):
        built = build(source, target, Config.load().cache_dir / "components", tuple(path or ()))
    seconds = time.perf_counter() - started
    if as_json:
        result = {"component": str(target), "size_bytes": built.size_bytes, "cached": built.cached}
        print_json(result | {"duration_s": round(seconds, 3)})
        return
    how = "from the cache" if built.cached else f"in {seconds:.1f} s"
    typer.echo(f"{target}: {built.size_bytes / 1e6:.1f} MB, built {how}")
