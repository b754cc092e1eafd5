"""Skylark with one of its mends taken out. The simulation has to find what is wrong with each of them.

`python -m schedules --mutants` runs them all.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from skylark_proxy import forwarder, propagation, seen, store


@contextlib.contextmanager
def _scripts(old: str, new: str) -> Iterator[None]:
    changed = {sha1: source.replace(old.encode(), new.encode()) for sha1, source in store._SOURCES.items()}
    assert changed != store._SOURCES, f"no script has {old!r}"
    with patch.dict(store._SOURCES, changed):
        yield


def _without(owner: type, method: str, result: Any = None) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    return lambda: patch.object(owner, method, lambda *_, **__: result)


@contextlib.contextmanager
def _released_at_once() -> Iterator[None]:
    def release(self: store.Store, key: Any, holder: store.Holder, version: int | None = None) -> None:
        self._acknowledge(key, holder, None, version)

    with patch.object(store.Store, "release", release):
        yield


MUTANTS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "a late write is taken": lambda: _scripts("if known and not (expected", "if false and not (expected"),
    "a late deletion is taken": lambda: _scripts("if known and not expected", "if false and not expected"),
    "versions begin again": lambda: _scripts(
        "last, deleted, refused = math.max(current, number(noted[1])), noted[2], noted[3]",
        "now_us = function() return 0 end\n  deleted, refused = noted[2], noted[3]",
    ),
    "a deletion is not remembered at copies": lambda: _scripts(
        "if version >= last and version >= current then", "if false then"
    ),
    "those who have copies are not told": _without(propagation.Propagation, "_tell_holders"),
    "caches are not known": _without(store.Store, "note_cache", ()),
    "a cache is released while a copy is on its way": _released_at_once,
    "a repeated write does not say who has copies": lambda: _scripts(
        "return {'same', text(current), meta, holders_behind(ledger)}", "return {'same', text(current), meta, {}}"
    ),
    "what was seen is not remembered": _without(seen.Seen, "version", 0),
    "a write that was given up is not refused": _without(propagation.Propagation, "_give_up"),
    "a write that is refused is taken": lambda: _scripts("if refused then", "if false then"),
    "the ledgers are not looked at after a failure": _without(forwarder.Forwarder, "look_again"),
    "the ledgers are not looked at after a start": _without(store.Store, "behind", ()),
    "a conditional write is not checked": lambda: _scripts("if expected and expected ~= current", "if false"),
    "the writer's copy in the cloud is taken for granted": _without(forwarder.Forwarder, "_has", True),
}
"""Each mutant by what is wrong with it, and what makes it."""
