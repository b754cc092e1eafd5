"""Functions that do what a function should not: none of them may harm its node, or another function."""

import asyncio
import json  # noqa: F401
import os
import select
import socket
import sys
import time
from typing import Any, NoReturn

import skylark
import skylark.state
from skylark import hosted

sdk: Any = hosted
bundles, types, WitResponse = sdk.bundles, sdk.types, sdk.WitResponse


@skylark.function
def good(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with the body that it was sent."""
    return skylark.Response(ctx.request.body)


@skylark.function
def attack(bundle: skylark.Bundle, ctx: skylark.Context) -> Any:
    """Runs the Python code of the body, which finds the modules of this file, and returns its `answer`."""
    names: dict[str, Any] = globals() | {"bundle": bundle, "ctx": ctx, "answer": None}
    exec(bytes(ctx.request.body).decode(), names)
    return names["answer"]


@skylark.function
def loop_for_ever(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    while True:
        pass


@skylark.function
def sleep_an_hour(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    time.sleep(3600)


@skylark.function
def block_in_select(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    print("blocks now", flush=True)
    select.select([], [], [], float(bytes(ctx.request.body)))


@skylark.function
def block_in_asyncio(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    asyncio.run(asyncio.sleep(float(bytes(ctx.request.body))))


@skylark.function
def eat_memory(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


@skylark.function
def call_sys_exit(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    sys.exit(3)


@skylark.function
def call_os_exit(bundle: skylark.Bundle, ctx: skylark.Context) -> NoReturn:
    os._exit(3)


@skylark.function
def recurse_for_ever(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    recurse_for_ever(bundle, ctx)


@skylark.function
def print_ten_megabytes(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    for _ in range(10_000):
        print("x" * 999)
    sys.stderr.write("y" * 1_000_000)


@skylark.function
def environment(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    return skylark.Response(repr(sorted(os.environ.items())).encode())


@skylark.function
def connect(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    host, port = bytes(ctx.request.body).decode().split()
    socket.create_connection((host, int(port)), timeout=5)


@skylark.function
def listen(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    socket.create_server(("127.0.0.1", 0))


@skylark.function
def nonsense(bundle: skylark.Bundle, ctx: skylark.Context) -> Any:
    """Returns the object that the body describes."""
    return eval(bytes(ctx.request.body).decode(), {"skylark": skylark})


def responding(status: int, content_type: str, body: bytes = b"") -> None:
    """Makes the SDK answer with this response, past its own checks: a guest may call WIT as it likes."""
    response = WitResponse(status, content_type, body)
    vars(hosted)["_responded"] = lambda _response: response


def storing(fields: list[tuple[str, bytes]]) -> None:
    """Stores these fields as a bundle, past the SDK's checks."""
    contents = [types.Field(name, value) for name, value in fields]
    bundles.store(contents, hosted._placed(skylark.state.Placement()))
