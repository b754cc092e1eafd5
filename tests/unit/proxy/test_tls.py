"""Contexts of TLS: whom a client believes, what a server is shown, and files that change."""

import contextlib
import datetime
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skylark_proxy.certificates import CA_CERT, make_certificates
from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.tls import ClientContext, ServerContext, TlsFiles, node_names

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def files_of(
    folder: Path, name: str = "sat1", *, hosts: tuple[str, ...] = (), now: datetime.datetime | None = None
) -> TlsFiles:
    """A new certificate of a node; the folder's authority is made if there is none."""
    made = make_certificates(folder, {name: hosts}, 365, now)[name]
    return TlsFiles(made.cert, made.key, folder / CA_CERT)


class Shown:
    """What a server has seen of a client: the names in its certificate, or why it refused it."""

    names: set[str] | None = None
    refused: str | None = None


def serve_one(context: ServerContext, listener: socket.socket, shown: Shown) -> None:
    """Do one handshake as uvloop does, by memory buffers, and note who is there."""
    connection, _ = listener.accept()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    with connection, contextlib.suppress(OSError):
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                data = connection.recv(65536)
                if not data:
                    return
                incoming.write(data)
            except ssl.SSLError as error:
                shown.refused = error.reason
                connection.sendall(outgoing.read())
                return
        connection.sendall(outgoing.read())
        shown.names = set(node_names(tls.getpeercert() or {}))
        connection.recv(1)


@contextlib.contextmanager
def serving(context: ServerContext) -> Iterator[tuple[int, Shown]]:
    shown = Shown()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_one, args=(context, listener, shown))
        thread.start()
        try:
            yield listener.getsockname()[1], shown
        finally:
            thread.join(20)


def met(server: ServerContext, client: ClientContext, node: str | None = "sat1", host: str = "127.0.0.1") -> Shown:
    """Let a client ask a server once.

    Raises:
        ssl.SSLError: The client refuses the server.
    """
    with serving(server) as (port, shown), socket.create_connection(("127.0.0.1", port), 20) as connection:
        client.wrap(connection, host, node).close()
    return shown


def reason(server: ServerContext, client: ClientContext, node: str | None = "sat1", host: str = "127.0.0.1") -> str:
    with pytest.raises(ssl.SSLError) as caught:
        met(server, client, node, host)
    return str(caught.value)


