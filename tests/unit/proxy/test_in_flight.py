"""How many requests are answered at once, and what becomes of clients that send their bodies slowly."""

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from skylark_proxy.api.in_flight import InFlight
from skylark_proxy.budget import Budget


class Client:
    """One request, whose body comes as the test sends it."""

    def __init__(self, surface: InFlight, path: str = "/bundles/x", body: bool = True) -> None:
        headers = [(b"content-length", b"100")] if body else []
        scope = {"type": "http", "path": path, "method": "PUT", "headers": headers}
        self.pieces: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.task = asyncio.ensure_future(surface(scope, self.pieces.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def send(self, body: bytes, more: bool = True) -> None:
        """Sends a piece of the body."""
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    @property
    def status(self) -> int | None:
        return next((int(message["status"]) for message in self.sent if "status" in message), None)

    @property
    def code(self) -> str:
        body = b"".join(message.get("body", b"") for message in self.sent)
        return str(json.loads(body)["error"]["code"])


class App:
    """Reads the body, waits until it is let go, and answers; errors as the real application does."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from skylark_proxy.api.answers import error_answer
        from skylark_proxy.errors import SkylarkError

        try:
            while scope["headers"] and (await receive()).get("more_body"):
                pass
        except SkylarkError as error:
            await error_answer(error)(scope, receive, send)
            return
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def surface_of(app: App, limit: int, budget: Budget | None = None) -> tuple[InFlight, list[float]]:
    """The middleware, with a clock that the test moves."""
    surface, now = InFlight(app, limit, budget), [0.0]
    surface._uploads._clock = lambda: now[0]
    return surface, now


def test_slow_bodies_take_nobodys_place() -> None:
    """With as many half uploads as there may be, requests without a body and health are answered."""

    async def run() -> None:
        app = App()
        app.go.set()
        surface, _ = surface_of(app, 8)
        slow = [Client(surface) for _ in range(7)]
        await turns()
        refused = Client(surface)
        await turns()
        assert (refused.status, refused.code) == (429, "too-many-requests")
        for quick in (Client(surface, body=False), Client(surface, "/health")):
            if quick.task:
                quick.send(b"", more=False)
            await asyncio.wait_for(quick.task, 5)
            assert quick.status == 200
        assert [client.status for client in slow] == [None] * 7
        for client in slow:
            client.send(b"x", more=False)
            await asyncio.wait_for(client.task, 5)
            assert client.status == 200
        assert (len(surface._uploads), surface._running) == (0, 0)

    asyncio.run(run())


def test_a_stalled_upload_gives_way() -> None:
    """A further upload takes the place of that which has stalled for longest, whose client is told."""

    async def run() -> None:
        app = App()
        app.go.set()
        surface, now = surface_of(app, 2)
        first, second = Client(surface), Client(surface)
        await turns()
        now[0] = 0.8
        first.send(b"x")
        await turns()
        now[0] = 1.5
        third = Client(surface)
        third.send(b"x", more=False)
        await turns()
        assert (first.status, second.status, third.status) == (None, 503, 200)
        assert second.code == "overloaded"
        first.send(b"x", more=False)
        await turns()
        assert first.status == 200
        assert (len(surface._uploads), surface._running) == (0, 0)
        assert not second.task.cancelled()

    asyncio.run(run())


def test_uploads_that_go_on_keep_their_places() -> None:
    """Where none stalls, a further upload is refused."""

    async def run() -> None:
        surface, now = surface_of(App(), 1)
        first = Client(surface)
        await turns()
        now[0] = 0.5
        second = Client(surface)
        await turns()
        assert (first.status, second.status, second.code) == (None, 429, "too-many-requests")
        first.task.cancel()

    asyncio.run(run())


def test_whole_requests_are_counted() -> None:
    """Beyond the limit a request is refused, with a body or without; those before it are answered."""

    async def run() -> None:
        app = App()
        surface, _ = surface_of(app, 1)
        first = Client(surface, body=False)
        await turns()
        bodiless, whole = Client(surface, body=False), Client(surface)
        whole.send(b"x", more=False)
        await turns()
        assert [(one.status, one.code) for one in (bodiless, whole)] == [(429, "too-many-requests")] * 2
        app.go.set()
        await asyncio.wait_for(first.task, 5)
        assert (first.status, surface._running, len(surface._uploads)) == (200, 0, 0)

    asyncio.run(run())


def test_bytes_that_stall_are_given_back() -> None:
    """A body that lacks room gets it from one that does not go on."""

    async def run() -> None:
        app, megabyte = App(), 1 << 20
        app.go.set()
        surface, now = surface_of(app, 10, Budget(megabyte, wait_s=5.0))
        stalled = [Client(surface) for _ in range(2)]
        for client in stalled:
            client.send(bytes(megabyte))
        await turns()
        now[0] = 2.0
        good = Client(surface)
        good.send(bytes(megabyte), more=False)
        await asyncio.wait_for(good.task, 5)
        assert good.status == 200
        assert 503 in [client.status for client in stalled]
        for client in stalled:
            client.task.cancel()
            await asyncio.gather(client.task, return_exceptions=True)
        assert surface._budget.used_bytes == 0

    asyncio.run(run())


def test_a_client_that_hangs_up_leaves_nothing() -> None:
    """A request that is cancelled while its body comes gives back its place and its bytes."""

    async def run() -> None:
        surface, _ = surface_of(App(), 2)
        client = Client(surface)
        client.send(b"x" * 50)
        await turns()
        assert (len(surface._uploads), surface._budget.used_bytes) == (1, 50)
        client.task.cancel()
        await asyncio.gather(client.task, return_exceptions=True)
        assert client.task.cancelled()
        assert (len(surface._uploads), surface._budget.used_bytes) == (0, 0)

    asyncio.run(run())


def test_a_request_takes_the_place_of_a_stalled_upload() -> None:
    """Where all places are taken, a request without a body gets that of an upload that stalls; not at once."""

    async def run() -> None:
        app = App()
        app.go.set()
        surface, now = surface_of(app, 1)
        stalled = Client(surface)
        await turns()
        early = Client(surface, body=False)
        await turns()
        assert (stalled.status, early.status) == (None, 429)
        now[0] = 1.5
        late = Client(surface, body=False)
        await turns()
        assert (stalled.status, late.status) == (503, 200)

    asyncio.run(run())
