"""`skylark invoke`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from skylark_proxy.cli.options import (
    URL_DEFAULT,
    Destination,
    Json,
    PolicyName,
    Url,
    echo,
    messages,
    policy,
    print_json,
    read_input,
)
from skylark_proxy.client import ProxyClient, ProxyError


def invoke_command(
    functions: Annotated[str, typer.Argument(help="A function, or several of one component joined by +.")],
    input_file: Annotated[Path | None, typer.Option("--input", "-i", help="The body; - for stdin.")] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="The body as text.")] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="The predecessor's bundle.")] = None,
    chain: Annotated[
        str | None, typer.Option("--chain", help="The chain's id; default: the key's, or a new one.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="The body's media type.")] = "application/octet-stream",
    destination: Destination = None,
    policy_name: PolicyName = None,
    url: Url = URL_DEFAULT,
    as_json: Json = False,
) -> None:
    """Runs a function on a node; prints its answer, and on stderr the key of its bundle and the timings.

    With `--json` it prints the report: timings, fetches, and each placement with the election behind it.
    """
    client = ProxyClient(url)
    body = read_input(input_file, data)
    chosen = policy(policy_name)
    try:
        answer = client.invoke(
            functions, body, key=key, chain=chain, destination=destination, policy=chosen, content_type=content_type
        )
    except ProxyError as error:
        if traceback := error.details.get("traceback"):
            echo(str(traceback), err=True)
        raise
    own = answer.headers.get("content-type", "")
    task_id = answer.headers.get("skylark-task")
    if as_json and task_id:
        print_json(client.task(task_id))
        return
    console = messages()
    console.print(f"key: {answer.headers.get('skylark-key', '(no bundle was stored)')}", soft_wrap=True)
    console.print(_timings(answer.headers.get("server-timing", "")), soft_wrap=True)
    if answer.body and not _is_report(own, answer):
        if sys.stdout.isatty():
            echo(answer.body.decode(errors="replace"))
        else:
            sys.stdout.buffer.write(answer.body)


def _timings(header: str) -> str:
    """`Server-Timing` for people."""
    entries = (entry.partition(";dur=") for entry in header.split(", ") if entry)
    return ", ".join(f"T({name}) {float(duration):.1f} ms" for name, _, duration in entries)


def _is_report(content_type: str, answer: Any) -> bool:
    return content_type == "application/json" and b'"timings_ms"' in answer.body
