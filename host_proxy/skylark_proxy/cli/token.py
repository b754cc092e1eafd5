"""`skylark token`."""

from typing import Annotated

import typer

from skylark.invocation_token import Credential
from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.model import check_name


def token_command(
    name: Annotated[str, typer.Argument(help="The function's name, as errors and the log are to call it.")],
    chains: Annotated[
        str, typer.Option(help="own: each invocation may touch the bundles of its own chain; any: all chains.")
    ] = "own",
) -> None:
    """Makes the credential of a function that runs outside the proxy, with the key of SKYLARK_PEER_KEY.

    The function takes it as SKYLARK_FUNCTION_TOKEN. It is a secret; it is good for as long as the key is.
    """
    if chains not in ("own", "any"):
        raise InvalidArgument("--chains", chains, "own or any")
    key = Config.load().peer_key
    if key is None:
        raise ConfigError("SKYLARK_PEER_KEY", None, "the nodes' key, with which the credential is made")
    typer.echo(Credential.make(key, check_name("name", name), chains))
