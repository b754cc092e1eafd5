"""How many requests a node answers at once, and how many bytes of them it holds."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skylark_proxy.api.answers import error_answer
from skylark_proxy.api.uploads import Upload, Uploads
from skylark_proxy.budget import Budget, Share
from skylark_proxy.errors import SkylarkError, TooManyRequests

HEALTH = "/health"
"""What is always answered begins with it."""

_UNLIMITED_BYTES = 1 << 62


class InFlight:
    """Refuses requests while `limit` others are being answered. Those for the node's health are answered always.

    Those whose bodies are still to come count too, but may take seven of eight places only, and give way to others
    where they stall; see `uploads`.

    Args:
        budget: The bytes of bodies and answers that may be held; None: no end of them.
    """

    def __init__(self, app: ASGIApp, limit: int, budget: Budget | None = None) -> None:
        self._app = app
        self._limit = limit
        self._running = 0
        self._uploads = Uploads(max(1, limit - limit // 8))
        self._budget = budget or Budget(_UNLIMITED_BYTES)
        self._budget.on_shortage = self._uploads.make_room_from_any_thread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers that there are too many."""
        if scope["type"] != "http" or scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        with self._budget.share_here() as share:
            place = _Place(self, share)
            try:
                self._admit()
                if _has_body(scope):
                    receive = place.upload(receive)
                else:
                    place.run()
            except SkylarkError as error:
                await error_answer(error)(scope, receive, send)
                return
            try:
                await self._app(scope, receive, send)
            finally:
                place.leave()

    def _admit(self) -> None:
        in_flight = self._running + len(self._uploads)
        if in_flight >= self._limit and not self._uploads.make_room():
            raise TooManyRequests(in_flight, self._limit)


class _Place:
    """The place of one request: among the uploads first, if it has a body, then among those that are answered."""

    __slots__ = ("_all", "_receive", "_runs", "_share", "_upload")
    _receive: Receive

    def __init__(self, all_: InFlight, share: Share) -> None:
        self._all = all_
        self._share = share
        self._upload: Upload | None = None
        self._runs = False

    def run(self) -> None:
        """Counts as one that is answered."""
        self._all._running += 1
        self._runs = True

    def upload(self, receive: Receive) -> Receive:
        """Begins to receive a body, whose bytes are paid for.

        Raises:
            TooManyRequests: As many bodies as may be are on their way, and none of them stalls.
        """
        task = asyncio.current_task()
        assert task is not None
        self._upload = self._all._uploads.begin(task)
        self._receive = receive
        return self._received

    async def _received(self) -> Message:
        if self._upload is None:
            return await self._receive()
        message = await self._all._uploads.next_of(self._upload, self._receive)
        if message["type"] == "http.request":
            size_bytes = len(message.get("body", b""))
            if not self._share.take(size_bytes):
                await self._share.add(size_bytes)
        if not message.get("more_body", False):
            self._end_upload()
            self.run()
        return message

    def leave(self) -> None:
        """Gives the place back."""
        self._end_upload()
        if self._runs:
            self._all._running -= 1

    def _end_upload(self) -> None:
        if self._upload is not None:
            self._all._uploads.end(self._upload)
            self._upload = None


def _has_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False
