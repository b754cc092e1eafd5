"""Measures how long another client waits while strangers are at a node: `python tests/hostile_clients_figures.py`.

Each line is an attack; the times are of one client that asks for the node's health and puts and gets bundles of 1 kB
at the node, one request after the other, for `SECONDS`.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import httpx

from continuum import LiveNode, Nodes, line, run_nodes
from hostile_clients import MEGABYTE, Usage, at_once, connections, frozen, half_upload, many_descriptors
from skylark import wire
from skylark_proxy.build import build
from skylark_proxy.config import Config

SECONDS = 6.0
SMALL = b"".join(wire.encode({"f": bytes(1000)}))
LARGE = b"".join(wire.encode({"f": bytes(100 * MEGABYTE)}))
Attack = Callable[[Nodes, LiveNode], AbstractContextManager[object]]


@contextlib.contextmanager
def nothing(_nodes: Nodes, _node: LiveNode) -> Iterator[None]:
    yield


@contextlib.contextmanager
def frozen_node(nodes: Nodes, node: LiveNode) -> Iterator[None]:
    with frozen(nodes["cloud"].pid), at_once(node, 135, lambda client: client.get("/bundles/c:cloud:t")):
        yield
        os.kill(nodes["cloud"].pid, signal.SIGCONT)


@contextlib.contextmanager
def blocked_functions(_nodes: Nodes, node: LiveNode) -> Iterator[None]:
    with at_once(node, 64, lambda client: client.post("/functions/block_in_select", content=b"3600")):
        yield


@contextlib.contextmanager
def half_uploads(_nodes: Nodes, node: LiveNode) -> Iterator[None]:
    with connections(node, 1024, half_upload("c")):
        yield


@contextlib.contextmanager
def large_uploads(_nodes: Nodes, node: LiveNode) -> Iterator[None]:
    # In processes of their own: what this one sends would hold up its own measurements.
    with tempfile.NamedTemporaryFile() as file, contextlib.ExitStack() as stack:
        file.write(LARGE)
        file.flush()
        command = ["curl", "--silent", "--output", os.devnull, "--upload-file", file.name]
        sending = [subprocess.Popen([*command, f"{node.url}/bundles/c:sat:large"]) for _ in range(20)]
        for one in sending:
            stack.callback(one.wait)
        yield


@contextlib.contextmanager
def all_at_once(nodes: Nodes, node: LiveNode) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(connections(node, 10_000))
        stack.enter_context(connections(node, 1024, half_upload("c")))
        stack.enter_context(frozen_node(nodes, node))
        yield


ATTACKS: dict[str, Attack] = {
    "nobody": nothing,
    "135 GETs of a frozen node's bundle": frozen_node,
    "64 functions blocked in select": blocked_functions,
    "1,024 half uploads": half_uploads,
    "20 PUTs of 100 MB": large_uploads,
    "10,000 idle, 1,024 half uploads, a frozen node": all_at_once,
}


def probe(node: LiveNode) -> dict[str, list[float]]:
    """The times of the requests, in milliseconds, and how many of them were refused."""
    times: dict[str, list[float]] = {"health": [], "PUT": [], "GET": [], "refused": []}
    end_s = time.monotonic() + SECONDS
    with httpx.Client(base_url=node.url, timeout=60.0) as client:
        while time.monotonic() < end_s:
            for name, method, path in (
                ("health", "GET", "/health"),
                ("PUT", "PUT", "/bundles/mine:sat:t"),
                ("GET", "GET", "/bundles/mine:sat:t"),
            ):
                started = time.perf_counter()
                answer = client.request(method, path, content=SMALL if method == "PUT" else None)
                if answer.status_code == 200:
                    times[name].append((time.perf_counter() - started) * 1000)
                else:
                    times["refused"].append(answer.status_code)
    return times


def main() -> None:
    """Prints a line for each attack."""
    source = Path(__file__).parent / "component" / "functions" / "hostile.py"
    with tempfile.TemporaryDirectory() as folder, many_descriptors(12_500):
        component = build(source, Path(folder) / "hostile.wasm", Config.load({}).cache_dir / "components").component
        with run_nodes(line("sat", "cloud"), functions=component) as nodes:
            node = nodes["sat"]
            nodes["cloud"].client.put_bundle("c:cloud:t", {"f": b"1"})
            for name, attack in ATTACKS.items():
                with attack(nodes, node):
                    times = probe(node)
                    usage = Usage.of(node.pid)
                told = ", ".join(
                    f"{kind} {statistics.median(some):.1f}/{sorted(some)[int(len(some) * 0.99)]:.1f}/{max(some):.1f}"
                    for kind, some in times.items()
                    if kind != "refused" and some
                )
                print(
                    f"{name}: p50/p99/max ms: {told}; {len(times['PUT'])} PUTs, {len(times['refused'])} refused; "
                    f"{usage.memory_bytes / MEGABYTE:.0f} MB, {usage.threads} threads, {usage.descriptors} descriptors",
                    flush=True,
                )


if __name__ == "__main__":
    main()