class TestWhomAClientBelieves:
    def test_the_node_that_it_asks(self, tmp_path: Path) -> None:
        """A node's certificate is good at whatever address, and the server sees the client's."""
        server, client = ServerContext(files_of(tmp_path)), ClientContext(files_of(tmp_path, "cloud1"))
        assert met(server, client, host="203.0.113.7").names == {"cloud1"}

    def test_another_node(self, tmp_path: Path) -> None:
        """A node of the same authority is not the one that was asked, although its certificate is good for the host."""
        server, client = ServerContext(files_of(tmp_path, "sat2")), ClientContext(files_of(tmp_path))
        assert reason(server, client) == "its certificate is of sat2, not of node sat1"

    @pytest.mark.parametrize("node", ["localhost", "cloud", "sat1.lan"])
    def test_hosts_are_no_nodes(self, tmp_path: Path, node: str) -> None:
        """A host in the certificate of a node does not make it another node."""
        server = ServerContext(files_of(tmp_path, hosts=("cloud", "sat1.lan")))
        assert "is of sat1, not of" in reason(server, ClientContext(TlsFiles(ca=tmp_path / CA_CERT)), node)

    def test_the_authorities_of_the_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without files the system's authorities are believed; they are read for the first connection, and once."""
        read, make = list[object](), ssl.create_default_context

        def noting(*purpose: ssl.Purpose, **files: Any) -> ssl.SSLContext:
            read.append(purpose)
            return make(*purpose, **files)

        server = ServerContext(files_of(tmp_path))
        monkeypatch.setattr(ssl, "create_default_context", noting)
        TlsFiles().check()
        client = ClientContext(TlsFiles())
        assert not read
        for _ in range(2):
            assert "its certificate is not accepted" in reason(server, client)
        assert len(read) == 1

    def test_another_authority(self, tmp_path: Path) -> None:
        """A certificate of an authority that is not the given one is refused, whatever it names."""
        server = ServerContext(files_of(tmp_path / "other"))
        assert "its certificate is not accepted" in reason(server, ClientContext(files_of(tmp_path)))

    def test_one_that_has_expired(self, tmp_path: Path) -> None:
        """An expired certificate is refused."""
        server = ServerContext(files_of(tmp_path / "a", now=LONG_AGO))
        assert "expired" in reason(server, ClientContext(TlsFiles(ca=tmp_path / "a" / CA_CERT)))

    @pytest.mark.parametrize(("host", "fine"), [("127.0.0.1", True), ("node.lan", True), ("other.lan", False)])
    def test_a_host(self, tmp_path: Path, host: str, fine: bool) -> None:
        """Where no node is named, as for node-info, the certificate has to be good for the host of the URL."""
        server = ServerContext(files_of(tmp_path, hosts=("node.lan",)))
        client = ClientContext(files_of(tmp_path, "cloud1"))
        if fine:
            assert met(server, client, None, host).names == {"cloud1"}
        else:
            assert "not valid for 'other.lan'" in reason(server, client, None, host)

    def test_a_server_without_tls(self, tmp_path: Path) -> None:
        """A server of plain HTTP is told apart."""
        client = ClientContext(files_of(tmp_path))

        def answer(listener: socket.socket) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=answer, args=(listener,))
            thread.start()
            connection = socket.create_connection(listener.getsockname(), 20)
            with connection, pytest.raises(ssl.SSLError, match="it does not speak TLS"):
                client.wrap(connection, "127.0.0.1", "sat1")
            thread.join()


class TestWhatAServerIsShown:
    def test_no_certificate(self, tmp_path: Path) -> None:
        """A client without a certificate is let in as nobody."""
        assert met(ServerContext(files_of(tmp_path)), ClientContext(TlsFiles(ca=tmp_path / CA_CERT))).names == set()

    def test_one_of_another_authority(self, tmp_path: Path) -> None:
        """A certificate of another authority is worse than none: the handshake fails."""
        server, stranger = ServerContext(files_of(tmp_path)), files_of(tmp_path / "other", "cloud1")
        shown = met(server, ClientContext(TlsFiles(stranger.cert, stranger.key, tmp_path / CA_CERT)))
        assert (shown.names, shown.refused) == (None, "CERTIFICATE_VERIFY_FAILED")

    def test_one_that_has_expired(self, tmp_path: Path) -> None:
        """So does it with an expired one."""
        server, client = files_of(tmp_path), files_of(tmp_path, "cloud1", now=LONG_AGO)
        assert met(ServerContext(server), ClientContext(client)).refused == "CERTIFICATE_VERIFY_FAILED"


