"""A proxy put together: everything that it opens when it starts and closes when it ends."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from skylark_oci.settings import RegistrySettings
from skylark_proxy.allocator import give_back
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.budget import Budget
from skylark_proxy.bulkheads import Bulkheads, elsewhere
from skylark_proxy.components import component_files
from skylark_proxy.config import Config
from skylark_proxy.disk_room import DiskRoom
from skylark_proxy.errors import ConfigError
from skylark_proxy.forwarder import Forwarder
from skylark_proxy.invocation import Invoker
from skylark_proxy.link_meter import LinkMeter
from skylark_proxy.machine import REAL
from skylark_proxy.memory_limit import memory_limit_bytes
from skylark_proxy.model import Node, Tier
from skylark_proxy.outbox import Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.peers_in_turn import InTurn
from skylark_proxy.placement import Defaults
from skylark_proxy.propagation import Propagation
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.runtime import Engine, Functions, Workers
from skylark_proxy.signatures import Signer
from skylark_proxy.store import Store, no_room_needed
from skylark_proxy.store_in_budget import StoreInBudget
from skylark_proxy.topology import address_of, endpoint
from skylark_proxy.topology_source import Alone, FileSource, TopologySource

_LOG = logging.getLogger(__name__)
_GRACE_S = 5.0
_SAVED = "node-info.json"
"""The last answer of the node-info service, in the data folder."""

Progress = Callable[[str], None]
S = TypeVar("S", bound=Store)


@dataclass(frozen=True)
class Proxy:
    """An open proxy: what its HTTP surface serves."""

    config: Config
    topology: TopologySource
    redis: RedisWire
    room: DiskRoom | None
    outbox: Outbox
    propagation: Propagation
    invoker: Invoker
    workers: Workers
    bulkheads: Bulkheads
    budget: Budget


@contextlib.contextmanager
def open_proxy(config: Config, progress: Progress = _LOG.info) -> Iterator[Proxy]:
    """Opens the proxy of a node: its topology, Redis, peers, engine and functions; closes them in reverse.

    Args:
        progress: Is told what takes its time.

    Raises:
        ConfigError: A setting does not fit the rest.
        InvalidArgument: The topology or a component is not valid.
        ComponentNotPulled: A component could not be had from its registry.
        StoreUnavailable: Redis cannot be reached.
    """
    budget = Budget(config.bodies_bytes(memory_limit_bytes()), on_relief=give_back)
    config.tls.check()
    with contextlib.ExitStack() as stack:
        topology = _provider(config, stack, progress)
        redis, room = _redis(config, stack, progress)
        store = _store(Store, config, redis, room)
        signer = Signer(config.peer_key, config.node) if config.peer_key is not None else None
        timeouts_ms = config.peer_connect_timeout_ms, config.peer_timeout_ms
        peers = Peers(*timeouts_ms, _meter(config, stack, signer), signer, config.tls)
        stack.callback(peers.close)
        outbox = Outbox(REAL, config.outbox_max_entries)
        forwarder = Forwarder(outbox, store, peers, lambda name: topology.current(time.time()).node(name), REAL)
        stack.callback(forwarder.close)
        bulkheads = Bulkheads()
        arrivals = Arrivals(config.arrival_wait_ms / 1000, waiting=elsewhere)
        in_budget, in_turn = _store(StoreInBudget, config, redis, room), peers.within(InTurn(bulkheads.peers))
        propagation = Propagation(in_budget, in_turn, topology, outbox, forwarder, arrivals, _defaults(config))
        engine = Engine(config.cache_dir / "compiled")
        stack.callback(engine.close)
        functions = Functions(engine)
        stack.callback(functions.close)
        registries = RegistrySettings(plain_http=config.registry_plain_http)
        for path in component_files(config.functions, config.cache_dir, registries):
            progress(f"loading {path.name}")
            names = functions.load(path)
            _LOG.info("component %s: %s", path.name, ", ".join(names))
        workers = Workers(config.workers)
        stack.callback(workers.close, _GRACE_S)
        invoker = Invoker(functions, propagation, workers, budget)
        yield Proxy(config, topology, redis, room, outbox, propagation, invoker, workers, bulkheads, budget)


def _provider(config: Config, stack: contextlib.ExitStack, progress: Progress) -> TopologySource:
    local = Node(config.node, address_of(config.host, config.port), Tier.CLOUD)
    given = _given(config, local)
    if config.node_info_url is None:
        return given
    from skylark_proxy.follow import FollowedTopology  # here: a node that follows nobody need not wait for it

    progress(f"asking {config.node_info_url} for the topology")
    followed = FollowedTopology(config.node_info_url, local, given, config.data_dir / _SAVED, config.tls)
    stack.callback(followed.close)
    followed.open(config.node_info_wait_ms)
    return followed


def _given(config: Config, local: Node) -> TopologySource:
    if config.topology is None:
        return Alone(local)
    source = FileSource(config.topology)
    nodes = source.current(0.0).nodes
    for setting, name in (("SKYLARK_NODE", config.node), ("SKYLARK_DESTINATION", config.destination)):
        if name is not None and name not in nodes:
            raise ConfigError(setting, name, f"a node of {config.topology}: {', '.join(nodes)}")
    for node in nodes.values():
        if node.name != config.node and endpoint(node.address) == endpoint(local.address):
            expected = f"{node.name}, which {config.topology} has at this proxy's address, {node.address}"
            raise ConfigError("SKYLARK_NODE", config.node, expected)
    return source


def _meter(config: Config, stack: contextlib.ExitStack, signer: Signer | None) -> LinkMeter | None:
    if not config.report_links:
        return None
    if config.node_info_url is None:
        raise ConfigError("SKYLARK_REPORT_LINKS", True, "SKYLARK_NODE_INFO_URL, the service to report to, beside it")
    from skylark_proxy.link_reports import LinkReporter

    meter = LinkMeter()
    reporter = LinkReporter(config.node_info_url, config.node, meter, signer=signer, tls=config.tls)
    stack.callback(reporter.close)
    reporter.open()
    return meter


def _redis(config: Config, stack: contextlib.ExitStack, progress: Progress) -> tuple[RedisWire, DiskRoom | None]:
    url, room = config.redis_url, None
    if url is None:
        progress("starting Redis")
        server = stack.enter_context(EmbeddedRedis(config.data_dir, config.redis_fsync, progress=progress))
        url, room = server.url, server.room
    wire = RedisWire(connect(url, tls=config.tls))
    stack.callback(wire.close)
    wire.ping()
    warning = wire.durability()
    if warning is not None:
        _LOG.warning("bundles may be lost: %s", warning)
    return wire, room


def _store(kind: type[S], config: Config, wire: RedisWire, room: DiskRoom | None) -> S:
    return kind(
        wire,
        config.node,
        max_bundle_bytes=config.max_bundle_bytes,
        max_bundles_per_chain=config.max_bundles_per_chain,
        room=room.reserved if room is not None else no_room_needed,
    )


def _defaults(config: Config) -> Defaults:
    return Defaults(
        destination=config.destination,
        policy=config.policy,
        objectives=config.objectives,
        ttl_ms=config.bundle_ttl_ms,
        keep_fetched=config.keep_fetched,
        ack=config.ack,
        replicate=config.replicate,
    )
