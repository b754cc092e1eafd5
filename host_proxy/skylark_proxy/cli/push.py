"""`skylark push`."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from skylark_oci import Metadata, Reference
from skylark_oci.images import Form
from skylark_oci.layout import Layout, is_layout, open_layout
from skylark_oci.push import push
from skylark_proxy.cli.options import Json, print_json
from skylark_proxy.cli.package import packaged
from skylark_proxy.cli.registry import REFERENCE, PlainHttp, megabytes, progress_bars, settings


def push_command(
    layout: Annotated[Path, typer.Argument(help="A layout that `skylark package` wrote, or a component (*.wasm).")],
    reference: Annotated[str, typer.Argument(help="Where to push it, with a tag.", metavar=REFERENCE)],
    forms: Annotated[
        list[Form] | None,
        typer.Option(
            "--form",
            help="Push only this form, under the tag itself; default: both. Clusters run the artifact only with "
            "runwasi and containerd 1.6.25, 1.7.7, 2.0 or newer, and not with crun.",
        ),
    ] = None,
    plain_http: PlainHttp = False,
    as_json: Json = False,
) -> None:
    """Pushes a packaged component to a registry.

    The platform image gets the tag, the Wasm artifact the tag with `-artifact` after it. To run the artifact takes
    containerd 1.6.25, 1.7.7, 2.0 or newer with a shim of runwasi; older ones, crun and podman take the image. What the
    registry has is not sent again. Credentials are those of `docker login` and `podman login`; a registry on this
    machine is talked to without TLS.
    """
    where = Reference.parse(reference)
    started = time.perf_counter()
    with _opened(layout, where) as opened, progress_bars("pushing") as report:
        wanted = tuple(dict.fromkeys(forms or Form))
        pushed = push(opened, str(layout), where, settings(where, plain_http), wanted, report)
    seconds = time.perf_counter() - started
    if as_json:
        references = {form: str(one) for form, one in pushed.references.items()}
        moved = {"sent_bytes": pushed.sent_bytes, "skipped_bytes": pushed.skipped_bytes}
        print_json({"references": references, "sboms": pushed.sboms, **moved, "duration_s": round(seconds, 3)})
        return
    for one in pushed.references.values():
        typer.echo(one)
    sent, skipped = megabytes(pushed.sent_bytes), megabytes(pushed.skipped_bytes)
    typer.echo(f"sent {sent} in {seconds:.1f} s; the registry had {skipped}", err=True)


@contextlib.contextmanager
def _opened(path: Path, reference: Reference) -> Iterator[Layout]:
    """A layout on disk, or that of a component which is packaged on the way."""
    if path.suffix == ".wasm" and not is_layout(path):
        yield packaged(path, Metadata(), reference.tag).layout()
        return
    with open_layout(path) as layout:
        yield layout
