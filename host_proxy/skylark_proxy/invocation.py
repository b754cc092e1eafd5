"""Runs functions for callers: state calls of the guest go to the propagation, and a report says what happened."""

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from skylark.plan import Plan
from skylark.session import MAX_VERSION, Session
from skylark.wire import Buffer
from skylark_proxy.budget import Budget
from skylark_proxy.errors import (
    Conflict,
    Forbidden,
    FunctionFailed,
    FunctionTimeout,
    InvalidArgument,
    NotFound,
    SkylarkError,
)
from skylark_proxy.ids import new_id
from skylark_proxy.model import Ack, BundleInfo, Policy, Read, StateKey, check_name
from skylark_proxy.name_lists import distinct_names
from skylark_proxy.placement import FetchedBundle, PlacedBundle, Write
from skylark_proxy.propagation import Propagation
from skylark_proxy.runtime import (
    Chains,
    Fetched,
    Functions,
    Into,
    Invocation,
    Loaded,
    Outcome,
    Placement,
    Stored,
    Workers,
    error_case,
)

_LOG = logging.getLogger(__name__)
_REPORTS_KEPT = 1024
_STEPS_KEPT = 256
_UNLIMITED_BYTES = 1 << 62
_MESSAGE_CHARACTERS = 4096
_GRACE_S = 2.0


class Call(msgspec.Struct, frozen=True):
    """What a caller asks for.

    Attributes:
        functions: One function, or several of the same component that share a sandbox and a bundle.
        state_key: The predecessor's bundle; None for the first function of a chain.
        chain_id: The chain; None: the key's, or a new one.
        destination: The node that the next function will run on; None: the node's default.
        policy: The policy of elections; None: the node's default.
        ttl_ms: The time to live of what is stored; None: the node's default.
        ack: When stores are acknowledged; None: the node's default.
        plan: The chain's plan; None: that of the predecessor's bundle.
        fuse: Whether the functions that follow in the plan, on this node and in the same component, run too.
        body: The request's body.
    """

    functions: tuple[str, ...]
    state_key: StateKey | None = None
    chain_id: str | None = None
    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    ack: Ack | None = None
    plan: Plan | None = None
    fuse: bool = True
    body: Buffer = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch of an invocation, without what was fetched.

    Attributes:
        info: The bundle's metadata.
        stale: Why it may not be the owner's present one; see `FetchedBundle`.
        hops: How many nodes were asked before one had it.
        size_bytes: The bytes of the fields that were asked for.
        duration_ms: T(dr).
    """

    info: BundleInfo
    stale: str | None
    hops: int
    size_bytes: int
    duration_ms: float

    @classmethod
    def of(cls, fetched: FetchedBundle) -> "Fetch":
        """Note a fetch."""
        size_bytes = sum(map(len, fetched.fields.values()))
        return cls(fetched.info, fetched.stale, fetched.hops, size_bytes, fetched.duration_ms)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an invocation failed: an error without its causes and traceback, which hold what it worked on."""

    code: str
    message: str

    @classmethod
    def of(cls, error: SkylarkError) -> "Failure":
        """Note an error. A guest may write its message, of any length."""
        message = error.message
        return cls(error.code, message if len(message) <= _MESSAGE_CHARACTERS else f"{message[:_MESSAGE_CHARACTERS]}…")


@dataclass
class Report:
    """What an invocation did: the columns of every table of this project, and the reasons for each placement.

    It is kept for long after the answer, and so holds no contents of bundles, and of an invocation that fetches or
    stores without end the first 256 steps of each kind. The times and the key are those of all.

    Attributes:
        duration_ms: T(f), from the call to the answer.
        fetches: With T(dr) and hops each.
        placements: With T(dm) and the election each.
        error: Why it failed, if it did.
        key: The bundle that this task left; None if it left none.
        retrieval_ms: T(dr), of all fetches.
        migration_ms: T(dm), of all placements.
        left_out: How many further fetches and placements there were.
    """

    functions: tuple[str, ...]
    node: str
    chain_id: str
    task_id: str
    started_ms: int
    duration_ms: float = 0.0
    fetches: list[Fetch] = field(default_factory=list)
    placements: list[PlacedBundle] = field(default_factory=list)
    error: Failure | None = None
    sandbox_ms: float = 0.0
    key: StateKey | None = None
    retrieval_ms: float = 0.0
    migration_ms: float = 0.0
    left_out: int = 0

    def note_fetch(self, fetched: FetchedBundle) -> None:
        """Add a fetch."""
        self.retrieval_ms += fetched.duration_ms
        if len(self.fetches) < _STEPS_KEPT:
            self.fetches.append(Fetch.of(fetched))
        else:
            self.left_out += 1

    def note_placement(self, placed: PlacedBundle) -> None:
        """Add a placement."""
        self.migration_ms += placed.duration_ms
        if placed.key.task_id == self.task_id:
            self.key = placed.key
        if len(self.placements) < _STEPS_KEPT:
            self.placements.append(placed)
        else:
            self.left_out += 1

    @property
    def execution_ms(self) -> float:
        """T(ex): the time in the sandbox without that for state."""
        return max(0.0, self.sandbox_ms - self.retrieval_ms - self.migration_ms)


