"""`skylark certs`."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.topology import load_topology


def certs_command(
    folder: Annotated[Path, typer.Argument(help="For ca.crt, ca.key, and NAME.crt and NAME.key of each node.")],
    topology: Annotated[Path | None, typer.Option(help="The topology, a JSON file: for all of its nodes.")] = None,
    node: Annotated[
        list[str] | None, typer.Option(help="A node, and hosts at which it is reached.", metavar="NAME[=HOSTS]")
    ] = None,
    days: Annotated[int, typer.Option(help="How long the nodes' certificates are good.", min=1, max=3650)] = 365,
) -> None:
    """Makes a small certificate authority, and a certificate for each node.

    A folder that has an authority keeps it, so the command is also for renewing: nodes read changed files by
    themselves. Whoever has ca.key can be any node; keep it off the nodes.
    """
    try:
        from skylark_proxy.certificates import CA_CERT, make_certificates
    except ImportError as error:
        raise InvalidArgument("certs", error.name, "installed packages: pip install 'skylark[certs]'") from error
    nodes: dict[str, list[str]] = {}
    if topology is not None:
        for one in load_topology(topology, epoch=1).nodes.values():
            nodes[one.name] = [urlsplit(f"//{one.address}").hostname or one.address]
    for text in node or ():
        name, _, hosts = text.partition("=")
        nodes.setdefault(name, []).extend(host for host in hosts.split(",") if host)
    if not nodes:
        raise InvalidArgument("--node", None, "the names of nodes, or --topology")
    for made in make_certificates(folder, nodes, days).values():
        typer.echo(made.cert)
    typer.echo(folder / CA_CERT)
