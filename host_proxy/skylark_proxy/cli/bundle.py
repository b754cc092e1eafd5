"""`skylark bundle`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skylark.wire import Buffer
from skylark_proxy.cli.options import URL_DEFAULT, Destination, Json, PolicyName, Url, echo, policy, print_json, results
from skylark_proxy.client import ProxyClient
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import StateKey, check_name
from skylark_proxy.outputs import FOLDER, writing

app = typer.Typer(help="Reads and writes state bundles of a node, and through it of others.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="CHAIN:NODE:TASK, or CHAIN:TASK.")]


@app.command("get")
def get_command(
    key: Key,
    field: Annotated[str | None, typer.Option("--field", "-f", help="Print the bytes of this field to stdout.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write each field to a file here.")] = None,
    url: Url = URL_DEFAULT,
    as_json: Json = False,
) -> None:
    """Fetches a bundle: from the node, else from where the key says, else from the cloud."""
    StateKey.parse(key)
    fields, headers = ProxyClient(url).get_bundle(key, [check_name("--field", field)] if field else [])
    if field is not None:
        if field not in fields:
            raise InvalidArgument("--field", field, f"a field of {key}")
        typer.get_binary_stream("stdout").write(fields[field])
        return
    if output is not None:
        _write(output, fields)
    info = {
        "key": headers["skylark-key"],
        "version": int(headers["etag"].strip('"')),
        "origin": headers["skylark-origin"],
        "created_ms": int(headers["skylark-created-ms"]),
        "hops": int(headers["skylark-hops"]),
        "fields": {name: len(data) for name, data in fields.items()},
    }
    if as_json:
        print_json(info)
        return
    echo(f"{info['key']}  version {info['version']}, made by {info['origin']}, {info['hops']} hops")
    for name, data in fields.items():
        echo(f"  {name}: {len(data)} bytes")


@app.command("put")
def put_command(
    key: Key,
    field: Annotated[list[str], typer.Option("--field", "-f", help="NAME=TEXT, or NAME=@FILE.")],
    destination: Destination = None,
    policy_name: PolicyName = None,
    ttl_ms: Annotated[int | None, typer.Option(help="Milliseconds until it expires.", min=1)] = None,
    url: Url = URL_DEFAULT,
    as_json: Json = False,
) -> None:
    """Stores a bundle: at the node that the key names, else where an election says."""
    StateKey.parse(key)
    fields: dict[str, bytes] = {}
    for text in field:
        name, value = _field(text)
        if name in fields:
            raise InvalidArgument("--field", text, f"each field once; {name} is given twice")
        fields[name] = value
    chosen = policy(policy_name)
    placed = ProxyClient(url).put_bundle(key, fields, destination=destination, policy=chosen, ttl_ms=ttl_ms)
    if as_json:
        print_json(placed)
    else:
        echo(placed["key"])


@app.command("delete")
def delete_command(key: Key, url: Url = URL_DEFAULT) -> None:
    """Deletes a bundle at the node that the key names, else at the node itself."""
    StateKey.parse(key)
    ProxyClient(url).delete_bundle(key)


@app.command("list")
def list_command(
    chain: Annotated[str, typer.Argument(help="The chain's id.")], url: Url = URL_DEFAULT, as_json: Json = False
) -> None:
    """Lists the bundles of a chain that the node itself holds."""
    bundles = ProxyClient(url).list_bundles(check_name("chain", chain))
    if as_json:
        print_json(bundles)
        return
    table = Table("key", "version", "bytes", "fields", "origin", "created")
    for bundle in sorted(bundles, key=lambda bundle: int(bundle["created_ms"])):
        created = datetime.fromtimestamp(bundle["created_ms"] / 1000, UTC).isoformat(" ", "seconds")
        row = (bundle["key"], bundle["version"], bundle["size_bytes"], ", ".join(bundle["fields"]), bundle["origin"])
        table.add_row(*map(str, row), created)
    results().print(table)


def _write(folder: Path, fields: Mapping[str, Buffer]) -> None:
    with writing("--output", folder, FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in fields.items():
            (folder / check_name("field", name)).write_bytes(data)


def _field(text: str) -> tuple[str, bytes]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument("--field", text, "NAME=TEXT or NAME=@FILE")
    check_name("--field", name)
    if not value.startswith("@"):
        return name, value.encode(errors="surrogateescape")  # the bytes that were given, UTF-8 or not
    try:
        return name, Path(value[1:]).read_bytes()
    except OSError as error:
        raise InvalidArgument("--field", text, f"a readable file ({error.strerror})") from error
