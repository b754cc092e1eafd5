"""Links in user space: TCP relays between nodes that need no rights and no kernel module.

Each pair of nodes has a `Relay` with a port for each end: one node connects there instead of to the other one. What it
carries, and how fast, is decided by the relay's two routes, which may be changed while connections are open. Buffers
are small, so that a sender feels a slow link.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Mapping

from skylark_testbed.flows import Connection, Way
from skylark_testbed.shaping import Channel, Jitter, Route

_SEND_BUFFER_BYTES = 256 << 10
_RECEIVE_MS = 4
_SMALLEST_BUFFER_BYTES, _LARGEST_BUFFER_BYTES = 32 << 10, 512 << 10
_SMALLEST_SEGMENT_BYTES, _LARGEST_SEGMENT_BYTES = 1448, 32_000
_BACKLOG = 512


class Relay:
    """Stands between two nodes.

    Args:
        loop: In which all its methods are called.
        ends: The real addresses of the nodes, `host:port`, by name.
        routes: The way to each of them; None: no way leads there, and connections are refused.
        jitter: Of latencies.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ends: Mapping[str, str],
        routes: Mapping[str, Route] | None,
        jitter: Jitter | None = None,
    ) -> None:
        one, other = ends
        self.ends = (one, other)
        self.connections = 0
        """How many it has taken."""
        self._loop = loop
        self._jitter = jitter or Jitter()
        nowhere = Route(0.0, (Channel(1.0),))
        self._ways = {name: Way(nowhere, self._jitter, on_full=self.cut) for name in ends}
        self._open: set[Connection] = set()
        self._is_reachable = True
        self._is_cut = self._is_silent = False
        self._ports = {name: self._port(name, ends) for name in ends}
        self.set_routes(routes)

    @property
    def is_cut(self) -> bool:
        """Whether `cut` or `cut_after` has cut it."""
        return self._is_cut

    def address(self, to: str) -> str:
        """Where the other end connects to reach `to`."""
        return self._ports[to].address

    def carried_bytes(self, to: str) -> int:
        """What was sent to `to` by the other end, on all connections, whoever opened them."""
        return self._ways[to].carried_bytes

    def set_routes(self, routes: Mapping[str, Route] | None) -> None:
        """Changes how the ends reach each other, also for connections that are open; without routes they are reset."""
        for name, route in (routes or {}).items():
            self._ways[name].route = route
            self._ports[name].set_bandwidth(route.bandwidth_mbps)
        self._is_reachable = routes is not None
        self._open_or_close()

    def cut(self) -> None:
        """Resets all connections and refuses new ones; what is under way is lost."""
        self._is_cut = True
        self._open_or_close()

    def cut_after(self, to: str, more_bytes: int) -> None:
        """Cuts it once so many further bytes were sent to `to`."""
        self._ways[to].cut_at_bytes = self._ways[to].carried_bytes + more_bytes

    def silence(self) -> None:
        """Carries nothing more: connections stay open, new ones are accepted, nobody gets an answer."""
        self._is_silent = True
        for connection in self._open:
            connection.silence()

    def heal(self) -> None:
        """Works again. What was stuck arrives now; what was cut off does not."""
        for way in self._ways.values():
            way.cut_at_bytes = None
        self._is_cut = self._is_silent = False
        self._open_or_close()
        for connection in self._open:
            connection.resume()

    def close(self) -> None:
        """Ends every connection and gives the ports back."""
        self.cut()
        for port in self._ports.values():
            port.end()

    def _open_or_close(self) -> None:
        carries = self._is_reachable and not self._is_cut
        for port in self._ports.values():
            port.listen() if carries else port.close()
        if not carries:
            for connection in list(self._open):
                connection.abort()

    def _port(self, to: str, ends: Mapping[str, str]) -> "_Port":
        other = next(name for name in ends if name != to)
        host, source = _host(ends[to]), _host(ends[other])

        def open_far() -> socket.socket:
            return _connecting(ends[to], source, self._ways[other].route.bandwidth_mbps)

        def take(near: socket.socket) -> None:
            self.connections += 1
            there, back = self._ways[to], self._ways[other]
            connection = Connection(self._loop, near, open_far, there, back, self._open.discard)
            self._open.add(connection)
            if self._is_silent:
                connection.silence()
            else:
                connection.open()

        return _Port(self._loop, host, take)


class _Port:
    """A listening port, which refuses connections while it is closed and keeps its number."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, take: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._take = take
        self._listens = False
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        with socket.socket(self._socket.family) as probe:
            probe.bind((host, 0))
            number = probe.getsockname()[1]
        self._socket.bind((host, number))  # by its number: only then does Linux keep it over a shutdown
        self.address = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"

    def listen(self) -> None:
        """Takes connections."""
        if not self._listens:
            self._listens = True
            self._socket.listen(_BACKLOG)
            self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Has the kernel refuse connections."""
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._socket)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Gives the port back."""
        self.close()
        self._socket.close()

    def set_bandwidth(self, bandwidth_mbps: float) -> None:
        """Sizes the buffers of new connections for a bandwidth."""
        _size_buffers(self._socket, bandwidth_mbps)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._take(connection)


def _connecting(target: str, source: str, bandwidth_mbps: float) -> socket.socket:
    """A socket that begins to connect, from the address of the node that it stands in for."""
    host = _host(target)
    far = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        far.setblocking(False)
        _size_buffers(far, bandwidth_mbps)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (":" in source) == (":" in host):
            far.bind((source, 0))
        status = far.connect_ex((host, int(target.rpartition(":")[2])))
        if status not in (0, errno.EINPROGRESS):
            raise OSError(status, "cannot connect")
    except OSError:
        far.close()
        raise
    return far


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _size_buffers(opened: socket.socket, bandwidth_mbps: float) -> None:
    """Has the kernel take what a route carries in some milliseconds, within bounds, and no more.

    The segment size bounds the sender's own buffer too: Linux makes room there for twenty segments at once, and one
    segment of the loopback interface has 64 kB.
    """
    bytes_in_1_ms = int(bandwidth_mbps * 1e6 / 8 / 1000)
    buffer_bytes = min(_LARGEST_BUFFER_BYTES, max(_SMALLEST_BUFFER_BYTES, _RECEIVE_MS * bytes_in_1_ms))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    segment_bytes = min(_LARGEST_SEGMENT_BYTES, max(_SMALLEST_SEGMENT_BYTES, bytes_in_1_ms))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
