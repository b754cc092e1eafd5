"""Options and progress of the commands that talk to registries."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from skylark_oci import Reference
from skylark_oci.documents import Descriptor
from skylark_oci.progress import Progress as Report
from skylark_oci.reference import SCHEME
from skylark_oci.settings import RegistrySettings
from skylark_proxy.cli.options import messages
from skylark_proxy.config import Config

PlainHttp = Annotated[bool, typer.Option("--plain-http", help="Talk to the registry without TLS.")]
REFERENCE = "HOST/PATH:TAG"
"""The usual form of a reference; `--help` cuts longer ones off."""


def settings(reference: Reference, plain_http: bool) -> RegistrySettings:
    """How to talk to the registry of a reference: the option's word, and that of the environment."""
    named = Config.load().registry_plain_http
    return RegistrySettings(plain_http=(*named, reference.host) if plain_http else named)


def is_reference(text: str) -> bool:
    """Whether a text is meant as a reference: it says so, or nothing on disk has that name and it has a path's /."""
    return text.startswith(SCHEME) or ("/" in text and not text.startswith((".", "/")) and not Path(text).exists())


@contextlib.contextmanager
def progress_bars(verb: str) -> Iterator[Report]:
    """A bar on stderr for each content that is moved; nothing where stderr is no terminal."""
    console = messages()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks = {}
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:

        def report(descriptor: Descriptor, done_bytes: int) -> None:
            if descriptor.digest not in tasks:
                label = f"{verb} {descriptor.digest[7:19]}"
                tasks[descriptor.digest] = progress.add_task(label, total=descriptor.size)
            progress.update(tasks[descriptor.digest], completed=done_bytes)

        yield report


def megabytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
