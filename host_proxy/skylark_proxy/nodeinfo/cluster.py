"""The nodes of a Kubernetes cluster, listed once and then watched with the official client.

A node counts while it is Ready, has the label `node-type` (Cloud, Edge or Sat) and an InternalIP. The service account
needs `list` and `watch` on `nodes`.
"""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Event, Lock, Thread
from typing import Any

from urllib3.exceptions import HTTPError

from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.model import Node, Tier
from skylark_proxy.nodeinfo.errors import SourceUnavailable
from skylark_proxy.nodeinfo.provider import FileTopology, Latest, Provider
from skylark_proxy.topology import Topology

_LOG = logging.getLogger(__name__)
_SELECTOR = f"node-type in ({','.join(sorted(Tier))})"
_WATCH_S = 300
_TIMEOUT_S = 10
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_SOURCE = "the Kubernetes API"
_NONE_LEFT = "no node of the cluster is Ready and has the label node-type; the last ones that were are kept"


class ClusterNodes(Provider):
    """The nodes of the cluster that this runs in, else of the one that the kubeconfig names. It has no links.

    Args:
        on_change: Is called, from a thread, after the nodes have changed.

    Raises:
        ConfigError: The extra `kubernetes` is not installed, or nothing says where the cluster is.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._api, self._watch = _connect()
        self._on_change = on_change
        self._closing = Event()
        self._lock = Lock()
        self._nodes: dict[str, Node] = {}
        self._served: tuple[Node, ...] = ()
        self._latest = Latest()
        self._lost_because: str | None = None
        self._version: str | None = None
        self._thread = Thread(target=self._follow, name="kubernetes-nodes", daemon=True)

    def open(self) -> None:
        """Lists the nodes, then follows their changes until `close`.

        Raises:
            SourceUnavailable: The API cannot be reached, or refuses to tell.
            InvalidArgument: No node counts.
        """
        self._version = self._list()
        self.current(0.0)
        self._thread.start()

    def close(self) -> None:
        """Stops following. The thread ends with the answer that it waits for, or with the process."""
        self._closing.set()
        self._watch.stop()

    def current(self, at_s: float) -> Topology:
        """The nodes that count. Where none do any more it is the last ones that did, and `problem` says so.

        Raises:
            InvalidArgument: None have ever counted.
        """
        nodes = self._served
        return self._latest.made_of((nodes,), lambda epoch: _made(nodes, epoch))

    def refresh(self) -> None:
        """Lists the nodes again."""
        self._list()

    def problem(self) -> str | None:
        """Why the nodes may be out of date."""
        return self._lost_because or (_NONE_LEFT if not self._nodes else None)

    def _list(self) -> str:
        with _translated():
            listed = self._api.list_node(label_selector=_SELECTOR, _request_timeout=_TIMEOUT_S)
        self._set({node.name: node for node in map(node_of, listed.items) if node is not None})
        return str(listed.metadata.resource_version)

    def _follow(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._closing.is_set():
            try:
                if self._version is None:
                    self._version = self._list()
                self._recovered()
                self._follow_from(self._version)
                retry_s = _FIRST_RETRY_S
            except SourceUnavailable as error:
                if not self._closing.is_set():
                    self._lost(error)
                self._version = None
                self._closing.wait(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _follow_from(self, version: str) -> None:
        """Takes changes until the API ends the watch, which it does every few minutes."""
        with _translated():
            events = self._watch.stream(
                self._api.list_node,
                label_selector=_SELECTOR,
                resource_version=version,
                timeout_seconds=_WATCH_S,
                _request_timeout=(_TIMEOUT_S, _WATCH_S + _TIMEOUT_S),
            )
            for event in events:
                self._take(event["type"], event["object"])
                self._version = self._watch.resource_version
                if self._closing.is_set():
                    return

    def _take(self, kind: str, item: Any) -> None:
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        node = node_of(item) if kind != "DELETED" else None
        nodes = {name: one for name, one in self._nodes.items() if name != item.metadata.name}
        self._set(nodes if node is None else nodes | {node.name: node})

    def _set(self, nodes: dict[str, Node]) -> None:
        with self._lock:
            self._nodes = nodes
            changed = bool(nodes) and set(nodes.values()) != set(self._served)
            if changed:
                self._served = tuple(sorted(nodes.values(), key=lambda node: node.name))
        if changed:
            _LOG.info("nodes: %s", ", ".join(f"{node.name} ({node.tier})" for node in self._served))
            self._on_change()
        elif not nodes:
            _LOG.warning(_NONE_LEFT)

    def _lost(self, error: SourceUnavailable) -> None:
        if self._lost_because is None:
            _LOG.warning("%s; the last nodes are kept", error)
        self._lost_because = error.message

    def _recovered(self) -> None:
        if self._lost_because is not None:
            _LOG.info("%s is back", _SOURCE)
            self._lost_because = None


class LinkedNodes(Provider):
    """The nodes of one provider with the links of a file, where both of a link's ends are among them."""

    def __init__(self, nodes: Provider, links: FileTopology) -> None:
        self._nodes = nodes
        self._links = links
        self._latest = Latest()

    def current(self, at_s: float) -> Topology:
        """The nodes of the time `at_s`, linked."""
        nodes, links = self._nodes.current(at_s), self._links.current(at_s)

        def make(epoch: int) -> Topology:
            there = (link for link in links.links if link.source in nodes.nodes and link.target in nodes.nodes)
            return Topology.build(nodes.nodes.values(), there, epoch)

        return self._latest.made_of((nodes, links), make)

    def refresh(self) -> None:
        """Finds the nodes again and reads the file again."""
        self._nodes.refresh()
        self._links.refresh()

    def problem(self) -> str | None:
        """That of the nodes."""
        return self._nodes.problem()


