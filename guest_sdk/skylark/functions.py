"""The functions of a component: the decorator that registers them, and the run of one invocation."""

import inspect
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, overload

from skylark.context import Context, Execution, Request, Response, entered
from skylark.names import NAME
from skylark.settled import settle
from skylark.state import Backend, Bundle, Placement, State
from skylark.wire import Buffer

Returned = Mapping[str, Buffer] | Response | None
Function = Callable[[Bundle, Context], Returned]
F = TypeVar("F", bound=Callable[[Bundle, Context], Mapping[str, bytes] | Mapping[str, Buffer] | Response | None])

REGISTRY: dict[str, Function] = {}
"""The functions of this component by name, in the order of their definition."""

NEEDS: dict[str, frozenset[str]] = {}
"""The fields of the predecessor's bundle that a function has declared to need; one that has not needs all."""

NOTHING, SETTLE = "", " settle"
"""The names of what does nothing, and of what lets a host mark all objects (see `settled`). No function can have them.
A host runs them to let the interpreter come to rest, before it makes an image of it."""

MARKED = "objects"
"""The field that `SETTLE` stores."""

_MESSAGE_LIMIT = 8192
_TRACEBACK_LIMIT = 65536


@overload
def function(f: F, /) -> F: ...


@overload
def function(*, name: str | None = None, needs: Collection[str] | None = None) -> Callable[[F], F]: ...


def function(
    f: F | None = None, /, *, name: str | None = None, needs: Collection[str] | None = None
) -> F | Callable[[F], F]:
    """Registers a function of the component; it stays callable as it is.

    Args:
        f: Takes the predecessor's bundle and the context. Returns the fields of the chain's next bundle, a `Response`,
            or None to store and answer nothing of its own.
        name: The name to invoke it by; the function's own name if absent.
        needs: The fields of the predecessor's bundle that it looks at: no others are fetched. Functions that share a
            sandbox fetch the union, with one request. All fields if absent.

    Raises:
        ValueError: Another function has that name, or the name is not 1 to 128 of A-Z a-z 0-9 . _ -.
        TypeError: It is a coroutine function, or cannot be called with two arguments.
    """
    if f is None:
        return lambda decorated: _register(decorated, decorated.__name__ if name is None else name, needs)
    return _register(f, f.__name__ if name is None else name, needs)


def _register(f: F, name: str, needs: Collection[str] | None) -> F:
    if not NAME.fullmatch(name):
        raise ValueError(f"function name {name!r} is not 1 to 128 of A-Z a-z 0-9 . _ -")
    if name in REGISTRY:
        raise ValueError(f"two functions have the name {name!r}")
    if inspect.iscoroutinefunction(f):
        raise TypeError(f"function {name!r} is a coroutine function; use asyncio.run in a plain one")
    try:
        inspect.signature(f).bind(None, None)
    except TypeError as error:
        raise TypeError(f"function {name!r} has to take (bundle, ctx): {error}") from None
    if needs is not None:
        if isinstance(needs, str) or not all(isinstance(field, str) and NAME.fullmatch(field) for field in needs):
            raise ValueError(f"function {name!r} needs {needs!r}; expected names of fields")
        NEEDS[name] = frozenset(needs)
    REGISTRY[name] = f
    return f


@dataclass(frozen=True)
class Invocation:
    """One execution of one function, or of several that share a sandbox and a bundle (fusion)."""

    functions: tuple[str, ...]
    chain_id: str
    task_id: str
    node: str | Callable[[], str]
    """The name of the node that runs it, or who can tell it."""
    request: Request
    state_key: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What an execution gave: the key of the bundle that it stored, and the last response that a function made."""

    key: str | None
    response: Response | None


class FunctionError(Exception):
    """A function raised, or returned what cannot be stored; the exception is the `__cause__`.

    Message and traceback are bounded, and can be encoded in UTF-8, whatever the exception has in them.
    """

    def __init__(self, function: str, cause: BaseException) -> None:
        self.function = _bounded(function, _MESSAGE_LIMIT)
        self.kind = _bounded(type(cause).__name__, _MESSAGE_LIMIT)
        self.message = _bounded(_text(cause), _MESSAGE_LIMIT)
        super().__init__(f"{function}: {self.kind}: {self.message}")
        self.traceback = _bounded("".join(traceback.format_exception(cause)), _TRACEBACK_LIMIT)


def _text(cause: BaseException) -> str:
    """The message of an exception, whose own `__str__` may raise."""
    try:
        return str(cause)
    except Exception as error:
        return f"(its __str__ raised {type(error).__name__})"


def _bounded(text: str, limit: int) -> str:
    """Text as WIT and JSON take it: bounded, and an unpaired surrogate, as in the name of a file, is written out."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} [… {len(text) - limit} characters …] {text[-limit // 2 :]}"
    return text.encode(errors="backslashreplace").decode()


