"""Connections of urllib3 that are encrypted as the settings of TLS say."""

import socket
import ssl
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError

from skylark_proxy.link_meter import TimedConnection, TimedPool
from skylark_proxy.tls import ClientContext, TlsFiles


class TlsConnection(TimedConnection):
    """A connection over TLS.

    Args:
        ssl_context: Does the handshake.
        server_hostname: The node whose certificate has to be there; None: one for the host.
    """

    default_port = 443  # type: ignore[misc]  # as urllib3 itself has it

    def __init__(
        self, *arguments: Any, ssl_context: ClientContext, server_hostname: str | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._tls = ssl_context
        self._node = server_hostname

    def _new_conn(self) -> socket.socket:
        plain = super()._new_conn()
        try:
            return self._tls.wrap(plain, self.host, self._node)
        except TimeoutError as error:
            plain.close()
            raise ConnectTimeoutError(self, "the TLS handshake takes too long") from error
        except (OSError, ssl.SSLError):
            plain.close()
            raise


class TlsPool(TimedPool):
    """A pool of such connections."""

    scheme = "https"
    ConnectionCls = TlsConnection  # type: ignore[assignment]


def open_pool(files: TlsFiles, **options: Any) -> urllib3.PoolManager:
    """Return pools of connections to servers of both schemes.

    Args:
        files: What to show to servers, and whom to believe.
        options: Those of urllib3.
    """
    pool = urllib3.PoolManager(ssl_context=ClientContext(files), **options)
    pool.pool_classes_by_scheme = {"http": TimedPool, "https": TlsPool}
    return pool
