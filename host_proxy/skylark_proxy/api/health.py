"""`/health`: whether the process lives, and whether it can serve."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.reports import topology_json
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.disk_room import DiskRoom
from skylark_proxy.errors import SkylarkError
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.runtime import Workers
from skylark_proxy.topology_source import TopologySource


@dataclass(frozen=True)
class HealthApi:
    """Probes for an orchestrator."""

    node: str
    redis: RedisWire
    workers: Workers
    topology: TopologySource
    probes: Bulkhead
    room: DiskRoom | None = None

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/health", self.readiness, methods=["GET"]),
            Route("/health/liveness", self.liveness, methods=["GET"]),
            Route("/health/readiness", self.readiness, methods=["GET"]),
        ]

    async def liveness(self, _request: Request) -> Response:
        """503 once so many workers are blocked that the process should be started anew."""
        healthy = self.workers.healthy
        return json_answer({"node": self.node, "status": "alive" if healthy else "blocked"}, 200 if healthy else 503)

    async def readiness(self, _request: Request) -> Response:
        """503, with the reason, while Redis does not answer or takes no writes, or its disk is full.

        An old topology does not make a node unready; its age is told.
        """
        try:
            await self.probes.run(self.redis.check_writable)
            if self.room is not None:
                self.room.check()
        except SkylarkError as error:
            return json_answer({"node": self.node, "status": "not-ready", "reason": error.message}, 503)
        return json_answer({"node": self.node, "status": "ready", "topology": topology_json(self.topology)})
