"""Invocations through HTTP, in fresh and in reused sandboxes, against a bare Starlette handler."""

import contextlib
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.bench.load import Load, run
from skylark_proxy.bench.memory import kept_sandbox_bytes
from skylark_proxy.bench.servers import Server, bare, proxy, start_ms
from skylark_proxy.client import ProxyClient
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument

Progress = Callable[[str], None]

BARE = "bare Starlette"
FRESH, REUSED = "fresh sandboxes", "reused sandboxes"
STATE = "fresh, fetching and storing 1 kB"
BESIDE = "fresh, beside one that computes"

_STATE = "bench:bench:state"
_STATE_BYTES = 1_000
_WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """Medians over all rounds of one way to answer a POST.

    Attributes:
        ratio: Requests a second in relation to the bare handler.
        processor_ms: The processor time of a request in the server's processes; None for servers that run already.
        start_ms: From the start of `skylark serve` to its first answer, with a component that is compiled.
        sandbox_bytes: The memory of its own that a kept sandbox has.
    """

    name: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    ratio: float
    processor_ms: float | None = None
    start_ms: float | None = None
    sandbox_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """What a load goes to. `server`: None where it is not ours. `beside`: whether a guest computes meanwhile."""

    url: str
    path: str
    server: Server | None = None
    beside: bool = False


@dataclass(frozen=True, slots=True)
class _Round:
    load: Load
    processor_s: float | None


def bench_invoke(
    config: Config, rounds: int, seconds: float, connections: int, progress: Progress, others: Sequence[str] = ()
) -> list[InvokeResult]:
    """Loads servers in turn, `rounds` times, for `seconds` each, over `connections` kept connections.

    All are processes of their own on this machine, and so share its cores with the load.

    Args:
        others: URLs of further servers that run already, as those of http components, to be compared in the same run.

    Raises:
        InvalidArgument: One of these is not `http://host:port/path`.
    """
    further = {url: _Target(*_target(url)) for url in others}
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        targets = {BARE: _of(stack.enter_context(bare(folder)), "/")}
        components = {
            kind: build_bench_component(folder / kind, config, progress, reuse=kind == "reused")
            for kind in ("fresh", "reused")
        }
        nodes = {}
        for kind, component in components.items():
            progress(f"starting the proxy with {kind} sandboxes")
            nodes[kind] = stack.enter_context(proxy(folder / f"node-{kind}", component, config))
        fresh = nodes["fresh"]
        ProxyClient(fresh.url).put_bundle(_STATE, {"data": bytes(_STATE_BYTES)})
        targets |= {
            FRESH: _of(fresh, "/functions/noop"),
            STATE: _of(fresh, f"/functions/renew?key={_STATE}"),
            BESIDE: replace(_of(fresh, "/functions/noop"), beside=True),
            REUSED: _of(nodes["reused"], "/functions/noop"),
            **further,
        }
        measured: dict[str, list[_Round]] = {target: [] for target in targets}
        starts = []
        for number in range(rounds):
            for kind, target in targets.items():
                progress(f"round {number + 1} of {rounds}: {kind}")
                measured[kind].append(_measure(target, connections, seconds))
            progress(f"round {number + 1} of {rounds}: start of a node")
            starts.append(start_ms(folder / f"start-{number}", components["fresh"], config, "/functions/noop"))
        progress("making sandboxes")
        sandbox_bytes = kept_sandbox_bytes(components["fresh"], config, "noop")
    bare_per_s = statistics.median(one.load.requests_per_s for one in measured[BARE])
    results = {kind: _result(kind, measured[kind], bare_per_s) for kind in targets}
    results[FRESH] = replace(results[FRESH], start_ms=statistics.median(starts), sandbox_bytes=sandbox_bytes)
    return list(results.values())


def _of(server: Server, path: str) -> _Target:
    return _Target(server.url, path, server)


def _measure(target: _Target, connections: int, seconds: float) -> _Round:
    with _computing(target, _WARM_UP_S + seconds) if target.beside else contextlib.nullcontext():
        run(target.url, target.path, connections, _WARM_UP_S)
        before_s = target.server.processor_s() if target.server is not None else 0.0
        load = run(target.url, target.path, connections, seconds)
        used_s = target.server.processor_s() - before_s if target.server is not None else None
    return _Round(load, None if target.beside else used_s)


@contextlib.contextmanager
def _computing(target: _Target, seconds: float) -> Iterator[None]:
    """Have a guest of the same node compute for so long."""
    client = ProxyClient(target.url)
    caller = threading.Thread(target=client.invoke, args=("compute", str(seconds).encode()))
    caller.start()
    try:
        yield
    finally:
        caller.join()


def _target(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidArgument("url", url, "http://host:port/functions/NAME")
    return f"http://{parts.netloc}", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


def _result(name: str, rounds: Sequence[_Round], bare_per_s: float) -> InvokeResult:
    per_s = statistics.median(one.load.requests_per_s for one in rounds)
    p50, p99 = (statistics.median(one.load.percentile_ms(share) for one in rounds) for share in (0.5, 0.99))
    used = [1000 * one.processor_s / len(one.load.latencies_s) for one in rounds if one.processor_s is not None]
    return InvokeResult(name, per_s, p50, p99, per_s / bare_per_s, statistics.median(used) if used else None)
