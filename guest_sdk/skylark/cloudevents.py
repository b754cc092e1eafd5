"""CloudEvents as calls: the event's data is the body; the extensions `statekey`, `chainid` and `destination` count.

Source: CloudEvents 1.0.2, HTTP protocol binding (binary and structured mode) and JSON event format. Parameters of the
query win over extensions. The proxy reads events in the same way.

Who calls with an event is answered with one, so that Knative's broker can pass it on: it takes an answer that is
neither empty nor an event for a failure. A function's own event is the answer as it is; any other answer becomes an
event in binary mode, of the type `io.skylark.function.NAME`, with `statekey` and `chainid` for whoever takes it.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from skylark import json_names
from skylark.http_answers import Refused, to_json
from skylark.http_routes import Call, read_key
from skylark.names import EXPECTED_NAME, is_name

STRUCTURED = "application/cloudevents+json"

REPLY_TYPE = "io.skylark.function."
"""What the type of an answer's event begins with; the name of the function follows."""

_REQUIRED = ("id", "source", "specversion", "type")


def unwrap(headers: Mapping[str, str], call: Call, body: memoryview) -> tuple[Call, memoryview]:
    """The call and body that an event stands for; both as they are where the request is no event.

    Raises:
        Refused: The event lacks a required attribute, or is of another version than 1.0.
    """
    if media_type(call.content_type) == STRUCTURED:
        return _structured(call, body)
    if "ce-specversion" in headers:
        attributes = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
        return _with_attributes(call, attributes), body
    return call, body


def is_event(headers: Mapping[str, str]) -> bool:
    """Whether a request is an event, in either mode; the names of headers are in lower case."""
    return "ce-specversion" in headers or media_type(headers.get("content-type", "")) == STRUCTURED


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def reply_headers(
    function: str, node: str, chain_id: str, task_id: str, started_ms: int, key: str | None, content_type: str
) -> dict[str, str]:
    """The headers that make an answer an event; none where the function answers with events of its own.

    Args:
        function: The last one that ran.
        key: The bundle that it left, if it left one.
        content_type: That of the answer.
    """
    if media_type(content_type).startswith("application/cloudevents"):
        return {}
    started = datetime.fromtimestamp(started_ms / 1000, UTC).isoformat(timespec="milliseconds")
    attributes = {
        "specversion": "1.0",
        "id": f"{chain_id}:{task_id}",
        "source": f"/skylark/{node}",
        "type": f"{REPLY_TYPE}{function}",
        "time": started.replace("+00:00", "Z"),
        "chainid": chain_id,
    }
    if key is not None:
        attributes["statekey"] = key
    return {f"ce-{name}": value for name, value in attributes.items()}


def _structured(call: Call, body: memoryview) -> tuple[Call, memoryview]:
    event = _event(body)
    call = _with_attributes(call, event)
    content_type = event.get("datacontenttype", "application/json")
    if not isinstance(content_type, str):
        raise Refused.invalid("datacontenttype", content_type, "a string")
    return replace(call, content_type=content_type), memoryview(_data(event, content_type))


def _event(body: memoryview) -> dict[str, Any]:
    start = bytes(body[:20]).decode(errors="replace")
    try:
        event = json_names.load(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused.invalid("body", start, f"a CloudEvent in JSON ({error})") from error
    if not isinstance(event, dict):
        raise Refused.invalid("body", start, "a CloudEvent in JSON (expected an object)")
    return event


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _data(event: Mapping[str, Any], content_type: str) -> bytes:
    """The bytes of an event's data: JSON where that is its type, else the text or what Base64 stands for."""
    if "data_base64" in event and "data" in event:
        raise Refused.invalid("data_base64", "both", "either data or data_base64")
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise Refused.invalid("data_base64", event["data_base64"], "bytes in Base64") from error
    data = event.get("data")
    if data is None:
        return b""
    subtype = media_type(content_type).rpartition("/")[2]
    is_json = subtype == "json" or subtype.endswith("+json")
    try:
        return data.encode() if isinstance(data, str) and not is_json else to_json(data)
    except UnicodeEncodeError as error:
        raise Refused.invalid("data", "a text", f"one that is Unicode ({error.reason})") from error


def _with_attributes(call: Call, attributes: Mapping[str, Any]) -> Call:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise Refused.invalid(f"CloudEvent attribute {name}", value, "a text that is not empty")
    if attributes["specversion"] != "1.0":
        raise Refused.invalid("CloudEvent attribute specversion", attributes["specversion"], "1.0")
    key, chain, destination = (_extension(attributes, name) for name in ("statekey", "chainid", "destination"))
    state_key = call.state_key or key or None
    chain_of_key = read_key("statekey", state_key) if state_key else None
    chain_id = call.chain_id or _named("chainid", chain)
    if chain_of_key is not None and chain_id not in (None, chain_of_key):
        raise Refused.invalid("CloudEvent attribute chainid", chain_id, f"that of the key, {chain_of_key}")
    return replace(
        call,
        state_key=state_key,
        chain_id=chain_id,
        destination=call.destination or _named("destination", destination),
    )


def _extension(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused.invalid(f"CloudEvent attribute {name}", value, "a text")
    return value


def _named(name: str, value: str | None) -> str | None:
    if value and not is_name(value):
        raise Refused.invalid(name, value, EXPECTED_NAME)
    return value or None
