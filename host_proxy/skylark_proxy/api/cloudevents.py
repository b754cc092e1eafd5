"""CloudEvents as calls: the event's data is the body; the extensions `statekey`, `chainid` and `destination` count.

Source: CloudEvents 1.0.2, HTTP protocol binding (binary and structured mode) and JSON event format. Parameters of the
query win over extensions.

Who calls with an event is answered with one; see `skylark.cloudevents.reply_headers`.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from skylark.cloudevents import STRUCTURED, media_type
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.invocation import Call
from skylark_proxy.model import StateKey, check_name

_REQUIRED = ("id", "source", "specversion", "type")


def unwrap(headers: Mapping[str, str], call: Call, body: bytearray | Path) -> Call:
    """The call with the event's data as body; where the request is no event, with the request's body.

    Raises:
        InvalidArgument: The event lacks a required attribute, or is of another version than 1.0.
    """
    if media_type(call.content_type) == STRUCTURED:
        return _structured(call, body)
    if "ce-specversion" in headers:
        attributes = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
        return replace(_with_attributes(call, attributes), body=body)
    return replace(call, body=body)


def _structured(call: Call, body: bytearray | Path) -> Call:
    data = body.read_bytes() if isinstance(body, Path) else bytes(body)
    try:
        event = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument("body", data[:20], f"a CloudEvent in JSON ({error})") from error
    call = _with_attributes(call, event)
    content_type = event.get("datacontenttype", "application/json")
    if not isinstance(content_type, str):
        raise InvalidArgument("datacontenttype", content_type, "a string")
    return replace(call, body=_data(event, content_type), content_type=content_type)


def _data(event: Mapping[str, Any], content_type: str) -> bytes:
    """The bytes of an event's data: JSON where that is its type, else the text or what Base64 stands for."""
    if "data_base64" in event and "data" in event:
        raise InvalidArgument("data_base64", "both", "either data or data_base64")
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise InvalidArgument("data_base64", event["data_base64"], "bytes in Base64") from error
    data = event.get("data")
    if data is None:
        return b""
    subtype = media_type(content_type).rpartition("/")[2]
    is_json = subtype == "json" or subtype.endswith("+json")
    return data.encode() if isinstance(data, str) and not is_json else msgspec.json.encode(data)


def _with_attributes(call: Call, attributes: Mapping[str, Any]) -> Call:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidArgument(f"CloudEvent attribute {name}", value, "a text that is not empty")
    if attributes["specversion"] != "1.0":
        raise InvalidArgument("CloudEvent attribute specversion", attributes["specversion"], "1.0")
    key, chain, destination = (_extension(attributes, name) for name in ("statekey", "chainid", "destination"))
    state_key = call.state_key or (StateKey.parse(key, "statekey") if key else None)
    chain_id = call.chain_id or (check_name("chainid", chain) if chain else None)
    if state_key is not None and chain_id not in (None, state_key.chain_id):
        raise InvalidArgument("CloudEvent attribute chainid", chain_id, f"that of the key, {state_key.chain_id}")
    return replace(
        call,
        state_key=state_key,
        chain_id=chain_id,
        destination=call.destination or (check_name("destination", destination) if destination else None),
    )


def _extension(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"CloudEvent attribute {name}", value, "a text")
    return value
