"""The client library of the published system (Skylark Manage, in Rust) on `ctx.state`: for functions ported from it.

    from skylark.compat import get_bundled_state, init_new_chain, store_bundled_state

Names and order of arguments are the published ones; what is different, and why:

- They are plain functions that raise: `NotFound` and the other errors of `skylark`. A failed write is never a key.
- They work inside a function that Skylark runs (hosted, natively, over HTTP), in its own thread, and take the
  invocation's chain and task. Outside they raise `RuntimeError`.
- A single state is a bundle of one field, `value`; `/bundles`, `/state` and `ctx.state` see it, and a single state is
  read from a bundle of any one field. A bundled state is a bundle of its own for each task, where the published system
  merges those of a whole chain.
- A function may name the bundles of its own chain; another chain, also a new one, needs `chains = "any"` in the
  component's manifest (`Forbidden`).
- The time that a function has run is not sent along: no election depends on it.

A function that stores with these answers with `Response(key.encode())` or None; what it returned as state beside them
would be stored over it, under the same task.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from skylark.context import Context, Execution, current
from skylark.errors import InvalidArgument, InvalidKey
from skylark.state import Ack, Bundle, Policy

__all__ = [
    "SkylarkKey",
    "SkylarkPolicy",
    "delete_bundled_state",
    "delete_single_state",
    "get_bundled_state",
    "get_single_state",
    "init_new_chain",
    "init_skylark",
    "init_skylark_and_fetch_state",
    "start_timing",
    "store_bundled_state",
    "store_single_state",
]

SkylarkPolicy = Policy
"""The published name. A policy may also be given as text, in any case; an unknown one is an error."""

FIELD = "value"
"""The field of a single state."""

_MODES = ("Sat", "Edge", "Cloud")


@dataclass(frozen=True)
class SkylarkKey:
    """A state key in its parts; `node_id` is None where the node is not known. `str` makes the text again."""

    chain_id: str
    node_id: str | None
    task_id: str

    @classmethod
    def parse(cls, text: str) -> "SkylarkKey":
        """Reads `<chain_id>:<node_id>:<task_id>` or `<chain_id>:<task_id>`.

        Raises:
            InvalidKey: The text has not two or three parts.
        """
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidKey(f"{text!r} is not <chain_id>:<node_id>:<task_id> or <chain_id>:<task_id>")
        return cls(parts[0], parts[1] if len(parts) == 3 else None, parts[-1])

    def __str__(self) -> str:
        return ":".join(part for part in (self.chain_id, self.node_id, self.task_id) if part is not None)


def init_new_chain() -> None:
    """Lets what is stored next begin a chain of its own.

    The invocation's own chain is a new one where it has no predecessor.
    """
    execution = current()
    output = _output(execution)
    is_new = execution.state_key is None and not output.own_is_used
    output.begin(execution.context, execution.context.chain_id if is_new else _new_id())


def init_skylark(function_name: str, mode: str = "Sat") -> None:
    """Begins a chain; what is stored next gets the key `<chain_id>:<node>:<function_name>`.

    Args:
        function_name: Stands for the task in the key.
        mode: Where it is stored. `Sat`: where an election says; `Edge`: at this node; `Cloud`: at the destination.
            With each of them the cloud has a copy before the store returns.

    Raises:
        InvalidArgument: `mode` is none of these.
    """
    init_new_chain()
    _output(current()).name(function_name, mode)


def init_skylark_and_fetch_state(function_name: str, key: str, mode: str = "Sat") -> str:
    """Goes on with the chain of `key` and fetches the single state there; see `init_skylark` and `get_single_state`."""
    state = get_single_state(key)
    _output(current()).name(function_name, mode)
    return state


def get_single_state(key: str, policy: Policy | str | None = None) -> str:
    """Fetches a single state; what is stored next goes on with its chain.

    It is looked for at this node, at the node that the key names, and in the cloud. The invocation's own predecessor is
    here already and costs no request.

    Args:
        key: The state's key.
        policy: As in the published library it is checked and has no influence on where the state is looked for.

    Raises:
        NotFound: No node where the proxy looked has it.
        InvalidArgument: The bundle has another number of fields than one, or its field is not text.
        InvalidKey, Unavailable, TimedOut: See `State.fetch`.
    """
    states = get_bundled_state(key, policy)
    if len(states) != 1:
        names = ", ".join(name for name, _ in states) or "none"
        raise InvalidArgument(f"key: bundle {key} is no single state; it has the fields: {names}")
    return states[0][1]


def get_bundled_state(key: str, policy: Policy | str | None = None) -> list[tuple[str, str]]:
    """Fetches a bundled state as pairs of a function's name and its state; see `get_single_state`.

    Raises:
        InvalidArgument: One of its fields is not text: `ctx.state.fetch` has the bytes.
    """
    execution, parts = current(), SkylarkKey.parse(key)
    _policy(policy)
    bundle = _output(execution).predecessor(execution, key) or execution.context.state.fetch(key)
    _output(execution).begin(execution.context, parts.chain_id)
    return [(name, _text(key, name, value)) for name, value in bundle.items()]


def store_single_state(
    final_state: str, destination_host: str | None = None, policy: Policy | str | None = None
) -> str:
    """Stores a single state; returns the key that names the node where it is.

    Args:
        final_state: The state, any text.
        destination_host: The name of the node that the next function will run on; None: the invocation's.
        policy: How to elect the node that will hold it; None: the invocation's.

    Raises:
        InvalidArgument: An argument is not valid; the proxy's message names it.
        TooLarge, Unavailable, TimedOut: See `State.store`. Nothing was acknowledged.
    """
    return store_bundled_state([(FIELD, final_state)], destination_host, policy)


def store_bundled_state(
    final_state: Iterable[tuple[str, str]], destination_host: str | None = None, policy: Policy | str | None = None
) -> str:
    """Stores a bundled state, pairs of a function's name and its state; see `store_single_state`.

    Of two pairs with one name the last counts.
    """
    execution, fields = current(), {}
    for name, text in final_state:
        if not isinstance(text, str):
            raise InvalidArgument(f"final_state: the state of {name!r} is {type(text).__name__}, expected str")
        fields[name] = text.encode()
    return _output(execution).store(execution.context, fields, destination_host or None, _policy(policy))


def delete_single_state(key: str) -> bool:
    """Deletes a state at the node that the key names, or at this one; returns False if there was none."""
    execution = current()
    _output(execution).predecessor_is_here = False
    return execution.context.state.delete(key)


def delete_bundled_state(key: str) -> bool:
    """Deletes a bundled state; see `delete_single_state`."""
    return delete_single_state(key)


def start_timing() -> None:
    """Does nothing: the proxy measures every invocation, and no election depends on how long a function has run."""


class _Output:
    """What the published library keeps in globals, for one invocation: under which key the next state is stored."""

    def __init__(self) -> None:
        self.own_is_used = False
        """Whether something was stored under the invocation's own task."""
        self.predecessor_is_here = True
        self._context: Context | None = None
        self._chain_id = ""
        self._task_id = ""
        self._mode: str | None = None

    def begin(self, context: Context, chain_id: str) -> None:
        """Begins an output of a chain: under the invocation's own task where that is free, else under a new one."""
        is_own = chain_id == context.chain_id and not self.own_is_used
        self._context, self._mode = context, None
        self._chain_id, self._task_id = chain_id, context.task_id if is_own else _new_id()

    def name(self, function_name: str, mode: str) -> None:
        """Sets the key's last part, and where to store."""
        modes = {name.lower(): name for name in _MODES}
        if mode.lower() not in modes:
            raise InvalidArgument(f"mode: {mode!r} is not valid; expected one of {', '.join(_MODES)}")
        self._task_id, self._mode = function_name, modes[mode.lower()]

    def predecessor(self, execution: Execution, key: str) -> Bundle | None:
        """The predecessor's bundle, if the key names it and it was fetched whole."""
        bundle = execution.bundle if self.predecessor_is_here else None
        return bundle if bundle is not None and key in (execution.state_key, bundle.key) else None

    def store(self, context: Context, fields: dict[str, bytes], destination: str | None, policy: Policy | None) -> str:
        """Stores under the key that was begun, else under the invocation's own; each function begins anew."""
        if self._context is not context:
            self.begin(context, context.chain_id)
        is_own = (self._chain_id, self._task_id) == (context.chain_id, context.task_id)
        key = f"{self._chain_id}:{self._task_id}"
        if self._mode == "Edge":
            key = f"{self._chain_id}:{context.node}:{self._task_id}"
        stored = context.state.store(
            fields,
            key=None if is_own and self._mode is None else key,
            destination=destination,
            policy=Policy.STATELESS if self._mode == "Cloud" else policy,
            ack=Ack.CLOUD if self._mode is not None else None,
        )
        self.own_is_used = self.own_is_used or is_own
        return stored.key


_OUTPUTS: WeakKeyDictionary[Execution, _Output] = WeakKeyDictionary()


def _output(execution: Execution) -> _Output:
    return _OUTPUTS.setdefault(execution, _Output())


def _policy(given: Policy | str | None) -> Policy | None:
    if not isinstance(given, str):
        return given
    try:
        return Policy(given.lower())
    except ValueError:
        names = ", ".join(policy.value for policy in Policy)
        raise InvalidArgument(f"policy: {given!r} is not valid; expected one of {names}") from None


def _text(key: str, name: str, value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(f"key: field {name!r} of bundle {key} is not text; see ctx.state.fetch") from None


def _new_id() -> str:
    return uuid.uuid4().hex
