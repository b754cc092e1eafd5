"""Memory that is given back to the system."""

import threading

import pytest

from skylark_proxy import allocator


def test_who_asks_again_meanwhile_is_served_by_the_same_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often memory is to be given back, one thread does it; one that asks after that gets another."""
    begun, went_on = list[threading.Timer](), threading.Event()

    def start(timer: threading.Timer) -> None:
        begun.append(timer)

    monkeypatch.setattr(threading.Timer, "start", start)
    monkeypatch.setattr("gc.collect", went_on.set)
    for _ in range(3):
        allocator.give_back()
    assert len(begun) == 1
    begun[0].function()
    assert went_on.is_set()
    allocator.give_back()
    assert len(begun) == 2
    begun[1].function()