class TestFilesThatChange:
    def test_a_certificate(self, tmp_path: Path) -> None:
        """Both ends use a new certificate for the next connection."""
        server, client = ServerContext(files_of(tmp_path, now=LONG_AGO)), ClientContext(files_of(tmp_path, "cloud1"))
        assert "expired" in reason(server, client)
        files_of(tmp_path)
        assert met(server, client).names == {"cloud1"}
        cloud = tmp_path / "cloud1.crt", tmp_path / "cloud1.key"
        for path, new in zip(cloud, _pair(tmp_path, "cloud2"), strict=True):
            new.replace(path)
        assert met(server, client).names == {"cloud2"}

    def test_an_authority(self, tmp_path: Path) -> None:
        """One that is no longer believed is not, neither by a server nor by a client."""
        old, new = files_of(tmp_path / "old"), files_of(tmp_path / "new")
        given = TlsFiles(old.cert, old.key, old.ca)
        server, client = ServerContext(given), ClientContext(TlsFiles(new.cert, new.key, old.ca))
        assert met(server, client).refused == "CERTIFICATE_VERIFY_FAILED"
        assert old.ca is not None and new.ca is not None
        kept = tmp_path / "kept.crt"
        kept.write_bytes(old.ca.read_bytes())
        old.ca.write_bytes(new.ca.read_bytes())
        assert "not accepted" in reason(server, client)
        assert met(server, ClientContext(TlsFiles(new.cert, new.key, kept))).names == {"sat1"}

    def test_half_a_change(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """While a certificate and its key do not fit, or a file is gone, what was there before stays in use."""
        files = files_of(tmp_path)
        server, client = ServerContext(files), ClientContext(files_of(tmp_path, "cloud1"))
        cert, key = _pair(tmp_path, "sat1b")
        assert files.cert is not None and files.key is not None
        key.replace(files.key)
        for _ in range(3):
            assert met(server, client).names == {"cloud1"}
        assert caplog.text.count("cannot be read again") == 1
        files.cert.unlink()
        assert met(server, client).names == {"cloud1"}
        cert.replace(files.cert)
        assert "is of sat1b" in reason(server, client)


def _pair(folder: Path, name: str) -> tuple[Path, Path]:
    made = make_certificates(folder, {name: ()})[name]
    return made.cert, made.key


class TestSettings:
    def test_files_that_fit(self, tmp_path: Path) -> None:
        """None, a CA alone, a certificate with its key, and all three are settings."""
        files = files_of(tmp_path)
        for given in (TlsFiles(), TlsFiles(ca=files.ca), TlsFiles(files.cert, files.key), files):
            given.check()
        assert (files.serves, files.mutual, files.scheme) == (True, True, "https")
        assert (TlsFiles(ca=files.ca).serves, TlsFiles(ca=files.ca).scheme) == (False, "http")

    @pytest.mark.parametrize(
        ("cert", "key", "ca", "named"),
        [
            ("sat1.crt", None, None, "SKYLARK_TLS_CERT"),
            (None, "sat1.key", None, "SKYLARK_TLS_KEY"),
            ("sat1.crt", "sat2.key", None, "SKYLARK_TLS_CERT"),
            ("missing", "sat1.key", None, "SKYLARK_TLS_CERT"),
            ("sat1.key", "sat1.key", None, "SKYLARK_TLS_CERT"),
            (None, None, "missing", "SKYLARK_TLS_CA"),
            (None, None, "sat1.key", "SKYLARK_TLS_CA"),
        ],
    )
    def test_files_that_do_not(
        self, tmp_path: Path, cert: str | None, key: str | None, ca: str | None, named: str
    ) -> None:
        """What does not fit is told by its setting, and nothing of a key is."""
        make_certificates(tmp_path, {"sat1": (), "sat2": ()})
        paths = (tmp_path / name if name is not None else None for name in (cert, key, ca))
        with pytest.raises(ConfigError, match=named) as caught:
            TlsFiles(*paths).check()
        assert "PRIVATE" not in caught.value.message


class TestAuthorities:
    def test_an_authority_that_is_there(self, tmp_path: Path) -> None:
        """It is used again, so that certificates can be renewed."""
        files_of(tmp_path)
        before = (tmp_path / CA_CERT).read_bytes()
        files_of(tmp_path, "sat2")
        assert (tmp_path / CA_CERT).read_bytes() == before

    def test_keys(self, tmp_path: Path) -> None:
        """Nobody but the owner can read a key, whatever the umask is."""
        before = os.umask(0)
        try:
            files_of(tmp_path)
        finally:
            os.umask(before)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}

    @pytest.mark.parametrize("name", ["a/b", "", "a:b", "../x"])
    def test_names(self, tmp_path: Path, name: str) -> None:
        """What is no name of a node is refused."""
        with pytest.raises(InvalidArgument):
            make_certificates(tmp_path, {name: ()})

    def test_a_long_name(self, tmp_path: Path) -> None:
        """The longest name of a node fits into a certificate."""
        server = ServerContext(files_of(tmp_path, "x" * 128))
        assert met(server, ClientContext(TlsFiles(ca=tmp_path / CA_CERT)), "x" * 128).names == set()