def run(invocation: Invocation, backend: Backend) -> Outcome:
    """Runs the functions of an invocation: one fetch, each function in turn, one store.

    Raises:
        FunctionError: A function, the fetch before or the store after it failed.
    """
    at = invocation.functions[0] if invocation.functions else ""
    response: Response | None = None
    fields: dict[str, Buffer] = {}
    try:
        bundle = _predecessor(invocation, backend)
        whole = invocation.state_key is not None and _take_all(invocation.functions)
        execution = Execution(invocation.state_key, bundle if whole else None)
        for at in invocation.functions:
            context = Context(
                function=at,
                chain_id=invocation.chain_id,
                task_id=invocation.task_id,
                at=invocation.node,
                request=invocation.request,
                state=State(backend),
            )
            execution.context = context
            with entered(execution):
                returned = _look_up(at)(bundle.overlaid(fields) if fields else bundle, context)
            if isinstance(returned, Response):
                response = _checked(at, returned)
            fields.update(_fields(at, returned))
        key = backend.store(fields, Placement()).key if fields else None
    except (Exception, SystemExit) as error:
        raise FunctionError(at, error) from error
    return Outcome(key, response)


def run_contained(invocation: Invocation, backend: Backend) -> Outcome:
    """`run` in a sandbox, where only the function itself can raise what is no `Exception`, as KeyboardInterrupt.

    Raises:
        FunctionError: See `run`.
    """
    try:
        return run(invocation, backend)
    except FunctionError:
        raise
    except BaseException as error:
        raise FunctionError("+".join(invocation.functions), error) from error


def _predecessor(invocation: Invocation, backend: Backend) -> Bundle:
    if invocation.state_key is None:
        return Bundle({}, key=None)
    if _take_all(invocation.functions):
        return backend.fetch(invocation.state_key, ())
    needed = frozenset[str]().union(*(NEEDS[name] for name in invocation.functions))
    return backend.fetch(invocation.state_key, sorted(needed)) if needed else Bundle({}, key=invocation.state_key)


def _take_all(functions: Collection[str]) -> bool:
    """Whether one of the functions has not declared which fields it needs."""
    return not all(name in NEEDS for name in functions)


def _nothing(_bundle: Bundle, _ctx: Context) -> Response:
    return Response()


def _settle(_bundle: Bundle, ctx: Context) -> None:
    settle(lambda addresses: ctx.state.store({MARKED: addresses}))


_RESERVED: dict[str, Function] = {NOTHING: _nothing, SETTLE: _settle}


def _look_up(name: str) -> Function:
    if name in _RESERVED:
        return _RESERVED[name]
    try:
        return REGISTRY[name]
    except KeyError:
        raise LookupError(f"no function {name!r} in this component; it has: {', '.join(REGISTRY) or 'none'}") from None


def _fields(name: str, returned: object) -> Mapping[str, Buffer]:
    """The fields of the next bundle, whatever a function returned."""
    if returned is None:
        return {}
    if isinstance(returned, Response):
        return _fields(name, returned.state)
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"function {name!r} returned {type(returned).__name__}; expected a dict of str to bytes, "
            "a skylark.Response or None"
        )
    for field, value in returned.items():
        if not isinstance(field, str) or not NAME.fullmatch(field):
            raise TypeError(f"function {name!r} returned the field {field!r}; expected 1 to 128 of A-Z a-z 0-9 . _ -")
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"function {name!r} returned {type(value).__name__} in field {field!r}; expected bytes")
    return {field: _flat(value) for field, value in returned.items()}


def _checked(name: str, response: Response) -> Response:
    """The response with a body whose length is its number of bytes."""
    if not isinstance(response.body, (bytes, bytearray, memoryview)):
        raise TypeError(f"function {name!r} answered with a body of {type(response.body).__name__}; expected bytes")
    if not isinstance(response.status, int) or not 200 <= response.status <= 599:
        raise ValueError(f"function {name!r} answered with status {response.status!r}; expected 200 to 599")
    content_type = response.content_type
    if not isinstance(content_type, str) or not (content_type.isascii() and content_type.isprintable()):
        raise TypeError(
            f"function {name!r} answered with content type {content_type!r}; expected a str of printable ASCII"
        )
    return replace(response, body=_flat(response.body))


def _flat(value: Buffer) -> Buffer:
    """Bytes as a view whose length is their number, whatever the item size, shape and strides of a memoryview."""
    if not isinstance(value, memoryview) or (value.itemsize == 1 and value.ndim == 1 and value.c_contiguous):
        return value
    return value.cast("B") if value.c_contiguous and value.nbytes else memoryview(value.tobytes())
