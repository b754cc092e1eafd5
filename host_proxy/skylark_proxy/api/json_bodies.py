"""Bodies in JSON, parsed into typed objects, with errors that name the field."""

import json
import re
from typing import TypeVar

import msgspec
from starlette.requests import Request

from skylark_proxy.api import parameters
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.json_paths import value_at

T = TypeVar("T")

LIMIT_BYTES = 64 << 10

_MESSAGE = re.compile(r"^(?:Expected )?(?P<expected>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`")

_WORDS = {
    "`float": "`a number",
    "`int": "`a whole number",
    "`str": "`text",
    "`array": "`an array",
    "`object": "`an object",
    "Number out of range": "a number of at most 1.8e308",
}
"""How msgspec's messages name types, and what they are called in ours."""


async def json_body(request: Request, kind: type[T], limit_bytes: int = LIMIT_BYTES) -> T:
    """The body as an object of a type that msgspec knows.

    Raises:
        InvalidArgument: It is no JSON, or does not fit; the error names the field, or `body`.
        TooLarge: It exceeds the limit, 64 KiB if none is given.
    """
    data = bytes(await parameters.body(request, limit_bytes))
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _explain(data, str(error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidArgument("body", data[:40].decode(errors="replace"), f"JSON ({error})") from error


def _explain(data: bytes, text: str) -> InvalidArgument:
    message = _MESSAGE.match(text)
    assert message is not None
    path = message["path"] or ""
    field = _FIELD.match(message["expected"])
    if field is not None:
        place = f"{path}.{field['name']}".lstrip(".")
        expected = "no such field" if field["what"] == "contains unknown" else "a value; the field is missing"
        return InvalidArgument(place, _value_at(data, place), expected)
    return InvalidArgument(path or "body", _value_at(data, path), _in_words(message["expected"].partition(", got")[0]))


def _in_words(expected: str) -> str:
    for name, words in _WORDS.items():
        expected = expected.replace(name, words)
    return expected.replace("`", "").replace(" | ", " or ")


def _value_at(data: bytes, path: str) -> object:
    try:
        return value_at(json.loads(data), path)
    except (ValueError, RecursionError):  # what msgspec refuses for its type may be no JSON at all further on
        return None
