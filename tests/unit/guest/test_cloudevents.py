"""CloudEvents, read by the SDK as the proxy reads them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud_events import ATTRIBUTES, HEADERS, NO_EVENTS, OTHER_FORMATS, WRONG_HEADERS, WRONG_NUMBERS, with_data
from skylark.cloudevents import STRUCTURED, reply_headers, unwrap
from skylark.http_answers import Refused
from skylark.http_routes import Call
from skylark_proxy.api import cloudevents as proxy
from skylark_proxy.errors import SkylarkError, UnsupportedMediaType
from skylark_proxy.invocation import Call as ProxyCall
from skylark_proxy.model import StateKey

TEXTS = st.text("aZ0:=._- ü∞\0", max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
MEMBERS = {
    **dict.fromkeys(ATTRIBUTES, st.sampled_from(["1.0", "x", "", "0.3"]) | SCALARS),
    "statekey": st.sampled_from(["c:n:t", "c:t", "c", "", "d:t"]) | SCALARS,
    "chainid": st.sampled_from(["c", "d", "", "a b"]) | SCALARS,
    "destination": st.sampled_from(["sat1", "", "a:b"]) | SCALARS,
    "datacontenttype": st.sampled_from(["text/plain", "application/json", "application/x+json; a=b"]) | SCALARS,
    "data": JSON,
    "data_base64": st.sampled_from(["aGk=", "aGk", "!", ""]) | SCALARS,
}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event that is right but for some members."""
    names = draw(st.lists(st.sampled_from(sorted(MEMBERS)), unique=True, max_size=4))
    return ATTRIBUTES | {name: draw(MEMBERS[name]) for name in names}


@given(event=events(), key=st.sampled_from([None, "c:n:t"]))
@example(event=ATTRIBUTES | {"chainid": "d"}, key="c:n:t")
@example(event={}, key=None)
@example(event=ATTRIBUTES | {"data": "text", "datacontenttype": "application/x+json"}, key=None)
@example(event=ATTRIBUTES | {"data": "text", "datacontenttype": "text/plain"}, key=None)
def test_structured_mode_is_read_as_by_the_proxy(event: dict[str, Any], key: str | None) -> None:
    """For any event both read the same call and body, or refuse it with the same sentence."""
    body = json.dumps(event).encode()
    assert ours({}, body, key, STRUCTURED) == theirs({}, body, key, STRUCTURED)


@given(event=events(), key=st.sampled_from([None, "c:n:t"]))
def test_binary_mode_is_read_as_by_the_proxy(event: dict[str, Any], key: str | None) -> None:
    """The same for an event whose attributes are headers."""
    headers = {f"ce-{name}": str(value) for name, value in event.items()}
    assert ours(headers, b"body", key, "a/b") == theirs(headers, b"body", key, "a/b")


@pytest.mark.parametrize("body", [*NO_EVENTS, b"\xff", b"[" * 20_000, b"\xff\xfe{\0"])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """A body that cannot be an event is refused by its name, as by the proxy."""
    assert ours({}, body, None, STRUCTURED)[1] == theirs({}, body, None, STRUCTURED)[1] == "body"


@pytest.mark.parametrize(("data", "place"), WRONG_NUMBERS.items())
def test_a_number_that_is_none_is_refused(data: str, place: str) -> None:
    """A number that JSON does not have is refused by its place, as by the proxy."""
    said = ours({}, with_data(data), None, STRUCTURED)
    assert said == theirs({}, with_data(data), None, STRUCTURED)
    assert said[:2] == ("invalid-argument", place)


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_another_format_is_refused(kind: str) -> None:
    """A batch of events, or an event that is not in JSON, is an unsupported media type, as at the proxy."""
    with pytest.raises(Refused, match=r"expected one event as application/cloudevents\+json") as refusal:
        unwrap({}, Call(("f",), content_type=kind), memoryview(b"[]"))
    with pytest.raises(UnsupportedMediaType) as error:
        proxy.unwrap({}, ProxyCall(("f",), content_type=kind), bytearray(b"[]"))
    assert (refusal.value.code, str(refusal.value)) == (error.value.code, error.value.message)


