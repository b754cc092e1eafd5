"""The functions that the benchmarks invoke."""

import json
import random
import time

import skylark


@skylark.function
def noop(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Does nothing: what is measured is the way to it and back."""


@skylark.function
def measure_state(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Stores and fetches a bundle of `size_bytes`, `repeats` times each; answers with each one's time in seconds."""
    asked = json.loads(bytes(ctx.request.body))
    data = random.randbytes(asked["size_bytes"])
    stores, fetches = [], []
    for _ in range(asked["repeats"]):
        started = time.perf_counter()
        key = ctx.state.store({"data": data}).key
        stores.append(time.perf_counter() - started)
    for _ in range(asked["repeats"]):
        started = time.perf_counter()
        fetched = ctx.state.fetch(key)["data"]
        fetches.append(time.perf_counter() - started)
    if fetched != data:
        raise ValueError("what was fetched is not what was stored")
    return skylark.Response(json.dumps({"store_s": stores, "fetch_s": fetches}).encode(), "application/json")


@skylark.function
def renew(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Fetches the bundle that it is given, and stores the same again under its key."""
    ctx.state.store({"data": bundle["data"]}, key=bundle.key)


@skylark.function
def compute(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Computes for as many seconds as the body says, and waits for nothing."""
    end_s = time.monotonic() + float(bytes(ctx.request.body))
    while time.monotonic() < end_s:
        sum(range(10_000))
