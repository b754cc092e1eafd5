"""A node's runtime with one component, and its state in memory: what the component tests run on."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from msgspec.structs import replace

from skylark.wire import Buffer
from skylark_proxy.errors import Conflict, NotFound
from skylark_proxy.model import Read, StateKey
from skylark_proxy.runtime import Fetched, Functions, Into, Invocation, Manifest, Outcome, Placement, Stored

NODE = "node-1"


class MemoryState:
    """The state calls of invocations, in a dict, with every call noted. `failure` is raised instead, if set.

    `age_ms` and `stale` are said of all that is fetched. If it `lands`, another thread writes it to the guest.
    """

    def __init__(self) -> None:
        self.bundles: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.calls: list[tuple[object, ...]] = []
        self.failure: Exception | None = None
        self.age_ms: int | None = None
        self.stale: str | None = None
        self.lands = False
        self._lock = threading.Lock()

    def fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int, into: Into) -> Fetched:
        self._note("fetch", key, tuple(fields), read, min_version)
        if key not in self.bundles:
            raise NotFound("bundle", key, (NODE, "cloud"))
        version, held = self.bundles[key]
        wanted: dict[str, Buffer] = {name: held[name] for name in fields or held if name in held}
        if self.lands:
            into("tried", 10)  # as if another bundle had been tried first
            wanted = {name: _landed(into(name, len(value)), value) for name, value in wanted.items()}
        return Fetched(key, version, "origin-7", 2, wanted, self.age_ms, self.stale)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        held = {name: bytes(value) for name, value in fields.items()}
        self._note("store", held, placement)
        with self._lock:
            key = str(StateKey.parse(placement.key or f"own:{uuid.uuid4().hex}").at(NODE))
            actual = self.bundles[key][0] if key in self.bundles else 0
            if placement.expected_version not in (None, actual):
                raise Conflict(key, placement.expected_version or 0, actual)
            self.bundles[key] = (actual + 1, held)
        return Stored(key, actual + 1)

    def delete(self, key: str) -> bool:
        self._note("delete", key)
        return self.bundles.pop(key, None) is not None

    def _note(self, *call: object) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure


def _landed(view: memoryview, value: Buffer) -> memoryview:
    thread = threading.Thread(target=lambda: view.__setitem__(slice(None), value))
    thread.start()
    thread.join()
    return view


class Node:
    """One component on a runtime of its own."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.state = MemoryState()

    def invoke(
        self, *functions: str, body: Buffer | str = b"", key: str | None = None, content_type: str = ""
    ) -> Outcome:
        """Runs functions of chain `chain-1`; the deadline is the manifest's."""
        sent = body.encode() if isinstance(body, str) else body
        invocation = Invocation(functions, "chain-1", "task-1", NODE, key, sent, content_type)
        return self.functions.invoke(invocation, self.state)

    def answer(self, *functions: str, body: Buffer | str = b"", key: str | None = None) -> bytes:
        """The bytes that functions answer with."""
        response = self.invoke(*functions, body=body, key=key).response
        assert response is not None
        return bytes(response.body)


Run = Callable[..., AbstractContextManager[Node]]


def limited(manifest: Manifest, **limits: int) -> Manifest:
    """The manifest with these limits."""
    return Manifest(
        ready=manifest.ready,
        reuse=manifest.reuse,
        limits=replace(manifest.limits, **limits),
        environment=manifest.environment,
    )