def node_of(item: Any) -> Node | None:
    """A node of the API as one of ours; None where it does not count."""
    name, status = item.metadata.name, item.status
    tier = (item.metadata.labels or {}).get("node-type")
    address = next((one.address for one in status.addresses or () if one.type == "InternalIP"), None)
    ready = any(one.type == "Ready" and one.status == "True" for one in status.conditions or ())
    if not ready or address is None or tier not in list(Tier):
        return None
    node = Node(name, f"[{address}]" if ":" in address else address, Tier(tier))
    try:
        Topology.build([node], [], epoch=1)
    except InvalidArgument as error:
        _LOG.warning("node %s of the cluster is left out: %s", name, error)
        return None
    return node


def _made(nodes: tuple[Node, ...], epoch: int) -> Topology:
    if not nodes:
        expected = "at least one node that is Ready and has the label node-type: " + ", ".join(sorted(Tier))
        raise InvalidArgument("nodes of the cluster", [], expected)
    return Topology.build(nodes, [], epoch)


def _connect() -> tuple[Any, Any]:
    """The official client's API of nodes, and its watch."""
    try:
        kubernetes: Any = import_module("kubernetes")
        import_module("kubernetes.watch")
    except ImportError as error:
        expected = "a provider whose packages are installed; for this one: pip install 'skylark[kubernetes]'"
        raise ConfigError("SKYLARK_NODE_INFO_PROVIDER", "kubernetes", expected) from error
    try:
        try:
            kubernetes.config.load_incluster_config()
        except kubernetes.config.ConfigException:
            kubernetes.config.load_kube_config()
    except kubernetes.config.ConfigException as error:
        text = f"The provider kubernetes has to run in a cluster, or to be given a kubeconfig ({error})."
        raise ConfigError("SKYLARK_NODE_INFO_PROVIDER", "kubernetes", "a cluster", text) from error
    return kubernetes.client.CoreV1Api(), kubernetes.watch.Watch()


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of the client and of the connection as ours; those of its parser (an answer of nonsense) too."""
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise SourceUnavailable(_SOURCE, f"{error.status} {error.reason}") from error
    except (HTTPError, OSError, ValueError, TypeError, AttributeError) as error:
        raise SourceUnavailable(_SOURCE, f"{type(error).__name__}: {error}"[:300]) from error
