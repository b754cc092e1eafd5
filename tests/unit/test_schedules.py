"""The state protocol in simulated schedules, and the checker that judges them.

`SCHEDULE_WRITES` says how many writes are to be acknowledged (10,000,000 takes some hours), and
`SCHEDULE_SEED` with which seed to begin.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from schedules.checker import Checker, Operation, Violation
from schedules.network import Rates
from schedules.running import attempt, run
from schedules.schedule import Outcome, Settings
from skylark_proxy.model import StateKey
from skylark_proxy.outbox import Outbox
from skylark_proxy.propagation import Propagation
from skylark_proxy.store import Committed, Removed, Store

TESTS = Path(__file__).parents[1]
WRITES = int(os.environ.get("SCHEDULE_WRITES") or (200_000 if os.environ.get("CI") else 10_000))
FIRST_SEED = int(os.environ.get("SCHEDULE_SEED") or 0)


def test_nothing_that_must_not_happen_happens() -> None:
    """No write is lost, late, undone or read before another one that was seen, whatever fails at which moment."""
    done = _judge(run(FIRST_SEED, WRITES, Settings(), os.cpu_count() or 1))
    assert sum(outcome.acknowledged for outcome in done) >= WRITES
    assert sum(outcome.faults for outcome in done) > WRITES / 200


def _judge(outcomes: Iterable[tuple[int, Outcome | str]]) -> list[Outcome]:
    """Return what schedules did; fail with the first one that found something."""
    done = []
    for seed, outcome in outcomes:
        if isinstance(outcome, str):
            pytest.fail(f"to replay: cd tests && python -m schedules --seed {seed} --one\n{outcome}")
        done.append(outcome)
    return done


def test_a_seed_decides_everything() -> None:
    """Two processes whose hashes differ do the same with one seed, step by step; another seed is another schedule."""

    def told(seed: int, hash_seed: int) -> tuple[str, str]:
        command = [sys.executable, "-m", "schedules", "--seed", str(seed), "--one"]
        environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
        done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    first = told(3, 1)
    assert "acknowledged=4" in first[0]
    assert told(3, 2) == first
    assert told(4, 1) != first


def _commit(**changed: object) -> Callable[..., Committed]:
    """Return a `Store.commit` that has other terms than it is given."""
    commit = Store.commit
    return lambda store, key, sealed, **terms: commit(store, key, sealed, **(terms | changed))


DEFECTS: dict[str, tuple[type, str, Callable[..., object], str]] = {
    "late writes are taken": (Store, "commit", _commit(known_version=None), "came over version|acknowledged, and is"),
    "conditions are not checked": (Store, "commit", _commit(expected_version=None), "two acknowledged writes followed"),
    "what was given up is left alone": (
        Propagation,
        "_give_up",
        lambda *_: None,
        "given up and put elsewhere is there",
    ),
    "nobody is told": (Outbox, "add", lambda *_, **__: None, "still something to tell"),
    "ledgers are not read again": (Store, "behind", lambda _: iter(()), "and its owner has|was promised a copy"),
    "old copies stay": (Store, "forget", lambda _, __, version, **___: Removed(True, version), "and its owner has"),
    "nobody knows who keeps copies": (Store, "note_cache", lambda *_: (), "and its owner has"),
}


@pytest.mark.parametrize(("where", "name", "instead", "found"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(
    monkeypatch: pytest.MonkeyPatch, where: type, name: str, instead: Callable[..., object], found: str
) -> None:
    """Taking one safeguard away is noticed within a few schedules."""
    monkeypatch.setattr(where, name, instead)
    outcomes = (attempt(seed, Settings(rates=Rates(0.02, 0.02, 0.02, 0.02)))[1] for seed in range(20))
    assert re.search(found, next(outcome for outcome in outcomes if isinstance(outcome, str)))


KEY = StateKey("c", "t", "n")


class Story:
    """What a checker is told, one moment after the other."""

    def __init__(self) -> None:
        self.checker = Checker()
        self.now_s = 0.0

    def tick(self) -> float:
        self.now_s += 1
        return self.now_s

    def begin(self, content: bytes | None, expected: int | None = None, *, expires: bool = False) -> Operation:
        return self.checker.begin(KEY, content, self.tick(), expected=expected, expires=expires)

    def acknowledge(self, operation: Operation, version: int) -> None:
        self.checker.acknowledge(KEY, operation, version, self.tick())

    def write(self, content: bytes, version: int, expected: int | None = None, *, expires: bool = False) -> None:
        self.acknowledge(self.begin(content, expected, expires=expires), version)

    def delete(self, version: int) -> None:
        self.acknowledge(self.begin(None), version)

    def give_up(self, content: bytes | None) -> None:
        self.checker.give_up(self.begin(content), self.tick())

    def refuse(self, content: bytes) -> None:
        self.checker.refuse(self.begin(content), self.tick())

    def read(self, content: bytes | None, version: int = 0, *, seen: int = 0, of_owner: bool = False) -> None:
        floor = self.checker.floor(KEY) if of_owner else None
        self.checker.read(KEY, content, version, seen=seen, floor=floor, where="n")

    def settle(self, content: bytes | None, version: int = 0) -> None:
        self.checker.settled(KEY, "its owner", content, version)


def _allowed(story: Story) -> None:
    """Tell what may happen."""
    story.write(b"a", 10)
    story.read(b"a", 10, seen=10, of_owner=True)
    story.give_up(b"maybe")
    story.write(b"b", 20, expected=10)
    story.read(b"a", 10)  # a copy, to a reader that has seen nothing newer
    story.give_up(b"happened")
    story.read(b"happened", 25, of_owner=True)
    story.refuse(b"refused")
    story.delete(30)
    story.delete(30)  # it is deleted already
    story.read(None, of_owner=True)
    story.write(b"c", 40, expires=True)
    story.read(None, of_owner=True)
    story.write(b"d", 50)
    story.give_up(None)
    story.settle(None)


def _lost(story: Story) -> None:
    story.write(b"a", 10)
    story.write(b"b", 20)
    story.settle(b"a", 10)


def _gone(story: Story) -> None:
    story.write(b"a", 10)
    story.settle(None)


def _gone_for_a_reader_of_the_owner(story: Story) -> None:
    story.delete(5)
    story.write(b"a", 10)
    story.read(None, of_owner=True)


def _risen(story: Story) -> None:
    story.write(b"a", 10)
    story.delete(20)
    story.settle(b"a", 10)


def _late(story: Story) -> None:
    story.give_up(b"late")
    story.write(b"a", 10)
    story.settle(b"late", 20)


def _read_late(story: Story) -> None:
    story.give_up(b"late")
    story.write(b"a", 10)
    story.read(b"late", 20)


def _twice_the_same_condition(story: Story) -> None:
    story.write(b"a", 10)
    one, other = story.begin(b"b", 10), story.begin(b"c", 10)
    story.acknowledge(one, 20)
    story.acknowledge(other, 30)


def _older_than_seen(story: Story) -> None:
    story.write(b"a", 10)
    story.write(b"b", 20)
    story.read(b"a", 10, seen=20)


def _old_at_the_owner(story: Story) -> None:
    story.write(b"a", 10)
    story.write(b"b", 20)
    story.read(b"a", 10, of_owner=True)


def _foreign(story: Story) -> None:
    story.write(b"a", 10)
    story.read(b"another key's", 10)


def _refused_and_read(story: Story) -> None:
    story.refuse(b"a")
    story.read(b"a", 10)


def _a_version_with_two_contents(story: Story) -> None:
    story.write(b"a", 10)
    story.give_up(b"b")
    story.read(b"b", 10)


def _a_version_again_after_a_deletion(story: Story) -> None:
    story.write(b"a", 10)
    story.delete(20)
    story.write(b"b", 20)


def _a_version_that_falls(story: Story) -> None:
    story.write(b"a", 10)
    story.write(b"b", 9)


def _a_write_that_happens_twice(story: Story) -> None:
    story.write(b"a", 10)
    story.read(b"a", 20)


FAULTS: dict[str, tuple[Callable[[Story], None], str]] = {
    "a write is lost": (_lost, "version 10 was read, and 20 had been acknowledged"),
    "a bundle is gone": (_gone, "version 10 was acknowledged, and is gone"),
    "a bundle is gone for a moment": (_gone_for_a_reader_of_the_owner, "version 10 was acknowledged, and is gone"),
    "a bundle rises": (_risen, "version 10 was read, and 20 had been acknowledged"),
    "a late write is there": (_late, "a write that was given up came over version 10"),
    "a late write is read": (_read_late, "a write that was given up came over version 10"),
    "two follow one version": (_twice_the_same_condition, "two acknowledged writes followed version 10"),
    "a session goes back": (_older_than_seen, "version 10 was read, and 20 had been seen before"),
    "the owner gives an old version": (_old_at_the_owner, "version 10 was read, and 20 had been acknowledged"),
    "contents of another key": (_foreign, "which nobody has written there"),
    "a refused write is read": (_refused_and_read, "a write that was refused is read"),
    "two contents of one version": (_a_version_with_two_contents, "version 10 has two contents"),
    "a version comes again": (_a_version_again_after_a_deletion, "version 20 was given after 20"),
    "a version falls": (_a_version_that_falls, "version 9 was given after 10"),
    "a write happens twice": (_a_write_that_happens_twice, "one write happened twice, as version 10 and 20"),
}


@pytest.mark.parametrize(("tell", "found"), FAULTS.values(), ids=FAULTS)
def test_the_checker_finds(tell: Callable[[Story], None], found: str) -> None:
    """Each thing that must not happen is a violation, which says what it is and what was asked of the key."""
    with pytest.raises(Violation, match=found) as caught:
        tell(Story())
    assert "write" in str(caught.value)


def test_the_checker_lets_pass_what_may_happen() -> None:
    """Whatever a doubtful write, a deletion or an expiry explains is no violation."""
    story = Story()
    _allowed(story)
    assert (story.checker.acknowledged, story.checker.in_doubt) == (4, 3)


def test_a_failing_schedule_says_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed, the command, and all that was asked of the key are in the message."""
    monkeypatch.setattr(Store, "commit", _commit(expected_version=None))
    outcomes = run(FIRST_SEED, 400, Settings(), 1)
    with pytest.raises(pytest.fail.Exception, match=rf"--seed {FIRST_SEED} --one\n.*followed version.*\n +0\."):
        _judge(outcomes)
