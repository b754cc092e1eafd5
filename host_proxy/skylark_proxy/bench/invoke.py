"""Invocations a second through HTTP, in fresh and in reused sandboxes, against a bare Starlette handler."""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.bench.load import Load, run
from skylark_proxy.bench.servers import bare, proxy
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument

Progress = Callable[[str], None]

_WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """Medians over all rounds of one way to answer a POST."""

    name: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    ratio: float
    """Requests a second in relation to the bare handler."""


def bench_invoke(
    config: Config, rounds: int, seconds: float, connections: int, progress: Progress, others: Sequence[str] = ()
) -> list[InvokeResult]:
    """Loads three servers in turn, `rounds` times, for `seconds` each, over `connections` kept connections.

    All three are processes of their own on this machine, and so share its cores with the load.

    Args:
        others: URLs of further servers that run already, as those of http components, to be compared in the same run.

    Raises:
        InvalidArgument: One of these is not `http://host:port/path`.
    """
    further = {url: _target(url) for url in others}
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name:
        folder = Path(name)
        components = {
            "fresh": build_bench_component(folder / "fresh", config, progress),
            "reused": build_bench_component(folder / "reused", config, progress, reuse=True),
        }
        with contextlib.ExitStack() as stack:
            targets = {"bare Starlette": (stack.enter_context(bare(folder)).url, "/")}
            for kind, component in components.items():
                progress(f"starting the proxy with {kind} sandboxes")
                url = stack.enter_context(proxy(folder / f"node-{kind}", component, config)).url
                targets[f"{kind} sandboxes"] = (url, "/functions/noop")
            targets |= further
            loads: dict[str, list[Load]] = {target: [] for target in targets}
            for number in range(rounds):
                for target, (url, path) in targets.items():
                    progress(f"round {number + 1} of {rounds}: {target}")
                    run(url, path, connections, _WARM_UP_S)
                    loads[target].append(run(url, path, connections, seconds))
    bare_per_s = _median([load.requests_per_s for load in loads["bare Starlette"]])
    return [_result(target, measured, bare_per_s) for target, measured in loads.items()]


def _target(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidArgument("url", url, "http://host:port/functions/NAME")
    return f"http://{parts.netloc}", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


def _result(name: str, loads: list[Load], bare_per_s: float) -> InvokeResult:
    per_s = _median([load.requests_per_s for load in loads])
    p50, p99 = (_median([load.percentile_ms(share) for load in loads]) for share in (0.5, 0.99))
    return InvokeResult(name, per_s, p50, p99, per_s / bare_per_s)


def _median(values: list[float]) -> float:
    return statistics.median(values)
