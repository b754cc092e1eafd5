"""The interface `bundles` that components import, linked once for all sandboxes of an engine.

Calls are told apart by thread: a guest runs in the worker thread that invoked it, and so do its calls to the host.
"""

import ctypes
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Linker

from skylark import wire
from skylark_proxy.errors import InvalidArgument, SkylarkError
from skylark_proxy.model import Read
from skylark_proxy.runtime import interface, values
from skylark_proxy.runtime.engine import Engine
from skylark_proxy.runtime.exchange import ExchangeDirectory
from skylark_proxy.runtime.values import Case, Lower
from skylark_proxy.runtime.waits import Waits

_LOG = logging.getLogger(__name__)


class Current(threading.local):
    """The invocation that this thread runs."""

    state: interface.State | None = None
    exchange: ExchangeDirectory | None = None


CURRENT = Current()


def _active() -> tuple[interface.State, ExchangeDirectory]:
    if CURRENT.state is None or CURRENT.exchange is None:
        raise InvalidArgument("bundles", "call", "a call during an invocation, not while the component is loaded")
    return CURRENT.state, CURRENT.exchange


def _fetch(key: str, fields: Sequence[str], read: str, min_version: int) -> object:
    state, exchange = _active()
    fetched = state.fetch(key, fields, Read(read), min_version)
    contents = exchange.send("bundle.in", wire.encode(fetched.fields))
    about = (fetched.key, fetched.version, fetched.origin, fetched.hops)
    return (*about, fetched.age_ms, fetched.stale, contents)


def _store(contents: Case, placement: dict[str, object]) -> object:
    state, exchange = _active()
    try:
        fields = wire.decode(exchange.receive(contents))
    except wire.FormatError as error:
        raise InvalidArgument("contents", "bundle", f"the bundle format ({error})") from error
    stored = state.store(fields, interface.placement(placement))
    return (stored.key, stored.version)


def _delete(key: str) -> object:
    state, _ = _active()
    return state.delete(key)


def _callback(function: Callable[..., object], lower: Lower) -> Any:
    """A host function for the C API. No exception leaves it: what is unexpected becomes the error `internal`."""

    def call(_data: Any, _context: Any, _type: Any, arguments: Any, count: int, results: Any, _results: int) -> int:
        try:
            answer = Case("ok", function(*(values.lift(arguments[i]) for i in range(count))))
        except SkylarkError as error:
            answer = Case("err", interface.error_case(error))
        except Exception as error:
            _LOG.exception("a call of a guest to %s failed", function.__name__)
            answer = Case("err", Case("internal", f"{type(error).__name__}; the node's log says more"))
        lower(results[0], answer)
        return 0

    return ffi.wasmtime_component_func_callback_t(call)


_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _data: None)

_CALLBACKS = {
    "fetch": _callback(_fetch, interface.FETCH_RESULT),
    "store": _callback(_store, interface.STORE_RESULT),
    "delete": _callback(_delete, interface.DELETE_RESULT),
}


class GuestLinker(Linker):
    """A linker that gives components WASI, with waits that end at their deadline, and the interface `bundles`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.wasmtime)
        self.add_wasip2()
        self._waits = Waits(engine)
        self._waits.shadow(self)


def link(engine: Engine) -> Linker:
    """The linker of all sandboxes of an engine."""
    linker = GuestLinker(engine)
    with linker.root() as root, root.add_instance(interface.BUNDLES) as instance:
        for name, callback in _CALLBACKS.items():
            encoded = name.encode()
            error = ffi.wasmtime_component_linker_instance_add_func(
                instance.ptr(), encoded, len(encoded), callback, None, _FINALIZER
            )
            if error:
                raise WasmtimeError._from_ptr(error)
    return linker
