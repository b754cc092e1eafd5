"""Runs the calls of a server of functions: the one piece that is the same whatever brings requests and answers."""

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from skylark import cloudevents, errors
from skylark.context import Request
from skylark.execution import Execution
from skylark.functions import FunctionError, Invocation, Outcome, run
from skylark.http_answers import Answer, failed, json_answer, responded
from skylark.http_backend import HttpBackend, Refusal, Terms
from skylark.http_routes import Call, Head, Page
from skylark.state import Backend

Run = Callable[[Invocation, Backend], Outcome]
"""Runs an invocation; see `functions.run`."""

Failed = Callable[[FunctionError, Refusal | None, Mapping[str, str]], Answer]
"""What to answer for an invocation that failed; see `http_answers.failed`."""


class Service:
    """Runs functions with their state at one proxy, one call at a time.

    Args:
        node: The name of the node; None: the proxy is asked for it, once it is needed.
        execute: How an invocation is run.
        fail: What to answer for an invocation that failed.
        code: How the code of this server is run; its health pages say so. None: they say nothing.
    """

    def __init__(
        self,
        backend: HttpBackend,
        node: str | None = None,
        execute: Run = run,
        fail: Failed = failed,
        code: Execution | None = None,
    ) -> None:
        self._backend = backend
        self._node = node
        self._execute = execute
        self._fail = fail
        self._about: dict[str, str] = {} if code is None else {"code": code.value}

    def invoke(self, head: Head, call: Call, body: memoryview, known: Collection[str]) -> Answer:
        """Runs the functions of a call.

        Args:
            body: The request's body, read-only.
            known: The functions of the component, of which those join in that the call's plan says.

        Raises:
            Refused: The request says that it is a CloudEvent, and is none.
        """
        call, body = cloudevents.unwrap(head.headers, call, body)
        invocation = Invocation(
            functions=self._fused(call, known),
            chain_id=call.chain_id or (call.state_key.split(":")[0] if call.state_key else new_id()),
            task_id=new_id(),
            node=self.node,
            request=Request(body, call.content_type),
            state_key=call.state_key,
        )
        self._backend.begin(invocation.chain_id, invocation.task_id, _terms(call, invocation.functions))
        started_ms, started = time.time_ns() // 1_000_000, time.perf_counter()
        headers = {"Skylark-Task": invocation.task_id, "Skylark-Chain": invocation.chain_id}
        try:
            outcome = self._execute(invocation, self._backend)
        except FunctionError as error:
            print(error.traceback, file=sys.stderr)
            return self._fail(error, self._backend.refusal, headers)
        report = self._report(invocation, started_ms, 1000 * (time.perf_counter() - started))
        return self._succeed(outcome, report, headers, cloudevents.is_event(head.headers))

    def page(self, page: Page, known: Collection[str]) -> Answer:
        """What a request that runs no function is answered with."""
        if page is Page.FUNCTIONS:
            return json_answer({"functions": [{"name": name} for name in known]})
        if page is Page.LIVENESS:
            return json_answer({"node": self._node, "status": "alive"} | self._about)
        try:
            return json_answer({"node": self._backend.node(), "status": "ready"} | self._about)
        except errors.SkylarkError as error:
            return json_answer({"node": None, "status": "not-ready", "reason": str(error)} | self._about, 503)

    def node(self) -> str:
        """The name of the node.

        Raises:
            Unavailable: The proxy has to be asked, and cannot be reached.
        """
        if self._node is None:
            self._node = self._backend.node()
        return self._node

    def _fused(self, call: Call, known: Collection[str]) -> tuple[str, ...]:
        """The functions of a call with those that the plan has follow them here, in the same component."""
        functions = list(call.functions)
        if call.plan is not None and call.fuse:
            for step in call.plan.after(functions[-1]):
                if step.function not in known or step.node != self.node():
                    break
                functions.append(step.function)
        return tuple(functions)

    def _succeed(self, outcome: Outcome, report: dict[str, Any], headers: dict[str, str], to_event: bool) -> Answer:
        timings = ", ".join(f"{name};dur={value}" for name, value in report["timings_ms"].items())
        headers |= {"Server-Timing": timings}
        if report["key"] is not None:
            headers["Skylark-Key"] = report["key"]
        if to_event:
            content_type = outcome.response.content_type if outcome.response is not None else ""
            ran = (report["functions"][-1], self._known_node() or "unknown", report["chain_id"], report["task_id"])
            headers |= cloudevents.reply_headers(*ran, report["started_ms"], report["key"], content_type)
        if outcome.response is not None:
            return responded(outcome.response, headers)
        return json_answer(report | {"node": self._known_node()}, 200, headers)

    def _report(self, invocation: Invocation, started_ms: int, duration_ms: float) -> dict[str, Any]:
        """What an invocation did, in the form of the proxy's reports."""
        ledger = self._backend.ledger
        keys = [placed["key"] for placed in reversed(ledger.placements)]
        execution_ms = max(0.0, duration_ms - ledger.retrieval_ms - ledger.migration_ms)
        timings = {"f": duration_ms, "ex": execution_ms, "dr": ledger.retrieval_ms, "dm": ledger.migration_ms}
        return {
            "functions": list(invocation.functions),
            "node": None,
            "chain_id": invocation.chain_id,
            "task_id": invocation.task_id,
            "key": next((key for key in keys if key.rpartition(":")[2] == invocation.task_id), None),
            "started_ms": started_ms,
            "timings_ms": {name: round(value, 3) for name, value in timings.items()},
            "fetches": ledger.fetches,
            "placements": ledger.placements,
            "error": None,
        }

    def _known_node(self) -> str | None:
        """The node, where it can be told: what has run is answered even if it cannot."""
        try:
            return self.node()
        except errors.SkylarkError:
            return None


def _terms(call: Call, functions: tuple[str, ...]) -> Terms:
    return Terms(
        destination=call.destination,
        policy=call.policy,
        ttl_ms=call.ttl_ms,
        ack=call.ack,
        plan=call.plan,
        state_key=call.state_key,
        function=functions[-1],
    )


def new_id() -> str:
    """A name for a chain or a task: 128 random bits in hexadecimal."""
    return os.urandom(16).hex()
