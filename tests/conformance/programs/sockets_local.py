"""Sockets with both ends in the program: options, names, and the errors of binding and connecting."""

import contextlib
import select
import socket

from conformance.programs.record import attempt, chapter, outcome, say


def main(arguments: list[str]) -> None:
    """Needs nothing from outside."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        version = "IPv6" if ":" in host else "IPv4"
        chapter(version, "binding")
        _bound(family, host)
        chapter(version, "connection")
        _both_ends(family, host)
        chapter(version, "busy")
        _busy(family, host)
        _many(family, host)
        chapter(version, "option")
        _options(family, host)
        chapter(version, "not connected")
        _not_connected(family)
        chapter(version, "datagram")
        _datagrams(family, host)
    chapter()
    _addresses()
    _lookup()
    _pair()


def _bound(family: int, host: str) -> None:
    with socket.socket(family) as first, socket.socket(family) as second:
        first.bind((host, 0))
        first.listen()
        attempt("in use", second.bind, first.getsockname())
        attempt("listen again", first.listen, 5)
        attempt("bind again", first.bind, (host, 0))
    with socket.socket(family) as opened:
        foreign = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
        attempt("not of this machine", opened.bind, (foreign, 0))
        attempt("any address", opened.bind, ("0.0.0.0" if family == socket.AF_INET else "::", 0))
        say("bound to any", opened.getsockname()[0])
    with _server(family, host) as server:
        port = server.getsockname()[1]
    with _server(family, host, port) as server:
        say("the same port again", server.getsockname()[1] == port)
    attempt("create_server", lambda: socket.create_server((host, 0), family=family).close())


def _server(family: int, host: str, port: int = 0) -> socket.socket:
    opened = socket.socket(family)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((host, port))
    opened.listen()
    return opened


def _both_ends(family: int, host: str) -> None:
    with _server(family, host) as server:
        client = socket.create_connection(server.getsockname()[:2])
        opened, peer = server.accept()
        with client, opened:
            say("names", [peer == client.getsockname(), client.getpeername() == opened.getsockname()])
            client.sendall(b"to the server")
            say("received", opened.recv(100))
            opened.sendall(b"to the client")
            say("answered", client.recv(100))
            say("both writable", len(select.select([], [client, opened], [], 0)[1]))
            opened.close()
            say("closed", client.recv(1))
    _connection_of_a_listener(family, host)


def _connection_of_a_listener(family: int, host: str) -> None:
    with _server(family, host) as server, socket.socket(family) as client:
        attempt("connect a listener", server.connect, server.getsockname()[:2])
        client.connect(server.getsockname()[:2])
        attempt("listen when connected", client.listen)
        attempt("bind when connected", client.bind, (host, 0))


def _busy(family: int, host: str) -> None:
    """A listener whose queue is full does not answer."""
    with _server(family, host) as server:
        server.listen(1)
        waiting = []
        while (last := _connecting(family, server.getsockname()[:2])) is not None:
            waiting.append(last)
        say("timed out while connecting", 0 < len(waiting) < 10)
        opened = socket.socket(family)
        opened.setblocking(False)
        say("under way", opened.connect_ex(server.getsockname()[:2]) != 0)
        say("not yet", select.select([], [opened], [], 0.05)[1])
        opened.close()
        for each in waiting:
            each.close()


def _connecting(family: int, address: tuple[str, int]) -> socket.socket | None:
    opened = socket.socket(family)
    opened.settimeout(0.2)
    try:
        opened.connect(address)
    except TimeoutError:
        opened.close()
        return None
    return opened


def _many(family: int, host: str) -> None:
    """600 sockets at once, all waited for together."""
    with _server(family, host) as server, contextlib.ExitStack() as stack:
        server.listen(64)
        ends = []
        for _ in range(300):
            client = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
            ends.append((client, stack.enter_context(server.accept()[0])))
        poll = select.poll()
        for _, opened in ends:
            poll.register(opened, select.POLLIN)
        for number in range(0, 300, 7):
            ends[number][0].sendall(b"x")
        ready: set[int] = set()
        while len(ready) < 43:
            ready |= {number for number, _ in poll.poll(5000)}
        say("ready of 300", len(ready))
        say("the right ones", ready == {opened.fileno() for _, opened in ends[::7]})
        say("read", {opened.recv(10) for _, opened in ends[::7]} == {b"x"})


def _options(family: int, host: str) -> None:
    with _server(family, host) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            for name in ("SO_KEEPALIVE", "SO_REUSEADDR"):
                option = getattr(socket, name)
                attempt(f"set {name}", client.setsockopt, socket.SOL_SOCKET, option, 1)
                say(name, _on(client, socket.SOL_SOCKET, option))
            attempt("set TCP_NODELAY", client.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            say("TCP_NODELAY", _on(client, socket.IPPROTO_TCP, socket.TCP_NODELAY))
            say("SO_TYPE", client.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM)
            say("SO_ERROR", client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            for name in ("SO_RCVBUF", "SO_SNDBUF"):
                option = getattr(socket, name)
                attempt(f"set {name}", client.setsockopt, socket.SOL_SOCKET, option, 65536)
                say(name, _at_least(client, option, 65536))
        say("SO_ACCEPTCONN", _on(server, socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _on(opened: socket.socket, level: int, option: int) -> object:
    return outcome(lambda: opened.getsockopt(level, option) != 0)


def _at_least(opened: socket.socket, option: int, size: int) -> object:
    return outcome(lambda: opened.getsockopt(socket.SOL_SOCKET, option) >= size)


def _not_connected(family: int) -> None:
    with socket.socket(family) as opened:
        attempt("recv", opened.recv, 1)
        attempt("send", opened.send, b"x")
        attempt("getpeername", opened.getpeername)
        attempt("shutdown", opened.shutdown, socket.SHUT_RDWR)
        say("getsockname", outcome(lambda: opened.getsockname()[1]))
        attempt("accept", opened.accept)
        attempt("detach and use", lambda: socket.socket(family, fileno=opened.detach()).close())


def _datagrams(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        one.bind((host, 0))
        other.bind((host, 0))
        one.settimeout(5)
        other.settimeout(5)
        for number in range(5):
            one.sendto(f"datagram {number}".encode(), other.getsockname())
        received = [other.recvfrom(100) for _ in range(5)]
        say("five datagrams", [content for content, _ in received])
        say("from", [address == one.getsockname() for _, address in received])
        attempt("send without a target", one.send, b"x")
        attempt("getpeername", one.getpeername)
        say("readable", select.select([one, other], [], [], 0)[0])
        attempt("in use", lambda: socket.socket(family, socket.SOCK_DGRAM).bind(one.getsockname()))


def _addresses() -> None:
    with socket.socket() as opened:
        attempt("a broadcast address", opened.connect, ("255.255.255.255", 9))
    with socket.socket() as opened:
        attempt("no address", lambda: opened.connect(("", 0)))
    say("inet_pton", [socket.inet_pton(socket.AF_INET6, "::1"), socket.inet_aton("1.2.3.4")])
    say("inet_ntop", socket.inet_ntop(socket.AF_INET6, bytes(range(16))))
    attempt("no such family", lambda: socket.socket(77))


def _lookup() -> None:
    found = socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    say("numeric", [[entry[1] == socket.SOCK_STREAM, entry[4]] for entry in found])
    found = socket.getaddrinfo("::1", "8080", type=socket.SOCK_STREAM)
    say("numeric IPv6", [entry[4][:2] for entry in found])
    hosts = {entry[4][0] for entry in socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)}
    say("localhost", sorted(hosts))
    say("gethostbyname", socket.gethostbyname("localhost"))
    say("passive", [entry[4][0] for entry in socket.getaddrinfo(None, 80, socket.AF_INET, socket.SOCK_STREAM)])
    for name in ("no-such-host.invalid", "a" * 64 + ".invalid"):
        say(f"lookup of {name[:20]}", _unknown(name))
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(("localhost", server.getsockname()[1])) as client:
        say("connected by name", client.getpeername() == server.getsockname())


def _unknown(name: str) -> str:
    try:
        return str(socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM))
    except UnicodeError:
        return "not encoded"
    except socket.gaierror:
        return "gaierror"


def _pair() -> None:
    one, other = socket.socketpair()
    with one, other:
        for end in (one, other):  # in a component it may still be connecting, and a write does not wait for that
            select.select([], [end], [], 5)
        one.sendall(b"through the pair")
        say("socketpair", other.recv(100))
        one.close()
        say("closed", other.recv(1))
