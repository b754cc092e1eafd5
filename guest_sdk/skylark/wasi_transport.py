"""Requests to the node's proxy by `wasi:http/outgoing-handler`. Imported only in a component of `wasi:http/proxy`."""

import contextlib
from collections.abc import Mapping, Sequence

from componentize_py_types import Err, Ok
from wit_http.imports import outgoing_handler, types
from wit_http.imports.types import IncomingResponse, OutgoingRequest

from skylark import errors
from skylark.http_transport import Reply
from skylark.wasi_streams import StreamFailed, read_body, write_body
from skylark.wire import Buffer

_METHODS: dict[str, types.Method] = {
    "GET": types.Method_Get(),
    "HEAD": types.Method_Head(),
    "PUT": types.Method_Put(),
    "DELETE": types.Method_Delete(),
}
_TIMEOUTS = (
    types.ErrorCode_ConnectionTimeout,
    types.ErrorCode_ConnectionReadTimeout,
    types.ErrorCode_ConnectionWriteTimeout,
    types.ErrorCode_HttpResponseTimeout,
)


class WasiTransport:
    """Sends requests as the runtime lets it: connections are the runtime's to keep. Nothing is retried.

    Args:
        url: The server, `http://host:port`.
        timeout_s: How long it may send nothing, where the runtime can tell.
    """

    def __init__(self, url: str, host: str, port: int, timeout_s: float) -> None:
        self._url = url
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._timeout_s = timeout_s

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]) -> Reply:
        """See `Transport.exchange`."""
        try:
            return self._received(self._sent(self._request(method, path, headers), body), method != "HEAD")
        except Err as error:
            raise self._error(error.value) from None
        except StreamFailed as error:
            raise errors.Unavailable(f"the proxy at {self._url} closed the connection: {error}") from None

    def close(self) -> None:
        """See `Transport.close`; nothing is kept open here."""

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> OutgoingRequest:
        fields = types.Fields.from_list([(name.lower(), value.encode()) for name, value in headers.items()])
        request = OutgoingRequest(fields)
        request.set_method(_METHODS[method])
        request.set_scheme(types.Scheme_Http())
        request.set_authority(self._authority)
        request.set_path_with_query(path)
        return request

    def _sent(self, request: OutgoingRequest, body: Sequence[Buffer]) -> IncomingResponse:
        """Sends a request; a server that answers before it has the whole body has its reasons."""
        outgoing = request.body()
        with outgoing_handler.handle(request, self._options()) as future:
            with contextlib.suppress(StreamFailed):
                write_body(outgoing, body)
            with future.subscribe() as answered:
                answered.block()
            match future.get():
                case Ok(Ok(response)):
                    return response
                case Ok(Err(code)):
                    raise self._error(code)
                case _:
                    raise errors.Internal("the runtime gave an answer that was not ready, or gave it twice")

    def _received(self, response: IncomingResponse, has_body: bool) -> Reply:
        with response, response.headers() as fields:
            headers = {name.lower(): value.decode("latin-1") for name, value in fields.entries()}
            length = headers.get("content-length", "") if has_body else "0"
            body = read_body(response.consume(), int(length) if length.isdecimal() else None)
            return Reply(response.status(), headers, body)

    def _options(self) -> types.RequestOptions:
        options = types.RequestOptions()
        for limit in (
            options.set_connect_timeout,  # not less than the others: jco takes it for the time until the answer begins
            options.set_first_byte_timeout,
            options.set_between_bytes_timeout,
        ):
            with contextlib.suppress(Err):  # a runtime need not know all of them
                limit(int(self._timeout_s * 1e9))
        return options

    def _error(self, code: object) -> errors.SkylarkError:
        if isinstance(code, _TIMEOUTS):
            return errors.TimedOut(f"the proxy at {self._url} does not answer in time")
        reason = getattr(code, "value", None) or type(code).__name__.removeprefix("ErrorCode_")
        return errors.Unavailable(f"the proxy at {self._url} cannot be reached: {reason}")
