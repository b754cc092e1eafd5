"""One sandbox: an instance of a hosted module with its limits and output, and an invocation in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from wasmtime import WasmtimeError

from skylark.functions import MARKED, NOTHING, SETTLE
from skylark.wire import Buffer
from skylark_proxy.errors import FunctionFailed, FunctionTimeout, InvalidArgument, TooLarge
from skylark_proxy.runtime import interface
from skylark_proxy.runtime.abi import BrokenAbi, Memory, NoRoom, TooMuch
from skylark_proxy.runtime.immortal import ADDRESS_BYTES, make_immortal
from skylark_proxy.runtime.instance import Ended, Pristine
from skylark_proxy.runtime.module import HostedModule
from skylark_proxy.runtime.output import GuestOutput
from skylark_proxy.runtime.stacks import on_guest_stack

_WARM_UP_CALLS = 30
_LOADING_MS = 30_000
"""The time of each call when a component is loaded. The manifest's deadline is for functions, and may be short."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sandbox may use.

    Attributes:
        memory_bytes: Its linear memory, the Python interpreter's 40 MB included.
        deadline_ms: The time of one invocation.
    """

    memory_bytes: int = 512 << 20
    deadline_ms: int = 30_000


class Invocation(msgspec.Struct, frozen=True):
    """One execution: `functions` run one after the other and share the sandbox and the bundle `state_key`."""

    functions: tuple[str, ...]
    chain_id: str
    task_id: str
    node: str
    state_key: str | None = None
    body: Buffer = b""
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
    """How the sandboxes of a component are made: limits and environment.

    Attributes:
        reuse: Whether a sandbox serves more than one invocation without being reset.
    """

    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    reuse: bool = False


class Sandbox:
    """An instance. It runs one invocation at a time, in the thread that calls.

    Args:
        pristine: What the instance begins with and is reset to; None: with the module's own data, and it cannot be.

    Raises:
        InvalidArgument: The component needs more than its limits.
    """

    def __init__(self, module: HostedModule, config: SandboxConfig, pristine: Pristine | None = None) -> None:
        self._limits = config.limits
        self._ends_in_reset = pristine is not None and not config.reuse
        self._outputs = (GuestOutput("stdout"), GuestOutput("stderr"))
        try:
            self._instance = on_guest_stack(
                lambda: module.instantiate(config.limits.memory_bytes, config.environment, pristine)
            )
        except WasmtimeError as error:
            raise InvalidArgument("component", "its memory", f"within {config.limits} ({error})") from error
        self._instance.outputs = self._outputs

    def functions(self) -> list[str]:
        """The names of the component's functions.

        Raises:
            FunctionFailed: The component did not answer.
        """
        try:
            return on_guest_stack(self._names)
        except Ended as ended:
            raise self._failed("functions", ended) from ended

    def invoke(self, invocation: Invocation, state: interface.State) -> Outcome:
        """Runs an invocation.

        Raises:
            FunctionTimeout: It did not end before the deadline.
            FunctionFailed: It raised, was ended by the host, trapped, or answered with what is not an answer.
            TooLarge: The request's body does not fit into its memory.
        """
        return on_guest_stack(lambda: self._invoke(invocation, state))

    def warm_up(self) -> Pristine:
        """Let the interpreter come to rest, without running a function; return what it then is.

        The sandbox must not be used any more.

        Raises:
            FunctionFailed: The component's SDK did not do what each invocation begins with.
        """
        state = _Marking(self._instance.memory)
        self._limits = Limits(self._limits.memory_bytes, _LOADING_MS)
        for name in (SETTLE, *[NOTHING] * _WARM_UP_CALLS):
            self.invoke(Invocation((name,), "", "", ""), state)
        return on_guest_stack(lambda: self._instance.pristine(state.marked))

    @property
    def can_be_reset(self) -> bool:
        """True if `reset` makes it as good as new."""
        return self._instance.can_be_reset

    def reset(self) -> None:
        """Make it as good as new, after whatever ended the last invocation.

        Raises:
            OSError: It cannot be; it has to be closed.
        """
        self._instance.reset()

    def close(self) -> None:
        """Frees the instance."""
        self._instance.close()

    def _names(self) -> list[str]:
        instance = self._instance
        instance.begin(_LOADING_MS)
        at = instance.call("functions")
        try:
            names: list[str] = interface.NAMES.load(instance.memory, instance.memory.check(at, 8, 4))
        except (BrokenAbi, TooMuch) as error:
            raise Ended("trap", str(error)) from error
        instance.finish("functions", at)
        return names

    def _invoke(self, invocation: Invocation, state: interface.State) -> Outcome:
        name, instance = "+".join(invocation.functions), self._instance
        for output in self._outputs:
            output.start(name, invocation.chain_id)
        instance.begin(self._limits.deadline_ms)
        instance.state = state
        try:
            at = instance.call("handle", *interface.INVOCATION.lower(instance.memory, _members(invocation)))
            answer = self._answer(name, at)
            if not self._ends_in_reset:
                instance.finish("handle", at)
        except Ended as ended:
            raise self._failed(name, ended) from ended
        except BrokenAbi as error:
            raise self._failed(name, Ended("trap", str(error))) from error
        except NoRoom as error:
            raise TooLarge("the request's body", error.size, error.limit) from error
        finally:
            instance.state = None
            for output in self._outputs:
                output.flush()
        return answer

    def _answer(self, name: str, at: int) -> Outcome:
        memory, type_ = self._instance.memory, interface.HANDLED
        try:
            case, value = type_.load(memory, memory.check(at, type_.size, type_.align))
            if case == "err":
                function, kind, message, trace = value
                raise FunctionFailed(function or name, kind, message, trace)
            key, response = value
            return Outcome(key, None if response is None else _response(*response))
        except InvalidArgument as error:
            raise FunctionFailed(name, "response", error.message) from error
        except TooMuch as error:
            raise FunctionFailed(name, "response", str(error)) from error

    def _failed(self, name: str, ended: Ended) -> FunctionFailed:
        """What to tell the caller of a guest that did not come back."""
        if ended.cause == "deadline":
            return FunctionTimeout(name, "deadline", f"it did not end within {self._limits.deadline_ms} ms")
        if ended.cause == "exit":
            return FunctionFailed(name, "exit", ended.reason)
        memory = f"its memory limit is {self._limits.memory_bytes} bytes"
        return FunctionFailed(name, "trap", f"{ended.reason} ({memory})")


def _response(status: int, content_type: str, body: memoryview) -> Response:
    """Validate the guest's answer. The guest is untrusted and can bypass its SDK's checks."""
    if not 200 <= status <= 599:
        raise InvalidArgument("status", status, "200 to 599")
    if not (content_type.isascii() and content_type.isprintable()):
        raise InvalidArgument("content-type", content_type[:100], "printable ASCII")
    return Response(status, content_type, bytes(body))


def _members(invocation: Invocation) -> tuple[Any, ...]:
    return (
        invocation.functions,
        invocation.chain_id,
        invocation.task_id,
        invocation.node,
        invocation.state_key,
        invocation.content_type,
        invocation.body,
    )


class _Marking:
    """The state of a warm-up. What is stored are addresses of objects that are to be immortal.

    Attributes:
        marked: Those addresses.
    """

    def __init__(self, memory: Memory) -> None:
        self.marked: bytes = b""
        self._memory = memory

    def fetch(self, key: str, fields: object, read: object, min_version: int, into: object) -> interface.Fetched:
        raise InvalidArgument("bundles", "call", "a call of a function")

    def store(self, fields: Mapping[str, Buffer], placement: interface.Placement) -> interface.Stored:
        """Mark the first object at once, which shows the guest whether that works; all others in the image.

        There no page has to be copied for it.
        """
        addresses = bytes(fields[MARKED])
        if len(addresses) <= ADDRESS_BYTES:
            make_immortal(self._memory.view, addresses)
        self.marked += addresses
        return interface.Stored("", 0)

    def delete(self, key: str) -> bool:
        raise InvalidArgument("bundles", "call", "a call of a function")
