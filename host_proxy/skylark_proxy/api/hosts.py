"""The names by which a node may be addressed in a request's `Host`."""

import socket
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from skylark_proxy.topology import Topology


class KnownHosts:
    """The node's name, this machine's, those of the topology, and the operator's; all in lower case.

    Args:
        topology: The topology now.
        given: Further names; one that begins with a dot stands for all that end with it.
    """

    def __init__(self, node: str, topology: Callable[[], Topology], given: Collection[str] = ()) -> None:
        self._topology = topology
        self._fixed = frozenset(name.lower() for name in (node, socket.gethostname(), *given))
        self._of: Topology | None = None
        self._names = self._fixed

    def __call__(self) -> Collection[str]:
        """Return the names now."""
        topology = self._topology()
        if topology is not self._of:
            nodes = topology.nodes.values()
            addresses = {urlsplit(f"//{node.address}").hostname or "" for node in nodes}
            self._names = self._fixed | addresses | {node.name.lower() for node in nodes}
            self._of = topology
        return self._names
