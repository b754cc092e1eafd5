"""A component of the standard world `wasi:http/proxy`: a server of functions. Imported only in the sandbox."""

import encodings.idna  # noqa: F401  # a function that tries a socket is to see "not permitted", not a codec's absence
import os
import sys
import traceback
from collections.abc import Mapping

import wit_http.exports
from componentize_py_types import Err, Ok
from wit_http.imports import types
from wit_http.imports.types import IncomingRequest, OutgoingResponse, ResponseOutparam

from skylark.functions import REGISTRY
from skylark.http_answers import BODILESS, Answer, Refused, defect, refused
from skylark.http_application import Application
from skylark.http_routes import MAX_HEADERS, Call, Head, body_size, check_coding, too_many_headers
from skylark.http_settings import Settings
from skylark.wasi_streams import BodyTooLarge, StreamFailed, read_body, write_body
from skylark.wasi_transport import WasiTransport


class IncomingHandler(wit_http.exports.IncomingHandler):
    """The exported interface `wasi:http/incoming-handler`."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        try:
            head, answer = _answered(request)
        except BaseException:  # whatever leaves an exported function aborts the instance
            traceback.print_exc()
            head, answer = None, defect()
        try:
            _respond(response_out, answer, with_body=head is None or head.method != "HEAD")
        except (Err, StreamFailed) as error:
            print(f"the caller did not get its answer: {error!r}", file=sys.stderr)


def _answered(request: IncomingRequest) -> tuple[Head | None, Answer]:
    with request:
        head = None
        try:
            head = _head(request)
            settings = Settings.read(os.environ, REGISTRY)
            application = Application(settings, WasiTransport, REGISTRY)
            asked = application.asked(head)
            body = _body(request, head, settings.max_body_bytes) if isinstance(asked, Call) else memoryview(b"")
        except Refused as refusal:
            return head, refused(refusal)
        return head, application.answer(head, asked, body)


def _head(request: IncomingRequest) -> Head:
    with request.headers() as fields:
        headers = _merged(fields.entries())
    return Head.of(_method(request.method()), request.path_with_query() or "/", headers)


def _merged(entries: list[tuple[str, bytes]]) -> Mapping[str, str]:
    """Headers by name; of those that are given twice, the first counts, as at the proxy.

    Raises:
        Refused: There are too many, or they say that the body is coded.
    """
    if len(entries) > MAX_HEADERS:
        raise too_many_headers(len(entries), MAX_HEADERS)
    fields = [(name.lower(), value.decode("latin-1")) for name, value in entries]
    check_coding(value for name, value in fields if name == "content-encoding")
    return dict(reversed(fields))


def _method(method: types.Method) -> str:
    if isinstance(method, types.Method_Other):
        return method.value
    return type(method).__name__.removeprefix("Method_").upper()


def _body(request: IncomingRequest, head: Head, limit_bytes: int) -> memoryview:
    size = body_size(head, limit_bytes)
    try:
        return memoryview(read_body(request.consume(), size, limit_bytes)).toreadonly()
    except BodyTooLarge as error:
        raise Refused.too_large(error.size_bytes, limit_bytes) from None
    except StreamFailed as error:
        raise Refused.invalid("body", "", f"a whole one ({error})") from None


def _respond(response_out: ResponseOutparam, answer: Answer, with_body: bool) -> None:
    headers = dict(answer.headers)
    if with_body and answer.status not in BODILESS:
        headers["Content-Length"] = str(len(answer.body))
    fields = types.Fields.from_list([(name.lower(), value.encode("latin-1")) for name, value in headers.items()])
    response = OutgoingResponse(fields)
    response.set_status_code(answer.status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    write_body(body, [answer.body] if with_body else [])
