"""Threads with stacks that are deep enough for guests.

The guest's Python raises `RecursionError` once it has used 1 MB of its own stack in linear memory. The machine code of
the same calls uses up to 60 times as much of the host's stack, so with the usual 8 MB a guest would trap long before.
wasmtime counts from where a guest is entered and trusts that the thread has as much: a thread that has less would end
the process. All guests therefore run in threads that are started here.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

GUEST_STACK_BYTES = 64 << 20
"""What a guest may use of its thread's stack. It is address space; memory is taken as it is used."""

_HOST_STACK_BYTES = 8 << 20
"""What the host needs besides: before it enters a guest, and in the guest's calls to it."""

_starting = threading.Lock()


class _Here(threading.local):
    is_deep = False


_HERE = _Here()


def start_thread(run: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon thread in which guests may run."""

    def deep() -> None:
        _HERE.is_deep = True
        run()

    thread = threading.Thread(target=deep, name=name, daemon=True)
    with _starting:  # the size is one for the whole process; a thread started meanwhile only gets a deeper stack
        before = threading.stack_size(GUEST_STACK_BYTES + _HOST_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


def on_guest_stack(call: Callable[[], T]) -> T:
    """Return what `call` returns, from this thread if guests may run in it, else from one of its own."""
    if _HERE.is_deep:
        return call()
    outcome: list[Any] = [None, None]

    def run() -> None:
        try:
            outcome[0] = call()
        except BaseException as error:
            outcome[1] = error

    start_thread(run, "guest").join()
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result
