"""What a function is given beside the bundle, and what it may answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from skylark.state import State
from skylark.wire import Buffer


@dataclass(frozen=True)
class Request:
    """What the caller sent. `body` is a read-only view, of no bytes if there was no body."""

    body: memoryview
    content_type: str = ""


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
    node: str
    """The name of the node that runs the function."""
    request: Request
    state: State
