"""Runs functions for callers: state calls of the guest go to the propagation, and a report says what happened."""

import contextlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skylark.wire import Buffer
from skylark_proxy.errors import FunctionFailed, FunctionTimeout, NotFound, SkylarkError
from skylark_proxy.model import Policy, StateKey, check_name
from skylark_proxy.propagation import FetchedBundle, PlacedBundle, Propagation, Write
from skylark_proxy.runtime import Fetched, Functions, Invocation, Outcome, Placement, Stored, Workers

_LOG = logging.getLogger(__name__)
_REPORTS_KEPT = 1024
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller asks for.

    Attributes:
        functions: One function, or several of the same component that share a sandbox and a bundle.
        state_key: The predecessor's bundle; None for the first function of a chain.
        chain_id: The chain; None: the key's, or a new one.
        destination: The node that the next function will run on; None: the node's default.
        policy: The policy of elections; None: the node's default.
        ttl_ms: The time to live of what is stored; None: the node's default.
        body: The request's body, or a file with it that may be taken.
    """

    functions: tuple[str, ...]
    state_key: StateKey | None = None
    chain_id: str | None = None
    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    body: Buffer | Path = b""
    content_type: str = ""


@dataclass
class Report:
    """What an invocation did: the columns of every table of this project, and the reasons for each placement.

    Attributes:
        duration_ms: T(f), from the call to the answer.
        fetches: With T(dr) and hops each.
        placements: With T(dm) and the election each.
        error: The error, if it failed.
    """

    functions: tuple[str, ...]
    node: str
    chain_id: str
    task_id: str
    started_ms: int
    duration_ms: float = 0.0
    fetches: list[FetchedBundle] = field(default_factory=list)
    placements: list[PlacedBundle] = field(default_factory=list)
    error: SkylarkError | None = None
    sandbox_ms: float = 0.0

    @property
    def key(self) -> StateKey | None:
        """The bundle that this task left; None if it left none."""
        keys = (placed.key for placed in reversed(self.placements) if placed.key.task_id == self.task_id)
        return next(keys, None)

    @property
    def retrieval_ms(self) -> float:
        """T(dr), of all fetches."""
        return sum(fetch.duration_ms for fetch in self.fetches)

    @property
    def migration_ms(self) -> float:
        """T(dm), of all placements."""
        return sum(placement.duration_ms for placement in self.placements)

    @property
    def execution_ms(self) -> float:
        """T(ex): the time in the sandbox without that for state."""
        return max(0.0, self.sandbox_ms - self.retrieval_ms - self.migration_ms)


class ChainState:
    """The state calls of one invocation; the `State` of the runtime.

    `failed` is the last call's error: where it ends the function, the caller is told of it and not of the function.
    """

    def __init__(self, propagation: Propagation, call: Call, report: Report) -> None:
        self._propagation = propagation
        self._call = call
        self._report = report
        self.failed: SkylarkError | None = None

    def fetch(self, key: str, fields: Sequence[str]) -> Fetched:
        """See `bundles.fetch` of the WIT."""
        with self._noting():
            return self._fetch(key, fields)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        """See `bundles.store` of the WIT."""
        with self._noting():
            return self._store(fields, placement)

    def delete(self, key: str) -> bool:
        """See `bundles.delete` of the WIT."""
        with self._noting():
            return self._propagation.delete(StateKey.parse(key))

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except SkylarkError as error:
            self.failed = error
            raise

    def _fetch(self, key: str, fields: Sequence[str]) -> Fetched:
        fetched = self._propagation.fetch(StateKey.parse(key), [check_name("fields", name) for name in fields])
        self._report.fetches.append(fetched)
        info = fetched.info
        return Fetched(str(info.key), info.version, info.origin, fetched.hops, fetched.fields)

    def _store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        own = StateKey(self._report.chain_id, self._report.task_id)
        placed = self._propagation.place(
            Write(
                key=StateKey.parse(placement.key) if placement.key is not None else own,
                fields={check_name("field", name): value for name, value in fields.items()},
                destination=placement.destination or self._call.destination,
                policy=placement.policy or self._call.policy,
                ttl_ms=placement.ttl_ms if placement.ttl_ms is not None else self._call.ttl_ms,
                expected_version=placement.expected_version,
            )
        )
        self._report.placements.append(placed)
        return Stored(str(placed.key), placed.version)


class Invoker:
    """Invokes the functions of one node and remembers what the last 1,024 invocations did."""

    def __init__(self, functions: Functions, propagation: Propagation, workers: Workers) -> None:
        self.functions = functions
        self._propagation = propagation
        self._workers = workers
        self._reports: OrderedDict[str, Report] = OrderedDict()

    async def invoke(self, call: Call) -> tuple[Outcome, Report]:
        """Runs a call in a worker thread.

        Raises:
            NotFound: There is no such function here, or its predecessor's bundle is nowhere.
            FunctionFailed, FunctionTimeout: See `runtime.Functions.invoke`.
            Overloaded: Too many calls wait already.
            UnknownNode: The destination is not in the topology.
        """
        loaded = self.functions.component(call.functions)
        if call.destination is not None:
            self._propagation.topology().node(call.destination)
        report = self._begin(call)
        started = time.perf_counter()
        deadline_ms = loaded.manifest.limits.deadline_ms
        try:
            outcome = await self._workers.run(
                lambda: self._run(call, report),
                deadline_ms / 1000 + _GRACE_S,
                lambda: FunctionTimeout("+".join(call.functions), "deadline", f"it is blocked since {deadline_ms} ms"),
            )
        except SkylarkError as error:
            report.error = error
            raise
        finally:
            report.duration_ms = (time.perf_counter() - started) * 1000
        return outcome, report

    def report(self, task_id: str) -> Report:
        """What an invocation did.

        Raises:
            NotFound: It was not here, or too long ago.
        """
        try:
            return self._reports[task_id]
        except KeyError:
            raise NotFound("task", task_id) from None

    def _begin(self, call: Call) -> Report:
        report = Report(
            functions=call.functions,
            node=self._propagation.node,
            chain_id=call.chain_id or (call.state_key.chain_id if call.state_key else new_id()),
            task_id=new_id(),
            started_ms=time.time_ns() // 1_000_000,
        )
        self._reports[report.task_id] = report
        if len(self._reports) > _REPORTS_KEPT:
            self._reports.popitem(last=False)
        return report

    def _run(self, call: Call, report: Report) -> Outcome:
        invocation = Invocation(
            functions=call.functions,
            chain_id=report.chain_id,
            task_id=report.task_id,
            node=report.node,
            state_key=str(call.state_key) if call.state_key else None,
            body=call.body,
            content_type=call.content_type,
        )
        state = ChainState(self._propagation, call, report)
        started = time.perf_counter()
        try:
            return self.functions.invoke(invocation, state)
        except FunctionFailed as failure:
            if state.failed is not None and state.failed.message == failure.detail:
                raise state.failed from failure
            raise
        finally:
            report.sandbox_ms = (time.perf_counter() - started) * 1000


def new_id() -> str:
    """A name for a chain or a task: 128 random bits in hexadecimal."""
    return os.urandom(16).hex()
