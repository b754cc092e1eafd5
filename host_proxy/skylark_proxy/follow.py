"""Follows the node-info service: a thread waits there for changes; what was known last holds while it is away."""

import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from skylark_proxy.connections import open_pool
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.model import Node, Tier
from skylark_proxy.nodeinfo.messages import SnapshotJson
from skylark_proxy.private_folders import make_private
from skylark_proxy.tls import TlsFiles
from skylark_proxy.topology import Topology, check_addresses
from skylark_proxy.topology_source import Alone, Provenance, Source, TopologySource

_LOG = logging.getLogger(__name__)
_WAIT_MS = 10_000
_CONNECT_S = 2.0
_ANSWER_S = 5.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 5.0


class NodeInfoUnavailable(SkylarkError):
    """The node-info service cannot be reached, or answers with nonsense."""

    code = "unavailable"
    retryable = True

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"the node-info service at {url} cannot be reached: {reason}")
        self.url = url
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known, in one piece: it is replaced as a whole. `confirmed_s` is by the monotonic clock."""

    topology: Topology
    source: Source
    confirmed_s: float | None = None


class FollowedTopology:
    """The topology and objectives of the node-info service, the last ones that it told. Safe for threads.

    The service's epoch is that of the topology, and rises with the objectives too. A local node that the service does
    not know of is added without links, so that it keeps its bundles for itself until the service knows it.

    Args:
        url: The service's.
        local: The local node, in case that the service does not know it.
        fallback: What holds until the service has told its topology. A node alone gives way to what was saved.
        saved: Where the last answer is kept for the next start.
        tls: For a service that speaks TLS.
    """

    def __init__(
        self, url: str, local: Node, fallback: TopologySource, saved: Path, tls: TlsFiles | None = None
    ) -> None:
        self._url = url
        self._local = local
        self._saved = saved
        self._fallback = fallback
        self._pool = open_pool(tls or TlsFiles(), maxsize=2, retries=False)
        self._known = _Known(fallback.current(time.time()), fallback.provenance().source)
        self._lock = Lock()
        self._told = Event()
        self._closing = Event()
        self._lost = False
        self._known_there = True
        self._thread = Thread(target=self._follow, name="node-info", daemon=True)

    def open(self, wait_ms: int) -> None:
        """Begins to follow, and waits for the first answer, but no longer than `wait_ms`."""
        self._thread.start()
        if not self._told.wait(wait_ms / 1000):
            self._fall_back()

    def close(self) -> None:
        """Stops following. The thread ends with the answer that it waits for, or with the process."""
        self._closing.set()
        self._pool.clear()

    def current(self, at_s: float) -> Topology:
        """The last topology that the service told."""
        return self._known.topology

    def provenance(self) -> Provenance:
        """Where it comes from, and the seconds since the service last said so. It does every 10 s at least."""
        known = self._known
        age_s = None if known.confirmed_s is None else time.monotonic() - known.confirmed_s
        return Provenance(known.source, age_s)

    def refresh(self) -> None:
        """Asks the service now.

        Raises:
            NodeInfoUnavailable: It does not answer, or not with a topology.
        """
        self._take(self._ask({}))

    def _follow(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._closing.is_set():
            after = {"after": self._known.topology.epoch, "wait_ms": _WAIT_MS} if self._told.is_set() else {}
            try:
                self._take(self._ask(after))
                retry_s = _FIRST_RETRY_S
            except NodeInfoUnavailable as error:
                self._log_lost(error)
                self._closing.wait(retry_s * random.uniform(0.5, 1.0))  # so that not all nodes ask at once
                retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _ask(self, query: Mapping[str, int]) -> bytes | None:
        """The service's answer; None: its epoch is still the one that the query names."""
        url = f"{self._url}/current-topology" + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=query.get("wait_ms", 0) / 1000 + _ANSWER_S)
        try:
            answer = self._pool.request("GET", url, timeout=timeout, redirect=False)
        except HTTPError as error:
            raise NodeInfoUnavailable(self._url, type(error).__name__) from error
        if answer.status != 200 and not (answer.status == 304 and query):
            raise NodeInfoUnavailable(self._url, f"it answered with status {answer.status}")
        return answer.data if answer.status == 200 else None

    def _take(self, answer: bytes | None) -> None:
        with self._lock:
            now_s = time.monotonic()
            if answer is None:
                self._known = replace(self._known, confirmed_s=now_s)
            else:
                topology = self._parse(answer)
                if topology.epoch == self._known.topology.epoch and self._told.is_set():
                    topology = self._known.topology
                else:
                    _LOG.info("topology of epoch %d: %d nodes", topology.epoch, len(topology.nodes))
                    self._save(answer)
                self._known = _Known(topology, Source.NODE_INFO, now_s)
            self._told.set()
            if self._lost:
                _LOG.warning("the node-info service at %s is back", self._url)
                self._lost = False

    def _parse(self, answer: bytes) -> Topology:
        try:
            topology = msgspec.json.decode(answer, type=SnapshotJson).to_topology()
        except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidArgument) as error:
            raise NodeInfoUnavailable(self._url, f"its answer is no topology ({error})") from error
        known_there, self._known_there = self._known_there, self._local.name in topology.nodes
        if self._known_there:
            return topology
        if known_there:
            _LOG.warning("the node-info service does not know this node, %s: it has no links", self._local.name)
        alone = replace(self._local, tier=Tier.EDGE)
        try:
            whole = Topology.build([*topology.nodes.values(), alone], topology.links, topology.epoch)
            check_addresses((f"node {node.name}", node) for node in whole.nodes.values())
        except InvalidArgument as error:  # another name for this node's address: SKYLARK_NODE is wrong, here or there
            raise NodeInfoUnavailable(self._url, f"its topology does not fit this node ({error})") from error
        return replace(whole, objectives=topology.objectives)

    def _log_lost(self, error: NodeInfoUnavailable) -> None:
        if not self._lost and not self._closing.is_set():
            self._lost = True
            _LOG.warning("%s; what is known stays in force", error)

    def _fall_back(self) -> None:
        """Takes what was saved, if the fallback is but the node alone; a contact in the meantime wins."""
        saved = self._read_saved() if isinstance(self._fallback, Alone) else None
        with self._lock:
            if self._told.is_set():
                return
            if saved is not None:
                self._known = saved
        _LOG.warning("starting without the node-info service: the topology is %s", _DESCRIBED[self._known.source])

    def _read_saved(self) -> _Known | None:
        try:
            answer, written_s = self._saved.read_bytes(), self._saved.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOG.warning("%s cannot be read: %s", self._saved, error.strerror)
            return None
        try:
            topology = self._parse(answer)
        except NodeInfoUnavailable as error:
            _LOG.warning("%s is passed over: %s", self._saved, error.reason)
            return None
        age_s = max(0.0, time.time() - written_s)
        return _Known(topology, Source.SAVED, time.monotonic() - age_s)

    def _save(self, answer: bytes) -> None:
        """Keeps an answer for the next start. Not keeping it costs only that, so a failure is logged."""
        written = self._saved.with_suffix(".new")
        try:
            make_private(self._saved.parent)
            written.write_bytes(answer)
            written.replace(self._saved)
        except OSError as error:
            _LOG.warning("%s cannot be written: %s", self._saved, error.strerror)


_DESCRIBED = {
    Source.FILE: "that of SKYLARK_TOPOLOGY",
    Source.SAVED: "the last one that it told",
    Source.ALONE: "this node alone",
}
