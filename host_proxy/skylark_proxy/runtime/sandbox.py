"""One sandbox: an instance of a component with its store, exchange directory, limits and guards."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from wasmtime import ExitTrap, Store, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Component, Func, Instance, Linker

from skylark.wire import Buffer
from skylark_proxy.errors import FunctionFailed, FunctionTimeout, InvalidArgument, TooLarge
from skylark_proxy.runtime import capi, interface, values
from skylark_proxy.runtime.engine import Engine
from skylark_proxy.runtime.exchange import ExchangeDirectory
from skylark_proxy.runtime.guard import Guard
from skylark_proxy.runtime.imports import CURRENT
from skylark_proxy.runtime.output import GuestOutput
from skylark_proxy.runtime.stacks import on_guest_stack
from skylark_proxy.runtime.values import Case

_MAX_TOLD = 1 << 16
"""Characters of what a guest says of its failure that its caller is told: the last ones, where the reason is."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sandbox may use.

    Attributes:
        memory_bytes: Its linear memory, the Python interpreter's 40 MB included.
        deadline_ms: The time of one invocation.
        exchange_bytes: Its exchange directory: request, response and bundles on their way.
    """

    memory_bytes: int = 512 << 20
    deadline_ms: int = 30_000
    exchange_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Invocation:
    """One execution: `functions` run one after the other and share the sandbox and the bundle `state_key`.

    `body` is the request's body, or a file on the exchange directories' file system that the sandbox may take.
    """

    functions: tuple[str, ...]
    chain_id: str
    task_id: str
    node: str
    state_key: str | None = None
    body: Buffer | Path = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A function's own answer."""

    status: int
    content_type: str
    body: Buffer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation gave: the key of the bundle that it stored and its own answer, each None if there is none."""

    key: str | None
    response: Response | None


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How the sandboxes of a component are made: limits, environment, the folder of the exchange directories."""

    exchange_root: Path
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)


