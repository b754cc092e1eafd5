"""Drives a workflow over nodes: function after function, each where the plan says, or where it still can."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skylark.plan import Plan, Step
from skylark_proxy.client import Answer, ProxyClient, ProxyError
from skylark_proxy.errors import SkylarkError

_MAX_ATTEMPTS = 20
_LOST = ("not-found", "unavailable", "timed-out", "no-route", "unknown-node")


class WorkflowFailed(SkylarkError):
    """No node was left that could run a function."""

    code = "workflow-failed"


@dataclass(frozen=True, slots=True)
class Routing:
    """What a workflow tells the nodes of where its chain goes on.

    Attributes:
        planned: Whether the plan travels with the chain. If not, `destination` is all that elections know.
        destination: The destination of elections that no plan names; None: the node's default.
        fuse: Whether functions that follow each other on one node share a sandbox.
        policies: The policy of single functions, by their names, instead of the workflow's.
    """

    planned: bool = True
    destination: str | None = None
    fuse: bool = True
    policies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRun:
    """How a step went: where it ran, what the proxy reports of it, what the function answered."""

    step: Step
    node: str
    report: Mapping[str, Any]
    answer: Answer


@dataclass(slots=True)
class WorkflowRun:
    """How a workflow went.

    Attributes:
        input_key: The bundle that the first function gets; None: it gets a body only.
        steps: The run of each step that counts, in order.
        events: What was done instead where a node was away, in sentences.
        duration_ms: T(W).
    """

    input_key: str | None = None
    steps: list[StepRun] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    duration_ms: float = 0.0

    @property
    def chain_id(self) -> str | None:
        """The chain, once a step has run."""
        return self.steps[0].report["chain_id"] if self.steps else None

    @property
    def done(self) -> int:
        """How many functions have run: a step may have run those after it in the same sandbox."""
        return sum(len(step.report["functions"]) for step in self.steps)

    @property
    def key(self) -> str | None:
        """The key of the last step's bundle, before the first step that of the input."""
        return self.steps[-1].report["key"] if self.steps else self.input_key


class Workflow:
    """A plan of steps over nodes. One whose node is away runs elsewhere; one whose bundle was lost with its node runs
    again.

    Args:
        urls: The proxies by node name.
        steps: The plan.
        on_step: Is told of each step before it runs: the step and the node.
        routing: What the nodes are told of where the chain goes on.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        steps: Sequence[Step],
        on_step: Callable[[Step, str], None] = lambda _step, _node: None,
        timeout_s: float = 60.0,
        routing: Routing | None = None,
    ) -> None:
        self._clients = {name: ProxyClient(url, timeout_s) for name, url in urls.items()}
        self._steps = steps
        self._on_step = on_step
        self._routing = routing or Routing()
        self._away: set[str] = set()

    def run(
        self, body: bytes, content_type: str, policy: str | None = None, input_key: str | None = None
    ) -> WorkflowRun:
        """Runs the steps; the body, and the bundle `input_key`, go to the first one.

        Raises:
            WorkflowFailed: No node was left for a step.
            ProxyError: A function failed.
        """
        run = WorkflowRun(input_key)
        started = time.perf_counter()
        for _ in range(_MAX_ATTEMPTS):
            if run.done == len(self._steps):
                run.duration_ms = (time.perf_counter() - started) * 1000
                return run
            self._advance(run, body, content_type, policy)
        raise WorkflowFailed(f"the workflow did not end after {_MAX_ATTEMPTS} attempts: {'; '.join(run.events)}")

    def _advance(self, run: WorkflowRun, body: bytes, content_type: str, policy: str | None) -> None:
        """Runs the next step, or takes a step back where its predecessor's bundle is lost."""
        number = run.done
        step = self._steps[number]
        node = self._choose(step)
        self._on_step(step, node)
        try:
            run.steps.append(self._invoke(number, node, run, body if number == 0 else b"", content_type, policy))
        except ProxyError as error:
            if error.status is None:
                self._away.add(node)
                run.events.append(f"{node} is away ({step.function} was to run there)")
            elif number and error.details.get("code") in _LOST:
                lost = run.steps.pop()
                run.events.append(f"the bundle {lost.report['key']} is lost; {lost.step.function} runs again")
            else:
                raise
            return
        if step.node not in (None, node):
            run.events.append(f"{step.function} ran at {node} instead of {step.node}")

    def _choose(self, step: Step) -> str:
        """The step's own node, else the nearest one in the plan, else any."""
        position = self._steps.index(step)
        nearest = sorted(self._steps, key=lambda other: abs(self._steps.index(other) - position))
        for name in dict.fromkeys((*(other.node for other in nearest), *self._clients)):
            if name is not None and name not in self._away:
                return name
        raise WorkflowFailed(f"no node is left to run {step.function}")

    def _invoke(
        self, number: int, node: str, run: WorkflowRun, body: bytes, content_type: str, policy: str | None
    ) -> StepRun:
        client, step = self._clients[node], self._steps[number]
        plan = Plan(tuple(Step(other.function, self._choose(other)) for other in self._steps))
        answer = client.invoke(
            step.function,
            body,
            key=run.key,
            plan=str(plan) if self._routing.planned else None,
            destination=self._routing.destination,
            fuse=self._routing.fuse,
            policy=self._routing.policies.get(step.function, policy),
            content_type=content_type if body else "application/octet-stream",
        )
        return StepRun(step, node, client.task(answer.headers["skylark-task"]), answer)
