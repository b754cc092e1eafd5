"""Functions that use state in every way that the SDK offers."""

import json
from typing import Any

import skylark

CALLS: list[str] = []


@skylark.function
def produce(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Leaves as many bytes as the body says."""
    return {"produce": pattern(int(bytes(ctx.request.body)))}


@skylark.function
def relay(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Passes on all that it gets: the bundle as the next bundle, the body as the answer."""
    return skylark.Response(ctx.request.body, ctx.request.content_type, state=bundle)


@skylark.function
def first(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    return {"first": b"1 after " + ",".join(bundle).encode()}


@skylark.function
def second(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    return {"second": b"2 after " + ",".join(bundle).encode(), "shared": bytes(bundle["first"])}


@skylark.function
def third(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    return skylark.Response(
        b"third of " + ctx.chain_id.encode(), state={"third": b"3 after " + ",".join(bundle).encode()}
    )


@skylark.function
def looks_around(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with what the context and the bundle say."""
    found = {
        "context": [ctx.function, ctx.chain_id, ctx.task_id, ctx.node, ctx.request.content_type],
        "bundle": [bundle.key, bundle.version, bundle.origin, bundle.hops, sorted(bundle)],
    }
    return skylark.Response(json.dumps(found).encode(), "application/json")


@skylark.function
def calls_state(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Makes the one state call that the body describes, and answers with its result or its error."""
    call = json.loads(bytes(ctx.request.body))
    try:
        result: Any = run_call(ctx.state, call)
    except skylark.SkylarkError as error:
        result = {"raised": type(error).__name__, "message": str(error), "numbers": vars(error)}
    return skylark.Response(json.dumps(result).encode(), "application/json")


def run_call(state: skylark.State, call: dict[str, Any]) -> object:
    arguments = call["arguments"]
    match call["call"]:
        case "fetch":
            fetched = state.fetch(call["key"], **arguments)
            stale = fetched.stale.value if fetched.stale is not None else None
            found = {name: bytes(value).decode() for name, value in fetched.items()}
            about = {"key": fetched.key, "version": fetched.version, "age_ms": fetched.age_ms, "stale": stale}
            return {"fields": found, **about}
        case "store":
            if "policy" in arguments:
                arguments["policy"] = skylark.Policy(arguments["policy"])
            stored = state.store({"f": b"stored"}, **arguments)
            return {"key": stored.key, "version": stored.version}
        case _:
            return state.delete(call["key"])


@skylark.function
def counts_calls(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with the number of calls that this interpreter has seen."""
    CALLS.append(ctx.task_id)
    return skylark.Response(str(len(CALLS)).encode())


@skylark.function
def raises(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    raise ZeroDivisionError("on purpose: größer als ∞")  # the line that the traceback has to show


def pattern(size_bytes: int) -> bytes:
    """Bytes of every value, so that no encoding on the way can hide."""
    return (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]
