"""Answers: JSON, and the one form of an error."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from skylark.wire import Buffer
from skylark_proxy.bundle_http import DELETED
from skylark_proxy.errors import HTTP_STATUS, NotFound, SkylarkError

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S = 1
_CHUNK_BYTES = 256 << 10

TASK, CHAIN = "Skylark-Task", "Skylark-Chain"
"""The headers that name an invocation, also one that failed."""


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def error_answer(error: SkylarkError, status: int | None = None) -> Response:
    """`{"error": {"code", "message", "retryable", …}}`, with the error's own numbers, and the status of its code."""
    status = status or HTTP_STATUS[error.code]
    details = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | tuple)}
    body = {"error": details | {"code": error.code, "message": error.message, "retryable": error.retryable}}
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else {}
    if isinstance(error, NotFound) and error.deleted_version:
        headers[DELETED] = str(error.deleted_version)
    if error.task_id and error.chain_id:
        headers |= {TASK: error.task_id, CHAIN: error.chain_id}
    return json_answer(body, status, headers)


def whole_answer(parts: Sequence[Buffer], status: int, headers: Mapping[str, str]) -> Response:
    """An answer of these bytes: large ones in pieces, without a copy, which are sent as the receiver takes them."""
    size_bytes = sum(map(len, parts))
    sized = {**headers, "Content-Length": str(size_bytes)}
    if size_bytes <= _CHUNK_BYTES:
        return _Whole(b"".join(parts), status, sized)
    return StreamingResponse(_chunks(parts), status, sized)


class _Whole(Response):
    """An answer whose headers are all given; Starlette's own looks which of them are, and adds the others."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()]
        self.background = None


async def _chunks(parts: Sequence[Buffer]) -> AsyncIterator[memoryview]:
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), _CHUNK_BYTES):
            yield view[start : start + _CHUNK_BYTES]


async def on_skylark_error(_request: Request, error: Exception) -> Response:
    """An error of ours."""
    assert isinstance(error, SkylarkError)
    return error_answer(error)


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Drop the request of a caller that went away before its body had arrived."""
    return disconnected()


def disconnected() -> Response:
    """The answer to a caller that has gone away; nobody reads it."""
    return Response(status_code=408)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request for an unknown path or method."""
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
    path = request.url.path
    allowed = (error.headers or {}).get("Allow")
    message = {
        404: f"no path {path!r}",
        405: f"{path} does not take {request.method}; it takes {allowed}",
    }.get(error.status_code, error.detail)
    body = {"error": {"code": code, "message": message, "retryable": False}}
    return json_answer(body, error.status_code, dict(error.headers or {}))


async def on_defect(request: Request, error: Exception) -> Response:
    """What nobody expected. The log has it; the caller gets no details of it."""
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = {"error": {"code": "internal", "message": "the proxy failed; its log says why", "retryable": False}}
    return json_answer(body, 500)
