"""`/storage-node`, `/neighbors`, `/refresh` and `/benchmark`: what an election would say, by what, and how fast."""

import threading
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.reports import topology_json
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.errors import Overloaded
from skylark_proxy.propagation import Propagation
from skylark_proxy.topology_source import TopologySource

_MAX_RUN_MS = 1 << 53
_BENCHMARK_RUNS = 3
_BENCHMARK_S = 5.0


@dataclass(frozen=True)
class ElectionsApi:
    """Elections that move nothing."""

    propagation: Propagation
    topology: TopologySource
    others: Bulkhead
    _measuring: threading.Lock = field(default_factory=threading.Lock)

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/storage-node", self.storage_node, methods=["GET"]),
            Route("/neighbors", self.neighbors, methods=["GET"]),
            Route("/refresh", self.refresh, methods=["GET", "POST"]),
            Route("/benchmark", self.benchmark, methods=["GET"]),
        ]

    async def storage_node(self, request: Request) -> Response:
        """The address of the node that a bundle of `size` bytes would be put at; as JSON, the whole election.

        `time` is how long the function has run, in milliseconds; as in the published system nothing depends on it.
        """
        parameters.number(request, "time", 0, _MAX_RUN_MS)
        started = time.perf_counter()
        election = self.propagation.elect(
            parameters.size_bytes(request),
            parameters.name(request, "destination"),
            parameters.policy(request),
            parameters.seconds(request, "at"),
        )
        headers = {"policy-execution-time": f"{(time.perf_counter() - started) * 1000:.3f}"}
        if "application/json" in request.headers.get("accept", ""):
            return json_answer(election.to_dict(), 200, headers)
        return PlainTextResponse(self.propagation.topology().node(election.elected).address, 200, headers)

    async def neighbors(self, _request: Request) -> Response:
        """The nodes that are in contact now, with the best link to each."""
        topology = self.propagation.topology()
        neighbors = [
            {
                "node": other,
                "address": topology.node(other).address,
                "tier": topology.node(other).tier,
                "latency_ms": link.latency_ms,
                "bandwidth_mbps": link.bandwidth_mbps,
                "up_until_s": link.up_until_s,
            }
            for other, link in topology.neighbors(self.propagation.node, time.time()).items()
        ]
        known = topology_json(self.topology) | {"epoch": topology.epoch}
        return json_answer({"node": self.propagation.node} | known | {"neighbors": neighbors})

    async def refresh(self, _request: Request) -> Response:
        """Asks the node-info service now, or reads the topology's file again."""
        await self.others.run(self.topology.refresh)
        return json_answer(topology_json(self.topology))

    async def benchmark(self, request: Request) -> Response:
        """Elections over graphs of 10 to 10,000 nodes, measured here and now, one request at a time."""
        size_bytes = parameters.size_bytes(request)
        return json_answer(await self.others.run(self._measure, size_bytes))

    def _measure(self, size_bytes: int) -> dict[str, object]:
        # Here: the start of a node need not wait for these.
        from skylark_proxy.bench.election import NOTE, bench_election
        from skylark_proxy.bench.machine import describe

        if not self._measuring.acquire(blocking=False):
            raise Overloaded("another benchmark runs on this node")
        try:
            results = bench_election(runs=_BENCHMARK_RUNS, size_bytes=size_bytes, budget_s=_BENCHMARK_S)
        finally:
            self._measuring.release()
        return {"machine": describe(), "note": NOTE, "results": [result.to_dict() for result in results]}
