"""A component of the world `skylark:state/hosted`: the SDK over WIT imports. Imported only in the sandbox."""

import encodings.idna  # noqa: F401  # a function that tries a socket is to see "not permitted", not a codec's absence
import gc
import linecache
import selectors
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, SupportsIndex

import wit_world.exports
from componentize_py_types import Err
from wit_world.exports.handler import Failure
from wit_world.exports.handler import Invocation as WitInvocation
from wit_world.exports.handler import Outcome as WitOutcome
from wit_world.exports.handler import Response as WitResponse
from wit_world.imports import bundles, types

from skylark import errors, exchange, wire
from skylark.context import Request, Response
from skylark.functions import REGISTRY, FunctionError, Invocation, run
from skylark.state import Ack, Bundle, Placement, Policy, Stored

_SLEEP_SLICE_S = 0.05
_MESSAGE_LIMIT = 8192
_TRACEBACK_LIMIT = 65536
_plain_sleep = time.sleep


def _received(payload: types.Payload) -> memoryview:
    match payload:
        case types.Payload_Inline(value):
            return memoryview(value.encode("latin-1"))
        case types.Payload_File(value):
            return exchange.read(value)


def _sent(name: str, parts: Sequence[wire.Buffer]) -> types.Payload:
    if sum(map(len, parts)) <= exchange.INLINE_LIMIT_BYTES:
        return types.Payload_Inline(b"".join(parts).decode("latin-1"))
    exchange.write(name, parts)
    return types.Payload_File(name)


def _raised(error: Err[types.Error]) -> errors.SkylarkError:
    match error.value:
        case types.Error_Conflict(value):
            return errors.Conflict(value.expected, value.actual)
        case types.Error_TooLarge(value):
            return errors.TooLarge(value.size_bytes, value.limit_bytes)
        case types.Error_NotFound(value):
            return errors.NotFound(value)
        case types.Error_InvalidKey(value):
            return errors.InvalidKey(value)
        case types.Error_InvalidArgument(value):
            return errors.InvalidArgument(value)
        case types.Error_Forbidden(value):
            return errors.Forbidden(value)
        case types.Error_Unavailable(value):
            return errors.Unavailable(value)
        case types.Error_TimedOut(value):
            return errors.TimedOut(value)
        case types.Error_Internal(value):
            return errors.Internal(value)


class WitBackend:
    """State over the WIT interface `bundles`."""

    def fetch(self, key: str, fields: Collection[str]) -> Bundle:
        try:
            fetched = bundles.fetch(key, list(fields))
        except Err as error:
            raise _raised(error) from None
        return Bundle(
            wire.decode(_received(fetched.contents)),
            key=fetched.key,
            version=fetched.version,
            origin=fetched.origin,
            hops=fetched.hops,
        )

    def store(self, fields: Mapping[str, wire.Buffer], placement: Placement) -> Stored:
        contents = _sent("bundle.out", wire.encode(fields))
        try:
            stored = bundles.store(contents, _placed(placement))
        except Err as error:
            raise _raised(error) from None
        return Stored(stored.key, stored.version)

    def delete(self, key: str) -> bool:
        try:
            return bundles.delete(key)
        except Err as error:
            raise _raised(error) from None


_POLICIES = {
    Policy.SKYLARK: types.Policy.SKYLARK,
    Policy.RANDOM: types.Policy.RANDOM,
    Policy.STATELESS: types.Policy.STATELESS,
}


_ACKS = {Ack.LOCAL: types.Ack.LOCAL, Ack.ELECTED: types.Ack.ELECTED, Ack.CLOUD: types.Ack.CLOUD}


def _placed(placement: Placement) -> bundles.Placement:
    return bundles.Placement(
        key=placement.key,
        destination=placement.destination,
        policy=_POLICIES[placement.policy] if placement.policy is not None else None,
        ttl_ms=placement.ttl_ms,
        expected_version=placement.expected_version,
        ack=_ACKS[placement.ack] if placement.ack is not None else None,
    )


def _responded(response: Response | None) -> WitResponse | None:
    if response is None:
        return None
    return WitResponse(response.status, response.content_type, _sent("response", [response.body]))


def _failure(error: FunctionError) -> Failure:
    return Failure(
        _text(error.function, _MESSAGE_LIMIT),
        _text(error.kind, _MESSAGE_LIMIT),
        _text(error.message, _MESSAGE_LIMIT),
        _text(error.traceback, _TRACEBACK_LIMIT),
    )


def _text(text: str, limit: int) -> str:
    """Text as WIT takes it: bounded, and an unpaired surrogate, as in the name of a file, is written out."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} [… {len(text) - limit} characters …] {text[-limit // 2 :]}"
    return text.encode(errors="backslashreplace").decode()


class Handler(wit_world.exports.Handler):
    """The exported interface `handler`."""

    def functions(self) -> list[str]:
        return list(REGISTRY)

    def handle(self, invocation: WitInvocation) -> WitOutcome:
        try:
            outcome = run(
                Invocation(
                    functions=tuple(invocation.functions),
                    chain_id=invocation.chain_id,
                    task_id=invocation.task_id,
                    node=invocation.node,
                    request=Request(_received(invocation.body), invocation.content_type),
                    state_key=invocation.state,
                ),
                WitBackend(),
            )
            return WitOutcome(outcome.key, _responded(outcome.response))
        except FunctionError as error:
            raise Err(_failure(error)) from None
        except BaseException as error:  # whatever leaves an exported function aborts the instance
            raise Err(_failure(FunctionError("+".join(invocation.functions), error))) from None


def seal() -> None:
    """Ends the build: the last thing that runs before the interpreter is frozen into the component.

    Raises:
        RuntimeError: The component would have no function.
    """
    if not REGISTRY:
        raise RuntimeError("no function is registered; decorate at least one with @skylark.function")
    _remember_sources()
    time.sleep = _sleep
    if "asyncio" in sys.modules:
        _adapt_asyncio()
    gc.collect()
    gc.freeze()


def _adapt_asyncio() -> None:
    """Lets `asyncio.run` work without sockets: an event loop with one thread needs no socket pair to wake it up."""
    loop: Any = sys.modules["asyncio"].selector_events.BaseSelectorEventLoop
    loop._make_self_pipe = loop._close_self_pipe = loop._write_to_self = lambda self: None
    selectors.DefaultSelector = _SlicedSelector  # type: ignore[misc, assignment]


class _SlicedSelector(selectors.SelectSelector):
    """Waits in slices, as `_sleep` does."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            rest = end - time.monotonic()
            ready = super().select(max(0.0, min(rest, _SLEEP_SLICE_S)))
            if ready or rest <= _SLEEP_SLICE_S:
                return ready


def _remember_sources() -> None:
    """Keeps the source lines of the function's own modules, so that a traceback in the sandbox can show them."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and path.endswith(".py") and not path.startswith("/python/"):
            lines = linecache.getlines(path)
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


def _sleep(seconds: float | SupportsIndex) -> None:
    """`time.sleep` in slices: between them the host can end a function that is past its deadline."""
    seconds = float(seconds)
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        _plain_sleep(min(rest, _SLEEP_SLICE_S))
