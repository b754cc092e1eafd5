"""Experiments without chains over a constellation: fusion, elections, requests for elections."""

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from skylark_proxy.bench.election import measure_election, ring_graph
from skylark_proxy.client import ProxyClient
from skylark_proxy.config import Config
from skylark_proxy.continuum import start_node, stop_nodes, wait_until_ready, with_free_ports
from skylark_proxy.topology import Topology
from skylark_testbed.experiments.definition import FusionWorkload, RequestsWorkload
from skylark_testbed.experiments.driver import Outcome, Progress
from skylark_testbed.experiments.schedule import Run, rng_of
from skylark_testbed.fusion import FusionBench, open_fusion

_SIZE_BYTES = 1_000_000
_SENDERS = 16


@dataclass(frozen=True)
class Fusion:
    """Chains on one node, in one sandbox or each in its own."""

    workload: FusionWorkload
    bench: FusionBench

    def measure(self, run: Run) -> Outcome:
        """Runs a chain."""
        size_bytes = int(self.workload.size_mb * 1e6)
        reports = self.bench.run(str(run.case["store"]), size_bytes, int(run.case["depth"]), run.variant == "fused")
        retrieval_ms = sum(report["timings_ms"]["dr"] for report in reports)
        migration_ms = sum(report["timings_ms"]["dm"] for report in reports)
        return Outcome(
            {
                "retrieval_ms": retrieval_ms,
                "migration_ms": migration_ms,
                "state_ms": retrieval_ms + migration_ms,
                "function_ms": sum(report["timings_ms"]["f"] for report in reports),
                "operations": float(sum(len(report["fetches"]) + len(report["placements"]) for report in reports)),
            }
        )

    def advance(self) -> None:
        """Nothing changes from round to round."""


@contextlib.contextmanager
def open_fusion_driver(workload: FusionWorkload, config: Config, progress: Progress) -> Iterator[Fusion]:
    """Starts the two nodes of the benchmark."""
    with open_fusion(config, progress) as bench:
        yield Fusion(workload, bench)


@dataclass(frozen=True)
class Elections:
    """Elections in this process, each run over a graph of its own."""

    seed: int

    def measure(self, run: Run) -> Outcome:
        """Makes a graph and elects."""
        rng = random.Random(rng_of(self.seed, "graph", run.case["nodes"], run.repeat).getrandbits(64))
        measured = measure_election(int(run.case["nodes"]), _SIZE_BYTES, rng)
        return Outcome(
            {"build_ms": measured.build_ms, "first_ms": measured.first_ms, "further_ms": measured.further_ms}
        )

    def advance(self) -> None:
        """Each run has a graph of its own."""


class Requests:
    """Requests for elections at one proxy, with a topology that is started anew for each number of nodes."""

    def __init__(self, workload: RequestsWorkload, seed: int, folder: Path, config: Config) -> None:
        self._workload = workload
        self._seed = seed
        self._folder = folder
        self._config = config
        self._open = contextlib.ExitStack()
        self._nodes = 0
        self._client = ProxyClient()

    def measure(self, run: Run) -> Outcome:
        """Sends requests at the case's rate; a latency counts from when its request was due."""
        nodes, rate_per_s = int(run.case["nodes"]), float(run.case["rate_per_s"])
        if nodes != self._nodes:
            self._start(nodes)
        rng = rng_of(self._seed, "destinations", run.id)
        destinations = [f"n{rng.randrange(nodes)}" for _ in range(max(1, int(rate_per_s * self._workload.seconds)))]
        begun = time.perf_counter() + 0.05
        with ThreadPoolExecutor(_SENDERS) as pool:
            due = (begun + number / rate_per_s for number in range(len(destinations)))
            answers = list(pool.map(self._ask, destinations, due))
        latencies_ms = [latency_ms for latency_ms, _ in answers]
        return Outcome(
            {
                "latency_ms": statistics.median(latencies_ms),
                "slowest_ms": max(latencies_ms),
                "election_ms": statistics.median(election_ms for _, election_ms in answers),
                "requests": float(len(answers)),
            }
        )

    def advance(self) -> None:
        """Nothing changes from round to round."""

    def close(self) -> None:
        """Ends the proxy."""
        self._open.close()

    def _start(self, nodes: int) -> None:
        self._open.close()
        graph = ring_graph(nodes, rng_of(self._seed, "graph", nodes))
        [local] = with_free_ports(Topology.build([graph[0][0]], [], epoch=1)).nodes.values()
        topology = Topology.build([local, *graph[0][1:]], graph[1], epoch=1)
        folder = self._folder / str(nodes)
        settings = {"SKYLARK_CACHE_DIR": str(self._config.cache_dir), "SKYLARK_LOG_LEVEL": "warning"}
        folder.mkdir()
        (folder / "topology.json").write_bytes(topology.to_json())
        running = start_node(local, folder / "topology.json", None, folder, settings)
        self._open.callback(stop_nodes, {local.name: running})
        wait_until_ready(running)
        self._client = ProxyClient(running.url)
        self._nodes = nodes
        self._ask("n1", time.perf_counter())  # the paths are found

    def _ask(self, destination: str, due: float) -> tuple[float, float]:
        time.sleep(max(0.0, due - time.perf_counter()))
        answer = self._client.request("GET", "/storage-node", {"size": _SIZE_BYTES, "destination": destination})
        return 1000 * (time.perf_counter() - due), float(answer.headers["policy-execution-time"])


@contextlib.contextmanager
def open_requests(workload: RequestsWorkload, seed: int, config: Config) -> Iterator[Requests]:
    """Makes what starts a proxy for each number of nodes, and ends the last one."""
    with tempfile.TemporaryDirectory(prefix="skylark-experiment-") as name:
        requests = Requests(workload, seed, Path(name), config)
        with contextlib.closing(requests):
            yield requests
