"""The published system's single state: one value under a key, as a bundle of one field.

A text is the bytes of the field `value`, in UTF-8; any other JSON value is its JSON text in the field `value.json`. So
a value comes back as it was, and a text is for a function what it is for `/bundles`: its bytes.

A single state has no owner: each save has one version at every node, its time in microseconds. Wherever copies of two
saves, or a save and a deletion, meet, the later one stays, whichever way each of them came.
"""

from dataclasses import dataclass, replace

import msgspec

from skylark.wire import Buffer
from skylark_proxy.errors import InvalidArgument, NotFound, SkylarkError
from skylark_proxy.model import Ack, StateKey, Tier
from skylark_proxy.placement import FetchedBundle, PlacedBundle, Write
from skylark_proxy.propagation import Propagation

TEXT_FIELD, JSON_FIELD = "value", "value.json"

_JSON_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class DeletedState:
    """A state that was deleted, and the nodes that had held it."""

    key: StateKey
    nodes: tuple[str, ...]


class SingleStates:
    """The single states of one node. Safe for threads; every call blocks."""

    def __init__(self, propagation: Propagation) -> None:
        self._propagation = propagation

    def get(self, key: StateKey) -> FetchedBundle:
        """Fetches a state: from the local node, the node that the key names, or the cloud; see `Propagation.fetch`."""
        return self._propagation.fetch(key)

    def save_sat(self, write: Write) -> PlacedBundle:
        """Stores a state where an election says, with a copy at the local node, and sees to one in the cloud.

        The copy in the cloud is made before this returns where `write.ack` is `cloud`; else by the outbox, which goes
        on until it is there.

        Raises:
            NotFound: There is no cloud node.
            Conflict: A node holds a later save of this state.
            PeerUnreachable: `write.ack` is `cloud`, and the cloud cannot be reached.
            TooLarge, UnknownNode, OutboxFull, StoreUnavailable: See `Propagation.place`.
        """
        self._cloud()
        sealed, local = self._seal(write), self._propagation.node
        placed = self._propagation.place(replace(sealed, replicate=True))
        if placed.key.node != local:
            self._propagation.place(replace(sealed, key=write.key.at(local), ack=Ack.ELECTED, replicate=False))
        return placed

    def save_edge(self, write: Write) -> PlacedBundle:
        """Stores a state at the local node, and sees to a copy in the cloud; see `save_sat`."""
        self._cloud()
        return self._propagation.place(
            replace(self._seal(write), key=write.key.at(self._propagation.node), replicate=True)
        )

    def save_cloud(self, write: Write) -> PlacedBundle:
        """Stores a state in the cloud; see `save_sat`."""
        return self._propagation.place(replace(self._seal(write), key=write.key.at(self._cloud()), replicate=False))

    def delete(self, key: StateKey) -> DeletedState:
        """Deletes a state at the local node, at the node that the key names, and in the cloud.

        A key that names no node may be that of a state at any node of the way to the default destination: they are all
        asked.

        Raises:
            NotFound: None of them held it.
            PeerUnreachable, StoreUnavailable: One of them cannot be reached; the others have deleted it.
        """
        asked, shared = self._holders(key), key.anywhere()
        version = self._propagation.next_version(shared)
        held: list[str] = []
        failed: SkylarkError | None = None
        for name in asked:
            try:
                if self._propagation.delete_shared(shared, version, name):
                    held.append(name)
            except SkylarkError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        self._propagation.seen.note(shared, version)
        if not held:
            raise NotFound("bundle", str(key), asked)
        self._propagation.seen.note(shared, version)
        return DeletedState(key.at(key.node or held[0]), tuple(held))

    def _holders(self, key: StateKey) -> tuple[str, ...]:
        """Who may hold a state: those who may have copies first, since whoever deletes a bundle has them deleted."""
        names = [node.name for node in self._propagation.topology().cloud_nodes()[:1]]
        if key.node is not None:
            names.append(key.node)
        else:
            names += [candidate.node for candidate in self._propagation.elect(0).candidates]
        return tuple(dict.fromkeys((*names, self._propagation.node)))

    def _cloud(self) -> str:
        topology = self._propagation.topology()
        cloud = topology.cloud_nodes()
        if not cloud:
            raise NotFound("node of the tier", Tier.CLOUD.value, tuple(topology.nodes))
        return cloud[0].name

    def _seal(self, write: Write) -> Write:
        """Return the write with a version and time that all its copies have; no two of this node have the same."""
        version = self._propagation.next_version(write.key.anywhere())
        return replace(write, version=version, created_ms=version // 1000)


def fields_of(value: msgspec.Raw) -> dict[str, Buffer]:
    """The bundle of a value in JSON.

    Raises:
        InvalidArgument: It is not JSON through and through.
    """
    data = bytes(value)
    try:
        decoded = msgspec.json.decode(data)
        return {TEXT_FIELD: decoded.encode()} if isinstance(decoded, str) else {JSON_FIELD: data}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidArgument("value", data[:40].decode(errors="replace"), f"a JSON value ({error})") from error


def value_of(fetched: FetchedBundle) -> object:
    """The value of a bundle, to be encoded as JSON: that of its only field, else an object of all fields' values.

    Raises:
        InvalidArgument: A field's bytes are neither text nor, where its name ends in `.json`, JSON.
    """
    values = {name: _value(fetched.info.public_key, name, data) for name, data in fetched.fields.items()}
    return next(iter(values.values())) if len(values) == 1 else values


def _value(key: StateKey, name: str, data: Buffer) -> object:
    content = bytes(data)
    try:
        if not name.endswith(_JSON_SUFFIX):
            return content.decode()
        msgspec.json.decode(content)
        return msgspec.Raw(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        expected = f"the key of a state of text or JSON; field {name!r} is neither ({error}): see /bundles/{key}"
        raise InvalidArgument("key", str(key), expected) from error
