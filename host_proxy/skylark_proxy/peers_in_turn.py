"""Bounds for the calls to other nodes: so many at once and no more, and answers that fit the budget."""

import contextlib
from collections.abc import Callable, Iterator

from skylark_proxy.budget import share_here
from skylark_proxy.bulkheads import PeerSlots


class InTurn:
    """Bounds of `Peers`: each exchange holds a place for its node, and the request that it is for holds its answer.

    A call raises `PeerUnreachable` too where so many calls to the node run that a further one has no hope.
    """

    def __init__(self, slots: PeerSlots) -> None:
        self._slots = slots

    @contextlib.contextmanager
    def __call__(self, node: str) -> Iterator[Callable[[int], None]]:
        """Hold a place for one exchange."""
        with self._slots.calling(node):
            yield _hold


def _hold(size_bytes: int) -> None:
    share = share_here()
    if share is not None:
        share.add_blocking(size_bytes)
