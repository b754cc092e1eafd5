"""`skylark run`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import skylark
from skylark_oci import Reference
from skylark_proxy.build import build
from skylark_proxy.cli.build import warn
from skylark_proxy.cli.options import URL_DEFAULT, Url, messages
from skylark_proxy.cli.registry import PlainHttp, settings
from skylark_proxy.cli.serve import serve_node
from skylark_proxy.components import parse_component
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument


def run_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A function's source file (*.py), a component (*.wasm), or a reference oci://HOST/PATH:TAG."
        ),
    ],
    native: Annotated[
        bool, typer.Option("--native", help="Run it in plain CPython: pdb works, and a saved file is loaded again.")
    ] = False,
    url: Url = URL_DEFAULT,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0: a free one.")] = 30080,
    plain_http: PlainHttp = False,
) -> None:
    """Runs one function file, to develop and try it; `skylark invoke NAME --url http://127.0.0.1:30080` calls it.

    By default it is compiled and hosted by a node of its own, with a Redis of its own. With `--native` it runs in
    plain CPython, in the foreground, with its state at the running proxy that `--url` names.
    """
    if native:
        _run_native(Path(source), url, host, port)
        return
    component = parse_component(source)
    plain = settings(component, plain_http).plain_http if isinstance(component, Reference) else None
    with tempfile.TemporaryDirectory(prefix="skylark-run-") as folder:
        if isinstance(component, Path) and component.suffix != ".wasm":
            component = _built(component, Path(folder))
        data_dir = Path(folder) / "redis"
        serve_node(
            Config.load(functions=(component,), host=host, port=port, data_dir=data_dir, registry_plain_http=plain)
        )


def _built(source: Path, folder: Path) -> Path:
    component = folder / f"{source.stem}.wasm"
    with messages().status(escape(f"building {source.name} (5 to 20 s the first time)")):
        built = build(source, component, Config.load().cache_dir / "components")
    warn(built)
    return component


def _run_native(source: Path, url: str, host: str, port: int) -> None:
    """Hands over to the SDK's own server: a function is to see plain CPython, without the proxy's modules."""
    if source.suffix != ".py" or not source.is_file():
        raise InvalidArgument("source", str(source), "an existing Python file (*.py)")
    sdk = str(Path(skylark.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (sdk, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "skylark.native", str(source), "--proxy", url, "--host", host, "--port", str(port)]
    raise typer.Exit(subprocess.call(command, env=environment))
