"""CloudEvents as calls of the proxy. `skylark.cloudevents` reads them, and says how such a caller is answered."""

from collections.abc import Mapping

from msgspec.structs import replace

from skylark import cloudevents, http_routes
from skylark.cloudevents import STRUCTURED, media_type
from skylark.http_answers import Refused
from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, InvalidKey, UnsupportedMediaType
from skylark_proxy.invocation import Call
from skylark_proxy.model import StateKey


def unwrap(headers: Mapping[str, str], call: Call, body: Buffer) -> Call:
    """The call with the event's data as body; where the request is no event, with the request's body.

    Raises:
        InvalidArgument: The event lacks a required attribute, or is of another version than 1.0.
        UnsupportedMediaType: It is a batch of events, or in another format than JSON.
    """
    if not cloudevents.is_event(headers, call.content_type):
        return replace(call, body=body)
    structured = media_type(call.content_type) == STRUCTURED
    data = memoryview(body if structured else b"").toreadonly()
    asked = http_routes.Call(
        functions=call.functions,
        state_key=str(call.state_key) if call.state_key is not None else None,
        chain_id=call.chain_id,
        destination=call.destination,
        content_type=call.content_type,
    )
    try:
        read, data = cloudevents.unwrap(headers, asked, data)
    except Refused as refused:
        if refused.code == UnsupportedMediaType.code:
            told = refused.details
            raise UnsupportedMediaType(str(refused), str(told["content_type"]), str(told["expected"])) from None
        kind = InvalidKey if refused.code == InvalidKey.code else InvalidArgument
        details = refused.details
        raise kind(str(details["field"]), details["value"], str(details["expected"])) from None
    return replace(
        call,
        body=data if structured else body,
        state_key=StateKey.parse(read.state_key) if read.state_key is not None else None,
        chain_id=read.chain_id,
        destination=read.destination,
        content_type=read.content_type,
    )