class ChainState:
    """The state calls of one invocation; the `State` of the runtime.

    `failed` is the last call's error: where it ends the function, the caller is told of it and not of the function.

    Args:
        chains: The manifest's: whether the function may name bundles of other chains than its own.
        budget: The bytes that may be held at once, of which each call takes those of its bundle.
    """

    def __init__(
        self, propagation: Propagation, call: Call, report: Report, chains: Chains = "own", budget: Budget | None = None
    ) -> None:
        self._budget = budget or Budget(_UNLIMITED_BYTES)
        self._propagation = propagation
        self._call = call
        self._report = report
        self._chains = chains
        self._plan = call.plan
        self._fetched = call.state_key is None
        self._session = Session(str(call.state_key) if call.state_key is not None else None)
        self.failed: SkylarkError | None = None

    def fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int, into: Into | None = None) -> Fetched:
        """See `bundles.fetch` of the WIT."""
        with self._noting(key):
            return self._fetch(key, fields, read, min_version, into)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        """See `bundles.store` of the WIT."""
        with self._noting(placement.key or ""):
            return self._store(fields, placement)

    def delete(self, key: str) -> bool:
        """See `bundles.delete` of the WIT."""
        with self._noting(key):
            owned, removed = self._propagation.remove(self._allowed(key))
            self._session.note(str(owned), removed.version)
            return removed.existed

    @contextlib.contextmanager
    def _noting(self, key: str) -> Iterator[None]:
        """Note the error of a call, and the version that it told of."""
        try:
            yield
        except SkylarkError as error:
            self.failed = error
            if isinstance(error, NotFound | Conflict):
                self._session.note(key, error.deleted_version if isinstance(error, NotFound) else error.actual)
            raise

    def _fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int, into: Into | None) -> Fetched:
        wanted, names = self._allowed(key), distinct_names("fields", fields)
        if min_version > MAX_VERSION:
            raise InvalidArgument("min_version", min_version, f"a version, at most {MAX_VERSION}, or 0")
        if wanted != self._call.state_key:
            self._look_at_predecessor()
        floor = max(min_version, self._session.version(key))
        with self._budget.share_here():
            fetched = self._propagation.fetch(wanted, names, read, floor, into=into)
        self._report.note_fetch(fetched)
        info = fetched.info
        self._see(info)
        if self._call.state_key == wanted:
            self._plan, self._fetched = self._plan or info.meta.plan, True
        about = (str(info.public_key), info.version, info.meta.origin, fetched.hops)
        return Fetched(*about, fetched.fields, info.age_ms, fetched.stale)

    def _see(self, info: BundleInfo) -> None:
        """Remember the versions of a bundle that was read, and of those that its chain had seen."""
        for key, version in info.meta.seen.items():
            self._session.note(str(key), version)
        self._session.note_read(str(info.key), info.version)

    def _look_at_predecessor(self) -> None:
        """Take from the predecessor what travels with a chain, where its bundle was not fetched. It is asked once."""
        key = self._call.state_key
        if key is None or self._fetched:
            return
        self._fetched = True
        info = _head_or_none(key, lambda key: self._propagation.head(key)[0])
        if info is not None:
            self._see(info)
            self._plan = self._plan or info.meta.plan

    def _store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        own = StateKey(self._report.chain_id, self._report.task_id)
        self._look_at_predecessor()
        destination, named_by = self._destination(placement)
        write = Write(
            key=self._allowed(placement.key) if placement.key is not None else own,
            fields={check_name("field", name): value for name, value in fields.items()},
            destination=destination,
            destination_from=named_by,
            plan=self._plan,
            ack=placement.ack or self._call.ack,
            policy=placement.policy or self._call.policy,
            ttl_ms=placement.ttl_ms if placement.ttl_ms is not None else self._call.ttl_ms,
            expected_version=placement.expected_version,
            seen={StateKey.parse(key): version for key, version in self._session.versions.items()},
        )
        with self._budget.share_here() as share:
            share.add_blocking(sum(map(len, write.fields.values())))
            placed = self._propagation.place(write)
        self._report.note_placement(placed)
        if placement.key is not None:
            self._session.note(str(placed.key), placed.version)
        return Stored(str(placed.key), placed.version)

    def _allowed(self, text: str) -> StateKey:
        key, own = StateKey.parse(text), self._report.chain_id
        if self._chains == "own" and key.chain_id != own:
            allowed = f'those of its own chain {own!r}; all, if its manifest says chains = "any"'
            raise Forbidden(f"bundle {text!r} of another chain", allowed)
        return key

    def _destination(self, placement: Placement) -> tuple[str | None, str]:
        """Where the chain goes on, and who says so: the function, else the plan, else the caller, else the node."""
        following = self._plan.after(self._report.functions[-1]) if self._plan else ()
        planned = following[0].node if following else None
        named = {"function": placement.destination, "plan": planned, "request": self._call.destination}
        return next(((node, by) for by, node in named.items() if node is not None), (None, "default"))


