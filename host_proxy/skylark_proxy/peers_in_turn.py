"""Other nodes, called by so many threads at once and no more, whose answers fit the budget; see `bulkheads`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import urllib3

from skylark_proxy.budget import share_here
from skylark_proxy.bulkheads import PeerSlots
from skylark_proxy.model import Node
from skylark_proxy.peers import Peers


class PeersInTurn(Peers):
    """The nodes and connections of `peers`; each exchange holds a place for its node.

    Every method raises `PeerUnreachable` too where so many calls to the node run that a further one has no hope.
    """

    def __init__(self, peers: Peers, slots: PeerSlots) -> None:
        self.__dict__.update(vars(peers))  # the same connections, and what is known of the nodes
        self._slots = slots

    @contextlib.contextmanager
    def _request(self, node: Node, *args: Any, **kwargs: Any) -> Iterator[urllib3.BaseHTTPResponse]:
        with self._slots.calling(node.name), super()._request(node, *args, **kwargs) as response:
            share, length = share_here(), response.headers.get("Content-Length", "")
            if share is not None and length.isdecimal():
                share.add_blocking(int(length))  # before it is read, in `Peers.get`
            yield response
