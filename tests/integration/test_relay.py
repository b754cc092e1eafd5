"""The relays of the tests themselves: their latency and bandwidth are what was asked for, and a cut is a cut."""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from relay import Relay, run_relays
from servers import wait_for

CHUNK = bytes(64 << 10)


class Peer:
    """Echoes each byte of a connection whose first byte is E; swallows all others and counts them."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.swallowed = 0
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept)
        self._serving: list[threading.Thread] = []
        self._accepting.start()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for thread in (self._accepting, *self._serving):
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self._serving.append(threading.Thread(target=self._serve, args=[connection]))
                self._serving[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            echoes = connection.recv(1) == b"E"
            while data := connection.recv(256 << 10):
                if echoes:
                    connection.sendall(data)
                with self._lock:
                    self.swallowed += len(data)


@pytest.fixture
def peer() -> Iterator[Peer]:
    running = Peer()
    yield running
    running.close()


@contextlib.contextmanager
def relay_to(peer: Peer, latency_ms: float = 0.0, bandwidth_mbps: float = 10_000.0) -> Iterator[Relay]:
    with run_relays() as relays:
        yield relays.add({"near": "127.0.0.1:1", "far": peer.address}, latency_ms, bandwidth_mbps)


def connect(relay: Relay, first: bytes) -> socket.socket:
    host, port = relay.address("far").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(first)
    return connection


def round_trip_ms(connection: socket.socket) -> float:
    started = time.perf_counter()
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"
    return (time.perf_counter() - started) * 1000


def throughput_mbps(peer: Peer, connections: list[socket.socket], size_bytes: int) -> float:
    """Over the second half of a transfer, so that what buffers take at first does not count."""

    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(size_bytes // len(connections) // len(CHUNK)):
                connection.sendall(CHUNK)

    threads = [threading.Thread(target=send, args=[connection]) for connection in connections]
    for thread in threads:
        thread.start()
    wait_for(lambda: peer.swallowed > size_bytes // 4, "a quarter has arrived")
    half_s, half_bytes = time.perf_counter(), peer.swallowed
    wait_for(lambda: peer.swallowed > size_bytes * 3 // 4, "three quarters have arrived")
    rate = 8 * (peer.swallowed - half_bytes) / (time.perf_counter() - half_s) / 1e6
    for thread in threads:
        thread.join(20)
    return rate


@pytest.mark.parametrize("latency_ms", [1, 10, 60])
def test_latency(peer: Peer, latency_ms: float) -> None:
    """A round trip takes two latencies, within 2 ms or a tenth."""
    with relay_to(peer, latency_ms) as relay, connect(relay, b"E") as connection:
        assert round_trip_ms(connection) < 4 * latency_ms + 30
        trips = [round_trip_ms(connection) for _ in range(15)]
        assert statistics.median(trips) == pytest.approx(2 * latency_ms, abs=max(2.0, 0.2 * latency_ms))


@pytest.mark.parametrize(("bandwidth_mbps", "connections"), [(8, 1), (90, 1), (120, 3)])
def test_bandwidth(peer: Peer, bandwidth_mbps: float, connections: int) -> None:
    """All connections of a direction together get the link's bandwidth, within a tenth."""
    with relay_to(peer, 5, bandwidth_mbps) as relay, contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(relay, b"S")) for _ in range(connections)]
        rate = throughput_mbps(peer, opened, int(bandwidth_mbps * 1e6 / 8))
        assert rate == pytest.approx(bandwidth_mbps, rel=0.1)
        assert relay.carried_bytes("far") >= peer.swallowed


def test_cut(peer: Peer) -> None:
    """A cut resets what is open, loses what is under way and refuses what is new; healed, the same port works again."""
    with relay_to(peer, 50, 8) as relay:
        with connect(relay, b"E") as connection:
            round_trip_ms(connection)
            connection.sendall(b"x")
            relay.cut()
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(relay, b"E")
        relay.heal()
        with connect(relay, b"E") as connection:
            assert round_trip_ms(connection) > 100


def test_cut_in_the_middle_of_a_transfer(peer: Peer) -> None:
    """A link can be told to break after so many bytes; the far end gets no more than that."""
    with relay_to(peer, 1, 100) as relay, connect(relay, b"S") as connection:
        relay.cut_after("far", 300_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(CHUNK * 1000)
        assert relay.is_cut
        assert peer.swallowed <= relay.carried_bytes("far") < 300_000 + len(CHUNK)


def test_black_hole(peer: Peer) -> None:
    """A black hole keeps connections and takes new ones, but nobody hears anything until it is healed."""
    with relay_to(peer, 1) as relay, connect(relay, b"E") as connection:
        round_trip_ms(connection)
        relay.black_hole()
        connection.sendall(b"x")
        with connect(relay, b"E") as other:
            other.sendall(b"y")
            for silent in (connection, other):
                silent.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    silent.recv(1)
                silent.settimeout(10)
            relay.heal()
            assert (connection.recv(1), other.recv(1)) == (b"x", b"y")
