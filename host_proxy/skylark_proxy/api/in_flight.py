"""How many requests a node answers at once."""

from starlette.types import ASGIApp, Receive, Scope, Send

from skylark_proxy.api.answers import error_answer
from skylark_proxy.errors import TooManyRequests

HEALTH = "/health"
"""What is always answered begins with it."""


class InFlight:
    """Refuses requests while `limit` others are being answered. Those for the node's health are answered always."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers that there are too many."""
        if scope["type"] != "http" or scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        if self._running >= self._limit:
            await error_answer(TooManyRequests(self._running, self._limit))(scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
