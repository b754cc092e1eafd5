"""Encryption between nodes: contexts made of the files that the settings name, read again when a file changes.

A certificate names its node as the URI `skylark://node/NAME`; where it has no such URI, as a DNS name. Contexts are
looked up for each new connection, so certificates are replaced without a restart; connections that are open go on.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from skylark_proxy.errors import ConfigError

_LOG = logging.getLogger(__name__)
NODE_URI = "skylark://node/"
"""What the URI of a node in a certificate begins with; its name follows."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a node.

    Attributes:
        cert: Its certificate, and those of authorities between it and the CA.
        key: The key of its certificate.
        ca: The certificates of the authorities that are believed; None: those of the system.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "TlsFiles":
        """Return the files that settings name, by the names of environment variables."""
        named = (settings.get(f"SKYLARK_TLS_{name}") for name in ("CERT", "KEY", "CA"))
        return cls(*(Path(text) if text else None for text in named))

    @property
    def serves(self) -> bool:
        """True if a server with these files speaks TLS."""
        return self.cert is not None

    @property
    def mutual(self) -> bool:
        """True if nodes prove to each other who they are by certificates."""
        return self.cert is not None and self.ca is not None

    @property
    def scheme(self) -> str:
        """The scheme of the URLs of nodes with such files."""
        return "https" if self.serves else "http"

    def check(self) -> None:
        """Check that the files are there and fit together.

        Raises:
            ConfigError: They do not.
        """
        for name, path, other in (("CERT", self.cert, "KEY"), ("KEY", self.key, "CERT")):
            if path is not None and None in (self.cert, self.key):
                raise ConfigError(f"SKYLARK_TLS_{name}", str(path), f"SKYLARK_TLS_{other} beside it")
        if self.ca is not None:
            self._try("CA", self.ca, "a readable file with certificates in PEM", lambda: _believing(self.ca))
        expected = "a readable file with a certificate in PEM, whose key is in SKYLARK_TLS_KEY"
        self._try("CERT", self.cert, expected, lambda: _showing(self))

    def _try(self, name: str, path: Path | None, expected: str, read: Callable[[], object]) -> None:
        try:
            read()
        except (OSError, ValueError) as error:
            raise ConfigError(f"SKYLARK_TLS_{name}", str(path), f"{expected} ({_reason(error)})") from error


class ServerContext(ssl.SSLContext):
    """What a server wraps each new connection with.

    A client may show a certificate of the CA, and need not; who may do what without one, is not decided here.
    """

    def __new__(cls, files: TlsFiles) -> "ServerContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, files: TlsFiles) -> None:
        self._contexts = _Reread(files, _server_context)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Wrap a connection with the context of the files as they are now."""
        return self._contexts.current().wrap_bio(*arguments, **options)


class ClientContext:
    """What a client wraps each new connection with. Safe for threads."""

    def __init__(self, files: TlsFiles) -> None:
        self._contexts = _Reread(files, _client_context)
        self._of_nodes = _Reread(files, _client_context_of_nodes)

    def wrap(self, connection: socket.socket, host: str, node: str | None) -> ssl.SSLSocket:
        """Do the handshake, and check who is at the other end.

        Args:
            host: The host of the URL.
            node: The node that the certificate has to name; None: it has to be good for the host.

        Raises:
            ssl.SSLError: Somebody else is there; the text is a sentence.
            OSError: The connection is broken.
        """
        context = (self._contexts if node is None else self._of_nodes).current()
        try:
            wrapped = context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise _refused(f"its certificate is not accepted ({error.verify_message})") from error
        except ssl.SSLError as error:
            raise _refused(_SENTENCES.get(error.reason or "", f"TLS failed ({_reason(error)})")) from error
        names = node_names(wrapped.getpeercert() or {})
        if node is not None and node not in names:
            wrapped.close()
            raise _refused(f"its certificate is of {', '.join(sorted(names)) or 'no node'}, not of node {node}")
        return wrapped


def _refused(sentence: str) -> ssl.SSLError:
    return ssl.SSLError(ssl.SSL_ERROR_SSL, sentence)


def node_names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of nodes in a certificate, in the form of `SSLSocket.getpeercert`."""
    names = certificate.get("subjectAltName", ())
    uris = {value.removeprefix(NODE_URI) for kind, value in names if kind == "URI" and value.startswith(NODE_URI)}
    # The hosts beside a node's URI may be those of several nodes, such as localhost.
    return frozenset(uris or {value for kind, value in names if kind == "DNS" and "*" not in value})


class _Reread:
    """A context that is made anew when one of the files has changed. One that cannot be made changes nothing.

    Without files it is made when it is first needed, since reading the system's authorities takes tens of milliseconds.
    """

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._lock = Lock()
        self._stamp = self._tried = self._now()
        self._context = make(files) if files != TlsFiles() else None

    def current(self) -> ssl.SSLContext:
        """Return the context of the files as they are now, or were when they last fitted together."""
        with self._lock:
            stamp = self._now()
            if stamp != self._stamp:
                self._renew(stamp)
            if self._context is None:
                self._context = self._make(self._files)
            return self._context

    def _renew(self, stamp: _Stamp) -> None:
        try:
            self._context = self._make(self._files)
            self._stamp = stamp
            _LOG.info("certificates were read again")
        except (OSError, ValueError) as error:  # between the writing of a certificate and that of its key, say
            if stamp != self._tried:
                _LOG.warning("certificates cannot be read again, the ones before stay in use: %s", _reason(error))
        self._tried = stamp

    def _now(self) -> _Stamp:
        return tuple(map(_stamp, (self._files.cert, self._files.key, self._files.ca)))


def _stamp(path: Path | None) -> tuple[int, int, int]:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found is not None else (0, 0, 0)


def _server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    _load(context, files)
    if files.ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _client_context(files: TlsFiles) -> ssl.SSLContext:
    context = _believing(files.ca)
    if files.cert is not None:
        _load(context, files)
    return context


def _client_context_of_nodes(files: TlsFiles) -> ssl.SSLContext:
    """Nodes move from address to address: what their certificates have to name is the node."""
    context = _client_context(files)
    context.check_hostname = False
    return context


def _believing(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def _showing(files: TlsFiles) -> None:
    if files.cert is not None:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    assert files.cert is not None
    context.load_cert_chain(files.cert, files.key, password=lambda: _no_password(files))


def _no_password(files: TlsFiles) -> str:
    """Without this OpenSSL would ask for a password on the terminal."""
    raise ValueError(f"{files.key} is encrypted; a key without a password is needed")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


_SENTENCES = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "it ended the connection in the TLS handshake",
}
