"""`skylark bench`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from skylark_oci import Reference
from skylark_proxy.bench.election import NODES, NOTE, bench_election
from skylark_proxy.bench.invoke import bench_invoke
from skylark_proxy.bench.machine import describe
from skylark_proxy.bench.package import bench_package
from skylark_proxy.bench.state import SIZES_BYTES, bench_state
from skylark_proxy.bench.store import bench_store
from skylark_proxy.bench.targets import bench_targets
from skylark_proxy.cli.options import Json, messages, print_json, results
from skylark_proxy.cli.registry import REFERENCE, PlainHttp, settings
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_testbed.fusion import DEPTHS, bench_fusion
from skylark_testbed.fusion import SIZES_BYTES as STATE_SIZES

app = typer.Typer(help="Measures the hot path, each with its comparison in the same run.", no_args_is_help=True)

Rounds = Annotated[int, typer.Option(help="How often each is measured; medians are printed.", min=1, max=100)]
Fsync = Annotated[str, typer.Option(help="When Redis has a write on disk: everysec, or always (before each answer).")]
Sizes = Annotated[list[int] | None, typer.Option(help="A bundle's size in bytes; may be given again.", min=1)]


@app.command("state")
def state_command(
    rounds: Rounds = 5,
    fsync: Fsync = "everysec",
    size: Sizes = None,
    as_json: Json = False,
) -> None:
    """Fetch and store of a bundle by a hosted function, against HGETALL and HSET by redis-py in plain CPython."""
    _check_fsync(fsync)
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


@app.command("store")
def store_command(
    rounds: Rounds = 5,
    fsync: Fsync = "everysec",
    size: Sizes = None,
    as_json: Json = False,
) -> None:
    """Fetch and store of a bundle by the node itself, without a function, against HGETALL and HSET by redis-py."""
    _check_fsync(fsync)
    with _progress() as progress:
        results = bench_store(Config.load(redis_fsync=fsync), rounds, progress, tuple(size or SIZES_BYTES))
    if as_json:
        rows = [asdict(result) | {"ratio": result.ratio, "cpu_ratio": result.cpu_ratio} for result in results]
        print_json({"machine": describe(), "fsync": fsync, "rounds": rounds, "results": rows})
        return
    columns = ("node ms", "plain ms", "ratio", "node CPU ms", "plain CPU ms", "CPU ratio")
    table = Table("bytes", "operation", *columns, title=f"store, appendfsync {fsync}")
    for one in results:
        wall = (f"{one.node_ms:.3f}", f"{one.plain_ms:.3f}", f"{one.ratio:.2f}")
        cpu = (f"{one.node_cpu_ms:.3f}", f"{one.plain_cpu_ms:.3f}", f"{one.cpu_ratio:.2f}")
        table.add_row(f"{one.size_bytes:,}", one.operation, *wall, *cpu)
    _print(table, rounds)


@app.command("invoke")
def invoke_command(
    rounds: Rounds = 5,
    seconds: Annotated[float, typer.Option(help="How long each load goes on.", min=0.1, max=60)] = 3.0,
    connections: Annotated[int, typer.Option(help="Connections at once.", min=1, max=256)] = 8,
    url: Annotated[
        list[str] | None,
        typer.Option(help="A server that runs already, for the same load, as that of an http component."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Invocations through HTTP, in fresh and reused sandboxes, against a bare Starlette handler.

    Redis writes to disk every second. Start: from `skylark serve` to its first answer, its own Redis included, with a
    component that is compiled. Memory: what a sandbox that is kept has of its own.
    """
    with _progress() as progress:
        results = bench_invoke(Config.load(), rounds, seconds, connections, progress, url or ())
    if as_json:
        rows = [asdict(result) for result in results]
        print_json({"machine": describe(), "connections": connections, "rounds": rounds, "results": rows})
        return
    columns = ("requests/s", "p50 ms", "p99 ms", "p99 ÷ p50", "ratio", "CPU ms", "start ms", "memory MB")
    table = Table("", *columns, title=f"invocations over {connections} connections")
    for result in results:
        figures = (
            f"{result.requests_per_s:,.0f}",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{result.p99_ms / result.p50_ms:.1f}",
            f"{result.ratio:.3f}",
            _or_dash(result.processor_ms, 1, ".3f"),
            _or_dash(result.start_ms, 1, ",.0f"),
            _or_dash(result.sandbox_bytes, 1e6, ".2f"),
        )
        table.add_row(result.name, *figures)
    _print(table, rounds)


