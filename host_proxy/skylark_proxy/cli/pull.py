"""`skylark pull`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from skylark_oci import Reference
from skylark_oci.aot import read_native_code
from skylark_oci.pull import pull
from skylark_oci.record import read_record
from skylark_oci.wasm import read_wasm
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.cli.registry import REFERENCE, PlainHttp, megabytes, progress_bars, settings


def pull_command(
    reference: Annotated[
        str,
        typer.Argument(
            help="What to pull: HOST[:PORT]/PATH[:TAG][@DIGEST], with or without oci:// before it.", metavar=REFERENCE
        ),
    ],
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
    wasm = read_wasm(target.read_bytes(), str(target))
    record, code = read_record(wasm, str(target)), read_native_code(wasm, str(target))
    built_for = record.target if record else None
    if as_json:
        result = {"component": str(target), "reference": str(resolved.reference), "form": resolved.form}
        seen = {"target": built_for, "native_code": code.described() if code else None}
        print_json({**result, **seen, "size_bytes": size_bytes, "duration_s": round(seconds, 3)})
        return
    typer.echo(f"{target}: {megabytes(size_bytes)}, the {resolved.form} {resolved.reference}")
    if built_for:
        messages().print(f"it was built for the target {built_for}", soft_wrap=True)
    if code:
        messages().print(f"it has {code}", soft_wrap=True)
