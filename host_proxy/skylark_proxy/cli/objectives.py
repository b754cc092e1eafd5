"""`skylark objectives`."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from urllib3.exceptions import HTTPError

from skylark_proxy.cli.options import Json, print_json
from skylark_proxy.client import tls_of_environment
from skylark_proxy.connections import open_pool
from skylark_proxy.environment import read_environment
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.follow import NodeInfoUnavailable
from skylark_proxy.nodeinfo.messages import ObjectivesJson
from skylark_proxy.nodeinfo.settings import NodeInfoSettings
from skylark_proxy.signatures import Signer
from skylark_proxy.signed_requests import SignedRequests

_TIMEOUT_S = 10.0


def objectives_command(
    url: Annotated[
        str, typer.Option("--url", "-u", envvar="SKYLARK_NODE_INFO_URL", help="The node-info service.")
    ] = "http://127.0.0.1:30001",
    max_latency_ms: Annotated[float | None, typer.Option(help="The longest migration of a bundle.", min=0)] = None,
    min_bandwidth_mbps: Annotated[float | None, typer.Option(help="The narrowest link it may take.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Shows the objectives of a node-info service, or changes them.

    Where the service has a key, the request is signed with SKYLARK_PEER_KEY; where it asks for a certificate, it gets
    that of SKYLARK_TLS_CERT.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidArgument("--url", url, "http://host:port")
    given = {"max_latency": max_latency_ms, "min_bandwidth": min_bandwidth_mbps}
    changes = {name: value for name, value in given.items() if value is not None}
    body = [msgspec.json.encode(changes)] if changes else []
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body[0]))} if body else {}
    base, target = f"{parts.scheme}://{parts.netloc}", f"{parts.path.rstrip('/')}/objectives"
    with open_pool(tls_of_environment(), timeout=_TIMEOUT_S, retries=False) as pool:
        try:
            answer = SignedRequests(pool, _signer()).send(base, "POST" if body else "GET", target, headers, body)
            status, content = answer.status, answer.data
        except HTTPError as error:
            raise NodeInfoUnavailable(url, str(error)) from error
    if status != 200:
        raise NodeInfoUnavailable(url, f"it answered with status {status}: {content[:500].decode(errors='replace')}")
    objectives = msgspec.json.decode(content, type=ObjectivesJson)
    if as_json:
        print_json(objectives)
    else:
        typer.echo(f"{objectives.max_latency:g} ms, {objectives.min_bandwidth:g} Mbps")


def _signer() -> Signer | None:
    """The signer for the key of the environment; whoever has the key speaks for the node that it is on."""
    settings = NodeInfoSettings.load(
        {name: text for name, text in read_environment().items() if name in ("SKYLARK_PEER_KEY", "SKYLARK_NODE")}
    )
    return Signer(settings.peer_key, settings.node) if settings.peer_key is not None else None
