"""Starts the processes of a testbed, and ends them."""

import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skylark_proxy.child import Child
from skylark_proxy.continuum import RunningNode, start_node, stop_nodes
from skylark_proxy.model import Node
from skylark_testbed.scratch import undisturbed

_STOP_S = 10.0


class Starter:
    """Starts processes in one thread that lives as long as they do, since they end with the thread that started them.

    It knows each process that it has started, also where Ctrl-C came before the caller could.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="starter")
        self._nodes: dict[str, RunningNode] = {}
        self._others: list[Child] = []

    def node(self, node: Node, folder: Path, settings: Mapping[str, str]) -> RunningNode:
        """Starts the proxy of a node; see `start_node`."""

        def start() -> RunningNode:
            self._nodes[node.name] = start_node(node, None, None, folder, settings)
            return self._nodes[node.name]

        return self._pool.submit(start).result()

    def child(self, launched: Callable[[], Child]) -> Child:
        """Starts another process."""

        def start() -> Child:
            self._others.append(launched())
            return self._others[-1]

        return self._pool.submit(start).result()

    def close(self) -> None:
        """Ends all that runs, the nodes first; by force what takes too long."""
        with undisturbed():
            self._pool.submit(lambda: None).result()  # what was being started when an interrupt came is known then
            stop_nodes(self._nodes)
            for child in self._others:
                _stop(child)
            self._pool.shutdown()


def _stop(child: Child) -> None:
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
