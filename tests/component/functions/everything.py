"""Functions that show what every way to run a function has to do alike; those of `stateful` are in it too."""

import asyncio
import json
import sys
import time
from typing import Any, NoReturn

import stateful  # type: ignore[import-not-found]  # its functions are this component's too

import skylark
from skylark import compat

__all__ = ["stateful"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@skylark.function(needs=["first"])
def needy(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with the names of the fields that it was given."""
    return skylark.Response(json.dumps(sorted(bundle)).encode(), "application/json")


@skylark.function
def answers(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers as the JSON of the body says."""
    said = json.loads(bytes(ctx.request.body))
    state = {name: value.encode() for name, value in said.get("state", {}).items()}
    return skylark.Response(said.get("body", "").encode(), said.get("content_type", ""), said.get("status", 200), state)


@skylark.function
def reports_node(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    return skylark.Response(f"{ctx.node} {ctx.node}".encode())


@skylark.function
def does_nothing(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Neither stores nor answers."""


@skylark.function
def hello(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Needs no state."""
    return skylark.Response(b"hello " + bytes(ctx.request.body), "text/plain")


@skylark.function
def reads_json(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answer with the kind of the value that the body is."""
    return skylark.Response(type(ctx.request.json()).__name__.encode())


@skylark.function
def loads_json(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Do the same with the standard library."""
    return skylark.Response(type(json.loads(bytes(ctx.request.body))).__name__.encode())


@skylark.function
def shows_nested(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answer with the length of the text of lists, nested as deep as the body says."""
    nested: list[Any] = []
    for _ in range(int(bytes(ctx.request.body)) - 1):
        nested = [nested]
    return skylark.Response(str(len(repr(nested))).encode())


@skylark.function
def stores(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Stores with the arguments that the body has, and lets errors pass."""
    arguments: dict[str, Any] = json.loads(bytes(ctx.request.body))
    if "ack" in arguments:
        arguments["ack"] = skylark.Ack(arguments["ack"])
    stored = ctx.state.store({"f": b"stored"}, **arguments)
    return skylark.Response(json.dumps([stored.key, stored.version]).encode(), "application/json")


@skylark.function
def fetches(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Fetches what the body names, and lets errors pass."""
    fetched = ctx.state.fetch(bytes(ctx.request.body).decode())
    found = {name: bytes(value).decode() for name, value in fetched.items()}
    described = [fetched.key, fetched.version, fetched.origin, fetched.hops]
    return skylark.Response(json.dumps({"fields": found, "bundle": described}).encode(), "application/json")


@skylark.function
def looks(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Leave the versions of the bundles whose keys the body has."""
    keys = bytes(ctx.request.body).decode().split()
    return {"versions": json.dumps([ctx.state.fetch(key).version for key in keys]).encode()}


@skylark.function(needs=[])
def needs_nothing(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Do not look at the predecessor's bundle."""
    return {"nothing": b""}


@skylark.function
def deletes(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Delete the bundle whose key the body has."""
    return {"deleted": str(ctx.state.delete(bytes(ctx.request.body).decode())).encode()}


@skylark.function
def raises_from_state(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Makes an error of its own of one that it got."""
    try:
        ctx.state.fetch(f"{ctx.chain_id}:gone")
    except skylark.NotFound as error:
        raise RuntimeError("made of another one") from error


@skylark.function
def exits(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    sys.exit(3)


@skylark.function
def interrupts(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    raise KeyboardInterrupt("not an Exception")


@skylark.function
def raises_unprintable(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    raise Unprintable


@skylark.function
def raises_surrogates(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    raise ValueError("the file \udcff " + "x" * 20_000)


@skylark.function
def returns_nonsense(bundle: skylark.Bundle, ctx: skylark.Context) -> Any:
    return 42


@skylark.function
def waits(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Waits for a tenth of a second in two ways; answers with the milliseconds that it took."""
    started = time.monotonic()
    asyncio.run(asyncio.sleep(0.05))
    time.sleep(0.05)
    return skylark.Response(str(1000 * (time.monotonic() - started)).encode())


@skylark.function
def prints(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    print("said on stdout", bytes(ctx.request.body).decode())
    print("said on stderr", bytes(ctx.request.body).decode(), file=sys.stderr)


@skylark.function
def publishes(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Stores the body as the published library does, and reads it again."""
    compat.init_new_chain()
    key = compat.store_single_state(bytes(ctx.request.body).decode())
    return skylark.Response(json.dumps([key, compat.get_single_state(key)]).encode(), "application/json")
