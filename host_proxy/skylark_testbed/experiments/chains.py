"""Chains over a testbed: one after the other, several at once, and with faults."""

import contextlib
import tempfile
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec

from skylark.plan import Step
from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.client import ProxyClient, ProxyError
from skylark_proxy.config import Config
from skylark_proxy.topology import Topology
from skylark_proxy.workflow import Routing as WorkflowRouting
from skylark_proxy.workflow import Workflow, WorkflowFailed, WorkflowRun
from skylark_testbed.description import FunctionFile, load
from skylark_testbed.errors import TestbedError
from skylark_testbed.experiments import measure, theory
from skylark_testbed.experiments.definition import (
    ChainWorkload,
    FaultsWorkload,
    ParallelWorkload,
    Variant,
    WorkflowWorkload,
)
from skylark_testbed.experiments.driver import Outcome, Progress
from skylark_testbed.experiments.schedule import Run, rng_of
from skylark_testbed.experiments.summary import Spread
from skylark_testbed.testbed import Testbed, open_testbed

_FOLLOW_S = 20.0
_POLL_S = 0.01
_TIMEOUT_S = 180.0
_INTO_S = 0.2
_FAULT_ATTEMPTS = 10
_SETTINGS = {"SKYLARK_LOG_LEVEL": "warning"}


@contextlib.contextmanager
def open_chains(
    workload: ChainWorkload, folder: Path, links: str | None, seed: int, config: Config, progress: Progress
) -> Iterator["Chains"]:
    """Starts the testbed of these links, with the functions on all nodes.

    Args:
        folder: Of the experiment's file, which the paths of descriptions are relative to.
    """
    description = load(folder / workload.testbeds[str(links)])
    with tempfile.TemporaryDirectory(prefix="skylark-experiment-") as name:
        component = build_bench_component(Path(name) / "functions", config, progress, name="fusion_functions")
        settings = {node: {**_SETTINGS, **description.settings.get(node, {})} for node in description.nodes}
        functions = (FunctionFile(component, tuple(description.nodes)),)
        described = replace(description, functions=functions, settings=settings, seed=seed)
        with open_testbed(described, Path(name) / "testbed", progress, config) as testbed:
            yield _KINDS[type(workload)](testbed, workload, seed)


