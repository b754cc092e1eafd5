"""`skylark pull`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from skylark_oci import Reference
from skylark_oci.pull import pull
from skylark_proxy.cli.options import Json, print_json
from skylark_proxy.cli.registry import REFERENCE, PlainHttp, megabytes, progress_bars, settings


def pull_command(
    reference: Annotated[str, typer.Argument(help="What to pull.", metavar=REFERENCE)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The component; default: NAME.wasm.")] = None,
    plain_http: PlainHttp = False,
    as_json: Json = False,
) -> None:
    """Pulls a component from a registry: a Wasm artifact, or what is in an image of the platform `wasi/wasm`.

    The file is there only when it is whole and its digest is right.
    """
    wanted = Reference.parse(reference)
    target = output or Path(f"{wanted.name}.wasm")
    started = time.perf_counter()
    with progress_bars("pulling") as report:
        resolved = pull(wanted, target, settings(wanted, plain_http), report)
    size_bytes, seconds = target.stat().st_size, time.perf_counter() - started
    if as_json:
        result = {"component": str(target), "reference": str(resolved.reference), "form": resolved.form}
        print_json(result | {"size_bytes": size_bytes, "duration_s": round(seconds, 3)})
        return
    typer.echo(f"{target}: {megabytes(size_bytes)}, the {resolved.form} {resolved.reference}")
