"""What must not happen, whatever fails. It is told of each operation and each answer, and knows nothing of the system.

For each key (of the owner that it names) the checker knows the writes and deletions that were asked for, which of them
were acknowledged, with which version, and which were given up. From that it finds

- a lost write: the owner's bundle is older than one that was acknowledged before, or gone without a deletion;
- a resurrection: a bundle that is older than a deletion that was acknowledged before;
- a late write: one that was given up and took effect over one that began after that;
- versions that do not rise, one version with two contents, two conditional writes that followed one version;
- an older version than the same session has seen;
- contents that nobody wrote, or of another key;
- once all links are back: copies that do not have the owner's version.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from skylark_proxy.model import StateKey

FOREVER = float("inf")


class Violation(AssertionError):
    """Something that must not happen has happened."""

    def __init__(self, what: str, history: "_History | None" = None) -> None:
        told = "" if history is None else "".join(f"\n    {operation.told()}" for operation in history.operations)
        super().__init__(what + told)


@dataclass
class Operation:
    """A write or a deletion.

    Attributes:
        content: What is written; None: a deletion.
        floor: The highest version that was acknowledged when it began.
        ended_s: When it was acknowledged, refused or given up; for ever until then.
        version: Its version, once that is known.
        copied: True if the cloud was promised a copy.
    """

    content: bytes | None
    expected: int | None
    expires: bool
    began_s: float
    floor: int
    ended_s: float = FOREVER
    version: int | None = None
    acknowledged: bool = False
    refused: bool = False
    copied: bool = False

    def told(self) -> str:
        """Return it as a line."""
        what = "delete" if self.content is None else f"write {self.content[:60].decode().rstrip('.')}"
        how = "acknowledged" if self.acknowledged else "refused" if self.refused else "in doubt"
        terms = (
            f"{' if ' + str(self.expected) if self.expected is not None else ''}{', expires' if self.expires else ''}"
        )
        return f"{self.began_s:.4f} to {self.ended_s:.4f} s: {what}{terms}, {how}, version {self.version}"

    @property
    def removes(self) -> bool:
        """True if the bundle may be gone after it."""
        return self.content is None or self.expires


@dataclass
class _History:
    operations: list[Operation] = field(default_factory=list)
    by_content: dict[bytes, Operation] = field(default_factory=dict)
    by_version: dict[int, bytes] = field(default_factory=dict)
    followers: dict[int, Operation] = field(default_factory=dict)
    newest: Operation | None = None

    @property
    def floor(self) -> int:
        return self.newest.version or 0 if self.newest else 0


class Checker:
    """Is told what is asked and answered; raises `Violation` at once where that must not be."""

    def __init__(self) -> None:
        self._histories: defaultdict[StateKey, _History] = defaultdict(_History)
        self.acknowledged = 0
        self.reads = 0
        self.in_doubt = 0

    def history(self, key: StateKey) -> "_History":
        """Return all that was asked about a key."""
        return self._histories[key]

    def acknowledged_keys(self) -> list[StateKey]:
        """Return all keys for which something was acknowledged."""
        return [key for key, history in self._histories.items() if history.newest is not None]

    def begin(
        self,
        key: StateKey,
        content: bytes | None,
        now_s: float,
        *,
        expected: int | None = None,
        expires: bool = False,
        copied: bool = False,
    ) -> Operation:
        """A write, or a deletion, of a key begins."""
        history = self._histories[key]
        operation = Operation(content, expected, expires, now_s, history.floor, copied=copied)
        history.operations.append(operation)
        if content is not None:
            history.by_content[content] = operation
        return operation

    def acknowledge(self, key: StateKey, operation: Operation, version: int, now_s: float) -> None:
        """It was acknowledged with a version."""
        history = self._histories[key]
        operation.ended_s, operation.version, operation.acknowledged = now_s, version, True
        if operation.content is not None:
            self.acknowledged += 1
            self._observe(key, operation.content, version)
        again = operation.content is None and version == operation.floor  # it was deleted already
        if version <= operation.floor and not again:
            raise Violation(f"{key}: version {version} was given after {operation.floor} was acknowledged", history)
        if operation.expected:
            other = history.followers.setdefault(operation.expected, operation)
            if other is not operation:
                raise Violation(f"{key}: two acknowledged writes followed version {operation.expected}", history)
        if version > history.floor:
            history.newest = operation

    def refuse(self, operation: Operation, now_s: float) -> None:
        """It was refused: it has not happened, and never will."""
        operation.ended_s, operation.refused = now_s, True

    def give_up(self, operation: Operation, now_s: float) -> None:
        """Nobody knows whether it happened."""
        operation.ended_s = now_s
        self.in_doubt += 1

    def floor(self, key: StateKey) -> int:
        """Return the highest version of a key that was acknowledged."""
        return self._histories[key].floor

    def read(
        self, key: StateKey, content: bytes | None, version: int, *, seen: int, floor: int | None, where: str
    ) -> None:
        """A reader was given a bundle, or told that there is none (None).

        Args:
            seen: The highest version that the reader's session has seen.
            floor: For a read of the owner: what `floor` was when it began. None: a copy would do.
        """
        self.reads += 1
        history = self._histories[key]
        if content is None:
            if floor is not None:
                self._check_gone(key, history, floor, where)
            return
        self._observe(key, content, version)
        if version < seen:
            raise Violation(f"{key} at {where}: version {version} was read, and {seen} had been seen before", history)
        if floor is not None and version < floor:
            raise Violation(f"{key} at {where}: version {version} was read, and {floor} had been acknowledged", history)
        operation = history.by_content[content]
        if operation.refused:
            raise Violation(f"{key} at {where}: a write that was refused is read", history)
        for later in history.operations:
            is_later = later.acknowledged and later.began_s > operation.ended_s
            if is_later and not operation.acknowledged and (later.version or 0) < version:
                raise Violation(
                    f"{key} at {where}: a write that was given up came over version {later.version}", history
                )

    def promised(self, key: StateKey) -> bytes | None:
        """Return the contents that the cloud was promised, if these are the last ones that were acknowledged."""
        newest = self._histories[key].newest
        return newest.content if newest is not None and newest.copied else None

    def settled(self, key: StateKey, where: str, content: bytes | None, version: int) -> None:
        """Once all is quiet: what the owner has."""
        history = self._histories[key]
        if content is None:
            self._check_gone(key, history, history.floor, where)
        else:
            self.read(key, content, version, seen=0, floor=history.floor, where=where)

    def _observe(self, key: StateKey, content: bytes, version: int) -> None:
        history = self._histories[key]
        operation = history.by_content.get(content)
        if operation is None:
            raise Violation(f"{key}: {content[:80]!r} was read, which nobody has written there", history)
        if history.by_version.setdefault(version, content) != content:
            raise Violation(f"{key}: version {version} has two contents", history)
        if operation.version is None:
            operation.version = version
        elif operation.version != version:
            raise Violation(f"{key}: one write happened twice, as version {operation.version} and {version}", history)

    def _check_gone(self, key: StateKey, history: _History, floor: int, where: str) -> None:
        """A bundle may be gone if nothing was acknowledged, or if something that removes it came after that."""
        kept = next((one for one in history.operations if one.version == floor and one.acknowledged), None)
        if kept is None or kept.removes:
            return
        for operation in history.operations:
            may_follow = not operation.refused and operation.ended_s >= kept.began_s
            if operation.removes and may_follow and (operation.version is None or operation.version > floor):
                return
        raise Violation(f"{key} at {where}: version {floor} was acknowledged, and is gone", history)