class Invoker:
    """Invokes the functions of one node and remembers what the last 1,024 invocations did."""

    def __init__(self, functions: Functions, propagation: Propagation, workers: Workers, budget: Budget) -> None:
        self.functions = functions
        self._budget = budget
        self._propagation = propagation
        self._workers = workers
        self._reports: OrderedDict[str, Report] = OrderedDict()

    async def invoke(self, call: Call, loaded: Loaded) -> tuple[Outcome, Report]:
        """Runs a call in a worker thread.

        Args:
            loaded: The component of its functions.

        Raises:
            NotFound: There is no such function here, or its predecessor's bundle is nowhere.
            FunctionFailed, FunctionTimeout: See `runtime.Functions.invoke`.
            Overloaded: Too many calls wait already.
            UnknownNode: The destination is not in the topology.
        """
        self._check_nodes(call)
        report = self._begin(call)
        started = time.perf_counter()
        deadline_ms = loaded.manifest.limits.deadline_ms
        blocked, limit_s = f"it is blocked since {deadline_ms} ms", deadline_ms / 1000 + _GRACE_S
        if _may_bring_plan(call, loaded):
            limit_s += self._propagation.arrivals.max_wait_s
        try:
            outcome = await self._workers.run(
                lambda: self._run(call, report, loaded),
                limit_s,
                lambda: FunctionTimeout("+".join(report.functions), "deadline", blocked),
                call.functions[0],
            )
        except SkylarkError as error:
            report.error = Failure.of(error)
            error.task_id, error.chain_id = report.task_id, report.chain_id
            raise
        finally:
            report.duration_ms = (time.perf_counter() - started) * 1000
        return outcome, report

    def _check_nodes(self, call: Call) -> None:
        named = [call.destination, *(step.node for step in call.plan.steps)] if call.plan else [call.destination]
        for node in named:
            if node is not None:
                self._propagation.topology().node(node)

    def report(self, task_id: str) -> Report:
        """What an invocation did.

        Raises:
            NotFound: It was not here, or too long ago.
        """
        try:
            return self._reports[task_id]
        except KeyError:
            raise NotFound("task", task_id) from None

    def _fused(self, called: tuple[str, ...], plan: Plan, together: Collection[str]) -> tuple[str, ...]:
        """Extend the functions of a call with the next ones of its plan that run here, in the same component."""
        functions = list(called)
        for step in plan.after(functions[-1]):
            if step.node != self._propagation.node or step.function not in together:
                break
            functions.append(step.function)
        return tuple(functions)

    def _plan_here(self, key: StateKey) -> Plan | None:
        """The plan that a bundle brings which is here. Another node is not asked: the function's fetch will do that."""
        info = _head_or_none(key, self._propagation.head_here)
        return info.meta.plan if info is not None else None

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

    def _planned(self, call: Call, loaded: Loaded) -> Call:
        """Give a call the plan that its bundle brings, and those functions of the plan that run here with it."""
        if call.state_key is not None and _may_bring_plan(call, loaded):
            call = replace(call, plan=self._plan_here(call.state_key))
        if call.plan is not None and call.fuse:
            call = replace(call, functions=self._fused(call.functions, call.plan, loaded.functions))
        return call

    def _run(self, call: Call, report: Report, loaded: Loaded) -> Outcome:
        call = self._planned(call, loaded)
        report.functions = call.functions
        invocation = Invocation(
            functions=call.functions,
            chain_id=report.chain_id,
            task_id=report.task_id,
            node=report.node,
            state_key=str(call.state_key) if call.state_key else None,
            body=call.body,
            content_type=call.content_type,
        )
        state = ChainState(self._propagation, call, report, loaded.manifest.chains, self._budget)
        started = time.perf_counter()
        try:
            return loaded.invoke(invocation, state)
        except FunctionFailed as failure:
            if state.failed is not None and _is_what_failed(state.failed, failure):
                raise state.failed from failure
            raise
        finally:
            report.sandbox_ms = (time.perf_counter() - started) * 1000


def _may_bring_plan(call: Call, loaded: Loaded) -> bool:
    """True if the bundle of a call can say that further functions run with it."""
    return call.fuse and call.plan is None and call.state_key is not None and len(loaded.functions) > 1


def _is_what_failed(error: SkylarkError, failure: FunctionFailed) -> bool:
    """Whether a function failed because of this error of a state call, which the SDK raised in it."""
    case, value = error_case(error)
    kind = "".join(part.capitalize() for part in case.split("-"))
    return failure.cause == kind and (isinstance(value, tuple) or value == failure.detail)


def _head_or_none(key: StateKey, head: Callable[[StateKey], BundleInfo]) -> BundleInfo | None:
    """The metadata of a bundle; None where it cannot be had, which the fetch will say."""
    try:
        return head(key)
    except SkylarkError as error:
        _LOG.info("the plan of %s is not known, nor what its chain has seen: %s", key, error)
        return None
