"""What is expected at a node: a fetch waits for it, and never longer than it may."""

import threading
import time
from collections.abc import Callable

from servers import wait_for
from skylark_proxy.arrivals import Arrivals
from skylark_proxy.model import StateKey

KEY = StateKey("chain", "t1")


class Waiter:
    """A thread that waits for a bundle."""

    def __init__(self, arrivals: Arrivals, key: StateKey = KEY) -> None:
        self.answer: bool | None = None
        self.waited_s = 0.0
        self._thread = threading.Thread(target=self._wait, args=[arrivals, key])
        self._thread.start()

    def _wait(self, arrivals: Arrivals, key: StateKey) -> None:
        started = time.monotonic()
        self.answer = arrivals.wait(key)
        self.waited_s = time.monotonic() - started

    def join(self) -> "Waiter":
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()


def took_s(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_what_is_not_expected() -> None:
    """A bundle that nobody announced is not waited for."""
    arrivals = Arrivals(10)
    arrivals.expect(StateKey("chain", "other"), 10)
    arrivals.expect(StateKey("other", "t1"), 10)
    assert took_s(lambda: arrivals.wait(KEY)) < 0.2
    assert arrivals.wait(KEY) is False


def test_what_arrives() -> None:
    """All who wait for a bundle go on as soon as it has arrived, whatever node their keys name."""
    arrivals = Arrivals(10)
    arrivals.expect(KEY.at("cloud"), 10)
    waiters = [Waiter(arrivals, key) for key in (KEY, KEY.at("cloud"), KEY.at("sat"))]
    other = StateKey("chain", "t2")
    arrivals.expect(other, 10)
    waiting = Waiter(arrivals, other)
    arrivals.settle(KEY.at("sat"))
    for waiter in waiters:
        assert (waiter.join().answer, waiter.waited_s < 5) == (True, True)
    assert waiting.waits
    arrivals.settle(other)
    assert waiting.join().answer
    assert len(arrivals) == 0


def test_what_has_arrived() -> None:
    """Once it is there it is no longer expected; settling what nobody expects does no harm."""
    arrivals = Arrivals(10)
    arrivals.settle(KEY)
    arrivals.expect(KEY, 10)
    arrivals.settle(KEY)
    assert arrivals.wait(KEY) is False


def test_the_longest_wait() -> None:
    """A fetch waits no longer than the node allows, however long the bundle is expected."""
    arrivals = Arrivals(0.1)
    arrivals.expect(KEY, 600)
    waiter = Waiter(arrivals).join()
    assert waiter.answer is True
    assert 0.1 <= waiter.waited_s < 1
    assert len(arrivals) == 1


def test_the_end_of_an_announcement() -> None:
    """A fetch waits no longer than the announcement holds."""
    arrivals = Arrivals(60)
    arrivals.expect(KEY, 0.1)
    assert Waiter(arrivals).join().waited_s < 1
    assert took_s(lambda: arrivals.wait(KEY)) < 0.1


def test_announcements_that_are_overdue() -> None:
    """What never arrives is forgotten: announcements do not pile up."""
    arrivals = Arrivals(10)
    for number in range(1000):
        arrivals.expect(StateKey("chain", f"t{number}"), 0.001)

    def forgotten() -> bool:
        arrivals.expect(KEY, 10)
        return len(arrivals) == 1

    wait_for(forgotten, "only the last one is expected", 5)


def test_an_announcement_that_is_repeated() -> None:
    """The last announcement counts."""
    arrivals = Arrivals(60)
    arrivals.expect(KEY, 60)
    arrivals.expect(KEY, 0.05)
    assert Waiter(arrivals).join().waited_s < 5


def test_many_who_wait() -> None:
    """Only so many fetches wait at once that threads are left for the bundles that are to arrive; the others look
    elsewhere at once."""
    arrivals = Arrivals(20, max_waiting=16)
    arrivals.expect(KEY, 20)
    waiters = [Waiter(arrivals) for _ in range(64)]
    wait_for(lambda: sum(waiter.waits for waiter in waiters) == 16, "sixteen wait")
    assert [waiter.answer for waiter in waiters if not waiter.waits] == [False] * (64 - 16)
    arrivals.settle(KEY)
    assert sum(waiter.join().answer is True for waiter in waiters) == 16
    arrivals.expect(KEY, 0.05)
    assert Waiter(arrivals).join().answer is True


def test_whether_a_bundle_is_expected() -> None:
    """Whoever asks before looking into the store cannot miss a bundle that arrives in between."""
    arrivals = Arrivals(10)
    assert not arrivals.expects(KEY)
    arrivals.expect(KEY, 10)
    assert arrivals.expects(KEY.at("sat"))
    arrivals.settle(KEY)
    assert not arrivals.expects(KEY)