@pytest.mark.parametrize(("value", "stands_for"), HEADERS.items())
def test_headers_are_unquoted_and_decoded_once(value: str, stands_for: str) -> None:
    """Quotes go first, then each percent sequence becomes a byte, once; required attributes may be quoted too."""
    headers = {f"ce-{name}": f'"{text}"' for name, text in ATTRIBUTES.items()} | {"ce-chainid": value}
    assert ours(headers, b"", None, "")[1] == theirs(headers, b"", None, "")[1] == stands_for


@pytest.mark.parametrize("value", WRONG_HEADERS)
def test_a_header_that_stands_for_no_name_is_refused(value: str) -> None:
    """What is left after one decoding has to be a name."""
    headers = {f"ce-{name}": text for name, text in ATTRIBUTES.items()} | {"ce-chainid": value}
    said = ours(headers, b"", None, "")
    assert said == theirs(headers, b"", None, "")
    assert said[1] in ("chainid", "ce-chainid")


@given(text=st.text(max_size=20).filter(lambda text: text.isprintable()))
def test_headers_of_answers_are_encoded(text: str) -> None:
    """Whatever a node is called, its events have headers of visible ASCII, which stand for the same text."""
    source = reply_headers("f", text, "c", "t", 0, None, "")["ce-source"]
    assert all("!" <= sign <= "~" and sign != '"' for sign in source)
    assert unquote(source) == f"/skylark/{text}"


def test_members_that_are_null_are_not_there() -> None:
    """A member of null is as one that is missing (JSON format 1.0.2, section 2.2)."""
    event = ATTRIBUTES | {"data": None, "data_base64": "aGk=", "datacontenttype": None, "chainid": None}
    assert ours({}, json.dumps(event).encode(), None, STRUCTURED)[3:] == ("application/json", b"hi")


def test_a_text_that_is_not_unicode_is_refused() -> None:
    """JSON can name half a surrogate pair, which no text has."""
    body = json.dumps(ATTRIBUTES | {"datacontenttype": "text/plain", "data": "\ud800"}).encode()
    assert ours({}, body, None, STRUCTURED)[1] == "data"


def test_a_request_that_is_no_event_is_left_as_it_is() -> None:
    """Without the headers and the media type of an event nothing is looked for."""
    call, body = Call(("f",), content_type="application/json"), memoryview(b'{"specversion": "1.0"}')
    assert unwrap({"content-type": "application/json"}, call, body) == (call, body)


def ours(headers: Mapping[str, str], body: bytes, key: str | None, content_type: str) -> tuple[Any, ...]:
    try:
        call, data = unwrap(headers, Call(("f",), state_key=key, content_type=content_type), memoryview(body))
    except Refused as refusal:
        return refusal.code, refusal.details["field"], *_sentence(str(refusal))
    return call.state_key, call.chain_id, call.destination, call.content_type, _content(bytes(data))


def theirs(headers: Mapping[str, str], body: bytes, key: str | None, content_type: str) -> tuple[Any, ...]:
    call = ProxyCall(("f",), state_key=StateKey.parse(key) if key else None, content_type=content_type)
    try:
        read = proxy.unwrap(headers, call, bytearray(body))
    except SkylarkError as error:
        return error.code, vars(error)["field"], *_sentence(error.message)
    assert not isinstance(read.body, Path)
    state_key = str(read.state_key) if read.state_key else None
    return state_key, read.chain_id, read.destination, read.content_type, _content(bytes(read.body))


def _sentence(message: str) -> list[str]:
    """The sentence of a refusal, but for what the JSON parser has to say."""
    return [message] if "CloudEvent in JSON" not in message else []


def _content(body: bytes) -> object:
    """JSON as what it says: two libraries may write a number in two ways."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body
