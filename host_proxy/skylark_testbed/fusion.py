"""Functions that share a sandbox against functions that do not: storage operations and the time for state."""

import contextlib
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import randbytes
from typing import Any

from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.client import ProxyClient
from skylark_proxy.config import Config
from skylark_proxy.model import Link, Node, Tier
from skylark_proxy.topology import Topology
from skylark_testbed.description import Description, FunctionFile, TopologyPlan
from skylark_testbed.testbed import open_testbed

SIZES_BYTES = (1_000_000, 10_000_000)
DEPTHS = (1, 2, 3, 4, 5)
LATENCY_MS, BANDWIDTH_MBPS = 60.0, 80.0
EDGE, CLOUD = "edge1", "cloud1"
_HOLDERS = {"near": EDGE, "far": CLOUD}

Progress = Callable[[str], None]
Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FusionResult:
    """One way to run a chain of `depth` functions whose state has `size_bytes`.

    Attributes:
        store: `near`: the node's own; `far`: the cloud's, over the link.
        operations: Fetches and stores.
        retrieval_ms: T(dr), the median over all rounds.
        migration_ms: T(dm), likewise.
    """

    store: str
    size_bytes: int
    depth: int
    fused: bool
    operations: int
    retrieval_ms: float
    migration_ms: float

    @property
    def storage_ms(self) -> float:
        """T(dr) and T(dm) together."""
        return self.retrieval_ms + self.migration_ms


def bench_fusion(
    config: Config,
    rounds: int,
    progress: Progress,
    sizes: Sequence[int] = SIZES_BYTES,
    depths: Sequence[int] = DEPTHS,
) -> list[FusionResult]:
    """Runs each chain `rounds` times, fused and single in turn, with the state nearby and over the emulated link."""
    with open_fusion(config, progress) as bench:
        results = []
        for store in _HOLDERS:
            for size_bytes in sizes:
                for depth in depths:
                    progress(f"{store} store, {size_bytes:,} bytes, depth {depth}")
                    results += bench.measure(store, size_bytes, depth, rounds)
        return results


class FusionBench:
    """Two nodes, one of which runs chains whose state is near or far. Made by `open_fusion`."""

    def __init__(self, clients: Mapping[str, ProxyClient]) -> None:
        self._clients = clients
        self._runs = itertools.count()

    def run(self, store: str, size_bytes: int, depth: int, fused: bool) -> list[Report]:
        """Runs a chain; the report of each invocation."""
        holder = _HOLDERS[store]
        names = [f"stage{number}" for number in range(1, depth + 1)]
        chain = f"{store}-{size_bytes}-{depth}-{fused}-{next(self._runs)}"
        client = self._clients[holder]
        key = client.put_bundle(f"{chain}:{holder}:input", {"state": randbytes(size_bytes)})["key"]
        reports = _run(self._clients[EDGE], ["+".join(names)] if fused else names, key, holder)
        for bundle in client.list_bundles(chain):
            client.delete_bundle(bundle["key"])
        return reports

    def measure(self, store: str, size_bytes: int, depth: int, rounds: int) -> list[FusionResult]:
        """Runs a chain `rounds` times, single and fused in turn."""
        ways = [(fused, self.run(store, size_bytes, depth, fused)) for _ in range(rounds) for fused in (False, True)]
        return [
            _result(store, size_bytes, depth, fused, [reports for way, reports in ways if way is fused])
            for fused in (False, True)
        ]


@contextlib.contextmanager
def open_fusion(config: Config, progress: Progress) -> Iterator[FusionBench]:
    """Builds the functions and starts the nodes; each store has been used once."""
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name:
        folder = Path(name)
        component = build_bench_component(folder / "functions", config, progress, name="fusion_functions")
        with open_testbed(_description(component), folder / "testbed", progress, config) as testbed:
            bench = FusionBench({name: node.client for name, node in testbed.nodes.items()})
            for store in _HOLDERS:
                bench.run(store, size_bytes=1, depth=1, fused=False)  # connections and sandboxes are made
            yield bench


def _run(client: ProxyClient, calls: Sequence[str], key: str, holder: str) -> list[Report]:
    reports: list[Report] = []
    for functions in calls:
        answer = client.invoke(functions, key=key, destination=holder, policy="stateless")
        reports.append(client.task(answer.headers["skylark-task"]))
        key = reports[-1]["key"]
    return reports


def _result(store: str, size_bytes: int, depth: int, fused: bool, runs: Sequence[Sequence[Report]]) -> FusionResult:
    def median(timing: str) -> float:
        sums: list[float] = [sum(report["timings_ms"][timing] for report in reports) for reports in runs]
        return statistics.median(sums)

    operations = sum(len(report["fetches"]) + len(report["placements"]) for report in runs[0])
    return FusionResult(store, size_bytes, depth, fused, operations, median("dr"), median("dm"))


def _description(component: Path) -> Description:
    """A node that runs the functions, and the cloud, with a slow link between them."""
    nodes = [Node(EDGE, "127.0.0.1", Tier.SAT), Node(CLOUD, "127.0.0.1", Tier.CLOUD)]
    topology = Topology.build(nodes, [Link(EDGE, CLOUD, LATENCY_MS, BANDWIDTH_MBPS)], epoch=1)
    return Description(
        TopologyPlan("static", (topology,)),
        (FunctionFile(component, (EDGE,)),),
        settings={name: {"SKYLARK_LOG_LEVEL": "warning"} for name in topology.nodes},
    )
