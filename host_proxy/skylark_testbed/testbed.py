"""A continuum on this machine: proxies with their own Redis, and a network between them with real latencies."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from skylark_proxy.config import Config
from skylark_proxy.continuum import RunningNode, wait_until_ready, with_free_ports
from skylark_proxy.errors import UnknownNode
from skylark_proxy.model import Node, Tier
from skylark_proxy.topology import Topology
from skylark_testbed.builds import Progress, build_functions
from skylark_testbed.description import Description
from skylark_testbed.errors import TestbedError
from skylark_testbed.running_network import RunningNetwork
from skylark_testbed.starter import Starter

_NODE_INFO_WAIT_MS = 60_000


class TestNode:
    """A node of a testbed.

    Attributes:
        client: Calls its proxy, without any latency: as a client on the node would.
        running: Its process, the last one that was started.
    """

    __test__ = False  # not for pytest

    def __init__(self, node: Node, start: Callable[[], RunningNode]) -> None:
        self._node = node
        self._start = start
        self.running = start()
        self.client = self.running.client()

    @property
    def name(self) -> str:
        """Its name in the topology."""
        return self._node.name

    @property
    def tier(self) -> Tier:
        """Where it stands."""
        return self._node.tier

    @property
    def url(self) -> str:
        """Where its proxy serves."""
        return self.running.url

    @property
    def alive(self) -> bool:
        """Whether its proxy runs."""
        return self.running.alive

    @property
    def log(self) -> Path:
        """The log of all its starts."""
        return self.running.log

    def kill(self) -> None:
        """Ends its proxy and Redis as a crash would; what was acknowledged is on disk."""
        self.running.kill()

    def restart(self) -> None:
        """Starts it again on its data, and returns once it serves. A proxy that runs is killed first.

        Raises:
            NodeFailed: It did not come up.
        """
        if self.alive:
            self.kill()
        self.running = self._start()
        wait_until_ready(self.running)


class Testbed:
    """Nodes and the links between them. Safe for threads. Made by `open_testbed`."""

    __test__ = False  # not for pytest

    def __init__(
        self, description: Description, nodes: Mapping[str, TestNode], network: RunningNetwork, folder: Path
    ) -> None:
        self.description = description
        self.nodes = nodes
        self.network = network
        self.folder = folder

    def node(self, name: str) -> TestNode:
        """A node.

        Raises:
            UnknownNode: There is none of that name.
        """
        if name not in self.nodes:
            raise UnknownNode(name, tuple(self.nodes))
        return self.nodes[name]

    def node_info_url(self, name: str) -> str:
        """The node-info service as a node sees it: with the addresses at which that node reaches the others."""
        return self.network.node_info_url(name)

    def topology(self) -> Topology:
        """The links as they are now, faults included, with the nodes' real addresses."""
        return self.network.topology()

    def cut(self, one: str, other: str) -> None:
        """Has a link carry nothing, until it is healed. What has no other way is reset; nodes are not told.

        Raises:
            TestbedError: There is no such link now.
        """
        self.network.cut(one, other)

    def heal(self, one: str, other: str) -> None:
        """Has a link be what the topology says; see `cut`."""
        self.network.heal(one, other)

    def slow(self, one: str, other: str, latency_ms: float | None = None, bandwidth_mbps: float | None = None) -> None:
        """Has a link be slower or faster than the topology says, until it is healed; see `cut`."""
        self.network.slow(one, other, latency_ms, bandwidth_mbps)

    def carried_bytes(self, source: str, target: str) -> int:
        """What a node has sent to another one so far, over whichever links, with HTTP's own bytes."""
        return self.network.carried_bytes(source, target)

    def advance(self) -> None:
        """Has the next topology of a rotation begin, or links drawn anew; nodes are told."""
        if self.description.topology.provider == "static":
            raise TestbedError("the topology is static: there is none to follow it")
        self.network.advance()


@contextlib.contextmanager
def open_testbed(
    description: Description,
    folder: Path,
    progress: Progress = print,
    config: Config | None = None,
) -> Iterator[Testbed]:
    """Builds the functions, starts network and nodes, and ends them in the end; whatever happens, none is left.

    Args:
        folder: For data and logs; what nodes have left there they find again.
        progress: Is told what takes its time.
        config: Where built components are kept; from the environment, if absent.

    Raises:
        BuildError, NodeFailed, TestbedError: A part of it failed.
    """
    config = Config.load() if config is None else config
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    description = _with_ports(description)
    with contextlib.ExitStack() as stack:
        starter = Starter()
        stack.callback(starter.close)
        network = RunningNetwork(description, folder, starter)
        sources = [function.source for function in description.functions]
        components = build_functions(sources, folder / "functions", config, progress) if sources else {}
        progress(f"starting {len(description.nodes)} nodes, each with a proxy and a Redis")
        nodes: dict[str, TestNode] = {}
        certificates = _certificates(description, folder / "certificates") if description.tls else {}
        for node in description.nodes.values():
            settings = _settings(description, node.name, components, network, config) | certificates.get(node.name, {})

            def start(node: Node = node, settings: Mapping[str, str] = settings) -> RunningNode:
                return starter.node(node, folder, settings)

            nodes[node.name] = TestNode(node, start)
        network.wait_until_ready()
        for one in nodes.values():
            wait_until_ready(one.running)
        yield Testbed(description, nodes, network, folder)


def _with_ports(description: Description) -> Description:
    """The same nodes at free ports."""
    plan = description.topology
    ported = with_free_ports(Topology.build(description.nodes.values(), (), epoch=1)).nodes
    topologies = tuple(Topology.build(ported.values(), topology.links, epoch=1) for topology in plan.topologies)
    return replace(description, topology=replace(plan, topologies=topologies))


def _certificates(description: Description, folder: Path) -> Mapping[str, dict[str, str]]:
    """The settings of each node for its certificate, which is made for this testbed."""
    try:
        from skylark_proxy.certificates import CA_CERT, make_certificates
    except ImportError as error:
        raise TestbedError("tls needs installed packages: pip install 'skylark[certs]'") from error
    hosts = {name: [node.address.rpartition(":")[0].strip("[]")] for name, node in description.nodes.items()}
    return {
        name: {
            "SKYLARK_TLS_CERT": str(made.cert),
            "SKYLARK_TLS_KEY": str(made.key),
            "SKYLARK_TLS_CA": str(folder / CA_CERT),
        }
        for name, made in make_certificates(folder, hosts).items()
    }


def _settings(
    description: Description, name: str, components: Mapping[Path, Path], network: RunningNetwork, config: Config
) -> dict[str, str]:
    own = [components[function.source] for function in description.functions if name in function.nodes]
    return {
        "SKYLARK_NODE_INFO_WAIT_MS": str(_NODE_INFO_WAIT_MS),
        **description.settings.get(name, {}),
        "SKYLARK_NODE_INFO_URL": network.node_info_url(name),
        "SKYLARK_FUNCTIONS": ",".join(map(str, own)),
        "SKYLARK_CACHE_DIR": str(config.cache_dir.resolve()),
    }