class Chains(ABC):
    """Runs the chains of a workload over a testbed, and takes away what they leave."""

    def __init__(self, testbed: Testbed, workload: ChainWorkload, seed: int) -> None:
        self.testbed = testbed
        self._chain = workload
        self._seed = seed
        self._max_latency_ms: float | None = None
        self._state: tuple[int, bytes] = 0, b""
        self._topology: Topology | None = None

    @abstractmethod
    def measure(self, run: Run) -> Outcome:
        """Carries out a run."""

    def advance(self) -> None:
        """Has the topology move on, if it is one that does, and waits until every node knows."""
        if self.testbed.description.topology.provider != "static":
            self.testbed.advance()
        self._topology = None
        self._wait_until_followed()

    def topology(self) -> Topology:
        """The links now."""
        if self._topology is None:
            self._topology = self.testbed.topology()
        return self._topology

    def set_objective(self, max_latency_ms: float) -> None:
        """Sets the objective of all nodes, and waits until every node knows."""
        if max_latency_ms == self._max_latency_ms:
            return
        body = msgspec.json.encode({"max_latency": max_latency_ms, "min_bandwidth": 0})
        ProxyClient(self.testbed.network.url).request("POST", "/objectives", body=body)
        self._max_latency_ms = max_latency_ms
        self._wait_until_followed()

    def run_chain(
        self, run: Run, variant: Variant, size_bytes: int, number: int = 0, on_step: Callable[[str], None] | None = None
    ) -> WorkflowRun:
        """Runs one chain, from an input of its own, and checks what arrives.

        Raises:
            TestbedError: What arrived is not what the functions make of the input.
        """
        chain = f"run-{zlib.crc32(run.id.encode()):08x}-{number}-{time.time_ns()}"
        state = self._state_of(size_bytes)
        client = self.testbed.nodes[self._chain.input_at].client
        key = client.put_bundle(f"{chain}:{self._chain.input_at}:input", {"state": state})["key"]
        workflow = Workflow(
            {name: node.url for name, node in self.testbed.nodes.items()},
            self._chain.plan.steps,
            lambda step, _node: on_step(step.function) if on_step else None,
            _TIMEOUT_S,
            _routing(self._chain, variant, self._chain.plan.steps),
        )
        done = workflow.run(b"", "application/octet-stream", variant.policy, key)
        self._check(state, done)
        self._clean([key, *_keys(done)])
        return done

    def theory(self, variant: Variant, size_bytes: int, max_latency_ms: float) -> theory.Theory:
        """What the formula says of a variant over the links now."""
        chain, routing = self._chain, theory.routing_of(self._chain, variant)
        rng = rng_of(self._seed, "theory")
        return theory.theory_of(self.topology(), chain.plan, chain.input_at, routing, size_bytes, max_latency_ms, rng)

    def _check(self, state: bytes, done: WorkflowRun) -> None:
        stages = len(self._chain.plan.steps) - 1
        expected = zlib.crc32(state[1:], zlib.crc32(bytes([(state[0] + stages) % 256])))
        arrived = msgspec.json.decode(done.steps[-1].answer.body)
        if arrived != {"size_bytes": len(state), "crc32": expected}:
            raise TestbedError(f"chain {done.chain_id}: {arrived} arrived, and not {len(state)} bytes of {expected}")

    def _clean(self, keys: list[str]) -> None:
        for key in keys:
            node = self.testbed.nodes[key.split(":")[1]]
            with contextlib.suppress(ProxyError):  # it is in the way of nothing
                node.client.delete_bundle(key)

    def _state_of(self, size_bytes: int) -> bytes:
        if self._state[0] != size_bytes:
            self._state = size_bytes, rng_of(self._seed, "state", size_bytes).randbytes(size_bytes)
        return self._state[1]

    def _wait_until_followed(self) -> None:
        """Returns once every node goes by the topology and objectives that it is told."""
        epoch = self.testbed.network.epoch()
        end_s = time.monotonic() + _FOLLOW_S
        for node in self.testbed.nodes.values():
            while node.alive and node.client.request("GET", "/neighbors").json()["epoch"] < epoch:
                if time.monotonic() > end_s:
                    raise TestbedError(f"{node.name} does not follow the topology")
                time.sleep(_POLL_S)


class WorkflowChains(Chains):
    """One chain after the other."""

    _chain: WorkflowWorkload

    def measure(self, run: Run) -> Outcome:
        """Runs a chain of the case's size, and says what the formula says of it."""
        variant, size_mb = self._chain.variant(run.variant), float(run.case["size_mb"])
        size_bytes = int(size_mb * 1e6)
        max_latency_ms = self._chain.published_max_latency_ms(size_mb)
        if run.case["objectives"] == "corrected":
            bandwidth_mbps = theory.satellite_bandwidth_mbps(self.topology())
            max_latency_ms = theory.corrected_max_latency_ms(max_latency_ms, size_bytes, bandwidth_mbps)
        self.set_objective(max_latency_ms)
        expected = self.theory(variant, size_bytes, max_latency_ms)
        done = self.run_chain(run, variant, size_bytes)
        metrics = measure.workflow_metrics(done, self.topology())
        said = {"theory_ms": expected.state_ms, "theory_mb": expected.moved_mb, "max_latency_ms": max_latency_ms}
        notes = {
            "holders": measure.holders([step.report for step in done.steps]),
            "simulated": " ".join(expected.walk.holders),
        }
        return Outcome(metrics | said, notes)


