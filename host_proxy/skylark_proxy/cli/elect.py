"""`skylark elect`."""

import math
import random
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skylark_proxy.cli.options import Json, print_json, results
from skylark_proxy.election import Election, Elector, parse_policy
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Objectives, Policy
from skylark_proxy.topology import load_topology


def elect_command(
    topology: Annotated[Path, typer.Option(help="The topology, a JSON file.")],
    source: Annotated[str, typer.Option("--from", help="The node that holds the bundle now.")],
    destination: Annotated[str, typer.Option("--to", help="The node that the next function runs on.")],
    size_bytes: Annotated[int, typer.Option("--size", help="The bundle's size in bytes.")],
    max_latency_ms: Annotated[float, typer.Option(help="Objective: the longest migration.")] = 150.0,
    min_bandwidth_mbps: Annotated[float, typer.Option(help="Objective: the narrowest link.")] = 0.0,
    policy_name: Annotated[str, typer.Option("--policy", help=f"One of {', '.join(Policy)}.")] = "skylark",
    at_s: Annotated[float | None, typer.Option("--at", help="When, in seconds since the epoch; default: now.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the policy `random` repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Elects the node that will hold a bundle, and explains why; nothing is moved."""
    for option, value in (("--max-latency-ms", max_latency_ms), ("--min-bandwidth-mbps", min_bandwidth_mbps)):
        if not 0 <= value < math.inf:
            raise InvalidArgument(option, value, "a number, 0 or more")
    election = Elector(source).elect(
        load_topology(topology, epoch=1),
        destination,
        size_bytes,
        parse_policy(policy_name, "--policy"),
        Objectives(max_latency_ms, min_bandwidth_mbps),
        time.time() if at_s is None else at_s,
        random.Random(seed),  # a policy, not a secret
    )
    if as_json:
        print_json(election.to_dict())
        return
    typer.echo(election.elected)
    results(stderr=True).print(election_table(election))


def election_table(election: Election) -> Table:
    """The candidates of an election, from the destination's end."""
    table = Table(
        title=f"{election.policy} election for {election.size_bytes} bytes, "
        f"{election.source} → {election.destination}: {election.reason}",
        title_justify="left",
    )
    for column in ("node", "latency", "bandwidth", "migration time", "verdict"):
        table.add_column(column, justify="left" if column in ("node", "verdict") else "right")
    for candidate in election.candidates:
        bandwidth = "-" if candidate.bandwidth_mbps is None else f"{candidate.bandwidth_mbps:g} Mbps"
        times = (f"{candidate.latency_ms:.1f} ms", bandwidth, f"{candidate.migration_time_ms:.1f} ms")
        table.add_row(candidate.node, *times, candidate.verdict)
    return table