class Sandbox:
    """An instance. It runs one invocation at a time, in the thread that calls.

    Raises:
        InvalidArgument: The component is not of the world `skylark:state/hosted`, or needs more than its limits.
    """

    def __init__(self, engine: Engine, linker: Linker, component: Component, config: SandboxConfig) -> None:
        self._limits = config.limits
        self._exchange = ExchangeDirectory(config.exchange_root, config.limits.exchange_bytes)
        self._outputs = (GuestOutput("stdout"), GuestOutput("stderr"))
        self._store = Store(engine.wasmtime)
        try:
            self._store.set_limits(memory_size=config.limits.memory_bytes)
            self._store.set_wasi(self._wasi(config.environment))
            self._guard = Guard(self._store, self._exchange.over_quota)
            self._guard.start(config.limits.deadline_ms)
            instance = on_guest_stack(lambda: self._instantiate(linker, component))
            self._functions, self._handle = (self._export(instance, name) for name in ("functions", "handle"))
        except WasmtimeError as error:
            self.close()
            raise InvalidArgument("component", "its imports", f"those of {interface.WORLD} ({error})") from error
        except BaseException:
            self.close()
            raise

    def functions(self) -> list[str]:
        """The names of the component's functions."""
        names: list[str] = on_guest_stack(lambda: self._call(self._functions))
        return names

    def invoke(self, invocation: Invocation, state: interface.State) -> Outcome:
        """Runs an invocation.

        Raises:
            FunctionTimeout: It did not end before the deadline.
            FunctionFailed: It raised, was ended by the host, trapped, or answered with what is not an answer. The
                sandbox must not be used again unless the function raised.
            TooLarge: The request's body exceeds the quota of the exchange directory.
        """
        return on_guest_stack(lambda: self._invoke(invocation, state))

    def _invoke(self, invocation: Invocation, state: interface.State) -> Outcome:
        name = "+".join(invocation.functions)
        body = self._send_body(invocation.body)
        for output in self._outputs:
            output.start(name, invocation.chain_id)
        CURRENT.state, CURRENT.exchange = state, self._exchange
        self._guard.start(self._limits.deadline_ms)
        try:
            answer = self._call(self._handle, _argument(invocation, body))
            if self._exchange.was_written() and self._exchange.over_quota():
                raise self._over_quota(name)
            return self._outcome(name, answer)
        except WasmtimeError as error:
            raise self._ended(name, error) from error
        finally:
            CURRENT.state = CURRENT.exchange = None
            for output in self._outputs:
                output.flush()

    def clear(self) -> None:
        """Makes the sandbox ready for another invocation: what the last one left in the exchange directory goes."""
        self._exchange.clear()

    def close(self) -> None:
        """Frees the instance and removes its exchange directory."""
        self._store.close()
        self._exchange.close()

    def _export(self, instance: Instance, name: str) -> Func:
        handler = instance.get_export_index(self._store, interface.HANDLER)
        index = instance.get_export_index(self._store, name, handler) if handler else None
        function = instance.get_func(self._store, index) if index else None
        if function is None:
            raise InvalidArgument("component", "its exports", f"those of {interface.WORLD}: {interface.HANDLER}")
        return function

    def _wasi(self, environment: Mapping[str, str]) -> WasiConfig:
        wasi = WasiConfig()
        wasi.env = list(environment.items())
        wasi.preopen_dir(str(self._exchange.path), "/exchange")
        wasi.stdout_custom = self._outputs[0].write
        wasi.stderr_custom = self._outputs[1].write
        return wasi

    def _instantiate(self, linker: Linker, component: Component) -> Instance:
        with self._guard.watching():
            return linker.instantiate(self._store, component)

    def _send_body(self, body: Buffer | Path) -> Case:
        return (
            self._exchange.adopt("request", body) if isinstance(body, Path) else self._exchange.send("request", [body])
        )

    def _call(self, function: Func, argument: values.Value | None = None) -> Any:
        """Calls an export that takes one argument or none, and returns one value."""
        result, count = values.Value(), 0 if argument is None else 1
        with self._guard.watching():
            error = ffi.wasmtime_component_func_call(
                ctypes.byref(function._func), self._store._context(), argument, count, ctypes.byref(result), 1
            )
        if argument is not None:
            capi.val_delete(ctypes.byref(argument))
        if error:
            raise WasmtimeError._from_ptr(error)
        answer = values.lift(result)
        capi.val_delete(ctypes.byref(result))
        return answer

    def _outcome(self, name: str, answer: Case) -> Outcome:
        if answer.name == "err":
            failure = answer.value
            kind, message, trace = (failure[part][-_MAX_TOLD:] for part in ("kind", "message", "traceback"))
            raise FunctionFailed(failure["function"][:_MAX_TOLD] or name, kind, message, trace)
        response = answer.value["response"]
        if response is None:
            return Outcome(answer.value["key"], None)
        try:
            return Outcome(answer.value["key"], self._response(response))
        except (InvalidArgument, TooLarge) as error:
            raise FunctionFailed(name, "response", error.message) from error

    def _response(self, response: Mapping[str, Any]) -> Response:
        """The guest's answer, of which no word is trusted: its SDK's checks are the guest's to pass by."""
        status, content_type = response["status"], response["content-type"]
        if not 200 <= status <= 599:
            raise InvalidArgument("status", status, "200 to 599")
        if not (content_type.isascii() and content_type.isprintable()):
            raise InvalidArgument("content-type", content_type[:100], "printable ASCII")
        return Response(status, content_type, self._exchange.receive(response["body"]))

    def _over_quota(self, name: str) -> FunctionFailed:
        limit = self._limits.exchange_bytes
        return FunctionFailed(name, "quota", f"it put more than {limit} bytes, or too many files, into /exchange")

    def _ended(self, name: str, error: WasmtimeError) -> FunctionFailed:
        """What to tell the caller of a guest that did not come back."""
        if self._guard.reason == "deadline":
            return FunctionTimeout(name, "deadline", f"it did not end within {self._limits.deadline_ms} ms")
        if self._guard.reason == "quota":
            return self._over_quota(name)
        if isinstance(error, ExitTrap):
            return FunctionFailed(name, "exit", f"it ended its process with status {error.code}")
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and "wasm function" not in line]
        memory = f"its memory limit is {self._limits.memory_bytes} bytes"
        return FunctionFailed(name, "trap", f"{lines[-1] if lines else 'no reason given'} ({memory})")


def _argument(invocation: Invocation, body: Case) -> values.Value:
    members = (
        invocation.functions,
        invocation.chain_id,
        invocation.task_id,
        invocation.node,
        invocation.state_key,
        invocation.content_type,
        body,
    )
    slot = values.Value()
    interface.INVOCATION(slot, members)
    return slot
