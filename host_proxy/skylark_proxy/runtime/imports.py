"""The interface `bundles` that hosted modules import."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from skylark_proxy.errors import InvalidArgument, SkylarkError, TooLarge
from skylark_proxy.model import Read
from skylark_proxy.runtime import interface
from skylark_proxy.runtime.abi import BrokenAbi, NoRoom, Record, TooMuch, Variant
from skylark_proxy.runtime.host_functions import HostFunction, Slots, arguments
from skylark_proxy.runtime.instance import Ended, Instance

_LOG = logging.getLogger(__name__)


class Import(NamedTuple):
    """A function of the interface: the core types of its parameters, and what it does."""

    core: tuple[str, ...]
    function: HostFunction


def _fetch(instance: Instance, key: str, fields: list[str], read: str, min_version: int) -> object:
    fetched = _state(instance).fetch(key, fields, Read(read), min_version, instance.land)
    about = fetched.key, fetched.version, fetched.origin, fetched.hops, fetched.age_ms, fetched.stale
    return *about, list(fetched.fields.items())


def _store(instance: Instance, contents: list[tuple[str, Any]], placement: tuple[Any, ...]) -> object:
    given = [(address, len(view)) for _, (address, view) in contents]
    try:
        fields = {name: view for name, (_, view) in contents}
        stored = _state(instance).store(fields, interface.placement(placement))
    finally:
        for _, (_, view) in contents:
            view.release()  # who has kept it gets an error, not what is in that memory next
        # componentize-py makes a copy of each `list<u8>` that goes to an import, and never frees it.
        for address, size in given:
            if size:
                instance.free(address)
    return stored.key, stored.version


def _delete(instance: Instance, key: str) -> object:
    return _state(instance).delete(key)


def _state(instance: Instance) -> interface.State:
    if instance.state is None:
        raise InvalidArgument("bundles", "call", "a call during an invocation, not while the component is loaded")
    state: interface.State = instance.state
    return state


def _import(parameters: Record, result: Variant, act: Callable[..., object]) -> Import:
    """The core function of a function of WIT, whose result goes to memory: its last parameter says where."""
    core = (*parameters.core, "i32")

    def function(instance: Instance, slots: Slots) -> None:
        memory, given = instance.memory, list(arguments(slots, len(core)))
        at = memory.check(given[-1] & 0xFFFFFFFF, result.size, result.align)
        answer = _answer(instance, parameters, act, given)
        try:
            result.store(memory, at, answer)
        except NoRoom as error:
            result.store(memory, at, ("err", _too_large(error)))
        for address in memory.left_over():
            instance.free(address)

    return Import(core, function)


def _answer(instance: Instance, parameters: Record, act: Callable[..., object], given: list[int]) -> tuple[str, Any]:
    """What a function of WIT returns: a case of its result, and the value."""
    try:
        return "ok", act(instance, *parameters.lift(instance.memory, iter(given)))
    except TooMuch as error:
        return "err", interface.error_case(InvalidArgument(error.what, error.size, f"at most {error.limit}"))
    except SkylarkError as error:
        return "err", interface.error_case(error)
    except NoRoom as error:
        return "err", _too_large(error)
    except (BrokenAbi, Ended):
        raise
    except Exception as error:
        _LOG.exception("a call of a guest to %s failed", act.__name__)
        return "err", ("internal", f"{type(error).__name__}; the node's log says more")


def _too_large(error: NoRoom) -> tuple[str, Any]:
    return interface.error_case(TooLarge("a bundle for a function", error.size, error.limit))


IMPORTS = {
    "fetch": _import(interface.FETCH, interface.FETCHED, _fetch),
    "store": _import(interface.STORE, interface.STORED, _store),
    "delete": _import(interface.DELETE, interface.DELETED, _delete),
}
"""The functions of the interface, by name."""
