"""`/health`: whether the process lives, and whether it can serve."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.reports import topology_json
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.disk_room import DiskRoom
from skylark_proxy.errors import SkylarkError
from skylark_proxy.runtime import Workers
from skylark_proxy.topology_source import TopologySource

_BUSY_S = 0.05
"""How long an answer waits for Redis, if a recent one is known."""
_RECENT_S = 5.0


class Probe:
    """A check that may have to wait behind somebody's large bundle. Then what it found shortly before holds on.

    One check runs at a time; those who come meanwhile share it.

    Args:
        check: Raises a `SkylarkError` if it fails.
        threads: Where it runs.
    """

    def __init__(self, check: Callable[[], None], threads: Bulkhead) -> None:
        self._check = check
        self._threads = threads
        self._running: asyncio.Task[SkylarkError | None] | None = None
        self._good_until_s = 0.0

    async def run(self) -> None:
        """Return if the check succeeds, or has succeeded in the last five seconds and takes long now.

        Raises:
            SkylarkError: It fails.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask())
        recent = time.monotonic() < self._good_until_s
        await asyncio.wait([self._running], timeout=_BUSY_S if recent else None)
        if self._running.done() and (error := self._running.result()) is not None:
            raise error

    async def _ask(self) -> SkylarkError | None:
        try:
            await self._threads.run(self._check)
        except SkylarkError as error:
            self._good_until_s = 0.0
            return error
        self._good_until_s = time.monotonic() + _RECENT_S
        return None


@dataclass(frozen=True)
class HealthApi:
    """Probes for an orchestrator."""

    node: str
    redis: Probe
    workers: Workers
    topology: TopologySource
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
            await self.redis.run()
            if self.room is not None:
                self.room.check()
        except SkylarkError as error:
            return json_answer({"node": self.node, "status": "not-ready", "reason": error.message}, 503)
        return json_answer({"node": self.node, "status": "ready", "topology": topology_json(self.topology)})
