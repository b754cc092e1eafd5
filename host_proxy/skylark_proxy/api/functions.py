"""`/functions` and `/tasks`: invoking functions, and what invocations did."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from skylark.cloudevents import is_event, reply_headers
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.api import cloudevents, parameters
from skylark_proxy.api.answers import CHAIN, TASK, disconnected, error_answer, json_answer, whole_answer
from skylark_proxy.api.headers import headers_of
from skylark_proxy.api.reports import report_json, server_timing, timings_ms
from skylark_proxy.api.strict import Operation
from skylark_proxy.budget import hold_here
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.invocation import Call, Invoker, Report
from skylark_proxy.model import StateKey, check_name
from skylark_proxy.name_lists import check_names
from skylark_proxy.runtime import Outcome

CALLS = "/functions/{functions}"
"""The path of calls."""

_BEFORE_NAMES = "/functions/"
_MAX_FUNCTIONS = 64
"""How many functions one call may run, one after the other."""


@dataclass(frozen=True)
class FunctionsApi:
    """What there is, and what it did."""

    invoker: Invoker

    def routes(self) -> list[Route]:
        """The routes, without that of calls."""
        return [
            Route("/functions", self.list, methods=["GET"]),
            Route("/tasks/{task_id}", self.task, methods=["GET"]),
        ]

    async def list(self, _request: Request) -> Response:
        """The functions that this node can run."""
        functions = [
            {
                "name": name,
                "component": loaded.path.name,
                "reuse": loaded.manifest.reuse,
                "limits": msgspec.to_builtins(loaded.manifest.limits),
            }
            for name, loaded in sorted(self.invoker.functions.all().items())
        ]
        return json_answer({"functions": functions})

    async def task(self, request: Request) -> Response:
        """What one of the last invocations did."""
        task_id = check_name("task_id", request.path_params["task_id"])
        return json_answer(report_json(self.invoker.report(task_id)))


@dataclass(frozen=True)
class Calls:
    """Runs a function, or several of one component, joined by `+`.

    This is an ASGI application of its own, since what Starlette does for a request takes longer than a sandbox.

    Args:
        operation: What the query and the headers of a call may have.
    """

    invoker: Invoker
    max_body_bytes: int
    operation: Operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        try:
            answer = await self._answer(scope, receive)
        except SkylarkError as error:
            answer = error_answer(error)
        except ClientDisconnect:
            answer = disconnected()
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers, path, query = headers_of(scope), scope["path"], scope["query_string"]
        self.operation.check(scope["method"], path, query, headers)
        functions = check_names("functions", path[len(_BEFORE_NAMES) :].split("+"), _MAX_FUNCTIONS)
        loaded = self.invoker.functions.component(functions)
        call = _call(Request(scope), functions) if query else Call(functions, content_type=_content_type(headers))
        body = await parameters.read_body(headers, receive, self.max_body_bytes)
        event = is_event(headers)
        call = cloudevents.unwrap(headers, call, body) if event else msgspec.structs.replace(call, body=body)
        outcome, report = await self.invoker.invoke(call, loaded)
        return _answer(outcome, report, event)


class CallsFirst:
    """Middleware that hands calls to `calls`, past Starlette's router, and all other requests on."""

    def __init__(self, app: ASGIApp, calls: Calls) -> None:
        self._app = app
        self._calls = calls

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on."""
        return (self._calls if _is_call(scope) else self._app)(scope, receive, send)


def _is_call(scope: Scope) -> bool:
    """True if a request is for the path of calls, with their method."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path = scope["path"]
    return path.startswith(_BEFORE_NAMES) and path != _BEFORE_NAMES and "/" not in path[len(_BEFORE_NAMES) :]


def _call(request: Request, functions: tuple[str, ...]) -> Call:
    key = parameters.text(request, "key")
    state_key = StateKey.parse(key) if key is not None else None
    chain_id = parameters.name(request, "chain")
    if state_key is not None and chain_id not in (None, state_key.chain_id):
        raise InvalidArgument("chain", chain_id, f"the chain of the key, {state_key.chain_id}")
    return Call(
        functions=functions,
        state_key=state_key,
        chain_id=chain_id,
        destination=parameters.name(request, "destination"),
        policy=parameters.policy(request),
        ttl_ms=parameters.ttl_ms(request),
        ack=parameters.ack(request),
        plan=parameters.plan(request),
        fuse=parameters.truth(request, "fuse") is not False,
        content_type=_content_type(headers_of(request.scope)),
    )


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "")


def _answer(outcome: Outcome, report: Report, to_event: bool) -> Response:
    """The function's own answer, where it made one; else the report. `to_event`: to a caller that sent an event."""
    timings = timings_ms(report)
    headers = {TASK: report.task_id, CHAIN: report.chain_id, "Server-Timing": server_timing(timings)}
    if report.key is not None:
        headers[bundle_http.KEY] = str(report.key)
    own = outcome.response
    if to_event:
        key, content_type = headers.get(bundle_http.KEY), own.content_type if own is not None else ""
        ran = (report.functions[-1], report.node, report.chain_id, report.task_id, report.started_ms)
        headers |= reply_headers(*ran, key, content_type)
    if own is None:
        headers["Content-Type"] = "application/json"
        return whole_answer([msgspec.json.encode(report_json(report, timings))], 200, headers)
    hold_here(len(own.body))
    content: Buffer = own.body if own.status not in (204, 304) else b""
    if own.content_type:
        headers["Content-Type"] = own.content_type
    return whole_answer([content], own.status, headers)
