"""Fetches into memory of the caller, where the bundle is here and where it is not."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from schedules.memory_redis import MemoryRedis, MemoryWire
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.errors import NotFound
from skylark_proxy.forwarder import Forwarder
from skylark_proxy.machine import REAL
from skylark_proxy.model import BundleInfo, Metadata, Node, Read, StateKey, Tier
from skylark_proxy.outbox import Outbox
from skylark_proxy.peers import Peers
from skylark_proxy.placement import Defaults, Write
from skylark_proxy.propagation import Found, Propagation, Unchanged
from skylark_proxy.store import Store
from skylark_proxy.topology import Topology

HERE, FAR = Node("here", "127.0.0.1:1", Tier.EDGE), Node("far", "127.0.0.1:2", Tier.CLOUD)
LARGE = bytes(range(256)) * 100


class Alone:
    """The topology of both nodes, without links."""

    def current(self, at_s: float) -> Topology:
        return Topology.build([HERE, FAR], [], epoch=1)


class FarNode(Peers):
    """The other node, which has what it is given, and never a newer version than the asker."""

    def __init__(self) -> None:
        super().__init__(100, 100)
        self.bundle: Found | None = None

    def get(self, *_: Any, newer_than: int = 0, **__: Any) -> Any:
        if newer_than:
            return Unchanged()
        if self.bundle is None:
            raise NotFound("bundle", "any")
        return self.bundle


@pytest.fixture
def far() -> FarNode:
    return FarNode()


@pytest.fixture
def propagation(far: FarNode) -> Iterator[Propagation]:
    store, outbox = Store(MemoryWire(MemoryRedis(time.time)), "here"), Outbox(REAL, 100)
    forwarder = Forwarder(outbox, store, far, Alone().current(0).node, REAL)
    with contextlib.closing(far), contextlib.closing(forwarder):
        yield Propagation(store, far, Alone(), outbox, forwarder, Arrivals(0.1), Defaults())


class Memory:
    """Memory that was asked for."""

    def __init__(self) -> None:
        self.given: dict[str, memoryview] = {}

    def __call__(self, name: str, size: int) -> memoryview:
        self.given[name] = memoryview(bytearray(size))
        return self.given[name]


@pytest.mark.parametrize("read", Read)
def test_a_bundle_that_is_here(propagation: Propagation, read: Read) -> None:
    """Its large fields lie in the memory of the caller, whatever the reader is content with."""
    placed = propagation.place(Write(StateKey("c", "t", "here"), {"large": LARGE, "small": b"1"}))
    memory = Memory()
    fetched = propagation.fetch(placed.key, read=read, into=memory)
    assert fetched.fields == {"large": LARGE, "small": b"1"}
    assert list(memory.given) == ["large"]
    assert fetched.fields["large"] is memory.given["large"]


def test_a_copy_that_is_new_enough(propagation: Propagation, far: FarNode) -> None:
    """A copy here that its owner confirms is received into it too."""
    key, memory = StateKey("c", "t", "far"), Memory()
    meta = Metadata("far", 1, 0, f"{'a' * 16}-1")
    info = BundleInfo(key, 7, "far", meta, {"large": len(LARGE)})
    propagation.put_copy_here(key, info.sealed({"large": LARGE}, 0), 7)
    fetched = propagation.fetch(key, read=Read.LATEST, into=memory)
    assert fetched.fields["large"] is memory.given["large"]
    assert memory.given["large"] == LARGE


def test_a_bundle_of_another_node(propagation: Propagation, far: FarNode) -> None:
    """What another node sends comes as it is."""
    key, memory = StateKey("c", "t", "far"), Memory()
    far.bundle = BundleInfo(key, 7, "far", Metadata("far", 1, 0, f"{'a' * 16}-1"), {"large": 3}), {"large": b"abc"}
    fetched = propagation.fetch(key, into=memory)
    assert (fetched.fields, memory.given) == ({"large": b"abc"}, {})
