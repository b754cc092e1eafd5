"""`skylark deploy` and `skylark undeploy`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from skylark_oci.cluster import Action, Change, Cluster, Deployment, connect, secrets_of
from skylark_oci.manifests import ClusterConfig, Secrets, render
from skylark_oci.manifests.redis import purge_document
from skylark_proxy.cli.manifests import FILE, CheckImages, ConfigFile, checked_config
from skylark_proxy.cli.options import Json, messages, print_json

Context = Annotated[str | None, typer.Option("--context", help="The kubeconfig's context; default: the current one.")]
Timeout = Annotated[float, typer.Option("--timeout-s", help="How long to wait, in seconds.", min=0)]

_SHOWN_FIELDS = 3
_SHOWN_PENDING = 3


def deploy_command(
    file: ConfigFile = FILE,
    context: Context = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is ready.")] = True,
    timeout_s: Timeout = 600.0,
    images: CheckImages = False,
    as_json: Json = False,
) -> None:
    """Applies to a cluster what `skylark manifests` would write, and waits until it is ready.

    What an earlier configuration had and this one has not is deleted; secrets that are there stay as they are, and
    where one has changed, Redis and the proxies start anew.
    """
    deployment = _deployment(file, context, images, secrets_of)
    changes = deployment.apply(dry_run)
    _print(changes, as_json, dry_run)
    if wait and not dry_run:
        with messages().status("waiting") as status:
            replace(deployment, on_wait=_shown(status.update, _told())).wait(timeout_s)
        messages().print("everything is ready")


def undeploy_command(
    file: ConfigFile = FILE,
    context: Context = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the bundles on the nodes too, for ever.")] = False,
    timeout_s: Timeout = 300.0,
    as_json: Json = False,
) -> None:
    """Removes from a cluster what `skylark deploy` has put there, and waits until it is gone.

    The nodes keep their bundles in their folders, and another `skylark deploy` finds them again.
    """
    deployment = _deployment(file, context)
    document = purge_document(checked_config(file)) if purge else None
    with messages().status("deleting") as status:
        changes = replace(deployment, on_wait=_shown(status.update)).remove(timeout_s, document)
    _print(changes, as_json)


def _deployment(
    file: Path,
    context: str | None,
    images: bool = False,
    secrets: Callable[[Cluster, ClusterConfig], Secrets] = lambda _cluster, _config: Secrets.generate(),
) -> Deployment:
    """Return what to deploy; to remove it, nobody needs the secrets that are there."""
    config = checked_config(file, images)
    with messages().status("asking the cluster"):
        cluster = connect(context)
        return Deployment(cluster, render(config, secrets(cluster, config)))


def _told() -> Callable[[Sequence[str]], None]:
    """Return what prints each line with a reason once: `daemonset/x: 0 of 1 pods are ready: proxy: ErrImagePull`."""
    said: set[str] = set()

    def tell(pending: Sequence[str]) -> None:
        for line in pending:
            if line.count(": ") > 1 and line not in said:
                said.add(line)
                messages().print(line, soft_wrap=True)

    return tell


def _shown(
    update: Callable[[str], None], tell: Callable[[Sequence[str]], None] | None = None
) -> Callable[[Sequence[str]], None]:
    def show(pending: Sequence[str]) -> None:
        if tell is not None:
            tell(pending)
        more = f" and {len(pending) - _SHOWN_PENDING} more" if len(pending) > _SHOWN_PENDING else ""
        update(f"waiting for {escape('; '.join(pending[:_SHOWN_PENDING]))}{more}")

    return show


def _print(changes: Sequence[Change], as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        print_json({"changes": [asdict(change) for change in changes]})
        return
    for change in changes:
        more = " …" if len(change.fields) > _SHOWN_FIELDS else ""
        fields = f" ({', '.join(change.fields[:_SHOWN_FIELDS])}{more})" if change.fields else ""
        typer.echo(f"{change.kind.lower()}/{change.name} {_said(change.action, dry_run)}{fields}")


def _said(action: Action, dry_run: bool) -> str:
    return f"would be {action}" if dry_run and action not in (Action.UNCHANGED, Action.KEPT) else str(action)
