"""`skylark inspect`."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from skylark_oci import Reference
from skylark_oci.contents import layout_contents, remote_contents, wasm_contents
from skylark_oci.layout import is_layout, open_layout
from skylark_proxy.cli.options import Json, print_json, results
from skylark_proxy.cli.registry import PlainHttp, is_reference, settings
from skylark_proxy.errors import InvalidArgument


def inspect_command(
    subject: Annotated[
        str, typer.Argument(help="A component (*.wasm), a layout, or a reference [oci://]HOST/PATH:TAG.")
    ],
    plain_http: PlainHttp = False,
    as_json: Json = False,
) -> None:
    """Shows what a component, a layout or an image in a registry is: its interface, forms, digests and contents."""
    contents = _contents(subject, plain_http)
    if as_json:
        print_json(contents)
        return
    _print(contents, 0)


def _contents(subject: str, plain_http: bool) -> dict[str, Any]:
    if is_reference(subject):
        reference = Reference.parse(subject)
        return remote_contents(reference, settings(reference, plain_http))
    path = Path(subject)
    if is_layout(path):
        with open_layout(path) as layout:
            return layout_contents(layout, subject)
    try:
        return wasm_contents(path.read_bytes(), subject)
    except OSError as error:
        expected = f"a component, a layout or a reference ({error.strerror})"
        raise InvalidArgument("subject", subject, expected) from error


def _print(value: object, depth: int) -> None:
    """Prints a document as an outline; what is absent is left out."""
    indent = "  " * depth
    items = value.items() if isinstance(value, dict) else (("-", one) for one in msgspec.to_builtins(value))
    for key, one in items:
        if isinstance(one, dict | list | tuple):
            if one:
                results().print(f"{indent}{key}", soft_wrap=True)
                _print(one, depth + 1)
        elif one is not None:
            results().print(f"{indent}{key} {one}", soft_wrap=True)
