"""Threads that wait for one thing do not hold up those that wait for another."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from servers import wait_for
from skylark_proxy.bulkheads import Bulkhead, PeerSlots, elsewhere
from skylark_proxy.errors import Overloaded, PeerUnreachable
from skylark_proxy.slots import Slots


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Blocked calls wait for this; it is set in the end, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_that_waits_for_a_peer_leaves_its_place(released: threading.Event) -> None:
    """While calls wait for a frozen node, others of the same kind run: there is one place, and it is free."""
    local, peers = Bulkhead(Slots("local", 1, 10, 20.0)), PeerSlots()

    def ask_frozen() -> str:
        with peers.calling("frozen"):
            released.wait(20)
        return "late"

    async def run() -> None:
        frozen = [asyncio.ensure_future(local.run(ask_frozen)) for _ in range(5)]
        for _ in range(3):
            assert await asyncio.wait_for(local.run(lambda: "here"), 20) == "here"
        released.set()
        assert await asyncio.gather(*frozen) == ["late"] * 5
        assert await asyncio.wait_for(local.run(lambda: "again"), 20) == "again"
        assert local._slots._free == 1

    asyncio.run(run())


def test_one_peer_does_not_take_the_places_of_others(released: threading.Event) -> None:
    """Calls to a node that does not answer are bounded; further ones are told that it cannot be reached, and another
    node is called as ever."""
    peers, threads, refused = PeerSlots(), list[threading.Thread](), list[PeerUnreachable]()

    def ask_frozen() -> None:
        try:
            with peers.calling("frozen"):
                released.wait(20)
        except PeerUnreachable as error:
            refused.append(error)

    for _ in range(60):
        threads.append(threading.Thread(target=ask_frozen))
        threads[-1].start()
    wait_for(lambda: len(refused) == 44, "all that have no place were told so")
    assert {error.node for error in refused} == {"frozen"}
    assert all(error.retryable for error in refused)
    with peers.calling("other"):
        pass
    released.set()
    for thread in threads:
        thread.join()
    with peers.calling("frozen"):
        pass


def test_a_place_is_given_back_whatever_happens() -> None:
    """A call that fails, here or at a peer, leaves all places free."""
    local, peers = Bulkhead(Slots("local", 1, 10, 20.0)), PeerSlots()

    def fail() -> None:
        with peers.calling("p"):
            raise ValueError

    async def run() -> None:
        for _ in range(40):
            with pytest.raises(ValueError):
                await local.run(fail)

    asyncio.run(run())
    assert (local._slots._free, peers._of["p"]._free) == (1, 16)


def test_elsewhere_without_a_place_is_nothing() -> None:
    """A thread that holds no place, such as a function's, may wait elsewhere too."""
    with elsewhere(), elsewhere():
        pass


def test_a_full_bulkhead_says_so() -> None:
    """Who finds no place in time gets an error that a retry can help."""
    full = Bulkhead(Slots("local", 0, 10, 0.01))
    with pytest.raises(Overloaded):
        asyncio.run(full.run(lambda: None))