@app.command("targets")
def targets_command(
    rounds: Rounds = 3,
    seconds: Annotated[float, typer.Option(help="How long each load goes on.", min=0.1, max=60)] = 3.0,
    connections: Annotated[
        list[int] | None, typer.Option(help="Connections at once; may be given again.", min=1, max=256)
    ] = None,
    wasmedge: Annotated[
        Path | None, typer.Option(help="WasmEdge's program; default: WASMEDGE, or the one on PATH.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """One function on every runtime that is there: hosted, wasmtime's command line, WasmEdge interpreted and compiled.

    The first time it compiles the function for WasmEdge, which takes minutes. Runtimes that are not there are left out.
    """
    counts = tuple(connections or (1, 16))
    with _progress() as progress:
        results = bench_targets(Config.load(), rounds, seconds, counts, wasmedge, progress)
    if as_json:
        rows = [asdict(result) for result in results]
        print_json({"machine": describe(), "rounds": rounds, "results": rows})
        return
    columns = (f"{name} ({count})" for count in counts for name in ("requests/s", "p50 ms", "p99 ms"))
    table = Table("", "file MB", "start ms", "memory MB", *columns, title="one function, by target (connections)")
    for result in results:
        size = "-" if result.size_bytes is None else f"{result.size_bytes / 1e6:.1f}"
        start = "-" if result.start_ms is None else f"{result.start_ms:.0f}"
        loads = ((f"{one.requests_per_s:,.0f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}") for one in result.loads)
        memory = f"{result.memory_bytes / 1e6:.0f}"
        table.add_row(result.name, size, start, memory, *(figure for load in loads for figure in load))
    _print(table, rounds)


@app.command("election")
def election_command(
    nodes: Annotated[list[int] | None, typer.Option(help="A graph's number of nodes; may be given again.")] = None,
    rounds: Rounds = 5,
    as_json: Json = False,
) -> None:
    """Elections over random graphs in which each node has four links, beside the published system's figures."""
    with _progress() as progress:
        results = bench_election(tuple(nodes or NODES), rounds, progress=progress)
    if as_json:
        rows = [result.to_dict() for result in results]
        print_json({"machine": describe(), "rounds": rounds, "note": NOTE, "results": rows})
        return
    table = Table("nodes", "building ms", "first election ms", "further ones ms", "published ms", title="elections")
    for result in results:
        figures = (f"{result.build_ms:,.2f}", f"{result.first_ms:,.2f}", f"{result.further_ms:.4f}")
        published = "-" if result.published_ms is None else f"{result.published_ms:,.0f}"
        table.add_row(f"{result.nodes:,}", *figures, published)
    _print(table, rounds)
    typer.echo(NOTE)


@app.command("fusion")
def fusion_command(
    rounds: Rounds = 3,
    size: Annotated[list[int] | None, typer.Option(help="A state's size in bytes; may be given again.", min=1)] = None,
    depth: Annotated[list[int] | None, typer.Option(help="A chain's length; may be given again.", min=1, max=5)] = None,
    as_json: Json = False,
) -> None:
    """Chains of one to five functions, fused in one sandbox and single, with a near and a far store.

    The far store is behind a link of 60 ms and 80 Mbps, emulated on this machine.
    """
    with _progress() as progress:
        results = bench_fusion(Config.load(), rounds, progress, tuple(size or STATE_SIZES), tuple(depth or DEPTHS))
    if as_json:
        rows = [asdict(result) | {"storage_ms": result.storage_ms} for result in results]
        print_json({"machine": describe(), "rounds": rounds, "results": rows})
        return
    columns = ("store", "MB", "depth", "", "ops", "T(dr) ms", "T(dm) ms", "both", "less")
    table = Table(*columns, title="fusion: storage operations and the time for state")
    for single, fused in zip(results[::2], results[1::2], strict=True):
        less = f"{100 * (1 - fused.storage_ms / single.storage_ms):.0f} %"
        for result, name, saved in ((single, "single", ""), (fused, "fused", less)):
            where = (result.store, f"{result.size_bytes / 1e6:g}", str(result.depth), name, str(result.operations))
            times = (f"{ms:,.1f}" for ms in (result.retrieval_ms, result.migration_ms, result.storage_ms))
            table.add_row(*where, *times, saved)
    _print(table, rounds)


@app.command("package")
def package_command(
    repository: Annotated[str, typer.Argument(help="Below which path of which registry to push.", metavar=REFERENCE)],
    rounds: Rounds = 5,
    plain_http: PlainHttp = False,
    as_json: Json = False,
) -> None:
    """Packaging, pushing and pulling a component, against skopeo's copies of the same layout."""
    where = Reference.parse(repository)
    with _progress() as progress:
        results = bench_package(Config.load(), where, settings(where, plain_http), rounds, progress)
    if as_json:
        print_json({"machine": describe(), "rounds": rounds, "results": [asdict(result) for result in results]})
        return
    table = Table("", "bytes", "skylark s", "skopeo s", title=f"packages and {where.host}")
    for result in results:
        theirs = "-" if result.skopeo_s is None else f"{result.skopeo_s:.3f}"
        table.add_row(result.operation, f"{result.size_bytes:,}", f"{result.skylark_s:.3f}", theirs)
    _print(table, rounds)


def _check_fsync(fsync: str) -> None:
    if fsync not in ("everysec", "always"):
        raise InvalidArgument("--fsync", fsync, "everysec or always")


def _or_dash(value: float | None, unit: float, form: str) -> str:
    """A figure in its unit, or a dash where there is none."""
    return "-" if value is None else format(value / unit, form)


def _print(table: Table, rounds: int) -> None:
    console = results()
    console.print(table)
    machine = ", ".join(f"{name} {value}" for name, value in describe().items())
    console.print(f"medians of {rounds} rounds; {machine}", soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    console = messages()
    with console.status("starting") as status:
        yield lambda text: status.update(escape(text))
