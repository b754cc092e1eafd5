"""Functions of the host that a guest calls.

Calls are told apart by thread: a guest runs in the worker thread that invoked it, and so do its calls to the host.
No exception leaves a host function: what it raises becomes a trap, which ends the guest.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from skylark_proxy.runtime import capi
from skylark_proxy.runtime.abi import BrokenAbi, NoRoom
from skylark_proxy.runtime.instance import CURRENT, Ended, Instance

_LOG = logging.getLogger(__name__)

Slots = Any
"""The words of a call's arguments, where its result goes too."""

HostFunction = Callable[[Instance, Slots], None]


def arguments(slots: Slots, count: int) -> Iterator[int]:
    """The arguments of a call, as they are: of an i32 only the lower half counts."""
    return (slots[capi.SLOT_WORDS * number] for number in range(count))


def integers(slots: Slots, count: int) -> list[int]:
    """The arguments of a call whose parameters all are i32, unsigned."""
    return [slots[capi.SLOT_WORDS * number] & 0xFFFFFFFF for number in range(count)]


def callback(function: HostFunction) -> Any:
    """Make what wasmtime calls of a host function."""

    def call(_data: Any, _caller: Any, slots: Slots, _count: int) -> int:
        instance = CURRENT.instance
        try:
            assert instance is not None
            if not instance.may_leave:
                raise BrokenAbi("it called the host while its memory was being allocated or freed")
            function(instance, slots)
            return 0
        except Ended as error:
            ended = error
        except (BrokenAbi, NoRoom) as error:
            ended = Ended("trap", str(error))
        except BaseException:
            _LOG.exception("a call of a guest to the host failed")
            ended = Ended("trap", "the host failed; the node's log says more")
        if instance is not None:
            instance.ended = ended
        return capi.new_trap(ended.reason)

    return capi.CALLBACK(call)
