"""Events that are wrong, for the tests of every server of functions: all refuse them in the same way."""

import json
from typing import Any

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/camera", "type": "picture.taken"}

WRONG_MEMBERS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"specversion": "0.3"}, 400, "invalid-argument", "specversion"),
    ({"id": 1}, 400, "invalid-argument", "id"),
    ({"type": ""}, 400, "invalid-argument", "type"),
    ({"statekey": "one"}, 400, "invalid-key", "statekey"),
    ({"statekey": 1}, 400, "invalid-argument", "statekey"),
    ({"statekey": "gone:t1"}, 404, "not-found", "gone:t1"),
    ({"chainid": "a:b"}, 400, "invalid-argument", "chainid"),
    ({"datacontenttype": 1}, 400, "invalid-argument", "datacontenttype"),
    ({"data_base64": "not base64!"}, 400, "invalid-argument", "data_base64"),
    ({"data_base64": "AA"}, 400, "invalid-argument", "data_base64"),
    ({"data_base64": 1}, 400, "invalid-argument", "data_base64"),
    ({"data_base64": ["AA=="]}, 400, "invalid-argument", "data_base64"),
    ({"data": 1, "data_base64": "AA=="}, 400, "invalid-argument", "data"),
]
"""Members that make an event wrong; the status, the code and a word of the answer's sentence."""


def with_data(text: str) -> bytes:
    """An event whose data is this JSON text, as it stands."""
    return json.dumps(ATTRIBUTES)[:-1].encode() + b', "data": ' + text.encode() + b"}"


WRONG_NUMBERS = {
    '{"f": 1e400}': "data.f",
    '{"a": [0, {"b": -1e999}]}': "data.a[1].b",
    "NaN": "data",
    "[Infinity]": "data[0]",
    '{"f": -Infinity}': "data.f",
    "1" * 5000: "data",
}
"""Data with a number that JSON does not have, or that Python does not read, and the place of it."""

NO_EVENTS = [b"", b"{", b"[]", b"1", b"NaN", b'{"id": "\xff"}', with_data("[" * 2500 + "]" * 2500)]
"""Bodies that are no events: not JSON, no object, or nested too deep."""

OTHER_FORMATS = [
    "application/cloudevents-batch+json",
    "Application/CloudEvents-Batch+JSON; charset=utf-8",
    "application/cloudevents+avro",
    "application/cloudevents+protobuf",
    "application/cloudevents",
]
"""Content types of events that are not read."""

HEADERS = {
    '"c1"': "c1",
    '"c\\1"': "c1",
    "tenant%2D7": "tenant-7",
    '"tenant%2d7"': "tenant-7",
    "c%31": "c1",
}
"""Values of headers in binary mode, and what they stand for (HTTP binding 1.0.2, section 3.1.3.2)."""

WRONG_HEADERS = ["c%", "c%2", "c%zz", "c%FF", "c%2531", "%22c%22", '"c', "a%3Ab"]
"""Values of a chain's header that stand for no name: decoding happens once, and unquoting before it."""
