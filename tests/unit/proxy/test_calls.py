"""Calls of functions, which are answered past the router: they are the same as with it, whatever is asked."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Message

from skylark_proxy.api.answers import on_defect, on_http_error
from skylark_proxy.api.functions import CALLS, Calls, CallsFirst
from skylark_proxy.api.strict import Operation
from skylark_proxy.errors import NotFound
from skylark_proxy.invocation import Call, Invoker, Report
from skylark_proxy.runtime import Outcome, Response

LIMIT_BYTES = 100


class Echo:
    """Functions that answer with the body of their call; `broken` has a defect."""

    def __init__(self) -> None:
        self.functions = self
        self.calls = list[Call]()

    def component(self, functions: tuple[str, ...]) -> None:
        if "unknown" in functions:
            raise NotFound("function", "unknown", ("f",))

    async def invoke(self, call: Call, _loaded: None) -> tuple[Outcome, Report]:
        self.calls.append(call)
        if call.functions == ("broken",):
            raise RuntimeError("a defect")
        own = Response(201, "text/plain", bytes(call.body)) if call.functions == ("own",) else None
        return Outcome(None, own), Report(call.functions, "node", call.chain_id or "chain", "task", 0)


def surface(echo: Echo, first: bool) -> Starlette:
    calls = Calls(cast(Invoker, echo), LIMIT_BYTES, Operation(frozenset({"chain", "key"}), frozenset()))
    app = Starlette(
        routes=[Route(CALLS, calls, methods=["POST"])],
        middleware=[Middleware(CallsFirst, calls=calls)] if first else [],
        exception_handlers={Exception: on_defect, 404: on_http_error, 405: on_http_error},
    )
    app.router.redirect_slashes = False
    return app


def asked(
    first: bool, method: str, target: str, content: bytes | Iterable[bytes] = b"", **headers: str
) -> tuple[httpx.Response, Echo]:
    echo = Echo()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(surface(echo, first), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.request(method, target, content=content, headers=headers)

    return asyncio.run(ask()), echo


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/functions/f", 200),
        ("POST", "/functions/own", 201),
        ("POST", "/functions/f+own?chain=c", 200),
        ("POST", "/functions/f?chane=c", 400),
        ("POST", "/functions/f?chain=c&chain=d", 400),
        ("POST", "/functions/f?key=no-key", 400),
        ("POST", "/functions/not%20a%20name", 400),
        ("POST", "/functions/unknown", 404),
        ("POST", "/functions/broken", 500),
        ("POST", "/functions/", 404),
        ("POST", "/functions/f/", 404),
        ("POST", "/functions/f/g", 404),
        ("POST", "/other/f", 404),
        ("GET", "/functions/f", 405),
        ("PUT", "/functions/f", 405),
    ],
)
def test_the_way_makes_no_difference(method: str, target: str, status: int) -> None:
    """Each request gets the same answer by the router and past it, in JSON where it is an error."""
    (short, first), (long, second) = (asked(way, method, target, b"body") for way in (True, False))
    assert (short.status_code, short.content) == (long.status_code, long.content)
    assert short.status_code == status
    assert first.calls == second.calls
    assert sorted(short.headers.items()) == sorted(long.headers.items())
    assert status < 400 or short.json()["error"]["code"]


def test_what_a_call_is_made_of() -> None:
    """Body, content type and query of a request are those of the call; what is missing has the call's defaults."""
    _, echo = asked(True, "POST", "/functions/f", b"body", **{"content-type": "text/x"})
    assert echo.calls == [Call(("f",), body=b"body", content_type="text/x")]
    _, echo = asked(True, "POST", "/functions/f+own?chain=c%31", b"")
    assert echo.calls == [Call(("f", "own"), chain_id="c1")]


@pytest.mark.parametrize("condition", ["If-Match", "If-None-Match", "Content-Range"])
def test_conditions_are_refused(condition: str) -> None:
    """A header that would change what a call does is refused before anything is done."""
    answer, echo = asked(True, "POST", "/functions/f", b"body", **{condition: '"1"'})
    assert (answer.status_code, answer.json()["error"]["field"], echo.calls) == (400, condition, [])


@pytest.mark.parametrize("sizes", [[1], [60, 40], [33, 33, 34], [0, 100, 0]])
def test_a_body_in_pieces(sizes: list[int]) -> None:
    """A body is put together of its pieces."""
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert bytes(received(pieces)[1][0].body) == b"".join(pieces)


@pytest.mark.parametrize("sizes", [[101], [60, 41], [100, 1, 1_000]])
def test_a_body_that_is_too_large(sizes: list[int]) -> None:
    """A body above the limit is refused as soon as that is known, and nothing runs."""
    (answer, *_), calls, left = received([bytes(size) for size in sizes])
    assert (answer["status"], calls) == (413, [])
    assert left == len(sizes) - (1 if sizes[0] > LIMIT_BYTES else 2)


def test_a_caller_that_goes_away() -> None:
    """Nothing runs for a caller that is gone before its body is whole."""
    _, calls, _ = received([b"a", None])
    assert calls == []


def received(pieces: list[bytes | None] | list[bytes]) -> tuple[list[Any], list[Call], int]:
    """Send a body in pieces, None for the end of the connection; return what was answered, called and not read."""
    echo, left, sent = Echo(), list(pieces), list[Any]()

    async def receive() -> Message:
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/functions/f", "query_string": b"", "headers": []}
    asyncio.run(cast(Any, surface(echo, True)(scope, receive, send)))
    return sent, echo.calls, len(left)


def test_the_report_is_the_answer() -> None:
    """A function without an answer of its own has its report told, and its timings stand in a header too."""
    answer, _ = asked(True, "POST", "/functions/f")
    timings = msgspec.json.decode(answer.content)["timings_ms"]
    assert answer.headers["server-timing"] == ", ".join(f"{name};dur={ms:.3f}" for name, ms in timings.items())
    assert (answer.headers["skylark-task"], answer.headers["skylark-chain"]) == ("task", "chain")
