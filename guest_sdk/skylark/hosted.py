"""A component of the world `skylark:state/hosted`: the SDK over WIT imports. Imported only in the sandbox."""

import encodings.idna  # noqa: F401  # a function that tries a socket is to see "not permitted", not a codec's absence
import os
import random
from collections.abc import Collection, Mapping

import wit_world.exports
from componentize_py_types import Err
from wit_world.exports.handler import Failure
from wit_world.exports.handler import Invocation as WitInvocation
from wit_world.exports.handler import Outcome as WitOutcome
from wit_world.exports.handler import Response as WitResponse
from wit_world.imports import bundles, types

from skylark import errors, output, wire
from skylark.context import Request, Response
from skylark.functions import NOTHING, REGISTRY, FunctionError, Invocation, run_contained
from skylark.state import Ack, Bundle, Placement, Policy, Read, Staleness, Stored


def _bytes(value: wire.Buffer) -> bytes:
    """Return what the bindings take for a `list<u8>`."""
    return value if type(value) is bytes else bytes(value)


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

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle:
        try:
            fetched = bundles.fetch(key, list(fields), _READS[read], min_version)
        except Err as error:
            raise _raised(error) from None
        return Bundle(
            {field.name: memoryview(field.value) for field in fetched.contents},
            key=fetched.key,
            version=fetched.version,
            origin=fetched.origin,
            hops=fetched.hops,
            age_ms=fetched.age_ms,
            stale=_STALENESS[fetched.stale] if fetched.stale is not None else None,
        )

    def store(self, fields: Mapping[str, wire.Buffer], placement: Placement) -> Stored:
        contents = [types.Field(name, _bytes(value)) for name, value in fields.items()]
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


_READS = {Read.NEAREST: types.Read.NEAREST, Read.LATEST: types.Read.LATEST, Read.OWNER: types.Read.OWNER}


_STALENESS = {
    types.Staleness.OWNER_UNREACHABLE: Staleness.OWNER_UNREACHABLE,
    types.Staleness.OWNER_LOST_IT: Staleness.OWNER_LOST_IT,
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
    return WitResponse(response.status, response.content_type, _bytes(response.body))


def _failure(error: FunctionError) -> Failure:
    return Failure(error.function, error.kind, error.message, error.traceback)


class Handler(wit_world.exports.Handler):
    """The exported interface `handler`."""

    def functions(self) -> list[str]:
        return list(REGISTRY)

    def handle(self, invocation: WitInvocation) -> WitOutcome:
        output.begin()
        # A sandbox begins with the state that the generator had when the host made its image. Without an argument, seed
        # would ask the host for 2,500 bytes.
        random.seed(int.from_bytes(os.urandom(16)))
        try:
            outcome = run_contained(_invocation(invocation), WitBackend())
            return WitOutcome(outcome.key, _responded(outcome.response))
        except FunctionError as error:
            raise Err(_failure(error)) from None
        except BaseException as error:  # whatever leaves an exported function aborts the instance
            raise Err(_failure(FunctionError("+".join(invocation.functions), error))) from None
        finally:
            output.flush()


def _invocation(invocation: WitInvocation) -> Invocation:
    return Invocation(
        functions=tuple(invocation.functions) or (NOTHING,),
        chain_id=invocation.chain_id,
        task_id=invocation.task_id,
        node=invocation.node,
        request=Request(memoryview(invocation.body), invocation.content_type),
        state_key=invocation.state,
    )
