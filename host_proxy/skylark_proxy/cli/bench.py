"""`skylark bench`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from skylark_proxy.bench.invoke import bench_invoke
from skylark_proxy.bench.machine import describe
from skylark_proxy.bench.state import SIZES_BYTES, bench_state
from skylark_proxy.cli.options import Json, print_json
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument

app = typer.Typer(help="Measures the hot path, each with its comparison in the same run.", no_args_is_help=True)

Rounds = Annotated[int, typer.Option(help="How often each is measured; medians are printed.", min=1, max=100)]


@app.command("state")
def state_command(
    rounds: Rounds = 5,
    fsync: Annotated[
        str, typer.Option(help="When Redis has a write on disk: everysec, or always (before each answer).")
    ] = "everysec",
    size: Annotated[list[int] | None, typer.Option(help="A bundle's size in bytes; may be given again.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Fetch and store of a bundle by a hosted function, against HGETALL and HSET by redis-py in plain CPython."""
    if fsync not in ("everysec", "always"):
        raise InvalidArgument("--fsync", fsync, "everysec or always")
    with _progress() as progress:
        results = bench_state(Config.load(redis_fsync=fsync), rounds, progress, tuple(size or SIZES_BYTES))
    if as_json:
        rows = [asdict(result) | {"ratio": result.ratio} for result in results]
        print_json({"machine": describe(), "fsync": fsync, "rounds": rounds, "results": rows})
        return
    table = Table("bytes", "operation", "hosted ms", "plain ms", "ratio", title=f"state, appendfsync {fsync}")
    for result in results:
        figures = (f"{result.hosted_ms:.3f}", f"{result.plain_ms:.3f}", f"{result.ratio:.2f}")
        table.add_row(f"{result.size_bytes:,}", result.operation, *figures)
    _print(table, rounds)


@app.command("invoke")
def invoke_command(
    rounds: Rounds = 5,
    seconds: Annotated[float, typer.Option(help="How long each load goes on.", min=0.1, max=60)] = 3.0,
    connections: Annotated[int, typer.Option(help="Connections at once.", min=1, max=256)] = 8,
    as_json: Json = False,
) -> None:
    """Invocations a second through HTTP, in fresh and reused sandboxes, against a bare Starlette handler."""
    with _progress() as progress:
        results = bench_invoke(Config.load(), rounds, seconds, connections, progress)
    if as_json:
        rows = [asdict(result) for result in results]
        print_json({"machine": describe(), "connections": connections, "rounds": rounds, "results": rows})
        return
    table = Table("", "requests/s", "p50 ms", "p99 ms", "ratio", title=f"invocations over {connections} connections")
    for result in results:
        figures = (
            f"{result.requests_per_s:,.0f}",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{result.ratio:.3f}",
        )
        table.add_row(result.name, *figures)
    _print(table, rounds)


def _print(table: Table, rounds: int) -> None:
    console = Console(highlight=False)
    console.print(table)
    machine = ", ".join(f"{name} {value}" for name, value in describe().items())
    console.print(f"medians of {rounds} rounds; {machine}", soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:
        yield status.update
