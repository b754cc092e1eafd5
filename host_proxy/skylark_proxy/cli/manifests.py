"""`skylark manifests`."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from skylark_oci.manifests import ClusterConfig, InvalidConfig, read_config, write_manifests
from skylark_oci.manifests.images import check_images
from skylark_oci.manifests.node_info import node_info_environment
from skylark_oci.manifests.pools import pools_of
from skylark_oci.manifests.proxy import pool_environment, proxy_environment
from skylark_oci.manifests.write import SECRETS_FOLDER
from skylark_oci.settings import RegistrySettings
from skylark_proxy.cli.options import Json, messages, print_json
from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.nodeinfo.settings import NodeInfoSettings

ConfigFile = Annotated[
    Path, typer.Option("--file", "-f", help="The configuration; `skylark manifests --example` shows one.")
]

CheckImages = Annotated[
    bool,
    typer.Option(
        "--check-images",
        help="Ask the registries whether each image was built for what is to run it, and warn of unused native code.",
    ),
]

FILE = Path("skylark.yaml")
"""The configuration, where none is named."""
_KEY = "SKYLARK_PEER_KEY"


def manifests_command(
    file: ConfigFile = FILE,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("manifests"),
    example: Annotated[
        bool, typer.Option("--example", help="Print a configuration to start from, and do no more.")
    ] = False,
    images: CheckImages = False,
    as_json: Json = False,
) -> None:
    """Writes what a Kubernetes cluster needs to run Skylark and its functions.

    The folder has plain YAML files for `kubectl apply -f`, and a kustomize base with overlays for MicroK8s, K3s and
    kind. The secrets of an earlier run in the same folder are kept. They are in a folder of their own, for
    `kubectl create`, which leaves those that the cluster has as they are.
    """
    if example:
        typer.echo(files("skylark_oci.manifests").joinpath("example.yaml").read_text(), nl=False)
        return
    written = write_manifests(checked_config(file, images), output)
    if as_json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(path)
    messages().print(f"next: kubectl apply --server-side --force-conflicts -f {output}", soft_wrap=True)
    if (output / SECRETS_FOLDER).exists():
        messages().print(
            f"once, in a cluster that has none yet: kubectl create -f {output / SECRETS_FOLDER}", soft_wrap=True
        )


def checked_config(file: Path, images: bool = False) -> ClusterConfig:
    """The configuration of a cluster, whose settings are those that the proxy and node-info will accept.

    Args:
        images: Whether to ask the registries what the functions' images were built for, too.

    Raises:
        InvalidConfig: It is not valid; the error names the field.
    """
    config = read_config(file)
    for pool in pools_of(config):
        # the key is a file of the pod
        environment = proxy_environment(config) | pool_environment(config, pool) | {_KEY: ""}
        _check("proxy.settings", Config.load, environment)
    _check("node_info.settings", NodeInfoSettings.load, node_info_environment(config) | {_KEY: ""})
    if images:
        with messages().status("asking for the functions' images"):
            # the proxies' registries are asked as the proxies will ask them
            plain_http = (*Config.load().registry_plain_http, *Config.load(environment).registry_plain_http)
            settings = RegistrySettings(plain_http=plain_http)
            check_images(config, settings, partial(_told, "not checked"), partial(_told, "warning"))
    return config


def _told(kind: str, what: str) -> None:
    messages().print(escape(f"{kind}: {what}"), soft_wrap=True)


def _check(section: str, load: Callable[[Mapping[str, str]], object], environment: Mapping[str, str]) -> None:
    try:
        load(environment)
    except ConfigError as error:
        name = error.key.removeprefix("SKYLARK_").lower()
        raise InvalidConfig(f"{section}.{name}", error.value, error.expected) from error
