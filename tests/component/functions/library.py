"""A function that runs the calls of the standard library that it is sent, each by itself, with imports of its own."""

import json
import traceback

import skylark


@skylark.function
def calls(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with the `repr` of each `result`, or the exception that its call raised."""
    return skylark.Response(json.dumps([_outcome(call) for call in ctx.request.json()]).encode())


def _outcome(call: str) -> str:
    names: dict[str, object] = {}
    try:
        exec(call, names)
    except Exception as error:
        return "".join(traceback.format_exception_only(error)).strip()
    return repr(names["result"])


@skylark.function
def nest(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Answers with the kind of what the body's JSON is."""
    return skylark.Response(type(ctx.request.json()).__name__.encode())


@skylark.function
def talk(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
    """Prints as many lines as the body says."""
    for number in range(int(bytes(ctx.request.body))):
        print("line", number, "of them")
