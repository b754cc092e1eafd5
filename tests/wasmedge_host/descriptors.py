"""The table of socket descriptors: large random numbers, as WasmEdge hands them out."""

import random
import socket
from dataclasses import dataclass

from wasmedge_host.abi import FIRST_SOCKET, Errno, WasiError

_TRANSFER = 1 << 1 | 1 << 3 | 1 << 6
"""FD_READ, FD_FDSTAT_SET_FLAGS and FD_WRITE, api.hpp:581-611."""
ACCEPTED_RIGHTS = _TRANSFER | 0b11 << 27 | 0b1111 << 32
"""POLL_FD_READWRITE, SOCK_SHUTDOWN, and to receive and send: `VINode::sockAccept`, vinode.cpp:314-324."""
OPENED_RIGHTS = ACCEPTED_RIGHTS | 0b111 << 29
"""SOCK_OPEN, SOCK_CLOSE and SOCK_BIND as well: `VINode::sockOpen`, vinode.cpp:300-311."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A socket of this machine and what the guest may do with it."""

    socket: socket.socket
    rights: int


class Descriptors:
    """The open sockets by the numbers that the guest has for them."""

    def __init__(self) -> None:
        self._open: dict[int, Descriptor] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def __len__(self) -> int:
        return len(self._open)

    def numbers(self) -> list[int]:
        """The numbers of all open sockets."""
        return list(self._open)

    def add(self, opened: socket.socket, rights: int) -> int:
        """A new number for a socket: `generateRandomFdToNode`, environ.h:1226-1236."""
        number = random.randrange(FIRST_SOCKET, 1 << 31)
        while number in self._open:
            number = random.randrange(FIRST_SOCKET, 1 << 31)
        self._open[number] = Descriptor(opened, rights)
        return number

    def get(self, number: int) -> Descriptor:
        """The socket of a number.

        Raises:
            WasiError: BADF, there is none.
        """
        found = self._open.get(number)
        if found is None:
            raise WasiError(Errno.BADF)
        return found

    def opened(self, number: int) -> socket.socket:
        """The socket of a number.

        Raises:
            WasiError: BADF, there is none.
        """
        return self.get(number).socket

    def remove(self, number: int) -> socket.socket:
        """Takes a socket out of the table.

        Raises:
            WasiError: BADF, there is none.
        """
        removed = self.opened(number)
        del self._open[number]
        return removed

    def renumber(self, number: int, to: int) -> socket.socket | None:
        """Moves a socket to the number of another, which is given back: `fdRenumber`, environ.h:519-533.

        Raises:
            WasiError: BADF, there is no such socket.
        """
        moved = self.get(number)
        if number == to:
            return None
        replaced = self.remove(to)
        del self._open[number]
        self._open[to] = moved
        return replaced
