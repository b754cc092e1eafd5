"""`/storage-node` and `/neighbors`: what an election would say, and who is in contact."""

import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.propagation import Propagation


@dataclass(frozen=True)
class ElectionsApi:
    """Elections that move nothing."""

    propagation: Propagation

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/storage-node", self.storage_node, methods=["GET"]),
            Route("/neighbors", self.neighbors, methods=["GET"]),
        ]

    async def storage_node(self, request: Request) -> Response:
        """The address of the node that a bundle of `size` bytes would be put at; as JSON, the whole election."""
        started = time.perf_counter()
        election = self.propagation.elect(
            parameters.size_bytes(request),
            parameters.name(request, "destination"),
            parameters.policy(request),
            parameters.seconds(request, "time"),
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
        return json_answer({"node": self.propagation.node, "epoch": topology.epoch, "neighbors": neighbors})
