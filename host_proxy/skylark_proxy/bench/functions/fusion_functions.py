"""Five functions that pass a state on, and one that a chain ends with, for the benchmark of fusion and experiments."""

import json
import zlib

import skylark


def _pass_on(bundle: skylark.Bundle) -> dict[str, bytes]:
    """A state of the same size, with its first byte counted up: all of it is read, and another one is written."""
    state = bytearray(bundle["state"])
    state[0] = (state[0] + 1) % 256
    return {"state": bytes(state)}


@skylark.function(needs=["state"])
def stage1(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """The first stage."""
    return _pass_on(bundle)


@skylark.function(needs=["state"])
def stage2(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """The second stage."""
    return _pass_on(bundle)


@skylark.function(needs=["state"])
def stage3(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """The third stage."""
    return _pass_on(bundle)


@skylark.function(needs=["state"])
def stage4(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """The fourth stage."""
    return _pass_on(bundle)


@skylark.function(needs=["state"])
def stage5(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """The fifth stage."""
    return _pass_on(bundle)


@skylark.function(needs=["state"])
def arrive(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """The end of a chain: answers with the size and the checksum of what arrived, and stores nothing."""
    state = bundle["state"]
    return skylark.Response(
        json.dumps({"size_bytes": len(state), "crc32": zlib.crc32(state)}).encode(), "application/json"
    )
