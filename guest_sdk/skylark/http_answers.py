"""Answers of a server of functions: JSON, a function's own response, and the one form of an error.

They are those of the proxy's `/functions`, so that a caller need not know which of the two it talks to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skylark.context import Response
from skylark.functions import FunctionError
from skylark.http_backend import Refusal
from skylark.wire import Buffer

BODILESS = (204, 304)
"""Statuses whose responses have no body (RFC 9110, section 6.4.1)."""

_RETRY_AFTER_S = 1
STATUS = {
    "invalid-argument": 400,
    "invalid-key": 400,
    "not-found": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "length-required": 411,
    "too-large": 413,
    "target-too-long": 414,
    "coding-not-supported": 415,
    "unsupported-media-type": 415,
    "expectation-failed": 417,
    "function-failed": 422,
    "headers-too-large": 431,
    "config": 500,
    "internal": 500,
    "not-implemented": 501,
    "overloaded": 503,
    "version-not-supported": 505,
}
"""The HTTP status of each error code of a server."""

OF_ANY_REQUEST = (400, 408, 411, 414, 415, 417, 431, 501, 505)
"""Statuses of requests that are refused before a server looks what they are for."""


@dataclass(frozen=True)
class Answer:
    """What a server sends back. The body's length is its number of bytes; a status without one has none."""

    status: int
    body: Buffer = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is not carried out: `error.code`, the sentence, and further members of the error."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    @classmethod
    def invalid(cls, name: str, value: object, expected: str, code: str = "invalid-argument") -> "Refused":
        """What a caller sent is not what was expected."""
        message = f"{name}: {value!r} is not valid; expected {expected}"
        return cls(code, message, field=name, value=value, expected=expected)

    @classmethod
    def too_large(cls, size_bytes: int, limit_bytes: int) -> "Refused":
        """A request's body exceeds the limit."""
        message = f"body has {size_bytes} bytes, the limit is {limit_bytes}"
        return cls("too-large", message, what="body", size_bytes=size_bytes, limit_bytes=limit_bytes)


def to_json(content: object) -> bytes:
    """JSON as the proxy writes it: UTF-8, without blanks."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    return Answer(status, to_json(content), {"Content-Type": "application/json"} | dict(headers or {}))


def error_answer(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    """`{"error": {"code", "message", "retryable", …}}`; what can be tried again says when."""
    retry = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else {}
    return json_answer({"error": error}, status, retry | dict(headers or {}))


def refused(refusal: Refused) -> Answer:
    """The answer to a request that is not carried out."""
    told = {name: value for name, value in refusal.details.items() if isinstance(value, str | int | float | tuple)}
    error = told | {"code": refusal.code, "message": str(refusal), "retryable": refusal.code == "overloaded"}
    return error_answer(STATUS[refusal.code], error, _ways_out(refusal))


def _ways_out(refusal: Refused) -> Mapping[str, str]:
    """Return the headers that tell what would be accepted."""
    if refusal.code == "method-not-allowed":
        return {"Allow": str(refusal.details["allowed"])}
    if refusal.code == "coding-not-supported":
        return {"Accept-Encoding": "identity"}
    return {}


def defect() -> Answer:
    """What nobody expected. The log has it; the caller gets no details of it."""
    return refused(Refused("internal", "the function's server failed; its log says why"))


def function_failed(error: FunctionError, headers: Mapping[str, str], code: str = "function-failed") -> Answer:
    """The error of a function that raised, with its traceback. `headers` name the invocation."""
    content = _invocation(headers) | {
        "function": error.function,
        "cause": error.kind,
        "detail": error.message,
        "traceback": error.traceback,
        "code": code,
        "message": f"function {error.function!r} failed ({error.kind}): {error.message}",
        "retryable": False,
    }
    return error_answer(STATUS["function-failed"], content, headers)


def failed(error: FunctionError, refusal: Refusal | None, headers: Mapping[str, str]) -> Answer:
    """The error of an invocation: the proxy's own where one ended it that a state call got, else the function's."""
    if refusal is None or error.__cause__ is not refusal.error:
        return function_failed(error, headers)
    return error_answer(refusal.status, dict(refusal.details) | _invocation(headers), headers)


def responded(response: Response, headers: Mapping[str, str]) -> Answer:
    """A function's own answer."""
    body = response.body if response.status not in BODILESS else b""
    content_type = {"Content-Type": response.content_type} if response.content_type else {}
    return Answer(response.status, body, content_type | dict(headers))


def _invocation(headers: Mapping[str, str]) -> dict[str, Any]:
    return {"task_id": headers["Skylark-Task"], "chain_id": headers["Skylark-Chain"]}
