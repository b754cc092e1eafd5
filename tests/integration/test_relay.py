"""The relays of the tests themselves: their latency and bandwidth are what was asked for, and a cut is a cut."""

import contextlib
import random
import select
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay import Relay, run_relays
from servers import wait_for
from skylark_testbed.shaping import Jitter

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


def send_all(connection: socket.socket, pieces: list[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)


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


def test_speed_changes_while_connections_are_open(peer: Peer) -> None:
    """An open connection feels another latency with its next byte, and another bandwidth likewise."""
    with relay_to(peer, 5, 80) as relay, connect(relay, b"E") as pinging, connect(relay, b"S") as connection:
        round_trip_ms(pinging)
        assert round_trip_ms(pinging) < 40
        relay.set_speed(50, 80)
        assert round_trip_ms(pinging) > 100
        relay.set_speed(1, 8)
        assert throughput_mbps(peer, [connection], 1_000_000) == pytest.approx(8, rel=0.2)


def test_connecting_takes_a_round_trip(peer: Peer) -> None:
    """The first byte of a new connection is answered after two round trips, as if it had waited for the connection."""
    with relay_to(peer, 25) as relay:
        started = time.perf_counter()
        with connect(relay, b"E") as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        assert 100 <= (time.perf_counter() - started) * 1000 < 150


def test_a_sender_feels_a_slow_link(peer: Peer) -> None:
    """A sender cannot be far ahead of what has arrived: its own buffer, the relay's, and what is under way."""
    with relay_to(peer, 1, 8) as relay, connect(relay, b"S") as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)
        sent, started_s, now_s = 0, time.monotonic(), 0.0
        while now_s < 1.0:
            try:
                sent += connection.send(CHUNK)
            except BlockingIOError:
                select.select([], [connection], [], 0.05)
            now_s = time.monotonic() - started_s
        assert 900_000 < sent < now_s * 1_000_000 + 130_000


def test_a_receiver_that_does_not_read(peer: Peer) -> None:
    """It holds up the sender, and gets every byte once it reads."""
    sent = random.Random(1).randbytes(3_000_000)
    with relay_to(peer, 2, 1000) as relay, connect(relay, b"E") as connection:
        sender = threading.Thread(target=send_all, args=[connection, [sent]])
        sender.start()
        carried = [-1]

        def stands_still() -> bool:
            carried.append(relay.carried_bytes("near"))
            return carried[-1] > 0 and len(carried) > 30 and carried[-30] == carried[-1]

        wait_for(stands_still, "nothing more is carried")
        assert carried[-1] < len(sent)
        received = bytearray()
        while len(received) < len(sent):
            received += connection.recv(1 << 20)
        sender.join()
        assert received == sent


def test_a_half_closed_connection(peer: Peer) -> None:
    """One end may say that it has sent all and still get what is on its way to it."""
    with relay_to(peer, 20) as relay, connect(relay, b"E") as connection:
        connection.sendall(b"all of it")
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(100):
            received += chunk
        assert received == b"all of it"


def test_a_peer_that_is_away() -> None:
    """A connection to a node that does not run is reset a round trip later."""
    with run_relays() as relays:
        relay = relays.add({"near": "127.0.0.1:1", "far": "127.0.0.1:1"}, 20)
        started = time.perf_counter()
        with connect(relay, b"E") as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert (time.perf_counter() - started) * 1000 >= 40


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.integers(1, 60_000), min_size=1, max_size=20),
    jitter=st.floats(0.0, 1.0),
    bandwidth_mbps=st.floats(20.0, 2000.0),
    seed=st.integers(0, 1000),
)
def test_bytes_arrive_whole_and_in_order(
    peer: Peer, pieces: list[int], jitter: float, bandwidth_mbps: float, seed: int
) -> None:
    """Whatever the jitter and however they were sent: what comes back is what was sent, byte for byte."""
    sent = [random.Random(seed + number).randbytes(size) for number, size in enumerate(pieces)]
    with run_relays() as relays:
        relay = relays.add({"near": "127.0.0.1:1", "far": peer.address}, 3, bandwidth_mbps, Jitter(jitter, seed))
        with connect(relay, b"E") as connection:
            sender = threading.Thread(target=send_all, args=[connection, sent])
            sender.start()
            received = bytearray()
            while len(received) < sum(pieces):
                received += connection.recv(1 << 20)
            sender.join()
        assert received == b"".join(sent)
        assert relay.carried_bytes("far") == relay.carried_bytes("near") + 1
