"""CloudEvents as calls: the event's data is the body; the extensions `statekey`, `chainid` and `destination` count.

Source: CloudEvents 1.0.2, HTTP protocol binding (binary and structured mode) and JSON event format. Parameters of the
query win over extensions. The proxy reads events in the same way.

Who calls with an event is answered with one, so that Knative's broker can pass it on: it takes an answer that is
neither empty nor an event for a failure. A function's own event is the answer as it is; any other answer becomes an
event in binary mode, of the type `io.skylark.function.NAME`, with `statekey` and `chainid` for whoever takes it.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from skylark import json_names
from skylark.http_answers import Refused, to_json
from skylark.http_routes import Call, read_key
from skylark.names import EXPECTED_NAME, is_name

STRUCTURED = "application/cloudevents+json"

REPLY_TYPE = "io.skylark.function."
"""What the type of an answer's event begins with; the name of the function follows."""

_FORMATS = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_PREFIX = "ce-"
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
"""What stands for itself in a header (HTTP binding 1.0.2, section 3.1.3.2)."""

_REQUIRED = ("id", "source", "specversion", "type")


def unwrap(headers: Mapping[str, str], call: Call, body: memoryview) -> tuple[Call, memoryview]:
    """Return the call and body that an event stands for, or both unchanged if the request is no event.

    Raises:
        Refused: The event lacks a required attribute, is of another version than 1.0, or has a format or mode that is
            not read here.
    """
    kind = media_type(call.content_type)
    if kind == STRUCTURED:
        return _structured(call, body)
    if kind.startswith(_FORMATS):
        raise _unsupported(kind)
    if "ce-specversion" in headers:
        names = (name for name in headers if name.startswith(_PREFIX))
        attributes = {name.removeprefix(_PREFIX): _header_value(name, headers[name]) for name in names}
        return _with_attributes(call, attributes), body
    return call, body


def _unsupported(kind: str) -> Refused:
    what = "a batch of events" if kind.startswith(_BATCH) else f"an event in the format {kind!r}"
    message = f"Content-Type: {what} is not supported; expected one event as {STRUCTURED}, or in headers ({_PREFIX}…)"
    return Refused("unsupported-media-type", message, content_type=kind, expected=STRUCTURED)


def _header_value(name: str, text: str) -> str:
    """Return what a header of binary mode stands for (HTTP binding 1.0.2, section 3.1.3.2).

    Raises:
        Refused: A percent sign does not begin an encoded byte, or the bytes are not UTF-8.
    """
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = _QUOTED_PAIR.sub(r"\1", text[1:-1])
    if _BAD_PERCENT.search(text):
        raise Refused.invalid(name, text, "a percent sign as %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise Refused.invalid(name, text, f"percent-encoded UTF-8 ({error.reason})") from None


def is_event(headers: Mapping[str, str], content_type: str | None = None) -> bool:
    """True if a request is an event or a batch of them; the names of headers are in lower case."""
    kind = headers.get("content-type", "") if content_type is None else content_type
    return "ce-specversion" in headers or media_type(kind).startswith(_FORMATS)


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
    return {f"{_PREFIX}{name}": quote(value, safe=_PRINTABLE) for name, value in attributes.items()}


def _structured(call: Call, body: memoryview) -> tuple[Call, memoryview]:
    event = _event(body)
    call = _with_attributes(call, event)
    content_type = event.get("datacontenttype")
    if content_type is None:  # a member that is null is one that is not there (JSON format 1.0.2, section 2.2)
        content_type = "application/json"
    if not isinstance(content_type, str):
        raise Refused.invalid("datacontenttype", content_type, "a string")
    return replace(call, content_type=content_type), memoryview(_data(event, content_type))


def _event(body: memoryview) -> dict[str, Any]:
    start = bytes(body[:20]).decode(errors="replace")
    try:
        event = json_names.load(body, parse_constant=_NoNumber, parse_float=_float, parse_int=_int)
    except ValueError as error:
        raise Refused.invalid("body", start, f"a CloudEvent in JSON ({error})") from error
    if not isinstance(event, dict):
        raise Refused.invalid("body", start, "a CloudEvent in JSON (expected an object)")
    for place, text in _no_numbers(event):
        raise Refused.invalid(place, text, "a number that JSON has: no NaN, no Infinity, at most 1.8e308")
    return event


@dataclass(frozen=True)
class _NoNumber:
    """Stand for a number that is none in JSON, until its place is known."""

    text: str


def _float(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(text[:40])


def _int(text: str) -> int | _NoNumber:
    return int(text) if len(text) <= _MAX_DIGITS else _NoNumber(f"{text[:40]}…")


def _no_numbers(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and text of what is no number. Nesting is bounded by `json_names`."""
    if isinstance(value, _NoNumber):
        yield place or "body", value.text
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, _NESTED):
                yield from _no_numbers(member, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            if isinstance(member, _NESTED):
                yield from _no_numbers(member, f"{place}[{index}]")


_NESTED = (_NoNumber, dict, list)
_MAX_DIGITS = 4000
"""Python makes no whole numbers of more than 4,300 digits of text, as that takes the square of their time."""


def _data(event: Mapping[str, Any], content_type: str) -> bytes:
    """The bytes of an event's data: JSON where that is its type, else the text or what Base64 stands for."""
    data, encoded = event.get("data"), event.get("data_base64")
    if encoded is not None and data is not None:
        raise Refused.invalid("data_base64", "both", "either data or data_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            shown = encoded[:100] if isinstance(encoded, str) else encoded
            raise Refused.invalid("data_base64", shown, "bytes in Base64") from error
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
