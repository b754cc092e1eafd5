"""`/functions` and `/tasks`: invoking functions, and what invocations did."""

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skylark.cloudevents import is_event, reply_headers
from skylark.wire import Buffer
from skylark_proxy import bundle_http
from skylark_proxy.api import cloudevents, parameters
from skylark_proxy.api.answers import CHAIN, TASK, json_answer, whole_answer
from skylark_proxy.api.reports import report_json, server_timing
from skylark_proxy.budget import hold_here
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.invocation import Call, Invoker, Report
from skylark_proxy.model import StateKey, check_name
from skylark_proxy.name_lists import check_names
from skylark_proxy.runtime import Outcome

_MAX_FUNCTIONS = 64
"""How many functions one call may run, one after the other."""


@dataclass(frozen=True)
class FunctionsApi:
    """The functions of a node."""

    invoker: Invoker
    max_body_bytes: int

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/functions/{functions}", self.invoke, methods=["POST"]),
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

    async def invoke(self, request: Request) -> Response:
        """Runs a function, or several of one component, joined by `+`."""
        functions = check_names("functions", request.path_params["functions"].split("+"), _MAX_FUNCTIONS)
        self.invoker.functions.component(functions)
        call = _call(request, functions)
        body = await parameters.body(request, self.max_body_bytes)
        outcome, report = await self.invoker.invoke(cloudevents.unwrap(request.headers, call, body))
        if outcome.response is not None:
            hold_here(len(outcome.response.body))
        return _answer(outcome, report, is_event(request.headers))

    async def task(self, request: Request) -> Response:
        """What one of the last invocations did."""
        task_id = check_name("task_id", request.path_params["task_id"])
        return json_answer(report_json(self.invoker.report(task_id)))


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
        content_type=request.headers.get("content-type", ""),
    )


def _answer(outcome: Outcome, report: Report, to_event: bool) -> Response:
    """The function's own answer, where it made one; else the report. `to_event`: to a caller that sent an event."""
    headers = {TASK: report.task_id, CHAIN: report.chain_id, "Server-Timing": server_timing(report)}
    if report.key is not None:
        headers[bundle_http.KEY] = str(report.key)
    own = outcome.response
    if to_event:
        key, content_type = headers.get(bundle_http.KEY), own.content_type if own is not None else ""
        ran = (report.functions[-1], report.node, report.chain_id, report.task_id, report.started_ms)
        headers |= reply_headers(*ran, key, content_type)
    if own is None:
        return json_answer(report_json(report), 200, headers)
    content: Buffer = own.body if own.status not in (204, 304) else b""
    if own.content_type:
        headers["Content-Type"] = own.content_type
    return whole_answer([content], own.status, headers)