class ParallelChains(Chains):
    """Several chains at once."""

    _chain: ParallelWorkload

    def measure(self, run: Run) -> Outcome:
        """Runs as many chains as the case says, all at once."""
        variant, count = self._chain.variant(run.variant), int(run.case["at_once"])
        size_bytes = int(self._chain.size_mb * 1e6)
        self.set_objective(self._chain.max_latency_ms)
        self._state_of(size_bytes)
        started = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            runs = list(pool.map(lambda number: self.run_chain(run, variant, size_bytes, number), range(count)))
        duration_s = time.perf_counter() - started
        each = [measure.workflow_metrics(one, self.topology()) for one in runs]
        means = {name: sum(one[name] for one in each) / count for name in each[0]}
        workflow = Spread.of([one["workflow_ms"] for one in each])
        return Outcome(
            means
            | {
                "workflow_ms": workflow.median,
                "slowest_ms": workflow.high,
                "duration_s": duration_s,
                "throughput_per_s": count / duration_s,
            }
        )


class FaultyChains(Chains):
    """One chain after the other, each with a fault."""

    _chain: FaultsWorkload

    def measure(self, run: Run) -> Outcome:
        """Runs a chain, has the fault happen once in it, and runs it again until it ends."""
        variant, fault = self._chain.variant(run.variant), str(run.case["fault"])
        size_bytes = int(self._chain.size_mb * 1e6)
        self.set_objective(self._chain.max_latency_ms)
        timers: list[threading.Timer] = []
        begun: list[str] = []

        def on_step(function: str) -> None:
            begun.append(function)
            if function == self._chain.during and not timers:
                timers.extend(self._timers(fault))
                for timer in timers:
                    timer.start()

        started, failures, done = time.perf_counter(), list[str](), None
        try:
            for number in range(_FAULT_ATTEMPTS):
                try:
                    done = self.run_chain(run, variant, size_bytes, number, on_step)
                    break
                except (ProxyError, WorkflowFailed) as error:
                    failures.append(error.message)
                    for timer in timers[1:]:
                        timer.join()  # the link heals
        finally:
            duration_ms = 1000 * (time.perf_counter() - started)
            for timer in timers:
                timer.join()
            self._mend(fault)
        events = [*failures, *(done.events if done else ())]
        fallbacks = sum(len(p["failed"]) for step in (done.steps if done else ()) for p in step.report["placements"])
        return Outcome(
            {
                "finished_share": 100.0 * (done is not None),
                "retries": float(len(begun) - len(self._chain.plan.steps)),
                "fallbacks": float(fallbacks),
                "workflow_ms": duration_ms,
            },
            {"events": "; ".join(events)},
        )

    def _timers(self, fault: str) -> list[threading.Timer]:
        one, other = self._chain.link
        if fault == "cut":
            return [
                threading.Timer(_INTO_S, self.testbed.cut, (one, other)),
                threading.Timer(_INTO_S + self._chain.heal_after_s, self.testbed.heal, (one, other)),
            ]
        return [threading.Timer(_INTO_S, self.testbed.nodes[self._chain.node].kill)] if fault == "kill" else []

    def _mend(self, fault: str) -> None:
        if fault == "kill":
            self.testbed.nodes[self._chain.node].restart()
            self._wait_until_followed()


_KINDS: Mapping[type[ChainWorkload], type[Chains]] = {
    WorkflowWorkload: WorkflowChains,
    ParallelWorkload: ParallelChains,
    FaultsWorkload: FaultyChains,
}


def _routing(workload: ChainWorkload, variant: Variant, steps: tuple[Step, ...]) -> WorkflowRouting:
    last = {steps[-2].function: variant.last_policy.value} if variant.last_policy and len(steps) > 1 else {}
    # Each function is to run by itself: looking for a plan to fuse by would cost unplanned variants a round trip.
    destination = None if variant.planned else workload.destination
    return WorkflowRouting(variant.planned, destination, fuse=False, policies=last)


def _keys(done: WorkflowRun) -> list[str]:
    return [str(placed["key"]) for step in done.steps for placed in step.report["placements"]]
