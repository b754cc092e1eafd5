"""What a function is given beside the bundle, and what it may answer."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from skylark import json_names
from skylark.json_names import MAX_NAMES
from skylark.state import Bundle, State
from skylark.wire import Buffer


@dataclass(frozen=True)
class Request:
    """What the caller sent. `body` is a read-only view, of no bytes if there was no body."""

    body: memoryview
    content_type: str = ""

    def json(self, max_names: int = MAX_NAMES) -> Any:
        """The body's JSON. To be preferred to `json.loads(bytes(ctx.request.body))`, which strangers can stall: a few
        hundred kB of well-chosen names keep it busy for minutes (hash flooding; see `skylark.json_names`).

        Args:
            max_names: The most names that all its objects may have together.

        Raises:
            ValueError: The body is no JSON, is not in UTF-8, has more names, or is nested more than 200 deep.
        """
        return json_names.load(self.body, max_names)


@dataclass(frozen=True)
class Response:
    """A function's own answer to the caller, in place of the key and timings.

    `state` is stored as the chain's next bundle, like a dict that a function returns; the caller finds its key in the
    header `Skylark-Key`.
    """

    body: Buffer = b""
    content_type: str = "application/octet-stream"
    status: int = 200
    state: Mapping[str, Buffer] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """One execution: `chain_id` names the run of the workflow, `task_id` this execution in it."""

    function: str
    chain_id: str
    task_id: str
    at: str | Callable[[], str]
    """The node, or who can tell it; see `node`."""
    request: Request
    state: State

    @property
    def node(self) -> str:
        """The name of the node that runs the function.

        Raises:
            Unavailable: The node's proxy has to be asked, and cannot be reached. It never has to where it runs the
                function itself.
        """
        return self.at if isinstance(self.at, str) else self.at()


@dataclass(eq=False)
class Execution:
    """An invocation while it runs: what a library finds that a function calls without handing its arguments on."""

    state_key: str | None
    """The predecessor's key, as the caller gave it."""
    bundle: Bundle | None
    """The predecessor's bundle; None where there is none, or where only some of its fields were fetched."""
    context: Context = field(init=False)
    """That of the function that runs now."""


_CURRENT: ContextVar[Execution] = ContextVar("skylark.execution")


def current() -> Execution:
    """The invocation that runs now.

    Raises:
        RuntimeError: No function runs: this was called while a module was loaded, or in a thread of the function's own.
    """
    try:
        return _CURRENT.get()
    except LookupError:
        raise RuntimeError("no Skylark function runs here; call this from a function, in its own thread") from None


class entered:  # noqa: N801  # a generator would set the traceback of what passes through, which WIT errors refuse
    """Makes an execution the current one within the context."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._execution)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)
